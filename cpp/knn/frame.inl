// Frame's templates.
#pragma once

#include <algorithm>
#include <cmath>

namespace dqcore {

// Sum of squares and largest magnitude, by lanes that do not wait for each other.
struct Measured {
    double squared, largest;
};
inline Measured measure(const double* v, int64_t count) {
    constexpr int64_t kLanes = 16;
    double squared[kLanes] = {}, largest[kLanes] = {};
    int64_t c = 0;
    for (; c + kLanes <= count; c += kLanes)
        for (int64_t l = 0; l < kLanes; ++l) {
            squared[l] += v[c + l] * v[c + l];
            largest[l] = std::max(largest[l], std::abs(v[c + l]));
        }
    for (; c < count; ++c) {
        squared[0] += v[c] * v[c];
        largest[0] = std::max(largest[0], std::abs(v[c]));
    }
    for (int64_t l = 1; l < kLanes; ++l) {
        squared[0] += squared[l];
        largest[0] = std::max(largest[0], largest[l]);
    }
    return {squared[0], largest[0]};
}

template <class Emit>
void Frame::place(const Keys& keys, const int32_t* ids, int64_t begin, int64_t end,
                  int64_t coordinates, const Emit& emit) const {
    place_along(axes_, keys, ids, begin, end, coordinates, emit);
}

template <class Emit>
void Frame::place_leading(const Keys& keys, const int32_t* ids, int64_t begin, int64_t end,
                          const Emit& emit) const {
    place_along(leading_axes_, keys, ids, begin, end, rotated_ ? kAxes : dims_, emit);
}

template <class Emit>
void Frame::place_along(const std::vector<double>& axes, const Keys& keys, const int32_t* ids,
                        int64_t begin, int64_t end, int64_t coordinates, const Emit& emit) const {
    const simd::Kernels& kernels = simd::active();
    std::vector<double> v(static_cast<size_t>(kGroup * d_)),
        y(static_cast<size_t>(kGroup * (dims_ + kAxes)));
    for (int64_t first = begin; first < end; first += kGroup) {
        const int64_t count = std::min(kGroup, end - first);
        for (int64_t r = 0; r < count; ++r) centre(keys, ids[first + r], v.data() + r * d_);
        if (rotated_) {
            for (int64_t a = 0; a < coordinates; a += kAxes)
                kernels.project(v.data(), axes.data() + a * d_, d_, y.data() + a, dims_ + kAxes);
        }
        for (int64_t r = 0; r < count; ++r) {
            const double* vr = v.data() + r * d_;
            const double* yr = rotated_ ? y.data() + r * (dims_ + kAxes) : vr;
            const auto [norm, largest] = measure(vr, d_);
            const double head = measure(yr, coordinates).squared;
            const bool whole = !rotated_ && coordinates == d_;
            emit(first + r, yr, whole ? 0.0 : std::sqrt(std::max(0.0, norm - head)),
                 std::sqrt(norm), largest);
        }
    }
}

}  // namespace dqcore
