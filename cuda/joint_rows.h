// Rows of probabilities as kernels of the joint room read them: a group of lanes shares a row, each lane takes every so
// manieth class, and what they found is folded by shuffles. Ties go to the lower class whatever the group.
#pragma once

#include "cuda/elements.h"

namespace dqcore::cuda {

// What passes report beside their results, as words that order-free atomics keep.
enum FaultWord : int {
    kBadValues = 0,  // how many
    kFirstBad = 1,   // the least row * n_classes + class of them
    kBadLabel = 2,   // the least row whose label is no class
    kOffSums = 3,    // rows whose sum is off 1
    kWorstSum = 4,   // the bits of the greatest distance of a sum from 1
    kWorstRow = 5,   // the first row that far
    kFaultWords = 6,
};
inline constexpr uint64_t kNoRow = ~uint64_t{0};

// Rows [0, n) of one piece. `low` has the least value of each class that is confident, +infinity where there is none.
template <class E>
struct ProbRows {
    using Value = typename E::Value;

    Global<const typename E::Stored> p;  // (n, n_classes)
    Global<const int32_t> labels;        // (n,)
    Global<const Value> low;             // (n_classes,)
    Global<uint64_t> faults;             // (kFaultWords,)
    int64_t n = 0, n_classes = 0;
    Value least = 0, greatest = 0;      // of a probability
    Value least_sum = 0, most_sum = 0;  // sums beyond them are looked at again
    int lanes = 1;                      // that share a row: a power of two up to 32

    DQCORE_BOTH Value at(int64_t row, int64_t c) const { return E::value(p[row * n_classes + c]); }

    // The label of a row, read once, or -1 where it is no class (or there is no such row).
    DQCORE_DEVICE int64_t label(int64_t row) const {
        if (row >= n) return -1;
        const int32_t found = labels[row];
        return found >= 0 && found < n_classes ? found : -1;
    }

    // Whether `label` is that of a row that is there; a row without one is told, and left out.
    template <class Ex>
    DQCORE_DEVICE bool is_label(Ex& ex, int64_t row, int64_t label) const {
        if (label >= 0) return true;
        ex.atomic_min(faults, kBadLabel, static_cast<uint64_t>(row));
        return false;
    }

    template <class Ex>
    DQCORE_DEVICE bool is_probability(Ex& ex, int64_t row, int64_t c, Value v) const {
        if (v >= least && v <= greatest) return true;
        ex.atomic_add(faults, kBadValues, uint64_t{1});
        ex.atomic_min(faults, kFirstBad, static_cast<uint64_t>(row * n_classes + c));
        return false;
    }

    // The sum in float64, class by class.
    DQCORE_DEVICE double exact_sum(int64_t row) const {
        double sum = 0.0;
        for (int64_t c = 0; c < n_classes; ++c) sum += static_cast<double>(at(row, c));
        return sum;
    }
};

template <class T>
struct Top {
    T value;
    int32_t at;

    DQCORE_DEVICE void offer(T v, int32_t c) {  // classes ascend
        if (v > value) {
            value = v;
            at = c;
        }
    }
    template <class Ex>
    DQCORE_DEVICE void fold(Ex& ex, int mask) {
        const T v = ex.shuffle_xor(value, mask);
        const int32_t c = ex.shuffle_xor(at, mask);
        if (v > value || (v == value && c < at)) {
            value = v;
            at = c;
        }
    }
};

// What a row amounts to; the same in all lanes that share it.
template <class T>
struct RowFound {
    Top<T> top, top_confident;
    uint32_t n_confident;
    T rival;  // the greatest of the other classes than the label's
    T sum;

    // The class that the row is counted under, or -1: the argmax or, `among`, the greatest confident one.
    DQCORE_DEVICE int32_t guess(bool among) const {
        if (n_confident == 0) return -1;
        return n_confident == 1 || among ? top_confident.at : top.at;
    }
};

// Scans `row` (past the end: nothing, but the lanes take part). kPack classes are loaded at once.
template <class E, int kPack, class Ex>
DQCORE_DEVICE RowFound<typename E::Value> scan_row(Ex& ex, const ProbRows<E>& rows, int64_t row,
                                                   int64_t label) {
    using T = typename E::Value;
    constexpr T kNothing = -static_cast<T>(__builtin_inff());
    RowFound<T> found{{kNothing, 0}, {kNothing, 0}, 0, kNothing, T(0)};
    const int lane = ex.lane() & (rows.lanes - 1);
    const int64_t step = int64_t{rows.lanes} * kPack;
    const int64_t end = row < rows.n ? rows.n_classes : 0;
    const int64_t begin = row * rows.n_classes;
    const auto take = [&](int64_t c, T v, T low) {
        const auto class_ = static_cast<int32_t>(c);
        rows.is_probability(ex, row, c, v);
        found.sum += v;
        found.top.offer(v, class_);
        if (v >= low) {
            ++found.n_confident;
            found.top_confident.offer(v, class_);
        }
        if (c != label && v > found.rival) found.rival = v;
    };
    for (int64_t c = lane * kPack; c < end; c += step) {
        const auto stored = rows.p.template pack<kPack>(begin + c);
        DQCORE_UNROLL
        for (int i = 0; i < kPack; ++i) take(c + i, E::value(stored.v[i]), rows.low[c + i]);
    }
    for (int mask = rows.lanes / 2; mask > 0; mask /= 2) {
        found.top.fold(ex, mask);
        found.top_confident.fold(ex, mask);
        found.n_confident += ex.shuffle_xor(found.n_confident, mask);
        const T rival = ex.shuffle_xor(found.rival, mask);
        if (rival > found.rival) found.rival = rival;
        found.sum += ex.shuffle_xor(found.sum, mask);
    }
    return found;
}

inline constexpr double kOffBy = 1e-3;  // kRowSumTolerance of joint/joint.h

// Tells of a row whose sum is off 1, once it is sure.
template <class E, class Ex>
DQCORE_DEVICE void check_sum(Ex& ex, const ProbRows<E>& rows, int64_t row, typename E::Value near) {
    if (near >= rows.least_sum && near <= rows.most_sum) return;
    const double off = rows.exact_sum(row) - 1.0;
    const double distance = off < 0.0 ? -off : off;
    if (!(distance > kOffBy)) return;
    ex.atomic_add(rows.faults, kOffSums, uint64_t{1});
    ex.atomic_max(rows.faults, kWorstSum, bits_as<uint64_t>(distance));
}

// The rows of a warp, one after the other: body(row, leads) for all lanes alike; `leads` in one lane of those that share
// a row there is.
template <class E, class Ex, class Body>
DQCORE_DEVICE void each_row(Ex& ex, const ProbRows<E>& rows, int threads, const Body& body) {
    const int warps = threads / kWarp, at_once = kWarp / rows.lanes;
    const int64_t first = (int64_t{ex.block()} * warps + ex.warp()) * at_once;
    const int64_t step = int64_t{ex.blocks()} * warps * at_once;
    for (int64_t base = first; base < rows.n; base += step) {
        const int64_t row = base + ex.lane() / rows.lanes;
        body(row, row < rows.n && (ex.lane() & (rows.lanes - 1)) == 0);
    }
}

}  // namespace dqcore::cuda
