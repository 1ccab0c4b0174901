// Kernels that turn rows into points (knn_points.h).
#pragma once

#include "cuda/knn_points.h"

namespace dqcore::cuda {

inline constexpr double kTooSmall =
    0x1p-50;  // relative room for all float64 arithmetic of one point

// i -> a fixed permutation of [0, n), by a Feistel network on the next power of four, walked until inside.
DQCORE_BOTH int64_t permuted(int64_t i, int64_t n) {
    int half = 1;
    while ((int64_t{1} << (2 * half)) < n) ++half;
    const uint64_t mask = (uint64_t{1} << half) - 1;
    auto at = static_cast<uint64_t>(i);
    do {
        uint64_t left = at >> half, right = at & mask;
        for (uint64_t round = 1; round <= 4; ++round) {
            // A step of splitmix64.
            uint64_t z = (right + round * 0x9e3779b97f4a7c15u) * 0xbf58476d1ce4e5b9u;
            z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
            const uint64_t mixed = (left ^ (z >> 31)) & mask;
            left = right;
            right = mixed;
        }
        at = left << half | right;
    } while (at >= static_cast<uint64_t>(n));
    return static_cast<int64_t>(at);
}

// rows[p] = chosen[permuted(p)], or permuted(p) itself.
struct OrderRows {
    static constexpr const char* kName = "order_rows";
    static constexpr int kThreads = 128, kBlocks = 4;
    Global<const int32_t> chosen;  // empty: all rows
    Global<int32_t> rows;
    int64_t size;

    template <class Ex>
    DQCORE_DEVICE void run(Ex& ex) const {
        const int64_t p = int64_t{ex.block()} * kThreads + ex.thread();
        if (p >= size) return;
        const int64_t at = permuted(p, size);
        rows.set(p, chosen.size() > 0 ? chosen[at] : static_cast<int32_t>(at));
    }
};

// squared[r] = |x_r|^2 by the canonical lanes.
struct SquaredNorms {
    static constexpr const char* kName = "squared_norms";
    static constexpr int kThreads = 128, kBlocks = 4;
    Global<const float> x;
    Global<double> squared;
    int64_t n, d;

    template <class Ex>
    DQCORE_DEVICE void run(Ex& ex) const {
        const int64_t row = int64_t{ex.block()} * (kThreads / kWarp) + ex.warp();
        if (row >= n) return;
        double sum = 0.0;
        for (int64_t c = ex.lane(); c < d; c += kWarp) {
            const double v = x[row * d + c];
            sum += v * v;
        }
        sum = fold(ex, sum);
        if (ex.lane() == 0) squared.set(row, sum);
    }
};

// The centre: of each coordinate the median of some rows. Any would do; in the midst of the rows their norms, and with
// them the bounds, are smallest. A mean could be pulled away from all of them by a few.
struct Centre {
    static constexpr const char* kName = "centre";
    static constexpr int kThreads = 128, kBlocks = 4;
    static constexpr int64_t kSample = 127;
    Global<const float> x;
    Global<double> centre;
    int64_t n, d;

    template <class Ex>
    DQCORE_DEVICE void run(Ex& ex) const {
        const int64_t c = int64_t{ex.block()} * kThreads + ex.thread();
        if (c >= d) return;
        const int64_t sample = n < kSample ? n : kSample;
        for (int64_t t = 0; t < sample; ++t) {
            const float v = x[t * n / sample * d + c];
            int64_t below = 0;
            for (int64_t u = 0; u < sample; ++u) {
                const float w = x[u * n / sample * d + c];
                below += w < v || (w == v && u < t) ? 1 : 0;
            }
            if (below == sample / 2) centre.set(c, v);
        }
    }
};

// largest[0] = bits of the largest |x - centre| of all coordinates.
struct LargestCoordinate {
    static constexpr const char* kName = "largest_coordinate";
    static constexpr int kThreads = 128, kBlocks = 4;
    Global<const float> x;
    Global<const double> centre;
    Global<uint64_t> largest;
    int64_t n, d;

