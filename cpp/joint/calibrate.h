// Arithmetic of calibration and pruning that repeats NumPy's, bit for bit.
#pragma once

#include <algorithm>
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
        const double left = pairwise_sum(begin, half, get);  // first: `get` may count its calls
        return left + pairwise_sum(begin + half, n - half, get);
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

// The calibrated entry, before any rounding, as a function of (given, true).
template <class Count>
class Scaled {
public:
    Scaled(Matrix<const Count> counts, Vector<const Count> totals);

    double operator()(int64_t g, int64_t t) const {
        // Most entries of many classes are 0, and so is what they scale to.
        return counts_.row(g)[t] == 0 && g != t ? 0.0 : by_class(g, t) / total_ * rows_;
    }
    int64_t n_classes() const { return counts_.rows; }

private:
    double floored(int64_t g, int64_t t) const {
        const auto count = static_cast<double>(counts_.row(g)[t]);
        return g == t ? std::max(count, 1.0) : count;
    }
    double by_class(int64_t g, int64_t t) const {
        return floored(g, t) / row_sums_[static_cast<size_t>(g)] * static_cast<double>(totals_[g]);
    }

    const Matrix<const Count> counts_;
    const Vector<const Count> totals_;
    std::vector<double> row_sums_;
    double total_ = 0.0, rows_ = 0.0;
};

// One row of calibrated counts.
void calibrated_row(const Scaled<int64_t>& scaled, int64_t g, int64_t* result);

}  // namespace dqcore::joint
