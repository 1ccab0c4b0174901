// Calibration: the counts of confident rows scaled to all rows, class by class. Source: cleanlab
// 2.9.0, count.calibrate_confident_joint and util.round_preserving_row_totals, whose float64
// operations are repeated one by one, so that whole numbers come out equal.
#include "joint/calibrate.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

namespace dqcore {
namespace joint {

void round_preserving_sum(const std::vector<double>& values, int64_t* result) {
    const auto n = static_cast<int64_t>(values.size());
    double rounded_sum = 0.0;
    for (int64_t i = 0; i < n; ++i) {
        const double rounded = std::nearbyint(values[static_cast<size_t>(i)]);
        rounded_sum += rounded;
        result[i] = static_cast<int64_t>(rounded);
    }
    const double sum = pairwise_sum(n, [&](int64_t i) { return values[static_cast<size_t>(i)]; });
    const auto missing = static_cast<int64_t>(std::nearbyint(sum) - rounded_sum);
    if (missing == 0) return;
    const int64_t step = missing > 0 ? 1 : -1, moves = std::min(std::abs(missing), n);
    std::vector<double> short_by(static_cast<size_t>(n));
    for (size_t i = 0; i < short_by.size(); ++i) {
        short_by[i] = static_cast<double>(step) * (values[i] - std::nearbyint(values[i]));
    }
    std::vector<int64_t> order(static_cast<size_t>(n));
    std::iota(order.begin(), order.end(), int64_t{0});
    std::nth_element(order.begin(), order.begin() + (moves - 1), order.end(),
                     [&](int64_t a, int64_t b) {
                         const double x = short_by[static_cast<size_t>(a)];
                         const double y = short_by[static_cast<size_t>(b)];
                         return x > y || (x == y && a < b);
                     });
    for (int64_t i = 0; i < moves; ++i) result[order[static_cast<size_t>(i)]] += step;
}

template <class Count>
Scaled<Count>::Scaled(Matrix<const Count> counts, Vector<const Count> totals)
    : counts_(counts), totals_(totals), row_sums_(static_cast<size_t>(counts.rows)) {
    const int64_t n = counts.rows;
    for (int64_t g = 0; g < n; ++g) {
        const double sum = pairwise_sum(n, [&](int64_t t) { return floored(g, t); });
        row_sums_[static_cast<size_t>(g)] = std::max(sum, kTiny);
    }
    // Column by column: cleanlab holds the matrix that way, and the order decides the last bit.
    int64_t g = 0, t = 0;
    const auto next = [&](int64_t) {
        const double value = counts_.row(g)[t] == 0 && g != t ? 0.0 : by_class(g, t);
        if (++g == n) g = 0, ++t;
        return value;
    };
    total_ = std::max(pairwise_sum(n * n, next), kTiny);
    rows_ = pairwise_sum(n, [&](int64_t i) { return static_cast<double>(totals[i]); });
}

template class Scaled<int64_t>;
template class Scaled<double>;

void calibrated_row(const Scaled<int64_t>& scaled, int64_t g, int64_t* result) {
    std::vector<double> row(static_cast<size_t>(scaled.n_classes()));
    for (int64_t t = 0; t < scaled.n_classes(); ++t) row[static_cast<size_t>(t)] = scaled(g, t);
    round_preserving_sum(row, result);
}

}  // namespace joint

void calibrate(Matrix<const int64_t> counts, Vector<const int64_t> class_counts,
               Matrix<int64_t> result) {
    const joint::Scaled<int64_t> scaled(counts, class_counts);
    for (int64_t g = 0; g < counts.rows; ++g) joint::calibrated_row(scaled, g, result.row(g));
}

void calibrate(Matrix<const double> counts, Vector<const double> class_weights,
               Matrix<double> result) {
    const joint::Scaled<double> scaled(counts, class_weights);
    for (int64_t g = 0; g < counts.rows; ++g)
        for (int64_t t = 0; t < counts.cols; ++t) result.row(g)[t] = scaled(g, t);
}

}  // namespace dqcore
