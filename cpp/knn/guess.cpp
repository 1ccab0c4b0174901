#include "knn/guess.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace dqcore {
namespace {

// A pilot costs two rows of the sweep.
constexpr int64_t kRowsPerPilot = 128, kLeastPilots = 64, kMostPilots = 1024;

// Part of the pilots whose own guess is too low.
constexpr double kFailing = 0.005;

// Rows that are swept again at once, each with its level 2 in memory.
constexpr size_t kMostAgain = 8192;

// Lengths and reaches beyond, in units of the frame, are of rows that level 1 does not hold.
constexpr double kNoGuess = 1e9;

// The rows `rows` of `set` as a set of their own, in that order.
SweepSet subset(const SweepSet& set, const std::vector<int64_t>& rows, const Run& run) {
    std::vector<int32_t> ids;
    for (const int64_t row : rows) ids.push_back(set.points.ids[static_cast<size_t>(row)]);
    return {set.frame, set.points.levels, set.keys, ids, false, run};
}

// The parabola of least squares through points (x, y), flat beyond the outermost of them: three polynomials that are
// orthogonal on the x, each the one before it times x, less what the others hold of that.
class Parabola {
public:
    Parabola(const std::vector<double>& x, const std::vector<double>& y) {
        low_ = *std::min_element(x.begin(), x.end());
        high_ = *std::max_element(x.begin(), x.end());
        const auto count = static_cast<double>(x.size());
        double sum = 0.0;
        for (const double v : x) sum += v;
        centre_ = sum / count;
        double squares = 0.0, cubes = 0.0;
        for (const double v : x) {
            squares += (v - centre_) * (v - centre_);
            cubes += (v - centre_) * (v - centre_) * (v - centre_);
        }
        skew_ = squares > 0.0 ? cubes / squares : 0.0;
        spread_ = squares / count;
        double along[3] = {}, lengths[3] = {};
        for (size_t i = 0; i < x.size(); ++i) {
            double p[3];
            polynomials(x[i], p);
            for (int t = 0; t < 3; ++t) {
                along[t] += p[t] * y[i];
                lengths[t] += p[t] * p[t];
            }
        }
        for (int t = 0; t < 3; ++t) factor_[t] = lengths[t] > 0.0 ? along[t] / lengths[t] : 0.0;
    }

    double at(double x) const {
        double p[3], sum = 0.0;
        polynomials(std::clamp(x, low_, high_), p);
        for (int t = 0; t < 3; ++t) sum += factor_[t] * p[t];
        return sum;
    }

private:
    void polynomials(double x, double* p) const {
        p[0] = 1.0;
        p[1] = x - centre_;
        p[2] = p[1] * (p[1] - skew_) - spread_;
    }

    double low_, high_, centre_, skew_, spread_;
    double factor_[3] = {};
};

// The reach of each of `rows` when the sweep is over, by sweeping them against all rows.
std::vector<double> reaches(SweepSet& set, const std::vector<int64_t>& rows, int64_t k,
                            const Run& run) {
    SweepSet pilots = subset(set, rows, run);
    NeighbourLists lists(static_cast<int64_t>(rows.size()), k);
    sweep_cross(pilots, set,
                {.lists = lists,
                 .list_of = [](int64_t row) { return row; },
                 .own_name = [&](int64_t row) { return rows[static_cast<size_t>(row)]; },
                 .name_of = [](int64_t other) { return static_cast<int32_t>(other); }},
                run);
    std::vector<double> out;
    for (int64_t p = 0; p < lists.rows(); ++p) out.push_back(set.frame.radius(lists.bound(p)));
    return out;
}

}  // namespace

Guesses::Guesses(SweepSet& set, int64_t k, const Run& run) {
    const Points& points = set.points;
    const int64_t n = points.size(), count = std::min(n / kRowsPerPilot, kMostPilots);
    if (count < kLeastPilots) return;
    std::vector<int64_t> rows;
    for (int64_t p = 0; p < count; ++p) {
        const int64_t row = (2 * p + 1) * n / (2 * count);
        if (points.zero[static_cast<size_t>(row)] == 0) rows.push_back(row);
    }
    std::vector<double> lengths, reach;
    const std::vector<double> found = reaches(set, rows, k, run);
    for (size_t p = 0; p < rows.size(); ++p) {
        const double length = points.length(rows[p]);
        if (!(found[p] < kNoGuess && length < kNoGuess)) continue;  // far out, or changing
        lengths.push_back(length);
        reach.push_back(found[p]);
    }
    if (static_cast<int64_t>(reach.size()) < kLeastPilots) return;
    const Parabola expected(lengths, reach);
    const double least = *std::min_element(reach.begin(), reach.end());
    const auto guess = [&](double length) { return std::max(least, expected.at(length)); };
    std::vector<double> stretch;
    for (size_t p = 0; p < reach.size(); ++p)
        stretch.push_back(reach[p] > 0.0 ? reach[p] / guess(lengths[p]) : 1.0);
    const auto at =
        stretch.end() - 1 - static_cast<int64_t>(kFailing * static_cast<double>(stretch.size()));
    std::nth_element(stretch.begin(), at, stretch.end());
    guess_.resize(static_cast<size_t>(n));
    for (int64_t row = 0; row < n; ++row) {
        const double length = points.length(row);
        float& own = guess_[static_cast<size_t>(row)];
        own = length < kNoGuess ? round_up(*at * guess(length))
                                : std::numeric_limits<float>::infinity();
        set.points.lower_reach(row, double{own});
    }
}

SweepCounts Guesses::mend(SweepSet& set, const std::vector<int32_t>& names, NeighbourLists& lists,
                          const Run& run) const {
    std::vector<int64_t> rows;
    for (size_t row = 0; row < guess_.size(); ++row) {
        const auto list = static_cast<int64_t>(row);
        if (set.points.zero[row] == 0 && set.frame.radius(lists.bound(list)) > double{guess_[row]})
            rows.push_back(list);
    }
    if (rows.empty()) return {};
    const auto name_of = [&](const Points& points, int64_t row) {
        return names[static_cast<size_t>(points.ids[static_cast<size_t>(row)])];
    };
    // Where most rows lie in a room, those swept again come a few at a time.
    const size_t most = set.points.near.room() ? kMostAgain : rows.size();
    SweepCounts counts;
    for (size_t from = 0; from < rows.size(); from += most) {
        const std::vector<int64_t> some(
            rows.begin() + static_cast<int64_t>(from),
            rows.begin() + static_cast<int64_t>(std::min(rows.size(), from + most)));
        SweepSet again = subset(set, some, run);
        counts.add(sweep_cross(
            again, set,
            {.lists = lists,
             .list_of = [&](int64_t row) { return some[static_cast<size_t>(row)]; },
             .own_name = [&](int64_t row) { return int64_t{name_of(again.points, row)}; },
             .name_of = [&](int64_t other) { return name_of(set.points, other); }},
            run));
    }
    counts.again = static_cast<int64_t>(rows.size());
    return counts;
}

}  // namespace dqcore
