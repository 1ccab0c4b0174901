// Brings rows of probabilities to a device, in pieces where they do not fit, and tells what is wrong with them.
#pragma once

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "base/parallel.h"
#include "cuda/joint_kernels.h"
#include "joint/pass.h"

namespace dqcore::cuda {

// Rows of a host matrix, in C order; a copy where they are not so already.
template <class Stored>
const Stored* packed_rows(const StridedMatrix& m, int64_t begin, int64_t n,
                          std::vector<Stored>& copy) {
    const char* const base = m.data + begin * m.row_stride;
    constexpr int64_t kSize = sizeof(Stored);
    const bool packed = m.col_stride == kSize && m.row_stride == m.cols * kSize &&
                        reinterpret_cast<uintptr_t>(base) % sizeof(Stored) == 0;
    if (packed) return reinterpret_cast<const Stored*>(base);
    copy.resize(static_cast<size_t>(n * m.cols));
    for (int64_t r = 0; r < n; ++r)
        for (int64_t c = 0; c < m.cols; ++c)
            std::memcpy(&copy[static_cast<size_t>(r * m.cols + c)],
                        base + r * m.row_stride + c * m.col_stride, sizeof(Stored));
    return copy.data();
}

template <class Device, class E>
class JointReader {
public:
    using Stored = typename E::Stored;
    using Value = typename E::Value;
    static constexpr int kPack = 16 / int{sizeof(Stored)};

    JointReader(Device& device, const JointInput& in, const Run& run)
        : device_(device), in_(in), run_(run), n_classes_(in.pred_probs.cols) {
        // Besides a row itself: its label, its weight and what a pass says of it.
        constexpr int64_t kBesides = 64;
        const int64_t most = device.free_bytes() / 2;
        in_place_ = in.device && in_order(*in.device);
        const int64_t copied = in_place_ ? 0 : n_classes_ * int64_t{sizeof(Stored)};
        const int64_t row_bytes = copied + kBesides;
        piece_rows_ = std::clamp<int64_t>(most / row_bytes, 1, std::numeric_limits<int32_t>::max());
        piece_rows_ = std::min(piece_rows_, std::max<int64_t>(in.labels.size, 1));
        faults_ = device.template alloc<uint64_t>(kFaultWords);
        looked_at_ = device.template alloc<double>(2);
        low_ = device.template alloc<Value>(n_classes_);
        set_thresholds({});
    }

    Device& device() { return device_; }
    int64_t n_classes() const { return n_classes_; }
    bool wide() const { return n_classes_ % kPack == 0; }
    const joint::Faults& faults() const { return found_; }
    const RowSums& sums() const { return sums_; }

    // None: no row is confident of any class.
    void set_thresholds(const std::vector<double>& thresholds) {
        std::vector<Value> low(static_cast<size_t>(n_classes_),
                               std::numeric_limits<Value>::infinity());
        for (size_t c = 0; c < thresholds.size(); ++c)
            low[c] = joint::round_up<Value>(thresholds[c] - kTolerance);
        device_.upload(low_, low.data(), n_classes_);
    }

    // Calls body(rows, weights, first row) for each piece, in order; then reads what kernels told of it.
    template <class Body>
    void each(const char* stage, const Body& body) {
        found_ = {};
        sums_ = {};
        for (int64_t begin = 0; begin < in_.labels.size; begin += piece_rows_) {
            const int64_t n = std::min(piece_rows_, in_.labels.size - begin);
            if (run_.watcher) run_.watcher->tick(stage, begin, in_.labels.size);
            bring(begin, n);
            ProbRows<E> rows{p_rows_, labels_.all(), low_.all(), faults_.all(), n, n_classes_};
            rows.least = joint::round_up<Value>(-kTolerance);
            rows.greatest = joint::round_down<Value>(1.0 + kTolerance);
            const int64_t loads = n_classes_ / (wide() ? kPack : 1);
            while (rows.lanes < kWarp && rows.lanes * 4 < loads) rows.lanes *= 2;
            // Twice the rounding error of a lane's numbers near a sum of 1, and of the lanes'.
            const double terms = static_cast<double>(n_classes_ / rows.lanes) + 16.0;
            const double slack = terms * static_cast<double>(std::numeric_limits<Value>::epsilon());
            rows.least_sum = static_cast<Value>(1.0 - kRowSumTolerance + slack);
            rows.most_sum = static_cast<Value>(1.0 + kRowSumTolerance - slack);
            constexpr std::array<uint64_t, kFaultWords> kNone{0, kNoRow, kNoRow, 0, 0, kNoRow};
            device_.upload(faults_, kNone.data(), kFaultWords);
            body(rows, Global<const double>(weights_.all()), begin);
            read_faults(rows, begin);
        }
    }

