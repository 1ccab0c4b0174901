// A tile: a run of rows against another, filtered at level 1, tested at level 2, and what is left handed on.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "base/parallel.h"
#include "knn/order.h"
#include "knn/points.h"

namespace dqcore {

struct SweepCounts {
    int64_t pairs = 0;       // tested at level 1
    int64_t survivors1 = 0;  // tested at level 2, or given a canonical key where there is none
    int64_t survivors2 = 0;  // shortlisted
    int64_t keys = 0;        // canonical keys computed
    int64_t again = 0;       // rows swept again (guess.h)
    void add(const SweepCounts& other) {
        pairs += other.pairs;
        survivors1 += other.survivors1;
        survivors2 += other.survivors2;
        keys += other.keys;
        again += other.again;
    }
};

// One side of a tile and its thresholds as they stand; thresholds only fall, so old ones are safe.
class Side {
public:
    // Rows [begin, end) of `points`, begin a multiple of a group. `seeks`: the rows have lists to fill.
    Side(const Points& points, const Boxes& groups, int64_t begin, int64_t end, bool seeks);

    // Computes the thresholds against the rows of `other`.
    void open(const Side& other);

    // The row's reach has changed.
    void update(int64_t row) { update(row, row + 1); }

    const Points& points;
    const Boxes& groups;
    int64_t begin, end;
    bool seeks;
    Moved moved;
    // int8 level: keep where |q_i - q_j|^2 <= the larger limit of the two.
    AlignedVector<int32_t> limit;
    // float32 level: keep where s >= min(a_i + half_j, a_j + half_i).
    AlignedVector<float> a;
    // Level 2: keep where the squared distance <= the larger of the two.
    std::vector<float> near_limit;

    // Whether a pair that passed level 2 may be within this row's own reach.
    bool wants(int64_t row, float squared, bool other_is_wild) const;

    // Largest reach of a group's rows; below zero where none seeks.
    float group_reach(int64_t group) const;

private:
    void update(int64_t first, int64_t last);

    const Side* other_ = nullptr;
    float other_reach_ = 0.0f;  // the largest, below zero where the other rows seek nothing
};

// A pair of rows that passed level 1, and its squared distance at level 2 (0 where there is none).
struct SurvivingPair {
    float squared;
    int32_t i, j;
};

// Filters `left` against `right`; `offer(pair)` gets the pairs that are left. `same`: both are the same
// rows, and only pairs i < j count.
class Tile {
public:
    Tile(Side& left, Side& right, bool same);

    template <class Offer>
    SweepCounts run(const Worker& worker, const Offer& offer);

private:
    static constexpr int64_t kGroup = Order::kGroup;

    void filter_group(int64_t i, int64_t j);
    void collect(int64_t row, int64_t j, uint64_t bits);
    void fetch_near(int64_t j) const;
    void order_by_near();
    float near_limit(const SurvivingPair& pair) const;

    const simd::Kernels& kernels_;
    Side& left_;
    Side& right_;
    const bool same_;
    std::vector<SurvivingPair> pairs_, ordered_;
    SweepCounts counts_;
};

// Survivors collected before they are looked at. Near ones then come first and spare the others their keys, which
// matters while thresholds are loose; once they are tight, a whole tile has fewer.
inline constexpr size_t kFlushPairs = 1 << 13;

template <class Offer>
SweepCounts Tile::run(const Worker& worker, const Offer& offer) {
    const auto flush = [&] {
        counts_.survivors1 += static_cast<int64_t>(pairs_.size());
        order_by_near();
        for (const SurvivingPair& pair : pairs_) {
            if (pair.squared > near_limit(pair)) continue;
            ++counts_.survivors2;
            offer(pair);
        }
        pairs_.clear();
    };
    const auto filter = [&](int64_t i, int64_t j, float reach) {
        const float gap = Boxes::gap(left_.groups, i / kGroup, right_.groups, j / kGroup);
        if (gap > reach && gap > left_.group_reach(i / kGroup)) return;
        filter_group(i, j);
        if (pairs_.size() >= kFlushPairs) flush();
    };
    if (same_) {
        // Each group with itself first: the thresholds it leaves spare the rest of the tile most of its survivors.
        for (int64_t j = right_.begin; j < right_.end; j += kGroup) {
            worker.check();
            filter(j, j, right_.group_reach(j / kGroup));
            flush();
        }
    }
    for (int64_t j = right_.begin; j < right_.end; j += kGroup) {
        worker.check();
        const float reach = right_.group_reach(j / kGroup);
        for (int64_t i = left_.begin; i < (same_ ? j : left_.end); i += kGroup) filter(i, j, reach);
    }
    flush();
    return counts_;
}

}  // namespace dqcore
