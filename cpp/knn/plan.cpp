#include "knn/plan.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace dqcore {
namespace {

// Nanoseconds on one core of about 3.5 GHz; only their ratios matter. A survivor of level 1 costs its place in the
// batch, a level-2 distance from the second cache, and a share of keys and list work.
constexpr double kSurvivor = 25.0;
constexpr double kKey = 60.0,
                 kKeyDim = 0.5;  // a survivor of level 2: its canonical key, from the original rows
constexpr double kMultiplyAdd = 0.03;  // float64, of the rotation
constexpr double kOpenPair = 0.02;     // a pair at a stage of level 1, whatever the dimensions
constexpr int64_t kSampleRows = 1024, kSampleQueries = 64;
// Coordinates of level 2 where rotated: all of them, which spares most keys (shortlist.h), where that takes hardly more
// memory and time than the few that tell most rows apart.
constexpr int64_t kMostWhole = 384, kMostNear = 128;
constexpr int64_t kLeastRows = 2048;  // fewer are not worth a rotation

double per_dim(bool bytes) { return bytes ? simd::active().byte_cost : simd::active().filter_cost; }

struct Sample {
    std::vector<int32_t> ids;  // of the rows in the keys
    std::vector<double> y;     // (rows, width): coordinates
    std::vector<double>
        rest;  // (rows, width + 1): norm of what the first 0, 1, ... coordinates leave out
    int64_t rows = 0, width = 0;
    double largest = 0.0;  // coordinate

