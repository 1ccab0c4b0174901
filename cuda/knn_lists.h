// The lists of nearest rows, and the kernels that fill them with exact keys: a warp for each row.
#pragma once

#include "cuda/knn_points.h"
#include "cuda/knn_tiles.h"

namespace dqcore::cuda {

// What turns the k-th key of a row into what the filter asks of its points.
//
// A pair that belongs in the list has a canonical key <= the bound. With e = canonical_error(d) (knn/keys.h), the exact
// squared distance of its points is at most scale^2 (relative key + absolute):
//   euclidean: relative 1 + 2 e, absolute 0: a sum of terms of one sign, relative error e;
//   cosine: relative 2, absolute 64 e: dot, norms and root err by less than 4 e of 1, the normed points by e each.
struct Reach {
    double squared_scale, relative, absolute;

    // (|v|^2 - D) / 2 less the room for what float32 rounds in this row (knn_filter.h).
    DQCORE_DEVICE float base(double key, const PointStats& point) const {
        const double most = point.most;
        return static_cast<float>(static_cast<double>(point.half_norm) -
                                  0.5 * squared_scale * (relative * key + absolute) -
                                  0x1p-23 * most * most);
    }
};

// By position in the order of the points.
struct Lists {
    Global<double>
        keys;  // (size, k), ascending by (key, id); infinity and kNoNeighbour where empty
    Global<int32_t> ids;
    Global<double> bound;  // at least k rows have keys no larger
    Global<float> base;    // Reach::base of it; kSeeksNothing
    int64_t k;
};

DQCORE_BOTH bool comes_before(double key, int32_t id, double other_key, int32_t other_id) {
    return key < other_key || (key == other_key && id < other_id);
}

// Of shared memory.
inline int64_t list_merge_bytes(int64_t k, int64_t capacity) { return 12 * (k + capacity); }

// One row's list in shared memory, and candidates that wait to be merged into it. For one warp alone.
template <class Ex>
class ListMerge {
public:
    DQCORE_DEVICE ListMerge(Ex& ex, const Lists& lists, int64_t position, int64_t capacity)
        : ex_(ex),
          lists_(lists),
          start_(position * lists.k),
          capacity_(capacity),
          keys_(shared<double>(ex, 0, lists.k)),
          waiting_keys_(shared<double>(ex, 8 * lists.k, capacity)),
          ids_(shared<int32_t>(ex, 8 * (lists.k + capacity), lists.k)),
          waiting_ids_(shared<int32_t>(ex, 12 * lists.k + 8 * capacity, capacity)) {
        load();
    }

    // By all lanes, with the same arguments.
    DQCORE_DEVICE void offer(double key, int32_t id) {
        if (!comes_before(key, id, keys_[lists_.k - 1], ids_[lists_.k - 1])) return;
        if (ex_.lane() == 0) {
            waiting_keys_.set(waiting_, key);
            waiting_ids_.set(waiting_, id);
        }
        if (++waiting_ == capacity_) merge();
    }

    // Each element goes where the number of those before it says.
    DQCORE_DEVICE void merge() {
        ex_.sync_warp();
        const int64_t k = lists_.k;
        for (int64_t t = ex_.lane(); t < k + waiting_; t += kWarp) {
            const double key = t < k ? keys_[t] : waiting_keys_[t - k];
            const int32_t id = t < k ? ids_[t] : waiting_ids_[t - k];
            int64_t rank = t < k ? t : listed_before(key, id);
            for (int64_t c = 0; c < waiting_; ++c)
                rank += comes_before(waiting_keys_[c], waiting_ids_[c], key, id) ? 1 : 0;
            if (rank < k) {
                lists_.keys.set(start_ + rank, key);
                lists_.ids.set(start_ + rank, id);
            }
        }
        waiting_ = 0;
        ex_.sync_warp();
        load();
    }

    // The k-th key; infinity while there are fewer.
    DQCORE_DEVICE double last_key() const { return keys_[lists_.k - 1]; }

