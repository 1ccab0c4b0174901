// How many rows of each given class to take for each true class. Source: cleanlab 2.9.0, filter.py
// (_keep_at_least_n_per_class, _reduce_prune_counts, find_label_issues), operation by operation.
#include <algorithm>
#include <cmath>
#include <utility>

#include "joint/calibrate.h"

namespace dqcore {
namespace {

// Entry [k][j]: rows of given class k to take for true class j; on the diagonal, rows to leave.
struct PruneCounts {
    int64_t n_classes;
    std::vector<int64_t> entries;
    int64_t* row(int64_t k) { return entries.data() + k * n_classes; }
};

void prune_row(const int64_t* calibrated, int64_t n, int64_t k, const IssueOptions& options,
               int64_t* result) {
    const auto nonzero = static_cast<double>(
        std::count_if(calibrated, calibrated + n, [](int64_t c) { return c != 0; }));
    const int64_t diagonal = calibrated[k];
    const int64_t raised = std::max(diagonal, options.min_examples_per_class);
    const double less = static_cast<double>(raised - diagonal) / std::max(nonzero - 1.0, 1.0);
    const auto kept = [&](int64_t j) {
        return j == k ? static_cast<double>(raised)
                      : std::max(static_cast<double>(calibrated[j]) - less, 0.0);
    };
    const auto reduced = [&](int64_t j) { return j == k ? kept(j) : kept(j) * options.frac_noise; };
    const double freed = options.frac_noise == 1.0 ? 0.0 : joint::pairwise_sum(n, [&](int64_t j) {
        return kept(j) - reduced(j);
    });
    for (int64_t j = 0; j < n; ++j) result[j] = static_cast<int64_t>(reduced(j));
    result[k] = static_cast<int64_t>(static_cast<double>(raised) + freed);
}

// Rescales to num_to_remove_per_class as cleanlab does: by true, not by given, class.
void rescale(PruneCounts& prune, Vector<const int64_t> class_counts,
             const std::vector<int64_t>& to_remove) {
    const int64_t n = prune.n_classes;
    std::vector<double> totals(static_cast<size_t>(n));
    for (int64_t k = 0; k < n; ++k)
        for (int64_t j = 0; j < n; ++j)
            totals[static_cast<size_t>(j)] += static_cast<double>(prune.row(k)[j]);
    PruneCounts scaled{n, std::vector<int64_t>(prune.entries.size())};
    std::vector<double> values(static_cast<size_t>(n));
    std::vector<int64_t> rounded(static_cast<size_t>(n));
    for (int64_t j = 0; j < n; ++j) {
        const auto remove = static_cast<double>(to_remove[static_cast<size_t>(j)]);
        const auto share = [&](int64_t k) {
            const double total = totals[static_cast<size_t>(k)];
            return total > 0.0 ? static_cast<double>(prune.row(k)[j]) / total : 0.0;
        };
        const double noise = joint::pairwise_sum(n, share) - share(j);
        for (int64_t k = 0; k < n; ++k)
            values[static_cast<size_t>(k)] = noise > 0.0 ? share(k) * remove / noise : 0.0;
        values[static_cast<size_t>(j)] = static_cast<double>(class_counts[j]) - remove;
        joint::round_preserving_sum(values, rounded.data());
        for (int64_t k = 0; k < n; ++k) scaled.row(k)[j] = rounded[static_cast<size_t>(k)];
    }
    prune = std::move(scaled);
}

bool selects_by_class(Filter f) { return f == Filter::kPruneByClass || f == Filter::kBoth; }
bool selects_by_rate(Filter f) { return f == Filter::kPruneByNoiseRate || f == Filter::kBoth; }

// `calibrated_row(k, row)` writes row k of the calibrated joint.
template <class CalibratedRow>
IssuePlan make_plan(const IssueOptions& options, std::vector<double> thresholds,
                    Vector<const int64_t> class_counts, const CalibratedRow& calibrated_row) {
    const auto n = static_cast<int64_t>(thresholds.size());
    IssuePlan plan{options, std::move(thresholds), {}, {}, {}};
    const bool by_class = selects_by_class(options.filter),
               by_rate = selects_by_rate(options.filter);
    if (!by_class && !by_rate) {
        plan.first.assign(static_cast<size_t>(n + 1), 0);
        return plan;
    }
    const std::vector<int64_t>& to_remove = options.num_to_remove_per_class;
    std::vector<int64_t> row(static_cast<size_t>(n)), prune(static_cast<size_t>(n));
    const bool rescales = !to_remove.empty() && by_rate;
    PruneCounts rescaled{n, std::vector<int64_t>(static_cast<size_t>(rescales ? n * n : 0))};
    if (rescales) {
        for (int64_t k = 0; k < n; ++k) {
            calibrated_row(k, row.data());
            prune_row(row.data(), n, k, options, rescaled.row(k));
        }
        rescale(rescaled, class_counts, to_remove);
    }

    const auto select = [&](int64_t rival, int64_t take, int64_t rows) {
        if (take <= 0) return;
        plan.rival.push_back(static_cast<int32_t>(rival));
        plan.take.push_back(std::min(take, rows));
    };
    plan.first.push_back(0);
    for (int64_t k = 0; k < n; ++k) {
        // cleanlab never prunes a class of one row, whatever the least number to leave.
        const int64_t rows = class_counts[k];
        if (rows > std::max<int64_t>(options.min_examples_per_class, 1)) {
            if (!rescales) {
                calibrated_row(k, row.data());
                prune_row(row.data(), n, k, options, prune.data());
            }
            const int64_t* const counts = rescales ? rescaled.row(k) : prune.data();
            const int64_t leave =
                to_remove.empty() ? counts[k] : rows - to_remove[static_cast<size_t>(k)];
            if (by_class) select(k, rows - leave, rows);
            for (int64_t j = 0; j < n && by_rate; ++j)
                if (j != k) select(j, counts[j], rows);
        }
        plan.first.push_back(static_cast<int64_t>(plan.take.size()));
    }
    return plan;
}

}  // namespace

IssuePlan plan_issues(const IssueOptions& options, std::vector<double> thresholds,
                      Matrix<const int64_t> calibrated, Vector<const int64_t> class_counts) {
    return make_plan(options, std::move(thresholds), class_counts, [&](int64_t k, int64_t* row) {
        std::copy_n(calibrated.row(k), calibrated.cols, row);
    });
}

IssuePlan plan_issues(const IssueOptions& options, std::vector<double> thresholds,
                      const JointCounts& counts) {
    const auto n = static_cast<int64_t>(thresholds.size());
    const Vector<const int64_t> class_counts{counts.class_counts.data(), n};
    const joint::Scaled<int64_t> scaled({counts.counts.data(), n, n}, class_counts);
    return make_plan(options, std::move(thresholds), class_counts,
                     [&](int64_t k, int64_t* row) { joint::calibrated_row(scaled, k, row); });
}

}  // namespace dqcore
