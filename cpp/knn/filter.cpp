#include "knn/filter.h"

#include <algorithm>
#include <cmath>

namespace dqcore {
namespace {

constexpr int64_t kSampleRows = 4096;

// Coordinates beyond this times the sample's largest would make float32 products overflow. Such
// rows are placed at the origin with all their length in rho: kept against every row, and right.
constexpr double kFarOut = 0x1p30;

// Down to float32, and by one part in 2^22 more: makes the float32 sum of two such numbers a lower
// bound of the exact sum.
float round_down(double x) {
    const double lower = x - std::abs(x) * 0x1p-22;
    const auto rounded = static_cast<float>(lower);
    return rounded <= lower ? rounded
                            : std::nextafter(rounded, -std::numeric_limits<float>::infinity());
}

float round_up(double x) { return -round_down(-x); }

// 1 / |x|, or 1 for euclidean; 0 for a zero row.
double factor(const Keys& keys, int64_t id) {
    if (keys.metric() == Metric::kEuclidean) return 1.0;
    return keys.is_zero(id) ? 0.0 : 1.0 / std::sqrt(keys.squared_norm(id));
}

}  // namespace

FilterFrame::FilterFrame(const Keys& base)
    : metric(base.metric()), mean(static_cast<size_t>(base.d()), 0.0) {
    const int64_t d = base.d(), n = base.rows();
    const int64_t step = std::max<int64_t>(1, n / kSampleRows);
    int64_t count = 0;
    for (int64_t i = 0; i < n; i += step, ++count) {
        const double f = factor(base, i);
        for (int64_t c = 0; c < d; ++c) mean[static_cast<size_t>(c)] += base.row(i)[c] * f;
    }
    for (double& m : mean) m /= static_cast<double>(std::max<int64_t>(1, count));
    double largest = 0.0;
    for (int64_t i = 0; i < n; i += step) {
        const double f = factor(base, i);
        for (int64_t c = 0; c < d; ++c) {
            largest =
                std::max(largest, std::abs(base.row(i)[c] * f - mean[static_cast<size_t>(c)]));
        }
    }
    if (largest > 0.0) scale = std::ldexp(1.0, std::ilogb(largest) + 1);
    const double steps = static_cast<double>(d + 2) * 0x1p-24;
    gamma = steps < 0.5 ? steps / (1.0 - steps) : 2.0;
    eta = static_cast<double>(d + 2) * 0x1p-124;
    const double g = canonical_error(d);
    // Cosine: xy, xx and yy err by g each, their quotient by 2 g + 4 u, the difference by u.
    key_error = metric == Metric::kEuclidean ? g : 3.0 * g + 0x1p-50;
}

double FilterFrame::radius(double key) const {
    const double squared =
        metric == Metric::kEuclidean ? key * (1.0 + 2.0 * key_error) : 2.0 * (key + key_error);
    return std::sqrt(squared) * (1.0 + 0x1p-50) / scale;
}

FilterRows::FilterRows(const FilterFrame& frame, const Keys& keys, const std::vector<int32_t>& ids,
                       const Run& run)
    : frame_(frame), d_(keys.d()), size_(static_cast<int64_t>(ids.size())) {
    const int64_t padded = (size_ + kAlign - 1) / kAlign * kAlign;
    panels_.assign(static_cast<size_t>(padded * d_), 0.0f);
    b_.assign(static_cast<size_t>(padded), kKeepNone);
    rho_.assign(static_cast<size_t>(padded), 0.0f);
    zero_.assign(static_cast<size_t>(padded), 0);
    parallel_rows(run, "prepare", size_, kAlign * 16,
                  [&](int64_t begin, int64_t end, const Worker& worker) {
                      for (int64_t row = begin; row < end; ++row) {
                          worker.check();
                          const int64_t id = ids[static_cast<size_t>(row)];
                          if (keys.is_zero(id)) {
                              zero_[static_cast<size_t>(row)] = 1;
                          } else {
                              place(row, keys, id);
                          }
                      }
                  });
}

void FilterRows::place(int64_t row, const Keys& keys, int64_t id) {
    const double f = factor(keys, id);
    const double inverse_scale = 1.0 / frame_.scale;  // exact: a power of two
    const float* x = keys.row(id);
    float* out = panels_.data() + row / simd::kPanel * simd::kPanel * d_ + row % simd::kPanel;
    double squared = 0.0, squared_exact = 0.0, squared_residual = 0.0, largest = 0.0;
    for (int64_t c = 0; c < d_; ++c) {
        const double exact = (x[c] * f - frame_.mean[static_cast<size_t>(c)]) * inverse_scale;
        auto rounded = static_cast<float>(exact);
        if (std::abs(rounded) < FLT_MIN) rounded = 0.0f;  // what flushes subnormals would do
        const double residual = static_cast<double>(rounded) - exact;
        largest = std::max(largest, std::abs(exact));
        squared += static_cast<double>(rounded) * rounded;
        squared_exact += exact * exact;
        squared_residual += residual * residual;
        out[c * simd::kPanel] = rounded;
    }
    if (largest > kFarOut) {
        for (int64_t c = 0; c < d_; ++c) out[c * simd::kPanel] = 0.0f;
        squared = 0.0;
        squared_residual = squared_exact;
    }
    // `exact` itself has errors: of the factor and of three roundings, relative to |x| f and to
    // itself.
    const double g = canonical_error(d_);
    const double unit = frame_.metric == Metric::kCosine ? inverse_scale : 0.0;
    const double rho = std::sqrt(squared_residual) * (1.0 + g * 64.0) +
                       (2.0 * g + 0x1p-50) * (std::sqrt(squared_exact) * 2.0 + unit);
    const auto at = static_cast<size_t>(row);
    rho_[at] = round_up(rho + DBL_MIN);
    const double half = 0.5 * squared * (1.0 - 64.0 * g);
    b_[at] = round_down(half * (1.0 - frame_.gamma));
}

float FilterRows::rho_max(int64_t begin, int64_t end) const {
    return *std::max_element(rho_.begin() + begin, rho_.begin() + end);
}

float FilterRows::a(int64_t row, double key, float rho_max) const {
    const auto at = static_cast<size_t>(row);
    if (b_[at] == kKeepNone) return kKeepNone;  // padding, or a row without a direction
    if (frame_.gamma > 1.0) return kKeepAll;
    const double reach = frame_.radius(key) + rho_[at] + rho_max;
    const double half = 0.5 * reach * reach * (1.0 + 0x1p-50);
    if (!(half < -static_cast<double>(kKeepAll))) return kKeepAll;  // an open list, or far out
    return round_down(b_[at] - half - frame_.eta);
}

}  // namespace dqcore
