#include "knn/sweep.h"

#include <algorithm>
#include <numeric>

#include "knn/schedule.h"
#include "knn/shortlist.h"

namespace dqcore {
namespace {

// Rows in a block: enough that opening a tile is little next to filtering it, as long as a core's share of the third cache
// holds what level 2 reads of both blocks; few enough that threads find pairs of free blocks; no more than some hundred
// blocks, so that the pairs of them are soon sorted.
int64_t block_rows(const Points& points) {
    constexpr int64_t kLeast = 2 * Order::kGroup, kMost = 24 * Order::kGroup, kLeastBlocks = 32,
                      kMostBlocks = 900, kCacheBytes = 3 << 19;
    const int64_t row_bytes = std::max<int64_t>(1, points.near_dims * int64_t{sizeof(float)});
    const int64_t most = std::clamp(kCacheBytes / row_bytes, kLeast, kMost);
    const int64_t rows = std::max(std::clamp(points.padded() / kLeastBlocks, kLeast, most),
                                  points.padded() / kMostBlocks);
    return (rows + Order::kGroup - 1) / Order::kGroup * Order::kGroup;
}

float most_reach(const Points& points, int64_t begin, int64_t end) {
    const int64_t last = std::min(end, points.size());
    return *std::max_element(points.reach.begin() + begin,
                             points.reach.begin() + std::max(last, begin + 1));
}

SweepCounts total(const std::vector<SweepCounts>& counts) {
    SweepCounts sum;
    for (const auto& c : counts) sum.add(c);
    return sum;
}

}  // namespace

SweepCounts sweep_self(SweepSet& set, const std::vector<int32_t>& names, NeighbourLists& lists,
                       const Run& run) {
    Points& points = set.points;
    const int64_t padded = points.padded(), block = block_rows(points);
    const Boxes blocks = set.groups.merged(block / Order::kGroup);
    BlockPairs pairs(blocks);
    const auto key_of = [&](int64_t i, int64_t j) {
        return Keys::between(set.keys, points.ids[static_cast<size_t>(i)], set.keys,
                             points.ids[static_cast<size_t>(j)]);
    };
    const auto offer = [&](int64_t row, int64_t other, double key) {
        const int32_t id = points.ids[static_cast<size_t>(other)];
        lists.offer(row, key, names[static_cast<size_t>(id)]);
        return lists.bound(row);
    };
    Shortlists shortlists(
        points, points, set.frame, 0, points.size(), lists.k(),
        [&](int64_t row, int64_t other) { return offer(row, other, key_of(row, other)); });
    std::vector<SweepCounts> counts(static_cast<size_t>(std::max(1, run.threads)));
    parallel_for(run, "sweep", pairs.count(), [&](int64_t, const Worker& worker) {
        worker.check();
        const HeldPair held(pairs);
        const int64_t first = held.pair.first, second = held.pair.second;
        const int64_t begin_l = first * block, end_l = std::min(padded, begin_l + block);
        const int64_t begin_r = second * block, end_r = std::min(padded, begin_r + block);
        const float gap = Boxes::gap(blocks, first, blocks, second);
        if (gap > most_reach(points, begin_l, end_l) && gap > most_reach(points, begin_r, end_r))
            return;
        Side left(points, set.groups, begin_l, end_l, true),
            right(points, set.groups, begin_r, end_r, true);
        left.open(right);
        right.open(left);
        SweepCounts& count = counts[static_cast<size_t>(worker.id)];
        const auto update = [&](int64_t row) {
            if (row >= left.begin && row < left.end) left.update(row);
            if (row >= right.begin && row < right.end) right.update(row);
        };
        const auto offer_now = [&](int64_t row, int64_t other, double key) {
            if (points.lower_reach(row, set.frame.radius(offer(row, other, key)))) update(row);
        };
        const auto meet = [&](int64_t row, int64_t other, float squared) {
            if (shortlists.meet(row, other, squared, count.keys)) update(row);
        };
        count.add(Tile(left, right, first == second).run(worker, [&](const SurvivingPair& pair) {
            const auto [squared, i, j] = pair;
            if (!points.bounded()) {
                const double key = key_of(i, j);
                ++count.keys;
                offer_now(i, j, key);
                offer_now(j, i, key);
                return;
            }
            const bool left_wants = left.wants(i, squared, points.wild2(j)),
                       right_wants = right.wants(j, squared, points.wild2(i));
            if (left_wants) meet(i, j, squared);
            if (right_wants) meet(j, i, squared);
        }));
    });
    parallel_rows(run, "keys", points.size(), Order::kGroup,
                  [&](int64_t begin, int64_t end, const Worker& worker) {
                      for (int64_t row = begin; row < end; ++row) {
                          worker.check();
                          shortlists.settle(row, counts[static_cast<size_t>(worker.id)].keys);
                      }
                  });
    return total(counts);
}

SweepCounts sweep_cross(SweepSet& queries, const SweepSet& base, const CrossLists& to,
                        const Run& run) {
    const int64_t padded = base.points.padded(), block = block_rows(base.points);
    const Boxes blocks = base.groups.merged(block / Order::kGroup);
    std::vector<SweepCounts> counts(static_cast<size_t>(std::max(1, run.threads)));
    Points& points = queries.points;
    const auto offer = [&](int64_t row, int64_t other) {
        const double key = Keys::between(queries.keys, points.ids[static_cast<size_t>(row)],
                                         base.keys, base.points.ids[static_cast<size_t>(other)]);
        const int64_t list = to.list_of(row);
        to.lists.offer(list, key, to.name_of(other));
        return to.lists.bound(list);
    };
    for (int64_t row = 0; row < points.size(); ++row)
        points.lower_reach(row, queries.frame.radius(to.lists.bound(to.list_of(row))));
    // A chunk of queries reads the whole base once: more of them for less traffic, fewer for more threads.
    const int64_t m = points.padded(), chunk = (m < 8192 ? 1 : 4) * Order::kGroup;
    parallel_rows(run, "sweep", m, chunk, [&](int64_t begin, int64_t end, const Worker& worker) {
        const Boxes own = [&] {
            Boxes box(1);
            for (int64_t g = begin / Order::kGroup; g < end / Order::kGroup; ++g)
                box.add(0, &queries.groups.low[static_cast<size_t>(g * Boxes::kDims)],
                        &queries.groups.high[static_cast<size_t>(g * Boxes::kDims)],
                        queries.groups.slack[static_cast<size_t>(g)]);
            return box;
        }();
        std::vector<std::pair<float, int64_t>> order;
        order.reserve(static_cast<size_t>(blocks.size()));
        for (int64_t b = 0; b < blocks.size(); ++b)
            order.emplace_back(Boxes::between_centres(own, 0, blocks, b), b);
        std::sort(order.begin(), order.end());
        SweepCounts& count = counts[static_cast<size_t>(worker.id)];
        Shortlists shortlists(points, base.points, queries.frame, begin, end, to.lists.k(), offer);
        for (const auto& [distance, b] : order) {
            worker.check();
            if (Boxes::gap(own, 0, blocks, b) > most_reach(points, begin, end)) continue;
            Side left(points, queries.groups, begin, end, true);
            Side right(base.points, base.groups, b * block, std::min(padded, (b + 1) * block),
                       false);
            left.open(right);
            right.open(left);
            count.add(Tile(left, right, false).run(worker, [&](const SurvivingPair& pair) {
                if (to.own_name(pair.i) == to.name_of(pair.j)) return;
                bool fell;
                if (points.bounded()) {
                    fell = shortlists.meet(pair.i, pair.j, pair.squared, count.keys);
                } else {
                    ++count.keys;
                    fell = points.lower_reach(pair.i, queries.frame.radius(offer(pair.i, pair.j)));
                }
                if (fell) left.update(pair.i);
            }));
        }
        for (int64_t row = begin; row < std::min(end, points.size()); ++row) {
            worker.check();
            shortlists.settle(row, count.keys);
        }
    });
    return total(counts);
}

void offer_zero_rows(SweepSet& set, const std::vector<int32_t>& names, NeighbourLists& lists) {
    Points& points = set.points;
    std::vector<int32_t> zeros;
    for (int64_t row = 0; row < points.size(); ++row)
        if (points.zero[static_cast<size_t>(row)])
            zeros.push_back(names[static_cast<size_t>(points.ids[static_cast<size_t>(row)])]);
    if (zeros.empty()) return;
    const auto most =
        std::min<size_t>(static_cast<size_t>(lists.k()) + 1, static_cast<size_t>(points.size()));
    std::sort(zeros.begin(), zeros.end());
    zeros.resize(std::min(zeros.size(), most));
    std::vector<int32_t> lowest(most);  // names are 0, 1, ... in some order
    std::iota(lowest.begin(), lowest.end(), 0);
    for (int64_t row = 0; row < points.size(); ++row) {
        const auto at = static_cast<size_t>(row);
        const int32_t own = names[static_cast<size_t>(points.ids[at])];
        for (const int32_t name : points.zero[at] ? lowest : zeros)
            if (name != own) lists.offer(row, 1.0, name);
        points.lower_reach(row, set.frame.radius(lists.bound(row)));
    }
}

void offer_zero_rows(const Keys& queries, const Keys& base, const ListsInput& in,
                     int64_t first_list, NeighbourLists& lists) {
    if (in.metric != Metric::kCosine) return;
    const auto most = std::min(lists.k() + 1, base.rows());
    std::vector<int32_t> zeros, lowest;
    for (int64_t j = 0; j < base.rows(); ++j) {
        const auto name = static_cast<int32_t>(in.base_start + j);
        if (j < most) lowest.push_back(name);
        if (base.is_zero(j) && static_cast<int64_t>(zeros.size()) < most) zeros.push_back(name);
    }
    for (int64_t i = 0; i < queries.rows(); ++i)
        for (const int32_t name : queries.is_zero(i) ? lowest : zeros)
            if (in.row_start < 0 || in.row_start + i != name)
                lists.offer(first_list + i, 1.0, name);
}

}  // namespace dqcore