    template <class Ex>
    DQCORE_DEVICE void run(Ex& ex) const {
        const int64_t row = int64_t{ex.block()} * (kThreads / kWarp) + ex.warp();
        if (row >= n) return;
        double most = 0.0;
        for (int64_t c = ex.lane(); c < d; c += kWarp) {
            const double v = x[row * d + c] - centre[c];
            most = v > most ? v : -v > most ? -v : most;
        }
        for (int m = kWarp / 2; m > 0; m /= 2) {
            const double other = ex.shuffle_xor(most, m);
            most = other > most ? other : most;
        }
        if (ex.lane() == 0) ex.atomic_max(largest, 0, bits_as<uint64_t>(most));
    }
};

// norms[r] = |v|^2 of row r's point; not of cosine, where all are alike.
struct PointNorms {
    static constexpr const char* kName = "point_norms";
    static constexpr int kThreads = 128, kBlocks = 4;
    Global<const float> x;
    Global<const double> centre;
    double scale;
    Global<float> norms;
    int64_t n, d;

    template <class Ex>
    DQCORE_DEVICE void run(Ex& ex) const {
        const int64_t row = int64_t{ex.block()} * (kThreads / kWarp) + ex.warp();
        if (row >= n) return;
        double norm = 0.0;
        for (int64_t c = ex.lane(); c < d; c += kWarp) {
            const double v = scale * (x[row * d + c] - centre[c]);
            norm += v * v;
        }
        norm = fold(ex, norm);
        if (ex.lane() == 0) norms.set(row, static_cast<float>(norm));
    }
};

// Writes the point at each position, and the largest of its tile. A warp for each position, padding included.
struct PackPoints {
    static constexpr const char* kName = "pack_points";
    static constexpr int kThreads = 128, kBlocks = 4;
    Rows from;
    Global<const double> centre;  // not of cosine
    double scale;
    Global<const int32_t> rows;
    Global<uint16_t> halves;
    Global<float> stats;
    Global<uint32_t> tile_rho, tile_most;  // zeros before
    int64_t size, width;

    template <class Ex>
    DQCORE_DEVICE void run(Ex& ex) const {
        const int64_t p = int64_t{ex.block()} * (kThreads / kWarp) + ex.warp();
        const bool real = p < size;
        const int64_t row = real ? rows[p] : 0;
        const double length = real && from.cosine ? sqrt(from.squared[row]) : 1.0;
        const bool zero = length == 0.0;
        double norm = 0.0, hat = 0.0, moved = 0.0;
        for (int64_t c = ex.lane(); c < width; c += kWarp) {
            double v = 0.0;
            if (real && !zero && c < from.d) {
                v = from.x[row * from.d + c];
                v = scale * (from.cosine ? v / length : v - centre[c]);
            }
            const uint16_t half = to_half(static_cast<float>(v));
            const double h = from_half(half);
            norm += v * v;
            hat += h * h;
            moved += (v - h) * (v - h);
            halves.set(p * width + c, half);
        }
        norm = fold(ex, norm);
        hat = fold(ex, hat);
        moved = fold(ex, moved);
        if (ex.lane() == 0) write(ex, p, real, zero ? scale * scale : norm, hat, moved);
    }

private:
    // Float from above.
    DQCORE_DEVICE static float up(double v) {
        return static_cast<float>(v * (1.0 + 0x1p-22)) + 1e-37f;
    }

    template <class Ex>
    DQCORE_DEVICE void write(Ex& ex, int64_t p, bool real, double norm, double hat,
                             double moved) const {
        const float rho = up(sqrt(moved) + kTooSmall * sqrt(norm));
        const float most = up(sqrt(norm > hat ? norm : hat));
        const float far = bits_as<float>(0x7f800000u);  // infinity
        stats.template set_pack<4>(
            4 * p, {{real ? static_cast<float>(0.5 * norm) : far, up(sqrt(hat)), rho, most}});
        ex.atomic_max(tile_rho, p / kTileRows, bits_as<uint32_t>(rho));
        ex.atomic_max(tile_most, p / kTileRows, bits_as<uint32_t>(most));
    }
};

}  // namespace dqcore::cuda