    // A lower bound of the distance by each number of coordinates in `heads`, ascending.
    void distances(int64_t i, int64_t j, const std::vector<int64_t>& heads, double* out) const {
        const double* a = y.data() + i * width;
        const double* b = y.data() + j * width;
        const double* rest_a = rest.data() + i * (width + 1);
        const double* rest_b = rest.data() + j * (width + 1);
        double sum = 0.0;
        int64_t c = 0;
        for (size_t h = 0; h < heads.size(); ++h) {
            for (; c < heads[h]; ++c) sum += (a[c] - b[c]) * (a[c] - b[c]);
            const double apart = rest_a[c] - rest_b[c];
            out[h] = std::sqrt(sum + apart * apart);
        }
    }
};

Sample take_sample(const Frame& frame, const Keys& keys, const std::vector<int32_t>& ids) {
    const auto n = static_cast<int64_t>(ids.size()), step = std::max<int64_t>(1, n / kSampleRows);
    Sample sample;
    for (int64_t i = step / 2; i < n; i += step) sample.ids.push_back(ids[static_cast<size_t>(i)]);
    sample.rows = static_cast<int64_t>(sample.ids.size());
    sample.width = frame.dims();
    sample.y.resize(static_cast<size_t>(sample.rows * sample.width));
    sample.rest.resize(static_cast<size_t>(sample.rows * (sample.width + 1)));
    frame.place(keys, sample.ids.data(), 0, sample.rows, frame.dims(),
                [&](int64_t row, const double* y, double t, double, double) {
                    std::copy_n(y, sample.width, sample.y.data() + row * sample.width);
                    double* rest = sample.rest.data() + row * (sample.width + 1);
                    double squared = t * t;
                    rest[sample.width] = t;
                    for (int64_t c = sample.width - 1; c >= 0; --c) {
                        squared += y[c] * y[c];
                        rest[c] = std::sqrt(squared);
                        sample.largest = std::max(sample.largest, std::abs(y[c]));
                    }
                });
    return sample;
}

// The distance to the k-th neighbour among n rows, from those to the nearest in a sample: they grow as
// rank^(1 / dimension). Source: Levina, Bickel (2004), "Maximum likelihood estimation of intrinsic dimension".
double typical_reach(const std::vector<double>& nearest, double rank_in_sample) {
    double sum_of_logs = 0.0;
    const double last = nearest.back();
    if (last <= 0.0) return 0.0;
    for (size_t t = 0; t + 1 < nearest.size(); ++t)
        sum_of_logs += std::log(last / std::max(nearest[t], 1e-9 * last));
    const double inverse_dimension = sum_of_logs / static_cast<double>(nearest.size() - 1);
    return last * std::pow(rank_in_sample / static_cast<double>(nearest.size()), inverse_dimension);
}

// For each head in `heads`: the share of pairs that pass level 1 once thresholds are tight, as int8 where `bytes`, but
// for the last head, which is level 2.
std::vector<double> pass_shares(const Frame& frame, const Keys& keys, const Sample& sample,
                                const std::vector<int64_t>& heads, bool bytes, double rank,
                                const Run& run) {
    const int64_t queries = std::min(kSampleQueries, sample.rows);
    std::vector<double> moved(heads.size(), 0.0);
    // Rounding to steps of largest / 127, less after mixing, moves a point by step * sqrt(dims / 12).
    for (size_t h = 0; bytes && h + 1 < heads.size(); ++h)
        moved[h] = 1.2 * sample.largest / simd::active().byte_most *
                   std::sqrt(static_cast<double>(heads[h]) / 12.0);
    std::vector<int64_t> passed(static_cast<size_t>(queries) * heads.size(), 0);
    parallel_rows(run, "plan", queries, 4, [&](int64_t begin, int64_t end, const Worker& worker) {
        std::vector<double> all(static_cast<size_t>(sample.rows)), apart(heads.size());
        for (int64_t q = begin; q < end; ++q) {
            worker.check();
            const int64_t i = q * sample.rows / queries;
            for (int64_t j = 0; j < sample.rows; ++j) {
                const double reach =
                    frame.radius(Keys::between(keys, sample.ids[static_cast<size_t>(i)], keys,
                                               sample.ids[static_cast<size_t>(j)]));
                all[static_cast<size_t>(j)] =
                    j != i && reach >= 0.0 ? reach : std::numeric_limits<double>::infinity();
            }
            constexpr int64_t kNearest = 12;
            std::partial_sort(all.begin(), all.begin() + kNearest, all.end());
            const double reach = typical_reach({all.begin(), all.begin() + kNearest}, rank);
            for (int64_t j = 0; j < sample.rows; ++j) {
                sample.distances(i, j, heads, apart.data());
                for (size_t h = 0; h < heads.size(); ++h)
                    passed[static_cast<size_t>(q) * heads.size() + h] +=
                        j != i && apart[h] <= reach + moved[h];
            }
        }
    });
    std::vector<double> shares(heads.size(), 0.0);
    for (size_t at = 0; at < passed.size(); ++at)
        shares[at % heads.size()] += static_cast<double>(passed[at]);
    for (double& share : shares)
        share /= static_cast<double>(queries) * static_cast<double>(sample.rows - 1);
    return shares;
}

// Of the 256 pairs that the filter tests at once, neighbours in the order of the sweep, the chance that any passes a
// stage that single pairs pass with chance `share`. Near rows pass together: about one in seven counts.
double step_passes(double share) {
    const double expected = share * 256.0 / 7.0;
    return expected / (1.0 + expected);
}

// Stages of int8 that end before `bytes`, of those worth their test.
std::vector<int64_t> early_stages(int64_t bytes, const std::vector<double>& shares) {
    constexpr double kWorthwhile = 0.7;
    std::vector<int64_t> ends;
    for (int64_t end = 16; end < bytes; end *= 2)
        if (static_cast<int64_t>(ends.size()) + 1 < ByteLevel::kMostStages &&
            step_passes(shares[static_cast<size_t>(end / 16 - 1)]) < kWorthwhile)
            ends.push_back(end);
    return ends;
}

// Coordinates of stages that end at these bytes: one byte holds the rest, and one takes back the rest before it.
std::vector<int64_t> coordinates_of(std::vector<int64_t> ends) {
    for (size_t s = 0; s < ends.size(); ++s) ends[s] -= 1 + 2 * static_cast<int64_t>(s);
    return ends;
}

Plan identity_plan(const Keys& keys, const std::vector<int32_t>& ids, bool bytes) {
    Plan plan{Frame::identity(keys, ids), {}, static_cast<int64_t>(ids.size()) > kLeastRows};
    plan.levels.bytes = bytes && keys.d() >= 8;
    plan.levels.stages = {keys.d()};
    plan.levels.near = plan.levels.bytes ? keys.d() : 0;
    calibrate(plan.frame, keys, ids, plan.levels);
    return plan;
}

Plan rotated_plan(Frame frame, const Keys& keys, const std::vector<int32_t>& ids, bool bytes,
                  std::vector<int64_t> stages, const Run& run) {
    Plan plan{std::move(frame), {}, true};
    plan.levels.bytes = bytes;
    plan.levels.stages = std::move(stages);
    plan.levels.near = plan.frame.dims();
    plan.levels.rest = true;
    plan.levels.near_rest = plan.levels.near < keys.d();
    if (bytes) plan.frame.mix(plan.levels.stages, run);
    calibrate(plan.frame, keys, ids, plan.levels);
    return plan;
}

// Whether no axes tell much more than the coordinates do: the dimension that the data's variance fills, tr(C)^2 / tr(C^2)
// of their covariance C, is most of d. Of pairs of rows of a sample, the mean squared product is tr(C^2).
bool nearly_round(const Keys& keys, const std::vector<int32_t>& ids) {
    constexpr int64_t kRows = 128;
    constexpr double kPairs = 0.5 * kRows * (kRows - 1), kMost = 0.5;
    const Frame frame = Frame::identity(keys, ids);
    const auto n = static_cast<int64_t>(ids.size()), d = keys.d();
    std::vector<double> rows(static_cast<size_t>(kRows * d));
    std::vector<int32_t> chosen;
    for (int64_t i = 0; i < kRows; ++i) chosen.push_back(ids[static_cast<size_t>(i * n / kRows)]);
    double trace = 0.0, products = 0.0;
    frame.place(keys, chosen.data(), 0, kRows, d,
                [&](int64_t row, const double* y, double, double norm, double) {
                    std::copy_n(y, d, rows.data() + row * d);
                    trace += norm * norm / kRows;
                });
    for (int64_t i = 0; i < kRows; ++i)
        for (int64_t j = 0; j < i; ++j) {
            const double* x = rows.data() + i * d;
            const double product = std::inner_product(x, x + d, rows.data() + j * d, 0.0);
            products += product * product / kPairs;
        }
    return trace * trace > kMost * static_cast<double>(d) * products;
}

// For tests: `head` coordinates after stages of 15 and 31, where int8 has them.
std::vector<int64_t> forced_stages(int64_t head, bool bytes) {
    std::vector<int64_t> stages;
    for (int64_t h = 15; bytes && h < std::min<int64_t>(head, 32); h = 2 * h + 1)
        stages.push_back(h);
    stages.push_back(head);
    return stages;
}

}  // namespace

