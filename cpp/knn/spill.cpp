#include "knn/spill.h"

#include <algorithm>
#include <numeric>
#include <stdexcept>
#include <string>

#include "knn/lists.h"
#include "knn/shortlist.h"

namespace dqcore {
namespace {

constexpr int64_t kNumber = sizeof(float);
// Small tables and what tiles hold.
constexpr int64_t kFixed = 1 << 20;

int64_t whole_parts(int64_t bytes) { return (bytes + Room::kPart - 1) / Room::kPart * Room::kPart; }

int64_t padded(int64_t rows) {
    return (rows + Points::kAlign - 1) / Points::kAlign * Points::kAlign;
}

// The base or level 2, which never has more than a few numbers a row more than that.
int64_t first_bytes(int64_t n, int64_t d) {
    const int64_t near_dims = (d + 1 + 15) / 16 * 16;
    return whole_parts(padded(n) * near_dims * kNumber);
}

int64_t ordered_bytes(int64_t n, int64_t d) { return whole_parts(n * d * kNumber); }

// A row of level 1: stages hold the norm of the rest, and take back that of the stage before.
int64_t level1_bytes(const Levels& levels) {
    if (!levels.bytes) return (levels.head_dims() + 1) * kNumber;
    const auto stages = static_cast<int64_t>(levels.stages.size());
    const int64_t dims = levels.head() + 2 * stages + 3 * stages;
    return 2 * dims + 2 * stages * int64_t{sizeof(int32_t)};
}

// Those that hold most of d coordinates.
Levels most_levels(int64_t d) {
    Levels most;
    most.stages = {d};
    most.near = d;
    most.rest = true;
    return most;
}

// Pairs of blocks and what sorts them.
int64_t pairs_bytes(int64_t g) {
    const int64_t blocks = std::min<int64_t>(900, padded(g) / (2 * Order::kGroup) + 1);
    return blocks * (blocks + 1) / 2 * 20;
}

}  // namespace

SpillPlaces::SpillPlaces(const Room& room, int64_t n, int64_t d, int64_t k)
    : ordered(reinterpret_cast<float*>(room.begin() + first_bytes(n, d))),
      lists(room.begin() + first_bytes(n, d) + ordered_bytes(n, d)) {
    if (room.bytes() < cpu::knn_room_bytes(n, d, k))
        throw std::invalid_argument("room has too few bytes");
}

int64_t in_memory(int64_t n, int64_t g, int64_t k, Metric metric, const Levels& levels) {
    // Groups of equal rows; names of rows, twice while they are put in order; norms of both bases.
    const int64_t always = n * (16 + 8 + (metric == Metric::kCosine ? 16 : 0)) + kFixed;
    // Coordinates, their boxes, and what is sorted; before that, hashes.
    const int64_t ordering = padded(g) * (Boxes::kDims * kNumber + 24);
    // ids, zero, reach, rho at both levels, left_out, moved; the guess; boxes.
    const int64_t rows = padded(g) * (21 + 1 + 4 + 3 + level1_bytes(levels));
    const bool listed = levels.near > 0 && !levels.near_rest;
    const int64_t sweeping =
        rows + pairs_bytes(g) + (listed ? g * Shortlists::bytes_per_row(k) : 0);
    return always + std::max(ordering, sweeping);
}

int64_t left_for_room(int64_t limit, int64_t needed) {
    if (limit < needed + kLeastRoom) {
        throw std::invalid_argument(
            "memory_limit must be at least " + std::to_string(needed + kLeastRoom) +
            " bytes for these features and k, got " + std::to_string(limit));
    }
    return limit - needed;
}

Keys laid_in_order(const Keys& keys, Order& order, std::vector<int32_t>& names, Room& room,
                   float* to, const Run& run) {
    const auto rows = static_cast<int64_t>(order.ids.size());
    const int64_t d = keys.d();
    parallel_rows(run, "order", rows, 256, [&](int64_t begin, int64_t end, const Worker& worker) {
        worker.check();
        std::vector<float> rows_here;
        rows_here.reserve(static_cast<size_t>((end - begin) * d));
        for (int64_t row = begin; row < end; ++row) {
            const float* from = keys.row(order.ids[static_cast<size_t>(row)]);
            rows_here.insert(rows_here.end(), from, from + d);
        }
        room.write(to + begin * d, rows_here.data(), (end - begin) * d * kNumber);
    });
    std::vector<int32_t> ordered_names;
    ordered_names.reserve(order.ids.size());
    for (const int32_t id : order.ids) ordered_names.push_back(names[static_cast<size_t>(id)]);
    names = std::move(ordered_names);
    std::iota(order.ids.begin(), order.ids.end(), 0);
    Keys ordered({to, rows, d}, keys.metric(), simd::active(), &room);
    ordered.prepare(run);
    return ordered;
}

int64_t cpu::knn_room_bytes(int64_t n, int64_t d, int64_t k) {
    return first_bytes(n, d) + ordered_bytes(n, d) + NeighbourLists::bytes(n, k);
}

int64_t cpu::knn_least_bytes(int64_t n, int64_t k) {
    Levels none;
    none.bytes = true;
    none.near_rest = true;
    return in_memory(n, 1, k, Metric::kEuclidean, none) + kLeastRoom;
}

int64_t cpu::knn_most_bytes(int64_t n, int64_t d, int64_t k) {
    return n * d * kNumber + first_bytes(n, d) + NeighbourLists::bytes(n, k) +
           in_memory(n, n, k, Metric::kCosine, most_levels(d));
}

int64_t cpu::knn_block_bytes(int64_t rows, int64_t base, int64_t d, int64_t k) {
    const auto sweeping = [&](int64_t n) {
        return first_bytes(n, d) + in_memory(n, n, k, Metric::kCosine, most_levels(d));
    };
    return (rows + base) * d * kNumber + NeighbourLists::bytes(rows, k) +
           std::max(Frame::rotating_bytes(d), sweeping(rows) + sweeping(base));
}

}  // namespace dqcore
