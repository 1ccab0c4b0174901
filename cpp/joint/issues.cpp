// Label issues: one pass that scores every row and keeps, for each selection of the plan, the best
// rows seen so far. Nothing of size n x K is copied or sorted.
#include <algorithm>
#include <functional>
#include <limits>
#include <stdexcept>
#include <utility>

#include "joint/issue_state.h"
#include "joint/pass.h"
#include "joint/quality.h"
#include "joint/selections.h"

namespace dqcore {
namespace cpu {
namespace {

class IssuePass {
public:
    IssuePass(const IssuePlan& plan, const JointInput& in, int64_t row_start, IssueRows& rows)
        : plan_(plan),
          in_(in),
          n_classes_(static_cast<int64_t>(plan.thresholds.size())),
          rows_(rows),
          score_(plan.options.rank_by, n_classes_,
                 plan.options.adjust ? plan.thresholds : std::vector<double>()),
          low_score_(joint::low_quality(plan.options.filter), n_classes_, {}),
          selects_(!plan.take.empty()) {
        const auto n = static_cast<size_t>(in.labels.size);
        rows.start = row_start;
        rows.quality.resize(n);
        rows.suggested.resize(n);
        rows.flags.resize(n);
        if (joint::has_low_score(plan.options)) rows.low_score.resize(n);
    }

    bool wants_runner_up() const {
        return score_.wants_runner_up() ||
               (!rows_.low_score.empty() && low_score_.wants_runner_up());
    }

    template <class T>
    void operator()(const joint::Block<T>& block, std::vector<joint::ClassRow>& others) {
        for (int64_t r = 0; r < block.n; ++r) {
            const int64_t i = block.begin + r;
            const auto at = static_cast<size_t>(i);
            const int64_t label = joint::label_at(in_.labels, i, n_classes_);
            const T* p = block.row(r);
            const T runner_up = block.runner_up_of(r);
            const int64_t argmax = block.argmax[r];
            rows_.quality[at] = score_(p, label, argmax, runner_up);
            if (!rows_.low_score.empty())
                rows_.low_score[at] = low_score_(p, label, argmax, runner_up);
            rows_.suggested[at] = block.argmax[r];
            rows_.flags[at] = flags(p, label, argmax, block.guess[r]);
            if (selects_ && argmax != label) others.push_back({static_cast<int32_t>(label), i});
        }
    }

private:
    // Whether the given label would be the argmax if it were 1e-6 more probable.
    template <class T>
    static bool as_given(const T* p, int64_t label, int64_t argmax) {
        if (label == argmax) return true;
        const double raised = static_cast<double>(p[label]) + kTolerance;
        const auto top = static_cast<double>(p[argmax]);
        return raised > top || (raised == top && label < argmax);
    }

    template <class T>
    uint8_t flags(const T* p, int64_t label, int64_t argmax, int64_t guess) const {
        if (as_given(p, label, argmax)) return joint::kAsGiven;
        uint8_t result = 0;
        if (guess >= 0 && guess != label) result |= joint::kOffDiagonal;
        if (argmax != label) result |= joint::kOtherArgmax;
        return result;
    }

    const IssuePlan& plan_;
    const JointInput& in_;
    const int64_t n_classes_;
    IssueRows& rows_;
    const joint::Scorer score_, low_score_;
    const bool selects_;
};

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
    if (in.labels.size > 0) fresh.pieces.emplace_back();
    IssueRows none;
    IssuePass pass(state.plan, in, row_start, in.labels.size > 0 ? fresh.pieces[0] : none);
    joint::ScanOptions options;
    options.thresholds = state.plan.thresholds;
    options.collision = state.plan.options.collision;
    options.runner_up = pass.wants_runner_up();
    std::vector<std::vector<joint::ClassRow>> others(static_cast<size_t>(run.threads));
    joint::scan_rows(in.pred_probs, options, run, "issues", fresh.row_sums,
                     [&](const auto& block, const Worker& worker) {
                         pass(block, others[static_cast<size_t>(worker.id)]);
                     });
    if (fresh.row_sums.off > 0) fresh.row_sums.worst_row += row_start;
    if (!fresh.plan.take.empty() && in.labels.size > 0) joint::select_best(fresh, in, others, run);
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