    DQCORE_DEVICE void clear() {
        for (int64_t t = ex_.lane(); t < lists_.k; t += kWarp) {
            lists_.keys.set(start_ + t, bits_as<double>(uint64_t{0x7ff0000000000000}));
            lists_.ids.set(start_ + t, kNoNeighbour);
        }
    }

private:
    DQCORE_DEVICE void load() {
        for (int64_t t = ex_.lane(); t < lists_.k; t += kWarp) {
            keys_.set(t, lists_.keys[start_ + t]);
            ids_.set(t, lists_.ids[start_ + t]);
        }
        ex_.sync_warp();
    }

    DQCORE_DEVICE int64_t listed_before(double key, int32_t id) const {
        int64_t low = 0, high = lists_.k;
        while (low < high) {
            const int64_t middle = (low + high) / 2;
            if (comes_before(keys_[middle], ids_[middle], key, id)) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        return low;
    }

    Ex& ex_;
    const Lists& lists_;
    int64_t start_, capacity_, waiting_ = 0;
    decltype(shared<double>(*static_cast<Ex*>(nullptr), 0, 0)) keys_, waiting_keys_;
    decltype(shared<int32_t>(*static_cast<Ex*>(nullptr), 0, 0)) ids_, waiting_ids_;
};

// Two sets of rows and the lists of the first. In a self-join both are the same.
struct Join {
    Rows queries, base;
    Points query_points, base_points;
    Lists lists;
    Reach reach;
    int64_t capacity;  // hits of a row in a stage, and candidates that wait
    bool self;

    template <class Ex>
    DQCORE_DEVICE double key(Ex& ex, int64_t row, int32_t other) const {
        return canonical_key(ex, queries, row, base, other);
    }

    // After a change of the list at `position`: the bound falls to its k-th key.
    DQCORE_DEVICE void tighten(int64_t position, double key) const {
        if (!(key < lists.bound[position])) return;
        lists.bound.set(position, key);
        lists.base.set(position, reach.base(key, query_points.stats_of(position)));
    }
};

// The lists before the first stage.
struct OpenLists {
    static constexpr const char* kName = "open_lists";
    static constexpr int kThreads = 128, kBlocks = 4;
    Lists lists;
    int64_t padded;

    template <class Ex>
    DQCORE_DEVICE void run(Ex& ex) const {
        const int64_t p = int64_t{ex.block()} * kThreads + ex.thread();
        const double none = bits_as<double>(uint64_t{0x7ff0000000000000});
        if (p >= padded) return;
        lists.base.set(p, kSeeksNothing);
        lists.bound.set(p, none);
        for (int64_t t = p; t < lists.keys.size(); t += padded) {
            lists.keys.set(t, none);
            lists.ids.set(t, kNoNeighbour);
        }
    }
};

// Rows against a window of columns: the k-th key of any k rows bounds what the nearest k can be. Leaves bounds alone;
// the lists start empty, because the stages meet the same pairs again.
struct SeedBounds {
    static constexpr const char* kName = "seed_bounds";
    static constexpr int kThreads = 32, kBlocks = 16;
    Join join;
    int64_t window;

    template <class Ex>
    DQCORE_DEVICE void run(Ex& ex) const {
        const int64_t p = ex.block(), size = join.base_points.size;
        const int64_t row = join.query_points.rows[p];
        if (join.queries.cosine && join.queries.squared[row] == 0.0) return;
        const int64_t last = size > window ? size - window : 0;
        const int64_t start = p / window * window % size < last ? p / window * window % size : last;
        ListMerge<Ex> list(ex, join.lists, p, join.capacity);
        for (int64_t q = start; q < start + window && q < size; ++q) {
            if (join.self && q == p) continue;
            const int32_t other = join.base_points.rows[q];
            list.offer(join.key(ex, row, other), other);
        }
        list.merge();
        if (ex.lane() == 0) join.tighten(p, list.last_key());
        list.clear();
    }
};

// The hits of a stage: exact keys, and the best into the lists. Rows with more than `capacity` are put down.
struct RankHits {
    static constexpr const char* kName = "rank_hits";
    static constexpr int kThreads = 32, kBlocks = 16;
    Join join;
    Global<const uint32_t> counts, hits;
    Global<uint64_t> totals;  // hits, then rows with too many
    Global<int32_t> too_many;

