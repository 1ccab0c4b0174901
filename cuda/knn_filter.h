// The filter: which pairs of points may be near, by fp16 dot products on tensor cores.
//
// Let s be the dot product of xh_i and xh_j as the tensor core gives it. For the points v (knn_points.h), with xh = fp16(v)
// and rho = |v - xh|,
//     |v_i.v_j - s| <= E_ij = |xh_i| rho_j + rho_i |v_j| + gamma |xh_i| |xh_j|.
// The first two terms: v_i.v_j - xh_i.xh_j = xh_i.(v_j - xh_j) + (v_i - xh_i).v_j, and Cauchy-Schwarz. The third is what
// the tensor core does: products are exact, but a block of b of them and the accumulator are shifted to the largest
// exponent, cut off g bits behind float32's last one, added, and the sum is cut off at float32's last bit. A cut of one of
// the b + 1 terms costs < 2^-23 2^-g of the largest, the last one < 2^-23 of the sum, and both are at most
// S = |xh_i| |xh_j| (1 + gamma): d / b blocks make (d / b) ((b + 1) 2^-g + 1) 2^-23 S. (b, g) = (4, 0) was measured on
// V100, (8, 1) on A100, (16, 2) on H100 (Fasi et al. 2021, PeerJ CS 7:e330; Khattak and Mikaitis 2025, arXiv 2512.07004): 1.5 d, 0.69 d and
// 0.33 d. So gamma = 1.02 (1.5 d + 2) 2^-23, where 1.02 stands for 1 + gamma and d <= kMostDims. Other GPUs are assumed
// to be no coarser than the V100.
//
// Row i wants all j with |v_i - v_j|^2 <= D_i, that is v_i.v_j >= (n_i + n_j - D_i) / 2, n = |v|^2. So it is enough to keep
// those with
//     s - h_j >= alpha_i(J) = (n_i - D_i) / 2 - E_i(J) - room,   E_i(J) = hat_i P + rho_i X + gamma hat_i X,
// h_j = float(n_j / 2), and P, X the largest rho and max(|v|, |xh|) in the tile J of j. room is what float32 moves:
//   h_j, and s - h_j:  <= 2^-24 (n_j / 2 + |s - h_j|) <= 2^-24 (0.51 hat_i^2 + 1.53 X^2);
//   h_i for n_i / 2:   <= 2^-25 n_i;
// together less than 2^-23 (most_i^2 + X^2), whose first half is in Reach::base; and 2^-22 (|base| + E) + 1e-30 for the
// roundings of base, E and alpha themselves (each <= 2^-24 of what it rounds; 1e-30 where they are subnormal).
#pragma once

#include "cuda/knn_lists.h"

namespace dqcore::cuda {

inline constexpr int64_t kMostDims = 65536;

inline float filter_gamma(int64_t d) {
    return static_cast<float>(1.02 * (1.5 * static_cast<double>(d) + 2.0) * 0x1p-23 * 1.000001);
}

// The dot products of two tiles, a block of 4 warps for each pair. A warp takes 64 x 64 of the 128 x 128: 4 x 8 fragments
// of 16 x 8.
struct TileProducts {
    static constexpr int kThreads = 128;
    static constexpr int kRing = 3;  // steps of the main loop in shared memory
    static constexpr int kTileBytes = kTileRows * kTileDims * 2;
    static constexpr int64_t kSharedBytes = int64_t{kRing} * 2 * kTileBytes;

    struct Sums {
        float c[4][8][4];
    };

    Points rows, columns;

    // Where in the tiles the c-th of a lane's 16 sums of its half-th row lies, of 8 such rows.
    DQCORE_DEVICE static int row_of(int thread, int half) {
        return (thread / kWarp & 1) * 64 + (thread % kWarp >> 2) + (half >> 1) * 16 +
               (half & 1) * 8;
    }
    DQCORE_DEVICE static int column_of(int thread, int c) {
        return (thread / kWarp >> 1) * 64 + (thread & 3) * 2 + (c >> 1) * 8 + (c & 1);
    }
    DQCORE_DEVICE static float sum_of(const Sums& sums, int half, int c) {
        return sums.c[half >> 1][c >> 1][2 * (half & 1) + (c & 1)];
    }

