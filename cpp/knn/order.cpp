#include "knn/order.h"

#include <algorithm>
#include <array>
#include <limits>
#include <numeric>
#include <utility>

namespace dqcore {
namespace {

constexpr int64_t kDims = Boxes::kDims, kGroup = Order::kGroup;

// Beyond this many times the sample's largest coordinate, differences of coordinates could leave float32.
constexpr double kFarOut = 0x1p30;

struct Range {
    int64_t begin, end;
};

// The direction of largest variance among some of the rows of a range, by power iteration.
void principal_direction(const std::vector<int32_t>& rows, const std::vector<float>& coordinates,
                         Range range, double* direction) {
    constexpr int64_t kSampleRows = 256;
    constexpr int kIterations = 8;
    const int64_t step = std::max<int64_t>(1, (range.end - range.begin) / kSampleRows);
    double mean[kDims] = {}, covariance[kDims][kDims] = {};
    int64_t count = 0;
    for (int64_t at = range.begin; at < range.end; at += step, ++count) {
        const float* x = &coordinates[static_cast<size_t>(rows[static_cast<size_t>(at)] * kDims)];
        for (int64_t a = 0; a < kDims; ++a) {
            mean[a] += x[a];
            for (int64_t b = 0; b <= a; ++b) covariance[a][b] += double{x[a]} * x[b];
        }
    }
    int64_t widest = 0;
    for (int64_t a = 0; a < kDims; ++a)
        for (int64_t b = 0; b <= a; ++b) {
            covariance[a][b] -= mean[a] * mean[b] / static_cast<double>(count);
            covariance[b][a] = covariance[a][b];
        }
    for (int64_t a = 1; a < kDims; ++a)
        if (covariance[a][a] > covariance[widest][widest]) widest = a;
    std::fill_n(direction, kDims, 0.0);
    direction[widest] = 1.0;
    for (int i = 0; i < kIterations; ++i) {
        double next[kDims] = {}, largest = 0.0;
        for (int64_t a = 0; a < kDims; ++a) {
            for (int64_t b = 0; b < kDims; ++b) next[a] += covariance[a][b] * direction[b];
            largest = std::max(largest, std::abs(next[a]));
        }
        if (!(largest > 0.0)) return;  // all rows in one place: any direction will do
        for (int64_t a = 0; a < kDims; ++a) direction[a] = next[a] / largest;
    }
}

// Halves [begin, end) of `rows` across its widest direction; the border is a multiple of a group.
int64_t halve(std::vector<int32_t>& rows, const std::vector<float>& coordinates, Range range) {
    double direction[kDims];
    principal_direction(rows, coordinates, range, direction);
    const int64_t size = range.end - range.begin;
    std::vector<std::pair<float, int32_t>> values(static_cast<size_t>(size));
    for (int64_t at = range.begin; at < range.end; ++at) {
        const int32_t row = rows[static_cast<size_t>(at)];
        const float* x = &coordinates[static_cast<size_t>(row * kDims)];
        double along = 0.0;
        for (int64_t a = 0; a < kDims; ++a) along += direction[a] * x[a];
        values[static_cast<size_t>(at - range.begin)] = {static_cast<float>(along), row};
    }
    const int64_t half = (size / 2 + kGroup - 1) / kGroup * kGroup;
    std::nth_element(values.begin(), values.begin() + half, values.end());
    for (int64_t at = range.begin; at < range.end; ++at)
        rows[static_cast<size_t>(at)] = values[static_cast<size_t>(at - range.begin)].second;
    return range.begin + half;
}

void sort_rows(std::vector<int32_t>& rows, const std::vector<float>& coordinates, const Run& run) {
    std::vector<Range> level{{0, static_cast<int64_t>(rows.size())}};
    while (!level.empty()) {
        std::vector<Range> next(2 * level.size(), Range{0, 0});
        parallel_for(run, "order", static_cast<int64_t>(level.size()),
                     [&](int64_t i, const Worker& worker) {
                         worker.check();
                         const Range range = level[static_cast<size_t>(i)];
                         if (range.end - range.begin <= kGroup) return;
                         const int64_t middle = halve(rows, coordinates, range);
                         next[static_cast<size_t>(2 * i)] = {range.begin, middle};
                         next[static_cast<size_t>(2 * i + 1)] = {middle, range.end};
                     });
        std::erase_if(next, [](Range r) { return r.end - r.begin <= kGroup; });
        level = std::move(next);
    }
}

// Rows of a group by their length, four of about one length at the places that a filter tests together (simd/vnni.inl):
// rows of one length mostly have their neighbours about as far.
void sort_group(int32_t* rows, const std::vector<float>& coordinates) {
    constexpr int64_t kTogether = 4;
    std::array<std::pair<float, int32_t>, kGroup> by_length;
    for (int64_t t = 0; t < kGroup; ++t) {
        const float* x = &coordinates[static_cast<size_t>(rows[t] * kDims)];
        float squared = 0.0f;
        for (int64_t a = 0; a < kDims; ++a) squared += x[a] * x[a];
        by_length[static_cast<size_t>(t)] = {squared, rows[t]};
    }
    std::sort(by_length.begin(), by_length.end());
    for (int64_t t = 0; t < kGroup; ++t)
        rows[t % kTogether * (kGroup / kTogether) + t / kTogether] =
            by_length[static_cast<size_t>(t)].second;
}

}  // namespace

float Boxes::gap(const Boxes& a, int64_t i, const Boxes& b, int64_t j) {
    const float* low_i = &a.low[static_cast<size_t>(i * kDims)];
    const float* high_i = &a.high[static_cast<size_t>(i * kDims)];
    const float* low_j = &b.low[static_cast<size_t>(j * kDims)];
    const float* high_j = &b.high[static_cast<size_t>(j * kDims)];
    constexpr int64_t kLanes = 4;
    float sum[kLanes] = {};
    for (int64_t d = 0; d < kDims; d += kLanes)
        for (int64_t l = 0; l < kLanes; ++l) {
            const float apart = std::max(
                0.0f, std::max(low_i[d + l] - high_j[d + l], low_j[d + l] - high_i[d + l]));
            sum[l] += apart * apart;
        }
    // Less than a dozen float32 roundings, each of at most 2^-24 relatively.
    return std::sqrt((sum[0] + sum[1]) + (sum[2] + sum[3])) * (1.0f - 0x1p-19f) -
           a.slack[static_cast<size_t>(i)] - b.slack[static_cast<size_t>(j)];
}

float Boxes::between_centres(const Boxes& a, int64_t i, const Boxes& b, int64_t j) {
    float sum = 0.0f;
    for (int64_t d = 0; d < kDims; ++d) {
        const auto at = static_cast<size_t>(i * kDims + d),
                   other = static_cast<size_t>(j * kDims + d);
        const float apart = a.low[at] + a.high[at] - b.low[other] - b.high[other];
        sum += apart * apart;
    }
    return sum;
}

Boxes::Boxes(int64_t count)
    : low(static_cast<size_t>(count * kDims), std::numeric_limits<float>::infinity()),
      high(static_cast<size_t>(count * kDims), -std::numeric_limits<float>::infinity()),
      slack(static_cast<size_t>(count), 0.0f) {}

void Boxes::add(int64_t i, const float* other_low, const float* other_high, float other_slack) {
    for (int64_t d = 0; d < kDims; ++d) {
        const auto at = static_cast<size_t>(i * kDims + d);
        low[at] = std::min(low[at], other_low[d]);
        high[at] = std::max(high[at], other_high[d]);
    }
    slack[static_cast<size_t>(i)] = std::max(slack[static_cast<size_t>(i)], other_slack);
}

Boxes Boxes::merged(int64_t count) const {
    Boxes out((size() + count - 1) / count);
    for (int64_t i = 0; i < size(); ++i)
        out.add(i / count, &low[static_cast<size_t>(i * kDims)],
                &high[static_cast<size_t>(i * kDims)], slack[static_cast<size_t>(i)]);
    return out;
}

Order order_rows(const Frame& frame, const Keys& keys, const std::vector<int32_t>& ids, bool sort,
                 const Run& run) {
    const auto n = static_cast<int64_t>(ids.size());
    std::vector<float> coordinates(static_cast<size_t>(n * kDims), 0.0f),
        slack(static_cast<size_t>(n));
    const std::vector<int64_t>& leading = frame.leading();
    const int64_t count = std::min<int64_t>(kDims, static_cast<int64_t>(leading.size()));
    parallel_rows(run, "order", n, 256, [&](int64_t begin, int64_t end, const Worker& worker) {
        worker.check();
        frame.place_leading(
            keys, ids.data(), begin, end,
            [&](int64_t row, const double* y, double, double norm, double largest) {
                float* out = &coordinates[static_cast<size_t>(row * kDims)];
                float& own = slack[static_cast<size_t>(row)];
                own = static_cast<float>((frame.error(norm) + norm * 0x1p-22) * 1.001);
                // A row far out, or one that another thread is writing to, may lie anywhere.
                if (!(largest <= kFarOut && norm <= kFarOut * kFarOut)) {
                    own = std::numeric_limits<float>::infinity();
                    return;
                }
                for (int64_t a = 0; a < count; ++a)
                    out[a] = static_cast<float>(y[leading[static_cast<size_t>(a)]]);
            });
    });
    std::vector<int32_t> rows(static_cast<size_t>(n));
    std::iota(rows.begin(), rows.end(), 0);
    if (sort) {
        sort_rows(rows, coordinates, run);
        for (int64_t at = 0; at + kGroup <= n; at += kGroup)
            sort_group(rows.data() + at, coordinates);
    }
    Order order;
    order.groups = Boxes((n + kGroup - 1) / kGroup);
    for (int64_t at = 0; at < n; ++at) {
        const auto row = static_cast<size_t>(rows[static_cast<size_t>(at)]);
        order.ids.push_back(ids[row]);
        order.groups.add(at / kGroup, &coordinates[row * kDims], &coordinates[row * kDims],
                         slack[row]);
    }
    return order;
}

}  // namespace dqcore
