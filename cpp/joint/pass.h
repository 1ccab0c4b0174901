// One pass over the rows of pred_probs: blocks of rows in a form that the kernels read, whatever
// dtype and strides they come in, and what is wrong with their values.
#pragma once

#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <type_traits>
#include <vector>

#include "base/row_block.h"
#include "joint/joint.h"
#include "simd/kernels.h"

namespace dqcore::joint {

// Bad entries of pred_probs: how many, and the first by row, then class.
struct Faults {
    int64_t count = 0;
    int64_t row = 0, col = 0;
    double value = 0.0;
    bool is_double = false;  // how many digits tell the value

    void add(int64_t at_row, int64_t at_col, double bad, bool is_double);
    void merge(const Faults& other);
    [[noreturn]] void raise() const;
};

inline bool is_probability(double p) { return p >= -kTolerance && p <= 1.0 + kTolerance; }

[[noreturn]] void raise_label(int64_t row, int64_t label, int64_t n_classes);

// A label, read once; whoever changes the array meanwhile gets an error, never a wild access.
inline int64_t label_at(Vector<const int32_t> labels, int64_t i, int64_t n_classes) {
    const int64_t label = read_once(labels.data + i);
    if (label < 0 || label >= n_classes) [[unlikely]]
        raise_label(i, label, n_classes);
    return label;
}

// The least T that is at least x, for x any double: comparing T with it is comparing with x.
template <class T>
T round_up(double x) {
    const T near = static_cast<T>(x);
    return static_cast<double>(near) >= x
               ? near
               : std::nextafter(near, std::numeric_limits<T>::infinity());
}

template <class T>
T round_down(double x) {
    return -round_up<T>(-x);
}

// What scan_probs found in a block of rows, and the rows themselves.
template <class T>
struct Block {
    int64_t begin = 0, n = 0;
    const char* rows = nullptr;
    int64_t row_stride = 0;
    const int32_t* argmax = nullptr;
    const int32_t* guess = nullptr;
    const T* runner_up = nullptr;
    const uint8_t* flags = nullptr;
    bool any_bad = false;

    const T* row(int64_t r) const { return reinterpret_cast<const T*>(rows + r * row_stride); }
    // 0 where nobody asked for it.
    T runner_up_of(int64_t r) const { return runner_up ? runner_up[r] : T(0); }
};

inline constexpr int64_t kMostBlockRows = 256;

// One worker's means to read rows. T is float for halves and floats, double for doubles.
template <class T>
class Reader {
public:
    // Rows in a block: its findings and a converted copy fit the first two levels of cache.
    static int64_t block_rows(int64_t n_classes) {
        constexpr int64_t kBlockBytes = 1 << 15;
        const int64_t rows = kBlockBytes / (n_classes * int64_t{sizeof(T)});
        return rows < 1 ? 1 : rows > kMostBlockRows ? kMostBlockRows : rows;
    }

    // Thresholds may be empty: then no row has a guess.
    Reader(const StridedMatrix& m, const std::vector<double>& thresholds, Collision collision,
           bool argmax, bool runner_up)
        : m_(m), in_place_(RowBlock<T>::in_place(m)), kernels_(simd::active()) {
        const auto rows = static_cast<size_t>(block_rows(m.cols));
        if (argmax) argmax_.resize(rows);
        guess_.resize(rows);
        flags_.resize(rows);
        if (runner_up) runner_up_.resize(rows);
        if (!in_place_) copy_.resize(rows * static_cast<size_t>(m.cols));
        constexpr int64_t kPad = simd::kProbPad;
        low_.assign(static_cast<size_t>((m.cols + kPad - 1) / kPad * kPad),
                    std::numeric_limits<T>::infinity());
        for (size_t c = 0; c < thresholds.size(); ++c)
            low_[c] = round_up<T>(thresholds[c] - kTolerance);

        scan_.n_classes = m.cols;
        scan_.low = low_.data();
        scan_.among_confident = collision == Collision::kConfident;
        scan_.least = round_up<T>(-kTolerance);
        scan_.greatest = round_down<T>(1.0 + kTolerance);
        // Twice the rounding error of n numbers near a sum of 1, added in at least 4 float lanes or
        // 2 double lanes (and there once more in order): what may be off is summed again.
        const double terms = static_cast<double>(m.cols) / (sizeof(T) == 4 ? 4.0 : 1.0);
        const double slack =
            (terms + 16.0) * static_cast<double>(std::numeric_limits<T>::epsilon());
        scan_.least_sum = static_cast<T>(1.0 - kRowSumTolerance + slack);
        scan_.most_sum = static_cast<T>(1.0 + kRowSumTolerance - slack);
        scan_.argmax = argmax ? argmax_.data() : nullptr;
        scan_.guess = guess_.data();
        scan_.runner_up = runner_up ? runner_up_.data() : nullptr;
        scan_.flags = flags_.data();
    }

