// Which pairs of tiles a stage of the sweep holds.
//
// Self-join: tile a meets tile a + delta (mod T), delta in [begin, end), so every unordered pair of tiles is met once
// over delta = 0 .. T / 2, and each row meets equally many others in a stage. Stages double: while a row's bound falls
// with the rows it has met, it gets some k hits in each. Queries: every query tile meets tiles [begin, end) of the base.
#pragma once

#include "cuda/knn_points.h"

namespace dqcore::cuda {

struct TileStage {
    int64_t row_tiles, col_tiles;
    int64_t begin, end;
    bool self;

    // Groups of 16 x 16 pairs come one after the other: their tiles stay in the GPU's cache.
    static constexpr int64_t kGroup = 16;

    DQCORE_BOTH int64_t deltas_of_group() const {
        return end - begin < kGroup ? end - begin : kGroup;
    }
    DQCORE_BOTH int64_t row_groups() const { return (row_tiles + kGroup - 1) / kGroup; }

    // How many numbers pair() knows; some are no pair.
    DQCORE_BOTH int64_t size() const {
        const int64_t wide = deltas_of_group();
        return row_groups() * ((end - begin + wide - 1) / wide) * kGroup * wide;
    }

    DQCORE_BOTH bool pair(int64_t w, int64_t& i, int64_t& j) const {
        const int64_t wide = deltas_of_group();
        const int64_t inside = w % (kGroup * wide), group = w / (kGroup * wide);
        i = group % row_groups() * kGroup + inside / wide;
        const int64_t delta = begin + group / row_groups() * wide + inside % wide;
        if (i >= row_tiles || delta >= end) return false;
        j = delta;
        if (!self) return true;
        j = i + delta < col_tiles ? i + delta : i + delta - col_tiles;
        return 2 * delta != col_tiles || i < delta;  // half way round, both ends see the same pair
    }

    // Whether tile i also meets the tile delta before it.
    DQCORE_BOTH bool meets_before(int64_t delta) const {
        return self && delta != 0 && 2 * delta != col_tiles;
    }
    DQCORE_BOTH int64_t after(int64_t i, int64_t delta) const {
        return self ? (i + delta) % col_tiles : delta;
    }
    DQCORE_BOTH int64_t before(int64_t i, int64_t delta) const {
        return (i + col_tiles - delta) % col_tiles;
    }
};

}  // namespace dqcore::cuda
