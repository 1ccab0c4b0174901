// Canonical keys of pairs of rows: what neighbours are ordered by, and the only distances that
// decide.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/parallel.h"
#include "base/view.h"
#include "knn/knn.h"
#include "knn/room.h"
#include "simd/kernels.h"

namespace dqcore {

// Relative error of a canonical sum of d terms of one sign: ceil(d / 32) additions in a lane, five
// in the fold, and three roundings inside a term; 2^-53 each, with room for the second-order terms.
inline double canonical_error(int64_t d) {
    return (static_cast<double>(d) / 32.0 + 12.0) * 0x1p-53 * 1.01;
}

class Keys {
public:
    // `room`: where x lies, if in one.
    Keys(Matrix<const float> x, Metric metric, const simd::Kernels& kernels, Room* room = nullptr)
        : x_(x), metric_(metric), kernels_(&kernels), room_(room) {
        if (metric == Metric::kCosine) squared_norm_.resize(static_cast<size_t>(x.rows));
    }

    // To be called before a cosine key is asked for.
    void prepare(const Run& run);

    Metric metric() const { return metric_; }
    int64_t d() const { return x_.cols; }
    int64_t rows() const { return x_.rows; }
    const float* row(int64_t i) const {
        if (room_) room_->use(x_.row(i), x_.cols * int64_t{sizeof(float)});
        return x_.row(i);
    }
    double squared_norm(int64_t i) const { return squared_norm_[static_cast<size_t>(i)]; }

    // A row without a direction: its cosine key to every row is 1.
    bool is_zero(int64_t i) const { return metric_ == Metric::kCosine && squared_norm(i) == 0.0; }

    // Key between row i of `a` and row j of `b`.
    static double between(const Keys& a, int64_t i, const Keys& b, int64_t j) {
        const float* x = a.row(i);
        const float* y = b.row(j);
        if (a.metric_ == Metric::kEuclidean) return a.kernels_->squared_l2(x, y, a.x_.cols);
        const double norms = a.squared_norm(i) * b.squared_norm(j);
        if (norms == 0.0) return 1.0;
        const double cosine = 1.0 - a.kernels_->dot(x, y, a.x_.cols) / std::sqrt(norms);
        return std::min(2.0, std::max(0.0, cosine));
    }

private:
    Matrix<const float> x_;
    Metric metric_;
    const simd::Kernels* kernels_;
    Room* room_;
    std::vector<double> squared_norm_;  // by the canonical lanes; cosine only
};

}  // namespace dqcore
