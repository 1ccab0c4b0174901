// The sweep: all pairs of two sets of rows through the tiles; survivors get their canonical key, which is offered to
// the lists. Order and timing decide how many survive, never what the lists hold in the end.
#pragma once

#include "base/parallel.h"
#include "knn/lists.h"
#include "knn/tile.h"

namespace dqcore {

// One set of rows, ready for the sweep.
struct SweepSet {
    SweepSet(const Frame& frame, const Levels& levels, const Keys& keys,
             const std::vector<int32_t>& ids, bool sort, const Run& run)
        : SweepSet(frame, levels, keys, order_rows(frame, keys, ids, sort, run), run) {}

    const Frame& frame;
    const Keys& keys;
    Boxes groups;
    Points points;

private:
    SweepSet(const Frame& frame, const Levels& levels, const Keys& keys, Order order,
             const Run& run)
        : frame(frame),
          keys(keys),
          groups(std::move(order.groups)),
          points(frame, levels, keys, std::move(order.ids), run) {}
};

// Every unordered pair of rows once, offered to both. List r belongs to row r in the order of the sweep and holds
// `names[id]` for the row `id` of the keys.
SweepCounts sweep_self(SweepSet& set, const std::vector<int32_t>& names, NeighbourLists& lists,
                       const Run& run);

// Every query against every row of base. List first_list + id belongs to the query `id` of the keys and holds
// base_start + id of the base. A pair with one number (first_list + query, base_start + base) is left out where
// `exclude_same`.
struct CrossLists {
    NeighbourLists& lists;
    int64_t first_list = 0, base_start = 0;
    bool exclude_same = false;
};
SweepCounts sweep_cross(SweepSet& queries, const SweepSet& base, const CrossLists& to,
                        const Run& run);

// The cosine key to a row without a direction is 1 for every row, so the tiles leave such rows out and their pairs
// are offered here. Of them only the k + 1 lowest can be in a list of k. In `sweep_self`'s terms and in
// `sweep_cross`'s; to be called first.
void offer_zero_rows(SweepSet& set, const std::vector<int32_t>& names, NeighbourLists& lists);
void offer_zero_rows(SweepSet& queries, const SweepSet& base, const CrossLists& to);

}  // namespace dqcore