Plan make_plan(const Keys& keys, const std::vector<int32_t>& ids, int64_t queries, int64_t k,
               int64_t forced_head, const Run& run) {
    const auto n = static_cast<int64_t>(ids.size());
    const int64_t d = keys.d(), near = d <= kMostWhole ? d : kMostNear;
    const bool bytes = simd::active().filter_bytes != nullptr && d <= ByteLevel::kMostDims;
    if (forced_head > 0 && near > forced_head && n > 2 * Frame::kAxes)
        return rotated_plan(Frame::rotated(keys, ids, near, run), keys, ids, bytes,
                            forced_stages(forced_head, bytes), run);
    const double rows = static_cast<double>(n) + static_cast<double>(queries);
    const double pairs = queries > 0 ? static_cast<double>(queries) * static_cast<double>(n)
                                     : 0.5 * static_cast<double>(n) * static_cast<double>(n);
    const double whole = pairs * (static_cast<double>(d) * per_dim(bytes) + kOpenPair);
    // What finding the axes and placing the rows along them costs, counted for all cores.
    const auto wide = static_cast<double>(d) * static_cast<double>(near);
    const double setup = kMultiplyAdd * wide * (2.5 * rows + 3e4) + 1e7;
    if (forced_head < 0 || n < kLeastRows || near <= Frame::kAxes || whole < 2.0 * setup ||
        nearly_round(keys, ids))
        return identity_plan(keys, ids, bytes);
    Frame frame = Frame::rotated(keys, ids, near, run);
    const Sample sample = take_sample(frame, keys, ids);
    std::vector<int64_t> heads;
    for (int64_t h = 16; h <= near; h += 16) heads.push_back(h - 1);
    heads.push_back(near);
    const double rank =
        static_cast<double>(k) * static_cast<double>(sample.rows) / static_cast<double>(n);
    const std::vector<double> shares = pass_shares(frame, keys, sample, heads, bytes, rank, run);
    // What passes level 2 has its key computed; the identity passes hardly more than the neighbours themselves.
    const double keys_cost = pairs * shares.back() * (kKey + kKeyDim * static_cast<double>(d));
    heads.pop_back();
    double best = whole;
    std::vector<int64_t> stages;
    for (size_t h = 0; h < heads.size(); ++h) {
        const int64_t width = heads[h] + 1;
        std::vector<int64_t> ends = bytes ? early_stages(width, shares) : std::vector<int64_t>{};
        ends.push_back(width);
        double filter = 0.0, reached = 1.0;
        int64_t from = 0;
        for (const int64_t end : ends) {
            filter += reached * (static_cast<double>(end - from) * per_dim(bytes) + kOpenPair);
            reached = step_passes(shares[static_cast<size_t>(end / 16 - 1)]);
            from = end;
        }
        const double cost = setup + keys_cost + pairs * (filter + shares[h] * kSurvivor);
        if (cost < best) {
            best = cost;
            stages = bytes ? coordinates_of(ends) : std::vector<int64_t>{heads[h]};
        }
    }
    if (stages.empty()) return identity_plan(keys, ids, bytes);
    return rotated_plan(std::move(frame), keys, ids, bytes, std::move(stages), run);
}

}  // namespace dqcore
