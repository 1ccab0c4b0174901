// The steps of knn_graph: distinct rows, filter, sweep, and the lists as the caller wants them.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>
#include <optional>
#include <stdexcept>
#include <utility>

#include "knn/distinct.h"
#include "knn/guess.h"
#include "knn/knn.h"
#include "knn/plan.h"
#include "knn/spill.h"
#include "knn/state.h"
#include "knn/sweep.h"

namespace dqcore {

void Keys::prepare(const Run& run) {
    if (metric_ != Metric::kCosine) return;
    parallel_rows(run, "prepare", rows(), rows_per_chunk(d() * int64_t{sizeof(float)}),
                  [&](int64_t begin, int64_t end, const Worker& worker) {
                      worker.check();
                      for (int64_t i = begin; i < end; ++i)
                          squared_norm_[static_cast<size_t>(i)] =
                              kernels_->dot(x_.row(i), x_.row(i), x_.cols);
                  });
}

namespace {

double seconds() {
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    return std::chrono::duration<double>(now).count();
}

std::vector<int32_t> all_rows(int64_t n) {
    std::vector<int32_t> ids(static_cast<size_t>(n));
    std::iota(ids.begin(), ids.end(), 0);
    return ids;
}

// Lists are full and their keys numbers unless the rows were written to by another thread
// meanwhile.
[[noreturn]] void fail_changed() {
    throw std::invalid_argument("features changed during the call: a row has no k nearest rows");
}

// Writes the k first of `candidates`, less `self`, as one row of the result.
void write_row(const std::vector<std::pair<double, int32_t>>& candidates, int32_t self, int64_t row,
               Metric metric, const KnnOutput& out) {
    const int64_t k = out.indices.cols;
    int64_t t = 0;
    for (size_t c = 0; c < candidates.size() && t < k; ++c) {
        const auto [key, id] = candidates[c];
        if (id == self) continue;
        out.indices.row(row)[t] = id;
        out.distances.row(row)[t] = reported_distance(key, metric);
        ++t;
    }
    if (t < k) fail_changed();
}

// Lists of distinct rows become lists of all rows: a group stands for its members, of which the k +
// 1 lowest can be among any row's k nearest. A group's row of `keys` is row_of[group].
void expand(const Keys& keys, const std::vector<int32_t>& row_of, const DistinctRows& groups,
            const std::vector<int32_t>& list_of, const NeighbourLists* lists, int64_t k,
            const KnnOutput& out, const Run& run) {
    parallel_rows(
        run, "expand", groups.size(), 256, [&](int64_t begin, int64_t end, const Worker& worker) {
            std::vector<std::pair<double, int32_t>> candidates;
            for (int64_t g = begin; g < end; ++g) {
                worker.check();
                candidates.clear();
                const auto add = [&](double key, int64_t group) {
                    if (!(key >= 0.0) || group >= groups.size()) fail_changed();
                    const int32_t* first = groups.begin(group);
                    const int64_t size = groups.end(group) - first;
                    for (int64_t t = 0; t < std::min(size, k + 1); ++t)
                        candidates.emplace_back(key, first[t]);
                };
                const int32_t row = row_of[static_cast<size_t>(g)];
                if (groups.end(g) - groups.begin(g) > 1)
                    add(Keys::between(keys, row, keys, row), g);
                const int64_t list = lists ? list_of[static_cast<size_t>(g)] : 0;
                for (int64_t t = 0; lists && t < lists->k(); ++t)
                    add(lists->keys(list)[t], lists->ids(list)[t]);
                std::sort(candidates.begin(), candidates.end());
                for (const int32_t* member = groups.begin(g); member != groups.end(g); ++member)
                    write_row(candidates, *member, *member, keys.metric(), out);
            }
        });
}

std::vector<int64_t> dims_of(std::vector<int64_t> coordinates, bool rest) {
    for (int64_t& c : coordinates) c += rest;
    return coordinates;
}

// What a sweep did, and when it began and was prepared.
KnnStats stats_of(const Levels& levels, const SweepCounts& counts, int64_t distinct_rows,
                  double start, double prepared) {
    return {.distinct_rows = distinct_rows,
            .level1 = levels.bytes ? "int8" : "float32",
            .head = levels.head() + levels.rest,
            .stages = dims_of(levels.stages, levels.rest),
            .near = levels.near,
            .pairs = counts.pairs,
            .survivors1 = counts.survivors1,
            .survivors2 = counts.survivors2,
            .keys = counts.keys,
            .again = counts.again,
            .seconds_prepare = prepared - start,
            .seconds_sweep = seconds() - prepared};
}

KnnStats self_graph(const KnnInput& in, const KnnSpill* spill, const KnnOutput& out,
                    const Run& run) {
    const double start = seconds();
    const int64_t n = in.base.rows, d = in.base.cols;
    Room* const room = spill ? &spill->room : nullptr;
    // `besides`: bytes of a step that needs little of the room, which makes way as far as it can.
    const auto hold = [&](int64_t rows, const Levels& levels, int64_t besides) {
        if (!spill) return;
        const int64_t left =
            left_for_room(spill->limit, in_memory(n, rows, in.k, in.metric, levels));
        room->hold(std::max(left - besides, std::min(left, kLeastRoom)));
    };
    hold(1, {}, Frame::rotating_bytes(d));
    Keys given(in.base, in.metric, simd::active(), room);
    given.prepare(run);
    const DistinctRows groups(given, run);
    if (groups.size() == 1) {
        expand(given, groups.first(), groups, {}, nullptr, in.k, out, run);
        return stats_of({}, {}, 1, start, seconds());
    }
    const Plan plan = make_plan(given, groups.first(), 0, in.k, in.forced_head, run);
    hold(groups.size(), plan.levels, 0);
    Order order = order_rows(plan.frame, given, groups.first(), plan.sort, run);
    std::vector<int32_t> names(static_cast<size_t>(n));  // of rows: their groups
    for (size_t g = 0; g < groups.first().size(); ++g)
        names[static_cast<size_t>(groups.first()[g])] = static_cast<int32_t>(g);
    std::optional<SpillPlaces> places;
    std::optional<Keys> ordered;
    if (spill) {
        places.emplace(*room, n, d, in.k);
        ordered = laid_in_order(given, order, names, *room, places->ordered, run);
    }
    const Keys& keys = ordered ? *ordered : given;
    SweepSet set(plan.frame, plan.levels, keys, std::move(order), run, room);
    const int64_t k = std::min(in.k, groups.size() - 1);
    NeighbourLists lists = spill ? NeighbourLists(groups.size(), k, *room, places->lists)
                                 : NeighbourLists(groups.size(), k);
    offer_zero_rows(set, names, lists);
    const double prepared = seconds();
    const Guesses guesses(set, k, run);
    SweepCounts counts = sweep_self(set, names, lists, run);
    counts.add(guesses.mend(set, names, lists, run));
    const KnnStats stats = stats_of(plan.levels, counts, groups.size(), start, prepared);
    std::vector<int32_t> list_of(static_cast<size_t>(groups.size()));
    for (size_t row = 0; row < set.points.ids.size(); ++row)
        list_of[static_cast<size_t>(names[static_cast<size_t>(set.points.ids[row])])] =
            static_cast<int32_t>(row);
    expand(keys, spill ? list_of : groups.first(), groups, list_of, &lists, in.k, out, run);
    return stats;
}

KnnStats cross_graph(const KnnInput& in, const KnnOutput& out, const Run& run) {
    NeighbourLists lists(in.queries.rows, in.k);
    const KnnStats stats = update_lists({.queries = in.queries,
                                         .base = in.base,
                                         .metric = in.metric,
                                         .forced_head = in.forced_head},
                                        lists, 0, run);
    if (lists.first_open() >= 0) fail_changed();
    lists.write(in.metric, out);
    return stats;
}

}  // namespace

KnnStats update_lists(const ListsInput& in, NeighbourLists& lists, int64_t first_list,
                      const Run& run) {
    const double start = seconds();
    Keys keys(in.base, in.metric, simd::active()),
        query_keys(in.queries, in.metric, simd::active());
    keys.prepare(run);
    query_keys.prepare(run);
    const std::vector<int32_t> ids = all_rows(in.base.rows), query_ids = all_rows(in.queries.rows);
    const Plan plan = make_plan(keys, ids, in.queries.rows, lists.k(), in.forced_head, run);
    const SweepSet base(plan.frame, plan.levels, keys, ids, plan.sort, run);
    SweepSet queries(plan.frame, plan.levels, query_keys, query_ids, plan.sort, run);
    offer_zero_rows(query_keys, keys, in, first_list, lists);
    const auto list_of = [&](int64_t row) {
        return first_list + queries.points.ids[static_cast<size_t>(row)];
    };
    const auto own_name = [&](int64_t row) {
        return in.row_start < 0 ? -1 : in.row_start + queries.points.ids[static_cast<size_t>(row)];
    };
    const double prepared = seconds();
    const SweepCounts counts =
        sweep_cross(queries, base,
                    {.lists = lists,
                     .list_of = list_of,
                     .own_name = own_name,
                     .name_of =
                         [&](int64_t other) {
                             return static_cast<int32_t>(
                                 in.base_start + base.points.ids[static_cast<size_t>(other)]);
                         }},
                    run);
    return stats_of(plan.levels, counts, in.base.rows, start, prepared);
}

void KnnRows::finish(const KnnOutput& out) const {
    if (lists_.first_open() >= 0) fail_changed();
    lists_.write(metric_, out);
}

KnnStats cpu::knn_graph(const KnnInput& in, const KnnOutput& out, const Run& run) {
    return in.queries.data ? cross_graph(in, out, run) : self_graph(in, nullptr, out, run);
}

KnnStats cpu::knn_graph_spilled(const KnnInput& in, const KnnSpill& spill, const KnnOutput& out,
                                const Run& run) {
    return self_graph(in, &spill, out, run);
}

}  // namespace dqcore
