// Label issues: one pass that scores every row and keeps, for each selection of the plan, the best
// rows seen so far. Nothing of size n x K is copied or sorted.
#include <algorithm>
#include <functional>
#include <stdexcept>
#include <utility>

#include "joint/issue_pass.h"
#include "joint/selections.h"

namespace dqcore {
namespace cpu {
namespace {

IssueRows new_rows(const IssueOptions& options, int64_t start, int64_t size) {
    const auto n = static_cast<size_t>(size);
    IssueRows rows;
    rows.start = start;
    rows.quality.resize(n);
    rows.suggested.resize(n);
    rows.flags.resize(n);
    if (joint::has_low_score(options)) rows.low_score.resize(n);
    return rows;
}

// Rows of each given class.
std::vector<int64_t> count_classes(const JointInput& in, const Run& run) {
    const int64_t n_classes = in.pred_probs.cols;
    std::vector<std::vector<int64_t>> counts(static_cast<size_t>(run.threads),
                                             std::vector<int64_t>(static_cast<size_t>(n_classes)));
    parallel_rows(run, "classes", in.labels.size, rows_per_chunk(sizeof(int32_t)),
                  [&](int64_t begin, int64_t end, const Worker& worker) {
                      auto& own = counts[static_cast<size_t>(worker.id)];
                      for (int64_t i = begin; i < end; ++i)
                          ++own[static_cast<size_t>(joint::label_at(in.labels, i, n_classes))];
                  });
    for (size_t w = 1; w < counts.size(); ++w)
        std::transform(counts[0].begin(), counts[0].end(), counts[w].begin(), counts[0].begin(),
                       std::plus<>());
    return std::move(counts[0]);
}

}  // namespace

void update(IssueState& state, const JointInput& in, int64_t row_start, const Run& run) {
    IssueState fresh(state.plan);
    if (in.labels.size > 0)
        fresh.pieces.push_back(new_rows(state.plan.options, row_start, in.labels.size));
    const bool selects = !state.plan.take.empty();
    const joint::IssuePass pass(
        state.plan, in, in.labels.size > 0 ? joint::columns_of(fresh.pieces[0]) : IssueColumns{});
    joint::ScanOptions options;
    options.thresholds = state.plan.thresholds;
    options.collision = state.plan.options.collision;
    options.runner_up = pass.wants_runner_up();
    std::vector<std::vector<joint::ClassRow>> others(static_cast<size_t>(run.threads));
    joint::scan_rows(in.pred_probs, options, run, "issues", fresh.row_sums,
                     [&](const auto& block, const Worker& worker) {
                         auto& mine = others[static_cast<size_t>(worker.id)];
                         pass(block, [&](const auto*, int64_t label, int64_t row, int64_t argmax) {
                             if (selects && argmax != label)
                                 mine.push_back({static_cast<int32_t>(label), row});
                         });
                     });
    if (fresh.row_sums.off > 0) fresh.row_sums.worst_row += row_start;
    if (selects && in.labels.size > 0) joint::select_best(fresh, in, others, run);
    state.merge(std::move(fresh));
}

Issues label_issues(const JointInput& in, const IssueOptions& options,
                    Matrix<const int64_t> calibrated, const Run& run) {
    std::vector<double> thresholds = joint::data_thresholds(in, run);
    const auto plan = [&]() -> IssuePlan {
        if (joint::prunes(options.filter) && !calibrated.data) {
            RowSums sums;
            return plan_issues(
                options, thresholds,
                finish(confident_joint(in, thresholds, options.collision, sums, run)));
        }
        std::vector<int64_t> counts;
        if (joint::prunes(options.filter)) counts = count_classes(in, run);
        return plan_issues(options, thresholds, calibrated,
                           {counts.data(), static_cast<int64_t>(counts.size())});
    };
    IssueState state(plan());
    update(state, in, 0, run);
    return std::move(state).finish();
}

}  // namespace cpu
}  // namespace dqcore
