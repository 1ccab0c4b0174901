// Level 1 as int8: each row quantised, in stages that the filter tests one after the other.
//
// Stage s knows the first c_s coordinates y and t_s, the norm of all the others. By the triangle inequality on those
// others, the point p_s = (y_1 .. y_c, t_s - a constant) of a row is never farther from that of another than the rows
// are. With q_s = p_s / step in whole numbers and rho >= |p_s - step q_s| for every s,
//     distance(i, j) >= step |q_s(i) - q_s(j)| - rho_i - rho_j        for every stage s,
// so a pair that some stage puts beyond (reach + rho_i + rho_j) / step is excluded. In whole numbers, with
// N = |q_s|^2:  |q_s(i) - q_s(j)|^2 = N_i + N_j - 2 q_s(i).q_s(j).
//
// Coordinates beyond byte_most steps (simd/kernels.h) are cut off first. That is the projection onto a box, which moves
// no two points apart: p_s stands for the cut point, and rho for what rounding alone moved.
//
// A stage adds its coordinates to the dot product of the one before it, and exchanges the norm of the rest: one byte
// of the columns holds the old one with the other sign, which takes its product back exactly.
#pragma once

#include <cstdint>
#include <vector>

#include "base/aligned.h"

namespace dqcore {

struct Levels;

class ByteLevel {
public:
    static constexpr int64_t kMostStages = 4;

    // Dimensions beyond which |q_i - q_j|^2 could reach kOpenThreshold.
    static constexpr int64_t kMostDims = 8000;
    // |q|^2 of a row that no pair keeps, and a threshold that keeps every pair of others.
    static constexpr int32_t kFarNorm = 1 << 30, kOpenThreshold = 1 << 29;

    // `rows`, a multiple of 64, that no pair keeps until they are placed.
    ByteLevel(const Levels& levels, int64_t rows);

    // Places a row with coordinates y and the centred norms of the rest, one for each stage. Returns |p - step q|,
    // the largest of the stages.
    double place(int64_t row, const double* y, const double* rests);

    int64_t dims() const { return ends_.back(); }
    int64_t stages() const { return static_cast<int64_t>(ends_.size()); }
    int64_t padded() const { return rows_; }
    const int64_t* ends() const { return ends_.data(); }

    // Panels of 16 rows: 4 dims of row 0, of row 1, ... As rows of a tile (plus byte_offset), and as its columns.
    const uint8_t* as_row(int64_t row) const { return shifted_.data() + place_of(row); }
    const int8_t* as_column(int64_t row) const { return q_.data() + place_of(row); }

    // N of stage 0; that of stage s lies s * padded() further on.
    const int32_t* norm(int64_t row) const { return norm_.data() + row; }

    const int32_t* last_norm(int64_t row) const { return norm(row) + (stages() - 1) * rows_; }

    // What the dot product with bytes + byte_offset starts from, -byte_offset sum(q) - N / 2; of stage s, what it is to
    // be raised by.
    const int32_t* start(int64_t row) const { return start_.data() + row; }

private:
    int64_t place_of(int64_t row) const { return row / 16 * 16 * dims() + row % 16 * 4; }

    int64_t rows_;
    int32_t offset_;
    double step_, inverse_step_, most_;
    bool rest_;
    std::vector<int64_t> coordinates_, ends_;  // of each stage: coordinates and bytes so far
    AlignedVector<uint8_t> shifted_;
    AlignedVector<int8_t> q_;
    AlignedVector<int32_t> norm_, start_;
};

}  // namespace dqcore
