// The order of the sweep: rows that are near each other come near each other, so that a row's first tiles already
// hold most of its neighbours, and boxes around groups of rows tell which groups cannot matter to each other.
#pragma once

#include <cstdint>
#include <vector>

#include "knn/frame.h"

namespace dqcore {

// Boxes around runs of rows in the leading coordinates of the frame.
struct Boxes {
    static constexpr int64_t kDims = 16;

    explicit Boxes(int64_t count = 0);

    std::vector<float> low, high;  // (boxes, kDims)
    std::vector<float> slack;      // (boxes,) how far the true points may lie outside

    int64_t size() const { return static_cast<int64_t>(slack.size()); }

    // A lower bound of the distance between any row of box i of `a` and any of box j of `b`.
    static float gap(const Boxes& a, int64_t i, const Boxes& b, int64_t j);

    // Between centres; only decides what comes first.
    static float between_centres(const Boxes& a, int64_t i, const Boxes& b, int64_t j);

    // Widens box i to hold another.
    void add(int64_t i, const float* other_low, const float* other_high, float other_slack);

    // Boxes around `count` of these boxes in turn.
    Boxes merged(int64_t count) const;
};

struct Order {
    // Rows in a group: as many as a filter tests columns at once.
    static constexpr int64_t kGroup = 64;

    std::vector<int32_t> ids;  // of the rows, in order
    Boxes groups;
};

// `ids` of `keys` by recursive halving along the coordinate of largest extent, down to groups; or as they are where
// `sort` is false.
Order order_rows(const Frame& frame, const Keys& keys, const std::vector<int32_t>& ids, bool sort,
                 const Run& run);

}  // namespace dqcore
