#include "knn/points.h"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <limits>

namespace dqcore {
namespace {

constexpr int64_t kSampleRows = 1024;

// Part of a sample's coordinates that int8 holds without cutting off: fine steps for most are worth more than the whole
// length of the few. Not less than a part of the largest, where most are nothing.
constexpr double kWithin = 0.999, kLeastKept = 0.25;

// Coordinates beyond this times the sample's largest would make float32 products overflow. Such rows are placed at
// the origin with all their length in rho: kept against every row of their block, and right.
constexpr double kFarOut = 0x1p30;

// float32 with subnormals as zero: what a processor in flush-to-zero mode would make of them.
float plain_float(double x) {
    const auto rounded = static_cast<float>(x);
    return std::abs(rounded) < FLT_MIN ? 0.0f : rounded;
}

// For each stage of level 1, the norm of what its coordinates leave out.
void norms_of_rests(const Levels& levels, const double* y, double t, std::vector<double>& rests) {
    double sum = t * t;
    int64_t from = levels.coordinates();
    for (size_t s = levels.stages.size(); s-- > 0;) {
        while (from > levels.stages[s]) {
            --from;
            sum += y[from] * y[from];
        }
        rests[s] = std::sqrt(sum);
    }
}

// Above this a row is wild: the others' largest rho would suffer, and there are few of them.
float tame(std::vector<float> rho, int64_t rows) {
    if (rows == 0) return 0.0f;
    const auto middle = rho.begin() + rows / 2;
    std::nth_element(rho.begin(), middle, rho.begin() + rows, [](float a, float b) {
        return a < b ||
               (b != b && a == a);  // not a number, where rows are being written to, comes last
    });
    return 1.5f * *middle;
}

// Measured in float64 over at most some thousand terms: this much more is a bound.
constexpr double kMeasured = 1.0 + 1e-9;

}  // namespace

float round_down(double x) {
    const double lower = x - std::abs(x) * 0x1p-22;
    const auto rounded = static_cast<float>(lower);
    return rounded <= lower ? rounded
                            : std::nextafter(rounded, -std::numeric_limits<float>::infinity());
}

void calibrate(const Frame& frame, const Keys& keys, const std::vector<int32_t>& ids,
               Levels& levels) {
    const auto n = static_cast<int64_t>(ids.size()), step = std::max<int64_t>(1, n / kSampleRows);
    std::vector<int32_t> rows;
    for (int64_t i = 0; i < n; i += step) rows.push_back(ids[static_cast<size_t>(i)]);
    const auto count = static_cast<int64_t>(rows.size());
    const size_t stages = levels.stages.size();
    double sum_near = 0.0;
    std::vector<double> magnitudes;
    std::vector<double> rests(stages), sums(stages, 0.0);
    frame.place(keys, rows.data(), 0, count, levels.coordinates(),
                [&](int64_t, const double* y, double t, double, double) {
                    for (int64_t a = 0; a < levels.head(); ++a)
                        magnitudes.push_back(y[a] == y[a] ? std::abs(y[a]) : 0.0);
                    norms_of_rests(levels, y, t, rests);
                    for (size_t s = 0; s < stages; ++s) sums[s] += rests[s];
                    sum_near += t;
                });
    levels.near_centre = sum_near / static_cast<double>(count);
    levels.stage_centre.resize(stages);
    for (size_t s = 0; s < stages; ++s) {
        levels.stage_centre[s] = sums[s] / static_cast<double>(count);
    }
    const auto within = static_cast<int64_t>(kWithin * static_cast<double>(magnitudes.size()));
    std::nth_element(magnitudes.begin(), magnitudes.begin() + within, magnitudes.end());
    const double largest = *std::max_element(magnitudes.begin() + within, magnitudes.end());
    const double widest = std::max(magnitudes[static_cast<size_t>(within)], kLeastKept * largest);
    if (widest > 0.0) levels.step = widest / simd::active().byte_most;
}

Points::Points(const Frame& frame, const Levels& levels, const Keys& keys,
               std::vector<int32_t> row_ids, const Run& run, Room* room)
    : levels(levels),
      dims(levels.bytes ? 0 : levels.head_dims()),
      near_dims(levels.near_dims()),
      inverse_step(round_up(1.0 / levels.step)),
      ids(std::move(row_ids)) {
    const int64_t n = size(), rows = (n + kAlign - 1) / kAlign * kAlign;
    const auto entries = static_cast<size_t>(rows);
    zero.assign(entries, 0);
    reach.assign(entries, kNoReach);
    std::fill_n(reach.begin(), n, std::numeric_limits<float>::infinity());
    rho1.assign(entries, 0.0f);
    rho2.assign(entries, 0.0f);
    if (near_dims > 0) {
        if (room) {
            near.lie_in(*room, reinterpret_cast<float*>(room->begin()));
        } else {
            near.resize(static_cast<size_t>(rows * near_dims));
            std::fill_n(near.at(n * near_dims), (rows - n) * near_dims, 0.0f);
        }
        if (bounded()) left_out.assign(entries, 0.0f);
        // The sum of squares itself errs by (dims + 4) 2^-24, and by what underflows.
        near_slack = 1.0f + static_cast<float>(near_dims + 16) * 0x1p-23f;
        near_underflow = static_cast<float>(near_dims) * FLT_MIN;
    }
    if (levels.bytes) {
        bytes.emplace(levels, rows);
    } else {
        panels.assign(static_cast<size_t>(rows * dims), 0.0f);
        half.assign(entries, std::numeric_limits<float>::infinity());
        const double steps = static_cast<double>(dims + 2) * 0x1p-24;
        gamma = steps < 0.5 ? round_up(steps / (1.0 - steps)) : 2.0f;
    }
    parallel_rows(run, "prepare", n, 256, [&](int64_t begin, int64_t end, const Worker& worker) {
        worker.check();
        Scratch scratch{std::vector<double>(levels.stages.size()), {}, {}, nullptr, begin};
        const int64_t chunk_rows = (end == n ? rows : end) - begin;
        if (near.room()) {
            scratch.rows.assign(static_cast<size_t>(chunk_rows * near_dims), 0.0f);
            scratch.near = scratch.rows.data();
        } else {
            scratch.near = near.at(begin * near_dims);
        }
        frame.place(
            keys, ids.data(), begin, end, levels.coordinates(),
            [&](int64_t row, const double* y, double t, double norm_of_row, double largest) {
                const auto at = static_cast<size_t>(row);
                if (keys.is_zero(ids[at])) {
                    zero[at] = 1;
                    reach[at] = kNoReach;
                    std::fill_n(scratch.near + (row - begin) * near_dims, near_dims, 0.0f);
                } else {
                    place(row, y, t, norm_of_row, largest, frame.error(norm_of_row), scratch);
                }
            });
        if (near.room())
            near.room()->write(near.at(begin * near_dims), scratch.near,
                               chunk_rows * near_dims * int64_t{sizeof(float)});
    });
    find_wild();
}

void Points::find_wild() {
    tame1 = tame(rho1, size());
    tame2 = tame(rho2, size());
    moved.resize(rho1.size() / kAlign);
    for (size_t row = 0; row < rho1.size(); ++row) {
        const float r1 = rho1[row], r2 = rho2[row];
        moved[row / kAlign].add({r1, r1 <= tame1 ? r1 : 0.0f, r2, r2 <= tame2 ? r2 : 0.0f});
    }
}

void Points::place(int64_t row, const double* y, double t, double norm_of_row, double largest,
                   double error, Scratch& scratch) {
    const auto at = static_cast<size_t>(row);
    std::vector<double>& rests = scratch.rests;
    const bool far_out = largest > kFarOut;
    if (far_out) {
        scratch.point.assign(static_cast<size_t>(levels.coordinates()), 0.0);
        y = scratch.point.data();
        t = levels.near_centre;
        rests = levels.stage_centre;
        error +=
            norm_of_row * kMeasured + std::max(t, *std::max_element(rests.begin(), rests.end()));
    } else {
        norms_of_rests(levels, y, t, rests);
    }
    for (size_t s = 0; s < rests.size(); ++s) rests[s] -= levels.stage_centre[s];
    double residual;
    if (bytes) {
        residual = bytes->place(row, y, rests.data());
    } else {
        std::vector<double> point(y, y + levels.head());
        if (levels.rest) point.push_back(rests[0]);
        residual = place_floats(row, point);
    }
    rho1[at] = round_up(residual * kMeasured + error + DBL_MIN);
    if (near_dims == 0) return;
    float* out = scratch.near + (row - scratch.first) * near_dims;
    double squared = 0.0;
    for (int64_t a = 0; a < levels.near + levels.near_rest; ++a) {
        const double exact = a < levels.near ? y[a] : t - levels.near_centre;
        out[a] = plain_float(exact);
        squared += (out[a] - exact) * (out[a] - exact);
    }
    std::fill(out + levels.near + levels.near_rest, out + near_dims, 0.0f);
    rho2[at] = round_up(std::sqrt(squared) * kMeasured + error + DBL_MIN);
    if (bounded()) left_out[at] = rho2[at] + round_up(t + error);
}

// Returns |point - what float32 makes of it|.
double Points::place_floats(int64_t row, const std::vector<double>& point) {
    float* out = panels.data() + row / 16 * 16 * dims + row % 16;
    double squared = 0.0, residual = 0.0;
    for (size_t a = 0; a < point.size(); ++a) {
        const float rounded = plain_float(point[a]);
        out[a * 16] = rounded;
        squared += static_cast<double>(rounded) * rounded;
        residual += (rounded - point[a]) * (rounded - point[a]);
    }
    half[static_cast<size_t>(row)] =
        round_down(0.5 * squared / kMeasured * (1.0 - static_cast<double>(gamma)));
    return std::sqrt(residual);
}

double Points::length(int64_t row) const {
    if (!bytes) return std::sqrt(2.0 * double{half[static_cast<size_t>(row)]});
    return levels.step * std::sqrt(static_cast<double>(*bytes->last_norm(row)));
}

bool Points::lower_reach(int64_t row, double to) {
    const auto at = static_cast<size_t>(row);
    const float lower = round_up(to);
    if (!(lower < reach[at])) return false;
    reach[at] = lower;
    return true;
}

float Points::most_apart(int64_t row, const Points& others, int64_t other, float squared) const {
    const auto i = static_cast<size_t>(row), j = static_cast<size_t>(other);
    const double apart = std::sqrt(double{squared} * near_slack + near_underflow),
                 most = apart + left_out[i] + others.left_out[j];
    // Not a number, where another thread is writing to the rows, is anywhere.
    return most < FLT_MAX / 2 ? round_up(most) : std::numeric_limits<float>::infinity();
}

bool Points::in_reach(int64_t row, const Points& others, int64_t other, float most) const {
    const auto i = static_cast<size_t>(row), j = static_cast<size_t>(other);
    if (!(most < std::numeric_limits<float>::infinity())) return true;  // it may be anywhere
    // What was added to their distance at level 2, and may have to be taken away; rounding added some 2^-21.
    const double moved = double{left_out[i]} + double{others.left_out[j]},
                 least = double{most} * (1.0 - 0x1p-18) / near_slack -
                         std::sqrt(double{near_underflow}) - 2.0 * moved;
    return !(least > reach[i]);
}

}  // namespace dqcore
