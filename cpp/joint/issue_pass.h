// One pass that scores rows: quality, most probable class and flags of each, where there are columns for them; what else
// becomes of a row, its caller says.
#pragma once

#include "joint/issue_state.h"
#include "joint/pass.h"
#include "joint/quality.h"

namespace dqcore::joint {

class IssuePass {
public:
    IssuePass(const IssuePlan& plan, const JointInput& in, const IssueColumns& rows)
        : plan_(plan),
          in_(in),
          n_classes_(static_cast<int64_t>(plan.thresholds.size())),
          rows_(rows),
          score_(plan.options.rank_by, n_classes_,
                 plan.options.adjust ? plan.thresholds : std::vector<double>()),
          low_score_(low_quality(plan.options.filter), n_classes_, {}) {}

    bool wants_runner_up() const {
        return score_.wants_runner_up() ||
               (rows_.low_score.size > 0 && low_score_.wants_runner_up());
    }

    // each(p, label, row, argmax) gets every row, its scores done.
    template <class T, class Each>
    void operator()(const Block<T>& block, const Each& each) const {
        for (int64_t r = 0; r < block.n; ++r) {
            const int64_t i = block.begin + r;
            const int64_t label = label_at(in_.labels, i, n_classes_);
            const T* p = block.row(r);
            const int64_t argmax = block.argmax[r];
            if (rows_.flags.size > 0) tell(block, r, i, label);
            each(p, label, i, argmax);
        }
    }

private:
    template <class T>
    void tell(const Block<T>& block, int64_t r, int64_t i, int64_t label) const {
        const T* p = block.row(r);
        const T runner_up = block.runner_up_of(r);
        const int64_t argmax = block.argmax[r];
        rows_.quality[i] = score_(p, label, argmax, runner_up);
        if (rows_.low_score.size > 0) rows_.low_score[i] = low_score_(p, label, argmax, runner_up);
        rows_.suggested[i] = block.argmax[r];
        rows_.flags[i] = flags(p, label, argmax, block.guess[r]);
    }

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
        if (as_given(p, label, argmax)) return kAsGiven;
        uint8_t result = 0;
        if (guess >= 0 && guess != label) result |= kOffDiagonal;
        if (argmax != label) result |= kOtherArgmax;
        return result;
    }

    const IssuePlan& plan_;
    const JointInput& in_;
    const int64_t n_classes_;
    const IssueColumns rows_;
    const Scorer score_, low_score_;
};

}  // namespace dqcore::joint
