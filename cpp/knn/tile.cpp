#include "knn/tile.h"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <numeric>

namespace dqcore {
namespace {

// A value of `a` that keeps every pair, and one that keeps none.
constexpr float kKeepAll = -FLT_MAX / 4;
constexpr float kKeepNone = std::numeric_limits<float>::infinity();

// Products of floats that underflow, flushed to zero or not, and sums of them.
double underflow(int64_t dims) { return static_cast<double>(dims + 2) * 0x1p-124; }

}  // namespace

Side::Side(const Points& points, const Boxes& groups, int64_t begin, int64_t end, bool seeks)
    : points(points), groups(groups), begin(begin), end(end), seeks(seeks) {
    const auto size = static_cast<size_t>(end - begin);
    for (int64_t group = begin / Points::kAlign;
         group < (end + Points::kAlign - 1) / Points::kAlign; ++group)
        moved.add(points.moved[static_cast<size_t>(group)]);
    (points.bytes ? limit.resize(size) : a.resize(size));
    if (points.near_dims > 0) near_limit.resize(size);
}

void Side::open(const Side& other) {
    other_ = &other;
    const auto reaches = other.points.reach.begin();
    other_reach_ =
        other.seeks ? *std::max_element(reaches + other.begin, reaches + other.end) : kNoReach;
    update(begin, end);
}

// Loops that the compiler turns into vector instructions: all rows of both blocks go through them for each pair of blocks.
void Side::update(int64_t first, int64_t last) {
    // Float32 throughout: 2^-20 is more than the handful of roundings of 2^-24 each.
    constexpr float kUp = 1.0f + 0x1p-20f;
    const float* const reaches = points.reach.data();
    const bool reaching = seeks;
    const float other_reach = other_reach_;
    // What a pair may be apart by the reach of the row and what rounding moved; below zero where it cannot matter. A row
    // that is not a number, as another thread may make it, is wild.
    const auto apart = [=](int64_t row, float rho, float tame, float other_rho, float other_tame) {
        const float reach = reaching ? reaches[row] : kNoReach;
        const float as_tame = reach + rho + other_tame,
                    as_wild = std::max(reach, other_reach) + rho + other_rho;
        return (rho <= tame ? as_tame : as_wild) * kUp;
    };
    const Moved other = other_->moved;
    const float* const rho1 = points.rho1.data();
    const float tame1 = points.tame1;
    if (points.bytes) {
        const float inverse_step = points.inverse_step;
        int32_t* const limits = limit.data() - begin;
        for (int64_t row = first; row < last; ++row) {
            const float far = apart(row, rho1[row], tame1, other.all1, other.tame1);
            // A reach that is open, or a row far out, gives infinity.
            const float steps = far * inverse_step;
            // In this order the smaller of what is not a number and the threshold is the threshold.
            const float squared =
                std::min(static_cast<float>(ByteLevel::kOpenThreshold), steps * steps * kUp + 1.0f);
            limits[row] = static_cast<int32_t>(far < 0.0f ? -1.0f : squared);
        }
    } else {
        for (int64_t row = first; row < last; ++row) {
            const float far = apart(row, rho1[row], tame1, other.all1, other.tame1);
            const double half = 0.5 * static_cast<double>(far) * far * (1.0 + 0x1p-40);
            const bool bounded = points.gamma <= 1.0f && half < -static_cast<double>(kKeepAll);
            a[static_cast<size_t>(row - begin)] =
                far < 0.0f ? kKeepNone
                : bounded  ? round_down(points.half[static_cast<size_t>(row)] - half -
                                        underflow(points.dims))
                           : kKeepAll;
        }
    }
    if (points.near_dims == 0) return;
    const float* const rho2 = points.rho2.data();
    const float tame2 = points.tame2, slack = points.near_slack, lost = points.near_underflow;
    float* const limits = near_limit.data() - begin;
    for (int64_t row = first; row < last; ++row) {
        const float far = apart(row, rho2[row], tame2, other.all2, other.tame2);
        limits[row] = far < 0.0f ? -1.0f : far * far * slack + lost;
    }
}

float Side::group_reach(int64_t group) const {
    if (!seeks) return -1.0f;
    const int64_t first = group * Order::kGroup,
                  last = std::min(first + Order::kGroup, points.size());
    float most = -1.0f;
    for (int64_t row = first; row < last; ++row)
        most = std::max(most, points.reach[static_cast<size_t>(row)]);
    return most;
}

Tile::Tile(Side& left, Side& right, bool same)
    : kernels_(simd::active()), left_(left), right_(right), same_(same) {
    pairs_.reserve(kFlushPairs + kGroup * kGroup);
}

// Rows of the group at i against the 64 columns at j.
void Tile::filter_group(int64_t i, int64_t j) {
    const Points& left = left_.points;
    const Points& right = right_.points;
    uint64_t survivors[kGroup];
    const auto li = static_cast<size_t>(i - left_.begin),
               rj = static_cast<size_t>(j - right_.begin);
    if (left.bytes) {
        const ByteLevel& rows = *left.bytes;
        const ByteLevel& columns = *right.bytes;
        const simd::ByteStages stages{rows.stages(), rows.ends(), rows.padded(), columns.padded()};
        static_assert(kGroup == simd::kByteGroup);
        uint64_t found =
            kernels_.filter_bytes(stages, rows.as_row(i), columns.as_column(j), rows.norm(i),
                                  &left_.limit[li], columns.start(j), &right_.limit[rj], survivors);
        for (; found != 0; found &= found - 1) {
            const int r = __builtin_ctzll(found);
            collect(i + r, j, survivors[r]);
        }
    } else {
        for (int64_t c = 0; c < kGroup; c += kernels_.filter_cols) {
            for (int64_t r = 0; r < kGroup; r += kernels_.filter_rows) {
                const auto at = static_cast<size_t>(r), to = static_cast<size_t>(c);
                kernels_.filter(left.floats_of(i + r), right.floats_of(j + c), left.dims,
                                &left_.a[li + at], &left.half[static_cast<size_t>(i) + at],
                                &right_.a[rj + to], &right.half[static_cast<size_t>(j) + to],
                                survivors);
                for (int64_t t = 0; t < kernels_.filter_rows; ++t)
                    collect(i + r + t, j + c, survivors[t]);
            }
        }
    }
    counts_.pairs += kGroup * kGroup;
}

// The pairs of a row with the columns from `j` on whose bits are set.
void Tile::collect(int64_t row, int64_t j, uint64_t bits) {
    for (; bits != 0; bits &= bits - 1) {
        const int64_t col = j + __builtin_ctzll(bits);
        if (same_ && row >= col) continue;
        if (row >= left_.points.size() || col >= right_.points.size()) continue;
        pairs_.push_back({0.0f, static_cast<int32_t>(row), static_cast<int32_t>(col)});
    }
}

bool Side::wants(int64_t row, float squared, bool other_is_wild) const {
    return points.near_dims == 0 || other_is_wild ||
           !(squared > near_limit[static_cast<size_t>(row - begin)]);
}

float Tile::near_limit(const SurvivingPair& pair) const {
    if (left_.points.near_dims == 0) return std::numeric_limits<float>::infinity();
    return std::max(left_.near_limit[static_cast<size_t>(pair.i - left_.begin)],
                    right_.near_limit[static_cast<size_t>(pair.j - right_.begin)]);
}

// Asks for as much of a right row as level 2 mostly reads.
void Tile::fetch_near(int64_t j) const {
    constexpr int64_t kLine = 16, kMost = 4 * kLine;
    const float* row = right_.points.near_of(j);
    for (int64_t c = 0; c < std::min(right_.points.near_dims, kMost); c += kLine)
        __builtin_prefetch(row + c);
}

// Drops the pairs that level 2 excludes and puts the near ones first, as far as 64 parts of their limits tell.
void Tile::order_by_near() {
    if (left_.points.near_dims == 0) return;
    constexpr size_t kParts = 64;
    size_t counts[kParts + 1] = {};
    const SurvivingPair* const end = pairs_.data() + pairs_.size();
    std::erase_if(pairs_, [&](SurvivingPair& pair) {
        constexpr int64_t kAhead = 6;
        if (end - &pair > kAhead) fetch_near((&pair)[kAhead].j);
        const float limit = near_limit(pair);
        pair.squared = kernels_.near_l2(left_.points.near_of(pair.i), right_.points.near_of(pair.j),
                                        left_.points.near_dims, limit);
        return pair.squared > limit;
    });
    float largest = 0.0f;
    for (const SurvivingPair& pair : pairs_) largest = std::max(largest, pair.squared);
    // Not a number, where another thread is writing to the rows, comes last.
    const auto part = [&](const SurvivingPair& pair) {
        const float at = pair.squared / largest * static_cast<float>(kParts);
        return at < static_cast<float>(kParts) ? static_cast<size_t>(at) : kParts - 1;
    };
    for (const SurvivingPair& pair : pairs_) ++counts[part(pair) + 1];
    std::partial_sum(counts, counts + kParts + 1, counts);
    ordered_.resize(pairs_.size());
    for (const SurvivingPair& pair : pairs_) ordered_[counts[part(pair)]++] = pair;
    pairs_.swap(ordered_);
}

}  // namespace dqcore