    // Every thread of the block, which then waits with all copies landed.
    template <class Ex>
    DQCORE_DEVICE void multiply(Ex& ex, int64_t i, int64_t j, Sums& sums) const {
        const auto ring = shared<uint16_t>(ex, 0, kSharedBytes / 2);
        DQCORE_UNROLL
        for (int m = 0; m < 4; ++m) DQCORE_UNROLL
        for (int n = 0; n < 8; ++n) DQCORE_UNROLL
        for (int e = 0; e < 4; ++e) sums.c[m][n][e] = 0.0f;
        const int steps = static_cast<int>(rows.width / kTileDims);
        DQCORE_UNROLL
        for (int step = 0; step < kRing - 1; ++step) {
            if (step < steps) copy_step(ex, ring, i, j, step);
            ex.commit();
        }
        DQCORE_NO_UNROLL
        for (int step = 0; step < steps; ++step) {
            wait<kRing - 2>(ex);
            ex.sync();
            if (step + kRing - 1 < steps) copy_step(ex, ring, i, j, step + kRing - 1);
            ex.commit();
            multiply_step(ex, ring, step % kRing * 2 * (kTileBytes / 2), sums);
        }
        wait<0>(ex);
        ex.sync();  // the ring becomes scratch
    }

private:
    // Where 8 halves of a row lie in a tile: their place in the row is xored with the row, so that the 8 rows that
    // load_matrix reads at a time lie in different banks.
    DQCORE_DEVICE static int place(int row, int chunk) {
        return row * kTileDims + ((chunk ^ (row & 7)) << 3);
    }

    template <class Ex, class View>
    DQCORE_DEVICE void copy_step(Ex& ex, const View& ring, int64_t i, int64_t j, int step) const {
        const int start = step % kRing * 2 * (kTileBytes / 2);
        const int chunk = ex.thread() & 7;
        DQCORE_UNROLL
        for (int t = 0; t < kTileRows / 16; ++t) {
            const int row = (ex.thread() >> 3) + 16 * t;
            const int64_t at = row * rows.width + int64_t{step} * kTileDims + chunk * 8;
            const int to = start + place(row, chunk);
            ex.copy16(ring, to, rows.halves, i * kTileRows * rows.width + at);
            ex.copy16(ring, to + kTileBytes / 2, columns.halves, j * kTileRows * rows.width + at);
        }
    }

    template <class Ex, class View>
    DQCORE_DEVICE void multiply_step(Ex& ex, const View& ring, int start, Sums& sums) const {
        const int lane = ex.lane(), warp = ex.warp();
        DQCORE_UNROLL
        for (int k = 0; k < kTileDims / 16; ++k) {
            uint32_t a[4][4], b[8][2];
            DQCORE_UNROLL
            for (int m = 0; m < 4; ++m) {  // rows 0-7, 8-15 at the first 8 dims, then at the others
                const int row = (warp & 1) * 64 + m * 16 + (lane & 15);
                ex.load_matrix(a[m], ring, start + place(row, 2 * k + (lane >> 4)));
            }
            DQCORE_UNROLL
            for (int n = 0; n < 4;
                 ++n) {  // columns 0-7 at both halves of the dims, then columns 8-15
                const int row = (warp >> 1) * 64 + n * 16 + (lane & 7) + ((lane >> 4) << 3);
                uint32_t r[4];
                ex.load_matrix(r, ring,
                               start + kTileBytes / 2 + place(row, 2 * k + ((lane >> 3) & 1)));
                b[2 * n][0] = r[0];
                b[2 * n][1] = r[1];
                b[2 * n + 1][0] = r[2];
                b[2 * n + 1][1] = r[3];
            }
            DQCORE_UNROLL
            for (int m = 0; m < 4; ++m) DQCORE_UNROLL
            for (int n = 0; n < 8; ++n) ex.mma(sums.c[m][n], a[m], b[n]);
        }
    }
};

// Pairs of a stage that pass go to the rows that want them: hits[row * capacity + ..], in any order.
struct FilterPairs {
    static constexpr const char* kName = "filter_pairs";
    static constexpr int kThreads = TileProducts::kThreads, kBlocks = 2;

    TileProducts products;
    Global<const float> row_base,
        column_base;  // columns of a base that seeks nothing: kSeeksNothing
    Global<uint32_t> counts, hits;
    TileStage stage;
    int64_t capacity;
    float gamma;

    template <class Ex>
    DQCORE_DEVICE void run(Ex& ex) const {
        const int64_t size = stage.size();
        for (int64_t w = ex.block(); w < size; w += ex.blocks()) {
            int64_t i, j;
            if (stage.pair(w, i, j)) tile(ex, i, j);
        }
    }

private:
    template <class Ex>
    DQCORE_DEVICE void tile(Ex& ex, int64_t i, int64_t j) const {
        TileProducts::Sums sums;
        products.multiply(ex, i, j, sums);
        write_thresholds(ex, i, j);
        ex.sync();
        keep(ex, i, j, sums);
        ex.sync();
    }

