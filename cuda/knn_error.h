// The kernel of filter_error.h: the filter's dot products against those of float64.
#pragma once

#include "cuda/knn_filter.h"

namespace dqcore::cuda {

struct FilterError {
    static constexpr const char* kName = "filter_error";
    static constexpr int kThreads = TileProducts::kThreads, kBlocks = 1;

    TileProducts products;
    Rows from;
    Global<const double> centre;  // not of cosine
    double scale;
    float gamma;
    TileStage stage;
    Global<uint64_t> worst;  // [0]: bits of the largest ratio

    template <class Ex>
    DQCORE_DEVICE void run(Ex& ex) const {
        for (int64_t w = ex.block(); w < stage.size(); w += ex.blocks()) {
            int64_t i, j;
            if (!stage.pair(w, i, j)) continue;
            TileProducts::Sums sums;
            products.multiply(ex, i, j, sums);
            double largest = 0.0;
            DQCORE_UNROLL
            for (int half = 0; half < 8; ++half) DQCORE_UNROLL
            for (int c = 0; c < 16; ++c) {
                const double r = ratio(i * kTileRows + TileProducts::row_of(ex.thread(), half),
                                       j * kTileRows + TileProducts::column_of(ex.thread(), c),
                                       TileProducts::sum_of(sums, half, c));
                largest = r > largest ? r : largest;
            }
            ex.atomic_max(worst, 0, bits_as<uint64_t>(largest));
            ex.sync();
        }
    }

private:
    DQCORE_DEVICE double ratio(int64_t i, int64_t j, double s) const {
        if (i >= products.rows.size || j >= products.columns.size) return 0.0;
        const int64_t a = products.rows.rows[i], b = products.columns.rows[j];
        double dot = 0.0;
        DQCORE_NO_UNROLL
        for (int64_t c = 0; c < from.d; ++c) dot += coordinate(a, c) * coordinate(b, c);
        const PointStats p = products.rows.stats_of(i), q = products.columns.stats_of(j);
        const double bound =
            double{p.hat} * q.rho + double{p.rho} * q.most + double{gamma} * p.hat * q.hat;
        const double error = dot > s ? dot - s : s - dot;
        return bound > 0.0 ? error / bound : 0.0;
    }

    DQCORE_DEVICE double coordinate(int64_t row, int64_t c) const {
        const double x = from.x[row * from.d + c];
        if (!from.cosine) return scale * (x - centre[c]);
        const double squared = from.squared[row];
        return squared > 0.0 ? scale * (x / sqrt(squared)) : 0.0;
    }
};

}  // namespace dqcore::cuda