    template <class Ex>
    DQCORE_DEVICE void run(Ex& ex) const {
        const int64_t p = ex.block();
        const int64_t count = counts[p];
        if (count == 0) return;
        if (count > join.capacity) {
            if (ex.lane() == 0)
                too_many.set(static_cast<int64_t>(ex.atomic_add(totals, 1, uint64_t{1})),
                             static_cast<int32_t>(p));
            return;
        }
        const int64_t row = join.query_points.rows[p];
        ListMerge<Ex> list(ex, join.lists, p, join.capacity);
        for (int64_t t = 0; t < count; ++t) {
            const int32_t other = join.base_points.rows[hits[p * join.capacity + t]];
            list.offer(join.key(ex, row, other), other);
        }
        list.merge();
        if (ex.lane() != 0) return;
        join.tighten(p, list.last_key());
        ex.atomic_add(totals, 0, static_cast<uint64_t>(count));
    }
};

// All columns of a stage for rows whose hits did not fit.
struct RankAll {
    static constexpr const char* kName = "rank_all";
    static constexpr int kThreads = 32, kBlocks = 16;
    Join join;
    TileStage stage;
    Global<const int32_t> too_many;

    template <class Ex>
    DQCORE_DEVICE void run(Ex& ex) const {
        const int64_t p = too_many[ex.block()];
        const int64_t tile = p / kTileRows;
        ListMerge<Ex> list(ex, join.lists, p, join.capacity);
        for (int64_t delta = stage.begin; delta < stage.end; ++delta) {
            offer_tile(ex, list, p, stage.after(tile, delta));
            if (stage.meets_before(delta)) offer_tile(ex, list, p, stage.before(tile, delta));
        }
        list.merge();
        if (ex.lane() == 0) join.tighten(p, list.last_key());
    }

private:
    template <class Ex>
    DQCORE_DEVICE void offer_tile(Ex& ex, ListMerge<Ex>& list, int64_t p, int64_t tile) const {
        const int64_t row = join.query_points.rows[p], size = join.base_points.size;
        for (int64_t q = tile * kTileRows; q < (tile + 1) * kTileRows && q < size; ++q) {
            if (join.self && q == p) continue;
            const int32_t other = join.base_points.rows[q];
            list.offer(join.key(ex, row, other), other);
        }
    }
};

// The lists as keys and ids by row, or as what the caller sees. A warp for each position.
struct WriteLists {
    static constexpr const char* kName = "write_lists";
    static constexpr int kThreads = 128, kBlocks = 4;
    Join join;
    Global<int32_t> indices;  // (rows, k)
    Global<float> distances;
    Global<int32_t> unfilled;  // [0]: the lowest row without k nearest, where below what it was

    template <class Ex>
    DQCORE_DEVICE void run(Ex& ex) const {
        const int64_t p = int64_t{ex.block()} * (kThreads / kWarp) + ex.warp();
        if (p >= join.query_points.size) return;
        const int64_t row = join.query_points.rows[p], k = join.lists.k;
        const bool zero = join.queries.cosine && join.queries.squared[row] == 0.0;
        for (int64_t t = ex.lane(); t < k; t += kWarp) {
            int32_t id = join.lists.ids[p * k + t];
            double key = join.lists.keys[p * k + t];
            if (zero) {  // as far from each: the lowest but itself
                id = static_cast<int32_t>(join.self && t >= row ? t + 1 : t);
                key = 1.0;
            }
            if (id == kNoNeighbour) ex.atomic_min(unfilled, 0, static_cast<int32_t>(row));
            indices.set(row * k + t, id);
            distances.set(row * k + t, static_cast<float>(join.queries.cosine ? key : sqrt(key)));
        }
    }
};

}  // namespace dqcore::cuda
