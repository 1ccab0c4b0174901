// Arithmetic of calibration and pruning that repeats NumPy's, bit for bit.
#pragma once

#include <cstdint>
#include <vector>

#include "joint/joint.h"

namespace dqcore::joint {

// Sum of get(0 .. n - 1) in the order of numpy.add.reduce over contiguous float64: eight lanes in
// runs of at most 128, halves above. Source: pairwise_sum in NumPy's loops_utils.h.src.
template <class Get>
double pairwise_sum(int64_t begin, int64_t n, const Get& get) {
    constexpr int64_t kRun = 128, kLanes = 8;
    if (n < kLanes) {
        double sum = 0.0;
        for (int64_t i = 0; i < n; ++i) sum += get(begin + i);
        return sum;
    }
    if (n > kRun) {
        const int64_t half = n / 2 / kLanes * kLanes;
        return pairwise_sum(begin, half, get) + pairwise_sum(begin + half, n - half, get);
    }
    double lane[kLanes];
    for (int64_t l = 0; l < kLanes; ++l) lane[l] = get(begin + l);
    int64_t i = kLanes;
    for (; i + kLanes <= n; i += kLanes)
        for (int64_t l = 0; l < kLanes; ++l) lane[l] += get(begin + i + l);
    double sum =
        ((lane[0] + lane[1]) + (lane[2] + lane[3])) + ((lane[4] + lane[5]) + (lane[6] + lane[7]));
    for (; i < n; ++i) sum += get(begin + i);
    return sum;
}

template <class Get>
double pairwise_sum(int64_t n, const Get& get) {
    return pairwise_sum(0, n, get);
}

// Each value rounded (half to even); then as many as the rounded sum of all asks for are moved by
// one, those with the largest remainder first, ties to the lower index.
void round_preserving_sum(const std::vector<double>& values, int64_t* result);

}  // namespace dqcore::joint
