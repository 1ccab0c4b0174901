// The steps of knn_graph: distinct rows, filter, sweep, and the lists as the caller wants them.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>
#include <stdexcept>
#include <utility>

#include "knn/distinct.h"
#include "knn/filter.h"
#include "knn/knn.h"
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

void offer_zero_rows(const CrossInput& in, NeighbourLists& lists, int64_t first_list) {
    if (in.base_keys.metric() != Metric::kCosine) return;
    const auto most = lists.k() + 1;
    std::vector<int32_t> zeros, lowest;
    for (int64_t j = 0; j < in.base.size(); ++j) {
        const auto id = static_cast<int32_t>(in.base_start + j);
        if (j < most) lowest.push_back(id);
        if (in.base.is_zero(j) && static_cast<int64_t>(zeros.size()) < most) zeros.push_back(id);
    }
    for (int64_t i = 0; i < in.queries.size(); ++i) {
        for (const int32_t id : in.queries.is_zero(i) ? lowest : zeros)
            if (!(in.exclude_same && in.query_start + i == id))
                lists.offer(first_list + i, 1.0, id);
    }
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
// 1 lowest can be among any row's k nearest.
void expand(const Keys& keys, const DistinctRows& groups, const NeighbourLists* lists, int64_t k,
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
                const int32_t row = *groups.begin(g);
                if (groups.end(g) - groups.begin(g) > 1)
                    add(Keys::between(keys, row, keys, row), g);
                for (int64_t t = 0; lists && t < lists->k(); ++t)
                    add(lists->keys(g)[t], lists->ids(g)[t]);
                std::sort(candidates.begin(), candidates.end());
                for (const int32_t* member = groups.begin(g); member != groups.end(g); ++member)
                    write_row(candidates, *member, *member, keys.metric(), out);
            }
        });
}

// What a sweep did, and when it began and was prepared.
KnnStats stats_of(const SweepCounts& counts, int64_t distinct_rows, double start, double prepared) {
    return {.distinct_rows = distinct_rows,
            .pairs = counts.pairs,
            .survivors = counts.survivors,
            .seconds_prepare = prepared - start,
            .seconds_sweep = seconds() - prepared};
}

KnnStats self_graph(const KnnInput& in, const KnnOutput& out, const Run& run) {
    const double start = seconds();
    Keys keys(in.base, in.metric, simd::active());
    keys.prepare(run);
    const DistinctRows groups(in.base, run);
    if (groups.size() == 1) {
        expand(keys, groups, nullptr, in.k, out, run);
        return stats_of({}, 1, start, seconds());
    }
    const std::vector<int32_t>& ids = groups.first();
    const FilterFrame frame(keys);
    const FilterRows rows(frame, keys, ids, run);
    NeighbourLists lists(groups.size(), std::min(in.k, groups.size() - 1));
    offer_zero_rows({.query_keys = keys,
                     .queries = rows,
                     .base_keys = keys,
                     .base = rows,
                     .exclude_same = true},
                    lists, 0);
    const double prepared = seconds();
    const SweepCounts counts = sweep_self(keys, ids, rows, lists, run);
    const KnnStats stats = stats_of(counts, groups.size(), start, prepared);
    expand(keys, groups, &lists, in.k, out, run);
    return stats;
}

KnnStats cross_graph(const KnnInput& in, const KnnOutput& out, const Run& run) {
    NeighbourLists lists(in.queries.rows, in.k);
    const KnnStats stats = update_lists({in.queries, in.base, in.metric}, lists, 0, run);
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
    const FilterFrame frame(keys);
    const FilterRows rows(frame, keys, all_rows(in.base.rows), run);
    const FilterRows queries(frame, query_keys, all_rows(in.queries.rows), run);
    const CrossInput cross{query_keys,     queries,       keys,           rows,
                           in.query_start, in.base_start, in.exclude_same};
    offer_zero_rows(cross, lists, first_list);
    const double prepared = seconds();
    return stats_of(sweep_cross(cross, lists, first_list, run), in.base.rows, start, prepared);
}

KnnStats cpu::knn_graph(const KnnInput& in, const KnnOutput& out, const Run& run) {
    return in.queries.data ? cross_graph(in, out, run) : self_graph(in, out, run);
}

}  // namespace dqcore
