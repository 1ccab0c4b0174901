// The plan: which frame and which levels a sweep uses. Decides speed alone.
#pragma once

#include "knn/frame.h"
#include "knn/points.h"

namespace dqcore {

struct Plan {
    Frame frame;
    Levels levels;
    bool sort = false;  // bring near rows near each other first
};

// For `queries` rows against the rows `ids` of `keys` (queries == 0: the rows among themselves). `forced_head`:
// 0 to choose; h > 0 for a rotation with h coordinates at level 1, where there are that many; -1 for none.
Plan make_plan(const Keys& keys, const std::vector<int32_t>& ids, int64_t queries, int64_t k,
               int64_t forced_head, const Run& run);

}  // namespace dqcore