    DQCORE_DEVICE float alpha(float base, const PointStats& point, const Points& others,
                              int64_t tile) const {
        const float rho = bits_as<float>(others.tile_rho[tile]);
        const float most = bits_as<float>(others.tile_most[tile]);
        const float error =
            point.hat * rho + point.rho * most + gamma * point.hat * most + 0x1p-23f * most * most;
        const float size = (base < 0.0f ? -base : base) + error;
        return base - error - (0x1p-22f * size + 1e-30f);
    }

    // Of the tile's rows and columns, in shared memory: alpha and h of each, 128 of a kind.
    template <class Ex>
    DQCORE_DEVICE void write_thresholds(Ex& ex, int64_t i, int64_t j) const {
        const auto of_tile = shared<float>(ex, 0, 4 * kTileRows);
        const int t = ex.thread();
        const int64_t row = i * kTileRows + t, column = j * kTileRows + t;
        const PointStats of_row = products.rows.stats_of(row);
        const PointStats of_column = products.columns.stats_of(column);
        of_tile.set(t, alpha(row_base[row], of_row, products.columns, j));
        of_tile.set(kTileRows + t, of_row.half_norm);
        of_tile.set(2 * kTileRows + t, alpha(column_base[column], of_column, products.rows, i));
        of_tile.set(3 * kTileRows + t, of_column.half_norm);
    }

    template <class Ex>
    DQCORE_DEVICE void keep(Ex& ex, int64_t i, int64_t j, const TileProducts::Sums& sums) const {
        const auto of_tile = shared<float>(ex, 0, 4 * kTileRows);
        // The 16 sums of a row that a lane holds, of its own alone: where one passes, a loop looks at each.
        const auto scratch = shared<float>(ex, 16 * kTileRows, 16 * kThreads);
        float column_alpha[16], column_half[16];
        DQCORE_UNROLL
        for (int c = 0; c < 16; ++c) {
            const int column = TileProducts::column_of(ex.thread(), c);
            column_alpha[c] = of_tile[2 * kTileRows + column];
            column_half[c] = of_tile[3 * kTileRows + column];
        }
        DQCORE_UNROLL
        for (int half = 0; half < 8; ++half) {
            const int row = TileProducts::row_of(ex.thread(), half);
            const float row_alpha = of_tile[row], row_half = of_tile[kTileRows + row];
            bool any = false;
            DQCORE_UNROLL
            for (int c = 0; c < 16; ++c) {
                const float s = TileProducts::sum_of(sums, half, c);
                any |= (s - column_half[c] >= row_alpha) | (s - row_half >= column_alpha[c]);
            }
            if (!any) continue;
            DQCORE_UNROLL
            for (int c = 0; c < 16; ++c)
                scratch.set(c * kThreads + ex.thread(), TileProducts::sum_of(sums, half, c));
            append(ex, i, j, row);
        }
    }

    template <class Ex>
    DQCORE_DEVICE void append(Ex& ex, int64_t i, int64_t j, int row) const {
        const auto of_tile = shared<float>(ex, 0, 4 * kTileRows);
        const auto scratch = shared<float>(ex, 16 * kTileRows, 16 * kThreads);
        const bool diagonal = stage.self && i == j;
        const float row_alpha = of_tile[row], row_half = of_tile[kTileRows + row];
        DQCORE_NO_UNROLL
        for (int c = 0; c < 16; ++c) {
            const int column = TileProducts::column_of(ex.thread(), c);
            const float s = scratch[c * kThreads + ex.thread()];
            const float column_alpha = of_tile[2 * kTileRows + column];
            if (s - of_tile[3 * kTileRows + column] >= row_alpha && !(diagonal && row == column))
                hit(ex, i * kTileRows + row, j * kTileRows + column);
            // On the diagonal the tile holds the pair the other way round as well.
            if (s - row_half >= column_alpha && !diagonal)
                hit(ex, j * kTileRows + column, i * kTileRows + row);
        }
    }

    template <class Ex>
    DQCORE_DEVICE void hit(Ex& ex, int64_t of, int64_t other) const {
        const uint32_t slot = ex.atomic_add(counts, of, 1u);
        if (slot < capacity) hits.set(of * capacity + slot, static_cast<uint32_t>(other));
    }
};

}  // namespace dqcore::cuda
