// What the passes and the state of label issues share.
#pragma once

#include <cstdint>
#include <vector>

#include "joint/joint.h"

namespace dqcore::joint {

// Of a row: the given label is as probable as any, within the tolerance; else, the row is confident
// of another class; the argmax is another class. Then, when selections are made: by rival, by its class alone.
enum : uint8_t { kAsGiven = 1, kOffDiagonal = 2, kOtherArgmax = 4, kByRate = 8, kByClass = 16 };

inline bool selects_low(Filter f) {
    return f == Filter::kLowSelfConfidence || f == Filter::kLowNormalizedMargin;
}
inline bool prunes(Filter f) {
    return f == Filter::kPruneByNoiseRate || f == Filter::kPruneByClass || f == Filter::kBoth;
}
inline Quality low_quality(Filter f) {
    return f == Filter::kLowNormalizedMargin ? Quality::kNormalizedMargin
                                             : Quality::kSelfConfidence;
}

// Where a low_* filter ranks by another score than it selects by; that one is never adjusted.
inline bool has_low_score(const IssueOptions& options) {
    return selects_low(options.filter) &&
           (options.adjust || options.rank_by != low_quality(options.filter));
}

inline IssueColumns columns_of(IssueRows& rows) {
    const auto n = static_cast<int64_t>(rows.flags.size());
    return {{rows.quality.data(), n},
            {rows.low_score.data(), static_cast<int64_t>(rows.low_score.size())},
            {rows.suggested.data(), n},
            {rows.flags.data(), n}};
}

// A type, not a function: the sorts then compare in line.
struct Better {
    bool operator()(const Candidate& a, const Candidate& b) const {
        return a.key > b.key || (a.key == b.key && a.row < b.row);
    }
};
inline constexpr Better kBetter;

// Leaves the `take` candidates with the largest keys, ties to the lower row, the last of them at
// take - 1; the others before it are in no order.
void keep_best(std::vector<Candidate>& candidates, int64_t take);

// Adds each selection's candidates to those of `state`; leaves the best, in no order.
void merge_best(IssueState& state, std::vector<std::vector<Candidate>>& others);

}  // namespace dqcore::joint
