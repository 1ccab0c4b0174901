#include "knn/bytes.h"

#include <algorithm>
#include <cmath>

#include "knn/levels.h"
#include "simd/kernels.h"

namespace dqcore {

namespace {

// The nearest whole number to a small one, ties to even: what is added leaves no bits below the point.
double nearest(double x) {
    constexpr double kShift = 0x1.8p52;
    return (x + kShift) - kShift;
}

}  // namespace

ByteLevel::ByteLevel(const Levels& levels, int64_t rows)
    : rows_(rows),
      offset_(simd::active().byte_offset),
      step_(levels.step),
      inverse_step_(1.0 / levels.step),
      most_(simd::active().byte_most * levels.step),
      rest_(levels.rest),
      coordinates_(levels.stages) {
    int64_t end = 0, from = 0;
    for (const int64_t to : coordinates_) {
        const int64_t exchange = rest_ ? (from > 0 ? 2 : 1) : 0;
        end += (to - from + exchange + 3) / 4 * 4;
        ends_.push_back(end);
        from = to;
    }
    const auto bytes = static_cast<size_t>(rows * end);
    q_.assign(bytes, 0);
    shifted_.assign(bytes, static_cast<uint8_t>(offset_));
    const size_t norms = coordinates_.size() * static_cast<size_t>(rows);
    norm_.assign(norms, kFarNorm);
    start_.assign(norms, 0);
    std::fill_n(start_.begin(), rows, -kFarNorm / 2);
}

double ByteLevel::place(int64_t row, const double* y, const double* rests) {
    int8_t* q = q_.data() + place_of(row);
    uint8_t* shifted = shifted_.data() + place_of(row);
    int64_t at = 0;
    int32_t sum = 0, squares = 0, started = 0;
    double residual = 0.0, most = 0.0;
    const auto put = [&](int32_t as_row, int32_t as_column) {
        const int64_t place = at / 4 * 64 + at % 4;
        shifted[place] = static_cast<uint8_t>(as_row + offset_);
        q[place] = static_cast<int8_t>(as_column);
        sum += as_column;
        ++at;
    };
    const auto quantise = [&](double value, double& squared_error) {
        const double cut = std::min(most_, std::max(-most_, value));
        const double rounded = nearest(cut * inverse_step_);
        squared_error += (cut - step_ * rounded) * (cut - step_ * rounded);
        return static_cast<int32_t>(rounded);
    };
    int32_t old_rest = 0;
    int64_t a = 0;
    for (size_t s = 0; s < ends_.size(); ++s) {
        if (s > 0 && rest_) put(old_rest, -old_rest);
        for (; a < coordinates_[s]; ++a) {
            const int32_t value = quantise(y[a], residual);
            put(value, value);
            squares += value * value;
        }
        double stage_residual = residual;
        int32_t stage_squares = squares;
        if (rest_) {
            old_rest = quantise(rests[s], stage_residual);
            put(old_rest, old_rest);
            stage_squares += old_rest * old_rest;
        }
        at = ends_[s];
        const size_t entry = s * static_cast<size_t>(rows_) + static_cast<size_t>(row);
        const int32_t start = -offset_ * sum - stage_squares / 2;
        norm_[entry] = stage_squares;
        start_[entry] = start - started;
        started = start;
        most = std::max(most, stage_residual);
    }
    return std::sqrt(most);
}

}  // namespace dqcore
