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
// where the largest rho of a block stands for rho_j. Both levels test this with their own rounding allowed for. The few
// rows whose rho is far above the others' are wild: they are left out of that largest rho, and test in the other row's
// name as well, with the largest reach of its block.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/aligned.h"
#include "knn/bytes.h"
#include "knn/frame.h"
#include "knn/levels.h"

namespace dqcore {

// The reach of a row that seeks nothing. Far below zero: no sum with what rounding moved comes near zero again.
inline constexpr float kNoReach = -1e30f;

// The largest rho of some rows at each level, of all of them and without the wild ones.
struct Moved {
    float all1 = 0.0f, tame1 = 0.0f, all2 = 0.0f, tame2 = 0.0f;

    void add(const Moved& other) {
        all1 = std::max(all1, other.all1);
        tame1 = std::max(tame1, other.tame1);
        all2 = std::max(all2, other.all2);
        tame2 = std::max(tame2, other.tame2);
    }
};

struct Points {
    // Tiles of every filter divide this.
    static constexpr int64_t kAlign = 64;

    // `room`: where level 2 lies, from its beginning on, instead of in memory.
    Points(const Frame& frame, const Levels& levels, const Keys& keys, std::vector<int32_t> row_ids,
           const Run& run, Room* room = nullptr);

    int64_t size() const { return static_cast<int64_t>(ids.size()); }
    int64_t padded() const { return static_cast<int64_t>(reach.size()); }

    const float* floats_of(int64_t row) const {
        return panels.data() + row / 16 * 16 * dims + row % 16;  // number 0 of the row
    }
    const float* near_of(int64_t row) const { return near.some(row * near_dims, near_dims); }

    // The row's distance from the middle of the data, as level 1 knows it.
    double length(int64_t row) const;

    // Whether level 2 moved the row farther than others.
    bool wild2(int64_t row) const { return !(rho2[static_cast<size_t>(row)] <= tame2); }

    // The row seeks nothing farther than `to`. Whether that is news.
    bool lower_reach(int64_t row, double to);

    // Whether level 2 knows upper bounds too: it holds all coordinates, and hardly anything is left out.
    bool bounded() const { return near_dims > 0 && !levels.near_rest; }

    // Given the square of a row's distance to another at level 2, an upper bound of their distance in the frame. For two
    // rows |v_i - v_j| <= |y_i - y_j| + t_i + t_j, by the triangle inequality.
    float most_apart(int64_t row, const Points& others, int64_t other, float squared) const;

    // Given that bound: whether the pair may be within the row's reach.
    bool in_reach(int64_t row, const Points& others, int64_t other, float most) const;

    Levels levels;
    int64_t dims, near_dims;   // of the float32 level, and of level 2
    float inverse_step;        // 1 / levels.step, rounded up
    std::vector<int32_t> ids;  // of each row in the keys
    std::vector<uint8_t>
        zero;  // rows without a direction (cosine), which seek nothing and no pair keeps
    std::vector<float> reach;  // infinity while the list is open
    std::vector<float> rho1, rho2;
    float tame1 = 0.0f, tame2 = 0.0f;  // rows above are wild at that level
    std::vector<float> left_out;       // upper bound of t, and what level 2 moved; where bounded
    float near_slack = 1.0f, near_underflow = 0.0f;
    std::vector<Moved> moved;  // of each kAlign rows
    std::optional<ByteLevel> bytes;
    AlignedVector<float> panels;  // float32 level, as simd::kPanel
    AlignedVector<float> half;    // (1 - gamma) |point|^2 / 2 of the float32 level, rounded down
    Stored<float, UntouchedVector<float>> near;
    float gamma = 0.0f;  // relative error of a float32 dot product of `dims` terms

private:
    struct Scratch {
        std::vector<double> rests, point;  // for one row
        std::vector<float> rows;           // level 2 of a chunk, where that lies in a room
        float* near;                       // of the row `first`
        int64_t first;
    };
    void place(int64_t row, const double* y, double t, double norm_of_row, double largest,
               double error, Scratch& scratch);
    void find_wild();
    double place_floats(int64_t row, const std::vector<double>& point);
};

// Down to float32, and by one part in 2^22 more: the float32 sum of two such numbers is then a lower bound of the
// sum of the numbers themselves.
float round_down(double x);
inline float round_up(double x) { return -round_down(-x); }

}  // namespace dqcore
