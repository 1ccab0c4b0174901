// Rows as the kNN kernels see them: the caller's float32 for exact keys, and points in fp16 for the filter.
//
// Points. Row x becomes v = scale (x - centre), in cosine scale x / |x|: squared distances of points are scale^2 times
// those of rows (cosine: scale^2 2 key), and no filter is asked for more. The filter knows v as xh = fp16(v), and with it
// rho = |v - xh|, measured, so whatever the rounding did (subnormals, one coordinate far larger than the rest) is in rho.
// scale is the power of two that puts the largest coordinate into [2^13, 2^14).
//
// A zero row of cosine has key 1 to every row: as a column it stands for a point at right angles to all others (xh = 0,
// |v| = scale), and it seeks nothing itself: its list is the lowest rows.
//
// Rows are taken in a fixed random order, so that sorted data gives no tile more than its share of near pairs. Rows far
// longer than most come last, by their length: a tile's largest norm is in the bounds of all its rows (knn_filter.h).
#pragma once

#include "cuda/exec.h"

namespace dqcore::cuda {

inline constexpr int kTileRows = 128;  // of the filter
inline constexpr int kTileDims = 64;   // of one step of its main loop
inline constexpr float kSeeksNothing = 3.0e38f;
inline constexpr int32_t kNoNeighbour = 0x7fffffff;

// What exact keys are made of.
struct Rows {
    Global<const float> x;         // (n, d)
    Global<const double> squared;  // (n,) canonical |x|^2; cosine only
    int64_t d;
    bool cosine;
};

// Upper bounds and h = |v|^2 / 2 of one point.
struct PointStats {
    float half_norm;  // nearest
    float hat;        // >= |xh|
    float rho;        // >= |v - xh|
    float most;       // >= max(|v|, |xh|)
};

// The points of a set, in tiles of kTileRows; those behind the last row are far from everything.
struct Points {
    Global<const uint16_t> halves;               // (tiles * kTileRows, width)
    Global<const float> stats;                   // PointStats of each
    Global<const uint32_t> tile_rho, tile_most;  // bits of the largest of each tile
    Global<const int32_t> rows;                  // the row at each position
    int64_t size, tiles, width;

    DQCORE_DEVICE PointStats stats_of(int64_t position) const {
        const Pack<float, 4> p = stats.template pack<4>(4 * position);
        return {p.v[0], p.v[1], p.v[2], p.v[3]};
    }
};

// The sum of 32 lanes in the canonical order, l with l ^ 16, 8, 4, 2, 1: addition commutes, so every lane has its bits.
template <class Ex>
DQCORE_DEVICE double fold(Ex& ex, double v) {
    for (int m = kWarp / 2; m > 0; m /= 2) v += ex.shuffle_xor(v, m);
    return v;
}

// The canonical key of row i of a and row j of b, by a whole warp.
template <class Ex>
DQCORE_DEVICE double canonical_key(Ex& ex, const Rows& a, int64_t i, const Rows& b, int64_t j) {
    double sum = 0.0;
    for (int64_t c = ex.lane(); c < a.d; c += kWarp) {
        const double x = a.x[i * a.d + c], y = b.x[j * a.d + c];
        sum += a.cosine ? x * y : (x - y) * (x - y);
    }
    sum = fold(ex, sum);
    if (!a.cosine) return sum;
    const double norms = a.squared[i] * b.squared[j];
    if (norms == 0.0) return 1.0;
    const double key = 1.0 - sum / sqrt(norms);
    return key < 0.0 ? 0.0 : key > 2.0 ? 2.0 : key;
}

}  // namespace dqcore::cuda
