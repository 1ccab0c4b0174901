// Guesses of how far each row's k-th neighbour is, made before the sweep and checked after it.
//
// A sweep that starts with open reaches does most of its work at level 2 while they fall. The k-th neighbours of some
// rows, the pilots, are found first and tell how the distance goes with the length of the row: far out rows are few and
// far between. A row that finds fewer than k within its guess is swept again, so a wrong guess costs time alone.
#pragma once

#include <vector>

#include "knn/sweep.h"

namespace dqcore {

class Guesses {
public:
    // Guesses for lists of k; lowers the reaches of `set` to them. None for few rows.
    Guesses(SweepSet& set, int64_t k, const Run& run);

    // After sweep_self: sweeps again the rows whose guess was too low.
    SweepCounts mend(SweepSet& set, const std::vector<int32_t>& names, NeighbourLists& lists,
                     const Run& run) const;

private:
    std::vector<float> guess_;  // of each row in the order of the sweep; empty: none
};

}  // namespace dqcore
