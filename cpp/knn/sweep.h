// The sweep: all pairs of two sets of rows through the tiles; survivors get their canonical key, which is offered to
// the lists. Order and timing decide how many survive, never what the lists hold in the end.
#pragma once

#include <functional>

#include "base/parallel.h"
#include "knn/lists.h"
#include "knn/state.h"
#include "knn/tile.h"

namespace dqcore {

// One set of rows, ready for the sweep.
struct SweepSet {
    SweepSet(const Frame& frame, const Levels& levels, const Keys& keys,
             const std::vector<int32_t>& ids, bool sort, const Run& run)
        : SweepSet(frame, levels, keys, order_rows(frame, keys, ids, sort, run), run) {}

    // Rows in that order; level 2 lies in `room`, where there is one.
    SweepSet(const Frame& frame, const Levels& levels, const Keys& keys, Order order,
             const Run& run, Room* room = nullptr)
        : frame(frame),
          keys(keys),
          groups(std::move(order.groups)),
          points(frame, levels, keys, std::move(order.ids), run, room) {}

    const Frame& frame;
    const Keys& keys;
    Boxes groups;
    Points points;
};

// Every unordered pair of rows once, offered to both. List r belongs to row r in the order of the sweep and holds
// `names[id]` for the row `id` of the keys.
SweepCounts sweep_self(SweepSet& set, const std::vector<int32_t>& names, NeighbourLists& lists,
                       const Run& run);

// Every query against every row of base. The row `row` of the queries, in the order of the sweep, fills the list
// list_of(row) with name_of(other) of the base, but for one whose name is own_name(row).
struct CrossLists {
    NeighbourLists& lists;
    std::function<int64_t(int64_t row)> list_of, own_name;
    std::function<int32_t(int64_t other)> name_of;
};
SweepCounts sweep_cross(SweepSet& queries, const SweepSet& base, const CrossLists& to,
                        const Run& run);

// The cosine key to a row without a direction is 1 for every row, so the tiles leave such rows out and their pairs
// are offered here. Of them only the k + 1 lowest can be in a list of k. In `sweep_self`'s terms and in
// `update_lists`'; to be called first.
void offer_zero_rows(SweepSet& set, const std::vector<int32_t>& names, NeighbourLists& lists);
void offer_zero_rows(const Keys& queries, const Keys& base, const ListsInput& in,
                     int64_t first_list, NeighbourLists& lists);

}  // namespace dqcore