    // Blocks for a kernel that goes over the rows of a piece in turns.
    template <class Kernel>
    int64_t blocks(int64_t threads_wanted) {
        return blocks_for<Kernel>(device_, threads_wanted);
    }

private:
    void bring(int64_t begin, int64_t n) {
        if (held_ == begin && held_rows_ == n) return;  // all rows are one piece: brought once
        if (labels_.size() < n) {
            p_ = {};
            if (!in_place_) p_ = device_.template alloc<Stored>(n * n_classes_);
            labels_ = device_.template alloc<int32_t>(n);
            if (in_.weights.data) weights_ = device_.template alloc<double>(n);
        }
        bring_rows(begin, n);
        device_.upload(labels_, in_.labels.data + begin, n);
        if (in_.weights.data) device_.upload(weights_, in_.weights.data + begin, n);
        held_ = begin;
        held_rows_ = n;
    }

    void bring_rows(int64_t begin, int64_t n) {
        const int64_t size = n * n_classes_;
        if (!in_.device) {
            std::vector<Stored> copy;
            device_.upload(p_, packed_rows<Stored>(in_.pred_probs, begin, n, copy), size);
        } else if (in_place_) {
            const auto all = strided_rows<E>(device_, *in_.device);
            p_rows_ = {all.p.at(all.first + begin * n_classes_, size), size};
            return;
        } else {
            using Take = TakeRows<E, Stored>;
            const Global<Stored> to(p_.all().data(), size);
            device_.launch(Take{strided_rows<E>(device_, *in_.device), {}, to, begin, n_classes_},
                           blocks<Take>(size), 0);
        }
        p_rows_ = p_.all();
    }

    std::array<double, 2> look_at(const ProbRows<E>& rows, int64_t row, int64_t col) {
        std::array<double, 2> seen{};
        device_.launch(LookAt<E>{rows, row, col, looked_at_.all()}, 1, 0);
        device_.download(seen.data(), looked_at_, 2);
        return seen;
    }

    void read_faults(const ProbRows<E>& rows, int64_t begin) {
        std::array<uint64_t, kFaultWords> words{};
        device_.download(words.data(), faults_, kFaultWords);
        if (words[kBadLabel] != kNoRow) {
            const auto row = begin + static_cast<int64_t>(words[kBadLabel]);
            joint::raise_label(row, in_.labels[row], n_classes_);
        }
        if (words[kBadValues] > 0) {
            const auto at = static_cast<int64_t>(words[kFirstBad]);
            const int64_t row = at / n_classes_, col = at % n_classes_;
            joint::Faults found;
            found.add(begin + row, col, look_at(rows, row, col)[0],
                      sizeof(Value) == sizeof(double));
            found.count = static_cast<int64_t>(words[kBadValues]);
            found_.merge(found);
            return;
        }
        if (words[kOffSums] == 0) return;
        device_.launch(FirstWorstSum<E>{rows}, blocks<FirstWorstSum<E>>(rows.n), 0);
        device_.download(words.data(), faults_, kFaultWords);
        const auto row = static_cast<int64_t>(words[kWorstRow]);
        sums_.merge({static_cast<int64_t>(words[kOffSums]), begin + row, look_at(rows, row, 0)[1]});
    }

    Device& device_;
    const JointInput& in_;
    const Run& run_;
    const int64_t n_classes_;
    int64_t piece_rows_ = 1, held_ = -1, held_rows_ = 0;
    bool in_place_ = false;  // rows on the device are read where they are
    typename Device::template Buffer<Stored> p_;
    Global<const Stored> p_rows_;
    typename Device::template Buffer<int32_t> labels_;
    typename Device::template Buffer<Value> low_;
    typename Device::template Buffer<double> weights_, looked_at_;
    typename Device::template Buffer<uint64_t> faults_;
    joint::Faults found_;
    RowSums sums_;
};

}  // namespace dqcore::cuda
