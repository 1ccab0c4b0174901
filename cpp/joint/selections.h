// The selections of a plan: for each, the best rows of its given class. Classes go to workers one by one, each with
// the few rows that can matter: those whose argmax is another class, and the rest only where they are not enough.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "base/parallel.h"
#include "joint/issue_state.h"

namespace dqcore::joint {

// A row and its given class, as they were when the row was read.
struct ClassRow {
    int32_t label;
    int64_t row;
};

// Adds to `state` the best rows of `in` for each selection of its plan. `others` are the rows whose argmax is not the
// given class, in any order; `state` has one piece, the rows of `in`, with their argmax. `bring`, where there is one, is
// called with rows before any of them is read.
using BringRows = std::function<void(const std::vector<std::vector<ClassRow>>&)>;
void select_best(IssueState& state, const JointInput& in,
                 const std::vector<std::vector<ClassRow>>& others, const Run& run,
                 const BringRows& bring = {});

}  // namespace dqcore::joint
