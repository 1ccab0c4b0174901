#include "knn/points.h"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <limits>

namespace dqcore {
namespace {

constexpr int64_t kSampleRows = 1024;

// Far below zero: no sum with what rounding moved comes near zero again.
constexpr float kNoReach = -1e30f;

// Coordinates beyond this times the sample's largest would make float32 products overflow. Such rows are placed at
// the origin with all their length in rho: kept against every row of their block, and right.
constexpr double kFarOut = 0x1p30;

// float32 with subnormals as zero: what a processor in flush-to-zero mode would make of them.
float plain_float(double x) {
    const auto rounded = static_cast<float>(x);
    return std::abs(rounded) < FLT_MIN ? 0.0f : rounded;
}

double squared_rest(const double* y, int64_t from, int64_t to, double t) {
    double sum = t * t;
    for (int64_t a = from; a < to; ++a) sum += y[a] * y[a];
    return sum;
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
    const int64_t coordinates = std::max(levels.head, levels.near);
    double largest = 0.0, least_rest = std::numeric_limits<double>::infinity(), most_rest = 0.0,
           near_rest = 0.0;
    frame.place(keys, rows.data(), 0, count, coordinates,
                [&](int64_t, const double* y, double t, double, double) {
                    for (int64_t a = 0; a < levels.head; ++a)
                        largest = std::max(largest, std::abs(y[a]));
                    const double rest = std::sqrt(squared_rest(y, levels.head, coordinates, t));
                    least_rest = std::min(least_rest, rest);
                    most_rest = std::max(most_rest, rest);
                    near_rest += t;
                });
    levels.head_rest = 0.5 * (least_rest + most_rest);
    levels.near_rest = near_rest / static_cast<double>(count);
    if (levels.rest) largest = std::max(largest, 0.5 * (most_rest - least_rest));
    if (largest > 0.0) levels.step = largest / 127.0;
}

Points::Points(const Frame& frame, const Levels& levels, const Keys& keys,
               std::vector<int32_t> row_ids, const Run& run)
    : levels(levels),
      dims(levels.head_dims()),
      near_dims(levels.near_dims()),
      inverse_step(round_up(1.0 / levels.step)),
      ids(std::move(row_ids)) {
    const int64_t n = size(), rows = (n + kAlign - 1) / kAlign * kAlign;
    const auto entries = static_cast<size_t>(rows);
    zero.assign(entries, 0);
    reach.assign(entries, kNoReach);
    std::fill_n(reach.begin(), n, std::numeric_limits<float>::infinity());
    rho1.assign(entries, 0.0f);
    if (near_dims > 0) {
        rho2.assign(entries, 0.0f);
        near.assign(static_cast<size_t>(rows * near_dims), 0.0f);
    }
    if (levels.bytes) {
        q.assign(static_cast<size_t>(rows * dims), 0);
        shifted.assign(static_cast<size_t>(rows * dims), 128);
        norm.assign(entries, kFarNorm);
        start.assign(entries, -kFarNorm / 2);
    } else {
        panels.assign(static_cast<size_t>(rows * dims), 0.0f);
        half.assign(entries, std::numeric_limits<float>::infinity());
        const double steps = static_cast<double>(dims + 2) * 0x1p-24;
        gamma = steps < 0.5 ? round_up(steps / (1.0 - steps)) : 2.0f;
    }
    parallel_rows(run, "prepare", n, 256, [&](int64_t begin, int64_t end, const Worker& worker) {
        worker.check();
        frame.place(
            keys, ids.data(), begin, end, std::max(levels.head, levels.near),
            [&](int64_t row, const double* y, double t, double norm_of_row, double largest) {
                const auto at = static_cast<size_t>(row);
                if (keys.is_zero(ids[at])) {
                    zero[at] = 1;
                } else {
                    place(row, y, t, norm_of_row, largest, frame.error(norm_of_row));
                }
            });
    });
}

void Points::place(int64_t row, const double* y, double t, double norm_of_row, double largest,
                   double error) {
    const int64_t coordinates = std::max(levels.head, levels.near);
    std::vector<double> point(y, y + levels.head);
    if (levels.rest)
        point.push_back(std::sqrt(squared_rest(y, levels.head, coordinates, t)) - levels.head_rest);
    const bool far_out = largest > kFarOut;
    if (far_out) {
        std::fill(point.begin(), point.end(), 0.0);
        error += norm_of_row * kMeasured + levels.head_rest;
    }
    if (levels.bytes) {
        place_bytes(row, point, error);
    } else {
        place_floats(row, point, error);
    }
    if (near_dims == 0) return;
    float* out = near.data() + row * near_dims;
    double squared = 0.0;
    for (int64_t a = 0; a < levels.near + levels.rest && !far_out; ++a) {
        const double exact = a < levels.near ? y[a] : t - levels.near_rest;
        out[a] = plain_float(exact);
        squared += (out[a] - exact) * (out[a] - exact);
    }
    rho2[static_cast<size_t>(row)] = round_up(std::sqrt(squared) * kMeasured + error +
                                              (far_out ? levels.near_rest : 0.0) + DBL_MIN);
}

void Points::place_bytes(int64_t row, const std::vector<double>& point, double error) {
    const int64_t start_of_row = row / 16 * 16 * dims + row % 16 * 4;
    int8_t* out = q.data() + start_of_row;
    uint8_t* out_shifted = shifted.data() + start_of_row;
    double squared = 0.0;
    int32_t sum = 0, sum_of_squares = 0;
    for (size_t a = 0; a < point.size(); ++a) {
        const double value = std::rint(std::min(127.0, std::max(-127.0, point[a] / levels.step)));
        const auto byte = static_cast<int8_t>(value);
        out[a / 4 * 64 + a % 4] = byte;
        out_shifted[a / 4 * 64 + a % 4] = static_cast<uint8_t>(byte + 128);
        squared += (point[a] - levels.step * value) * (point[a] - levels.step * value);
        sum += byte;
        sum_of_squares += byte * byte;
    }
    const auto at = static_cast<size_t>(row);
    rho1[at] = round_up(std::sqrt(squared) * kMeasured + error + DBL_MIN);
    norm[at] = sum_of_squares;
    start[at] = -128 * sum - sum_of_squares / 2;
}

void Points::place_floats(int64_t row, const std::vector<double>& point, double error) {
    float* out = panels.data() + row / 16 * 16 * dims + row % 16;
    double squared = 0.0, residual = 0.0;
    for (size_t a = 0; a < point.size(); ++a) {
        const float rounded = plain_float(point[a]);
        out[a * 16] = rounded;
        squared += static_cast<double>(rounded) * rounded;
        residual += (rounded - point[a]) * (rounded - point[a]);
    }
    const auto at = static_cast<size_t>(row);
    rho1[at] = round_up(std::sqrt(residual) * kMeasured + error + DBL_MIN);
    half[at] = round_down(0.5 * squared / kMeasured * (1.0 - static_cast<double>(gamma)));
}

void Points::set_reach(int64_t row, const Frame& frame, double key) {
    const auto at = static_cast<size_t>(row);
    if (zero[at] == 0) reach[at] = round_up(frame.radius(key));
}

}  // namespace dqcore
