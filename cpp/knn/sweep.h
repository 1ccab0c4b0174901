// The sweep: filters all pairs of two sets of rows tile by tile, computes the canonical key of the
// survivors and offers it to the lists. Order and timing decide how many survive, never what the
// lists hold in the end.
#pragma once

#include <functional>
#include <vector>

#include "base/parallel.h"
#include "knn/filter.h"
#include "knn/lists.h"

namespace dqcore {

struct SweepCounts {
    int64_t pairs = 0, survivors = 0;
    void add(const SweepCounts& other) {
        pairs += other.pairs;
        survivors += other.survivors;
    }
};

// Every unordered pair of rows once; both lists of a pair are offered its key. `ids` maps rows of
// `rows` and of `lists` to rows of `keys`, ascending; the lists hold rows of `rows`.
SweepCounts sweep_self(const Keys& keys, const std::vector<int32_t>& ids, const FilterRows& rows,
                       NeighbourLists& lists, const Run& run);

// Every query against every row of base. A pair with the same global number (`query_start` + query
// == `base_start` + base) is left out where `exclude_same`; lists hold global base numbers.
struct CrossInput {
    const Keys& query_keys;
    const FilterRows& queries;
    const Keys& base_keys;
    const FilterRows& base;
    int64_t query_start = 0, base_start = 0;
    bool exclude_same = false;
};

// The cosine key to a row without a direction is 1 for every row, so the filter leaves such rows
// out: their pairs are offered here. Of them only the k + 1 lowest can be in a list of k.
void offer_zero_rows(const CrossInput& in, NeighbourLists& lists, int64_t first_list);

SweepCounts sweep_cross(const CrossInput& in, NeighbourLists& lists, int64_t first_list,
                        const Run& run);

}  // namespace dqcore
