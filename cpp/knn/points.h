// Rows as the sweep sees them, in its order: points of the frame at two levels of rounding, each with a bound of
// what the rounding moved.
//
//   level 1  a few coordinates and the norm of the rest, as int8 (q, one scale) or float32, in panels: tested for
//            all pairs by the filter
//   level 2  more coordinates and the norm of their rest, as float32, row by row: tested for the survivors
//
// With rho >= |point - exact point| for each row and level, |exact_i - exact_j| >= |point_i - point_j| - rho_i - rho_j.
// So a pair can matter to row i, whose k-th key allows the distance `reach`, only if
//     |point_i - point_j| <= reach_i + rho_i + rho_j,
// where the largest rho of a block stands for rho_j. Both levels test this with their own rounding allowed for.
#pragma once

#include <cstdint>
#include <vector>

#include "knn/frame.h"

namespace dqcore {

// What level 1 and 2 are; shared by the two sides of a sweep.
struct Levels {
    bool bytes = false;      // level 1 is int8
    int64_t head = 0;        // coordinates at level 1
    int64_t near = 0;        // coordinates at level 2; 0: there is no level 2
    bool rest = false;       // one more dimension holds the norm of what the coordinates leave out
    double step = 1.0;       // of int8, in units of the frame
    double head_rest = 0.0;  // subtracted from the norm of the rest, to centre it
    double near_rest = 0.0;

    int64_t head_dims() const { return (head + rest + 3) / 4 * 4; }
    int64_t near_dims() const { return near == 0 ? 0 : (near + rest + 15) / 16 * 16; }
};

// Fills in step and the centres from a sample of the rows.
void calibrate(const Frame& frame, const Keys& keys, const std::vector<int32_t>& ids,
               Levels& levels);

struct Points {
    // Tiles of every filter divide this.
    static constexpr int64_t kAlign = 64;

    // int8 level: |q|^2 of a row that no pair keeps, and a threshold that keeps every pair of others.
    // Dimensions beyond which |q_i - q_j|^2 could reach kOpenThreshold.
    static constexpr int64_t kMostBytes = 8000;
    static constexpr int32_t kFarNorm = 1 << 30, kOpenThreshold = 1 << 29;

    Points(const Frame& frame, const Levels& levels, const Keys& keys, std::vector<int32_t> row_ids,
           const Run& run);

    int64_t size() const { return static_cast<int64_t>(ids.size()); }
    int64_t padded() const { return static_cast<int64_t>(reach.size()); }

    // Where number 0 of `row` lies in its panel.
    const int8_t* bytes_of(int64_t row) const {
        return q.data() + row / 16 * 16 * dims + row % 16 * 4;
    }
    const uint8_t* shifted_of(int64_t row) const {
        return shifted.data() + row / 16 * 16 * dims + row % 16 * 4;
    }
    const float* floats_of(int64_t row) const {
        return panels.data() + row / 16 * 16 * dims + row % 16;
    }
    const float* near_of(int64_t row) const { return near.data() + row * near_dims; }

    // The row's k-th key has become `key`.
    void set_reach(int64_t row, const Frame& frame, double key);

    Levels levels;
    int64_t dims, near_dims;
    float inverse_step;         // 1 / levels.step, rounded up
    std::vector<int32_t> ids;   // of each row in the keys
    std::vector<uint8_t> zero;  // rows without a direction (cosine), which no pair keeps
    std::vector<float> reach;   // infinity while the list is open
    std::vector<float> rho1, rho2;
    std::vector<uint8_t> shifted;  // q + 128 in the same places
    std::vector<int8_t> q;         // panels of 16 rows: 4 dims of row 0, of row 1, ...
    std::vector<int32_t> norm;     // |q|^2
    std::vector<int32_t>
        start;  // -128 sum(q) - |q|^2 / 2: what a dot product with q + 128 starts from
    std::vector<float> panels;  // as simd::kPanel
    std::vector<float> half;    // (1 - gamma) |point|^2 / 2 of the float32 level, rounded down
    std::vector<float> near;
    float gamma = 0.0f;  // relative error of a float32 dot product of `dims` terms

private:
    void place(int64_t row, const double* y, double t, double norm_of_row, double largest,
               double error);
    void place_bytes(int64_t row, const std::vector<double>& point, double error);
    void place_floats(int64_t row, const std::vector<double>& point, double error);
};

// Down to float32, and by one part in 2^22 more: the float32 sum of two such numbers is then a lower bound of the
// sum of the numbers themselves.
float round_down(double x);
inline float round_up(double x) { return -round_down(-x); }

}  // namespace dqcore