    // Scans rows [begin, end), at most block_rows of them.
    Block<T> scan(int64_t begin, int64_t end, Faults& faults, RowSums& sums) {
        Block<T> block;
        block.begin = begin;
        block.n = end - begin;
        block.rows = in_place_ ? m_.data + begin * m_.row_stride : copy(begin, end);
        block.row_stride = in_place_ ? m_.row_stride : m_.cols * int64_t{sizeof(T)};
        block.argmax = scan_.argmax;
        block.guess = scan_.guess;
        block.runner_up = scan_.runner_up;
        block.flags = scan_.flags;
        scan_.rows = block.rows;
        scan_.row_stride = block.row_stride;
        scan_.n = block.n;
        uint8_t flags;
        if constexpr (std::is_same_v<T, float>)
            flags = kernels_.scan_probs32(scan_);
        else
            flags = kernels_.scan_probs64(scan_);
        block.any_bad = (flags & simd::kBadRow) != 0;
        if (flags) look_closer(block, faults, sums);
        return block;
    }

private:
    void look_closer(const Block<T>& block, Faults& faults, RowSums& sums) const {
        for (int64_t r = 0; r < block.n; ++r) {
            if (!block.flags[r]) continue;
            const T* p = block.row(r);
            double sum = 0.0;
            for (int64_t c = 0; c < m_.cols; ++c) {
                const double value = static_cast<double>(p[c]);
                if (!is_probability(value))
                    faults.add(block.begin + r, c, value, m_.type == Float::kFloat64);
                sum += value;
            }
            sums.add(block.begin + r, sum);
        }
    }

    const char* copy(int64_t begin, int64_t end) {
        const int64_t n = end - begin, cols = m_.cols;
        const char* base = m_.data + begin * m_.row_stride;
        T* out = copy_.data();
        if (m_.type == Float::kFloat16 && m_.col_stride == 2) {
            if constexpr (std::is_same_v<T, float>)
                for (int64_t r = 0; r < n; ++r)
                    kernels_.widen_halves(base + r * m_.row_stride, out + r * cols, cols);
        } else if (std::abs(m_.row_stride) < std::abs(m_.col_stride)) {  // by column
            for (int64_t c = 0; c < cols; ++c)
                for (int64_t r = 0; r < n; ++r)
                    out[r * cols + c] = read(base + r * m_.row_stride + c * m_.col_stride);
        } else {
            for (int64_t r = 0; r < n; ++r)
                for (int64_t c = 0; c < cols; ++c)
                    out[r * cols + c] = read(base + r * m_.row_stride + c * m_.col_stride);
        }
        return reinterpret_cast<const char*>(out);
    }

    T read(const char* p) const {
        if constexpr (std::is_same_v<T, float>) {
            if (m_.type == Float::kFloat16) {
                uint16_t half;
                std::memcpy(&half, p, sizeof half);
                return half_to_float(half);
            }
        }
        T value;
        std::memcpy(&value, p, sizeof value);
        return value;
    }

    const StridedMatrix m_;
    const bool in_place_;
    const simd::Kernels& kernels_;
    simd::ProbScan<T> scan_{};
    std::vector<T> low_, runner_up_, copy_;
    std::vector<int32_t> argmax_, guess_;
    std::vector<uint8_t> flags_;
};

// Calls body(type) with a value of the type that rows of `m` are read as.
template <class Body>
void with_type(const StridedMatrix& m, const Body& body) {
    if (m.type == Float::kFloat64)
        body(double{});
    else
        body(float{});
}

struct ScanOptions {
    std::vector<double> thresholds;
    Collision collision = Collision::kArgmax;
    bool argmax = true;  // whether it is wanted of every row
    bool runner_up = false;
};

// Scans all rows on run.threads workers; body(block, worker) gets each block whose values are
// right. Throws where any value is not; `sums` gains the rows that do not sum to 1.
template <class Body>
void scan_rows(const StridedMatrix& m, const ScanOptions& options, const Run& run,
               const char* stage, RowSums& sums, const Body& body) {
    with_type(m, [&](auto type) {
        using T = decltype(type);
        struct Hand {
            std::unique_ptr<Reader<T>> reader;
            Faults faults;
            RowSums sums;
        };
        std::vector<Hand> hands(static_cast<size_t>(run.threads));
        const int64_t block_rows = Reader<T>::block_rows(m.cols);
        const int64_t chunk_rows = (rows_per_chunk(m.cols * int64_t{sizeof(T)}) + block_rows - 1) /
                                   block_rows * block_rows;
        const auto scan_chunk = [&](int64_t begin, int64_t end, const Worker& worker) {
            Hand& hand = hands[static_cast<size_t>(worker.id)];
            if (!hand.reader)
                hand.reader = std::make_unique<Reader<T>>(m, options.thresholds, options.collision,
                                                          options.argmax, options.runner_up);
            for (int64_t b = begin; b < end; b += block_rows) {
                worker.check();
                const int64_t e = b + block_rows < end ? b + block_rows : end;
                const Block<T> block = hand.reader->scan(b, e, hand.faults, hand.sums);
                if (!block.any_bad) body(block, worker);
            }
        };
        parallel_rows(run, stage, m.rows, chunk_rows, scan_chunk);
        Faults faults;
        for (const Hand& hand : hands) {
            faults.merge(hand.faults);
            sums.merge(hand.sums);
        }
        if (faults.count > 0) faults.raise();
    });
}

// Throws as scan_rows does, naming all bad values, for callers that have met one on another way.
[[noreturn]] void raise_for_all(const StridedMatrix& m, const Faults& met, const Run& run);

// The thresholds of `in`; throws as scan_rows does, whichever value it is that is bad.
std::vector<double> data_thresholds(const JointInput& in, const Run& run);

}  // namespace dqcore::joint
