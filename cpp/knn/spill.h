// What of a self-join lies in a room and what has to be in memory.
//
// The room: the base as it is given, later overwritten by level 2; the base in the order of the sweep; the lists.
// Rows that are near each other then lie together, and so does most of what is used at once. In memory: level 1,
// shortlists, reaches and numbers of rows, which every tile looks at.
#pragma once

#include "knn/order.h"
#include "knn/points.h"
#include "knn/room.h"

namespace dqcore {

struct SpillPlaces {
    SpillPlaces(const Room& room, int64_t n, int64_t d, int64_t k);

    float* ordered;
    char* lists;
};

// A room of less is no use.
constexpr int64_t kLeastRoom = 1 << 20;

// Bytes in memory for g distinct ones of n rows, whichever step needs most.
int64_t in_memory(int64_t n, int64_t g, int64_t k, Metric metric, const Levels& levels);

// What is left for the room. Throws std::invalid_argument where that is too little.
int64_t left_for_room(int64_t limit, int64_t needed);

// The rows of `keys` that `order` names, laid down in that order; `names` go with them.
Keys laid_in_order(const Keys& keys, Order& order, std::vector<int32_t>& names, Room& room,
                   float* to, const Run& run);

}  // namespace dqcore
