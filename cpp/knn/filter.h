// The float32 filter: a cheap test of many pairs at once that never drops a pair that matters.
//
// Each row x becomes c = float32((x - mean) / scale) (cosine: of x / |x|), and rho >= |c - exact|,
// measured. Distances between the exact vectors are those of the rows, over `scale`. With R the
// distance that the row's k-th key allows, a pair (i, j) can matter to row i only if
//     |c_i - c_j| <= R_i + rho_i + rho_j,   so   2 c_i.c_j >= |c_i|^2 + |c_j|^2 - T_i,
//     T_i = (R_i + rho_i + rho_max)^2       with rho_max over the rows it is tested against.
// The float32 dot product s of d terms is within gamma * sum |c_i c_j| <= gamma (|c_i|^2 + |c_j|^2)
// / 2 of the exact one, gamma = (d + 2) u / (1 - (d + 2) u), u = 2^-24, plus eta for products that
// underflow, whether they are flushed to zero or not. So the pair is kept where
//     s >= a_i + b_j,   b_j = (1 - gamma) |c_j|^2 / 2,   a_i = ((1 - gamma) |c_i|^2 - T_i) / 2 -
//     eta,
// with a and b rounded down far enough that their float32 sum errs downwards too. Both directions
// of a pair are tested at once: s >= min(a_i + b_j, a_j + b_i). Source of the dot product's bound:
// Higham, "Accuracy and Stability of Numerical Algorithms" (2002), section 3.1; it holds for any
// order and with fused operations.
#pragma once

#include <cfloat>
#include <cstdint>
#include <limits>
#include <vector>

#include "base/parallel.h"
#include "knn/keys.h"

namespace dqcore {

// What both sides of a filter share: fixed from a sample of the base, so that any row can be placed
// in it.
struct FilterFrame {
    Metric metric = Metric::kEuclidean;
    std::vector<double> mean;  // (d,)
    double scale = 1.0;        // a power of two near the largest coordinate of the sample
    double gamma = 0.0;        // > 1 where no bound holds: every pair is kept
    double eta = 0.0;
    double key_error = 0.0;  // of a canonical key: relative for euclidean, absolute for cosine

    FilterFrame(const Keys& base);

    // The distance that `key` allows at most, over `scale`.
    double radius(double key) const;
};

// `count` rows of `keys` (all, or those in `ids`) in panels, with their halves of the bound.
class FilterRows {
public:
    // Rows of the tallest filter tile; every set of rows is padded to a multiple of it.
    static constexpr int64_t kAlign = 48;

    // A value of `a` that keeps every pair, and one of `a` and `b` that keeps none.
    static constexpr float kKeepAll = -FLT_MAX / 4;
    static constexpr float kKeepNone = std::numeric_limits<float>::infinity();

    FilterRows(const FilterFrame& frame, const Keys& keys, const std::vector<int32_t>& ids,
               const Run& run);

    int64_t size() const { return size_; }
    int64_t padded() const { return static_cast<int64_t>(b_.size()); }

    // Panel row `row` is a multiple of kPanel away from the start of a panel at most.
    const float* panel(int64_t row) const {
        return panels_.data() + row / simd::kPanel * simd::kPanel * d_ + row % simd::kPanel;
    }
    const float* b(int64_t row) const { return b_.data() + row; }
    bool is_zero(int64_t row) const { return zero_[static_cast<size_t>(row)] != 0; }
    float rho_max(int64_t begin, int64_t end) const;

    // The row's half `a` of the bound, for the key it has to beat and the rows it is tested
    // against.
    float a(int64_t row, double key, float rho_max) const;

private:
    void place(int64_t row, const Keys& keys, int64_t id);

    const FilterFrame& frame_;
    int64_t d_, size_;
    std::vector<float> panels_;
    std::vector<float> b_, rho_;  // b is also a's part without T
    std::vector<uint8_t> zero_;   // rows without a direction (cosine), which no pair keeps
};

}  // namespace dqcore
