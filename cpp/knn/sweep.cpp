#include "knn/sweep.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <utility>

namespace dqcore {
namespace {

// Survivors collected before their keys are computed: few, so that thresholds are fresh.
constexpr size_t kFlushPairs = 48;

// Rows [begin, end) on one side of a tile, and their half `a` of the bound as it stands.
struct Side {
    const FilterRows& rows;
    int64_t begin, end;
    float other_rho;  // largest rho on the other side
    std::vector<float> a;

    Side(const FilterRows& rows, int64_t begin, int64_t end)
        : rows(rows), begin(begin), end(end), other_rho(0), a(static_cast<size_t>(end - begin)) {}

    void open(const NeighbourLists& lists, int64_t first_list, float rho) {
        other_rho = rho;
        for (int64_t row = begin; row < end; ++row) {
            const bool real = row < rows.size();
            set(row, real ? lists.bound(first_list + row) : 0.0);
        }
    }
    void set(int64_t row, double key) {
        a[static_cast<size_t>(row - begin)] = rows.a(row, key, other_rho);
    }
};

// Runs the filter over rows of `left` against rows of `right` and hands survivors to
// `refine(pairs)`. `skip_lower`: left and right are the same rows, and only pairs with left < right
// count.
template <class Refine>
SweepCounts filter_tile(const simd::Kernels& kernels, Side& left, Side& right, int64_t d,
                        bool skip_lower, const Worker& worker, const Refine& refine) {
    SweepCounts counts;
    std::vector<std::pair<int32_t, int32_t>> pairs;
    pairs.reserve(kFlushPairs + 1024);
    uint64_t survivors[simd::kPanel];
    const auto flush = [&] {
        counts.survivors += static_cast<int64_t>(pairs.size());
        refine(pairs);
        pairs.clear();
    };
    for (int64_t j = right.begin; j < right.end; j += kernels.filter_cols) {
        worker.check();
        const int64_t last = skip_lower ? std::min(left.end, j + kernels.filter_cols) : left.end;
        for (int64_t i = left.begin; i < last; i += kernels.filter_rows) {
            kernels.filter(left.rows.panel(i), right.rows.panel(j), d,
                           &left.a[static_cast<size_t>(i - left.begin)], left.rows.b(i),
                           &right.a[static_cast<size_t>(j - right.begin)], right.rows.b(j),
                           survivors);
            for (int64_t r = 0; r < kernels.filter_rows; ++r) {
                for (uint64_t bits = survivors[r]; bits != 0; bits &= bits - 1) {
                    const int64_t col = j + __builtin_ctzll(bits);
                    if (skip_lower && i + r >= col) continue;
                    pairs.emplace_back(static_cast<int32_t>(i + r), static_cast<int32_t>(col));
                }
            }
            if (pairs.size() >= kFlushPairs) flush();
        }
        counts.pairs += (last - left.begin) * kernels.filter_cols;
    }
    flush();
    return counts;
}

// Hands out pairs of blocks so that no two workers ever hold the same block: the lists of a block
// then need no lock. Far pairs come last; a pair whose blocks are busy waits its turn.
class BlockPairs {
public:
    explicit BlockPairs(int64_t blocks) : blocks_(blocks), busy_(static_cast<size_t>(blocks)) {}

    std::pair<int64_t, int64_t> take() {
        std::unique_lock lock(mutex_);
        for (;;) {
            for (auto it = skipped_.begin(); it != skipped_.end(); ++it) {
                if (!free(*it)) continue;
                const auto pair = *it;
                skipped_.erase(it);
                return hold(pair);
            }
            while (apart_ < blocks_ && skipped_.size() < busy_.size()) {
                const std::pair pair{first_, first_ + apart_};
                if (++first_ + apart_ >= blocks_) {
                    first_ = 0;
                    ++apart_;
                }
                if (free(pair)) return hold(pair);
                skipped_.push_back(pair);
            }
            released_.wait(lock);
        }
    }

    void release(std::pair<int64_t, int64_t> pair) {
        const std::lock_guard lock(mutex_);
        busy_[static_cast<size_t>(pair.first)] = busy_[static_cast<size_t>(pair.second)] = false;
        released_.notify_all();
    }

    int64_t count() const { return blocks_ * (blocks_ + 1) / 2; }

private:
    bool free(std::pair<int64_t, int64_t> p) const {
        return !busy_[static_cast<size_t>(p.first)] && !busy_[static_cast<size_t>(p.second)];
    }
    std::pair<int64_t, int64_t> hold(std::pair<int64_t, int64_t> p) {
        busy_[static_cast<size_t>(p.first)] = busy_[static_cast<size_t>(p.second)] = true;
        return p;
    }

    const int64_t blocks_;
    std::mutex mutex_;
    std::condition_variable released_;
    std::vector<bool> busy_;
    std::vector<std::pair<int64_t, int64_t>> skipped_;
    int64_t first_ = 0,
            apart_ = 0;  // the next pair not yet looked at: blocks first_ and first_ + apart_
};

// A pair of blocks for as long as it is being worked on, also when that ends with an exception.
class Held {
public:
    explicit Held(BlockPairs& pairs) : pairs_(pairs), pair(pairs.take()) {}
    ~Held() { pairs_.release(pair); }
    Held(const Held&) = delete;
    Held& operator=(const Held&) = delete;

private:
    BlockPairs& pairs_;

public:
    const std::pair<int64_t, int64_t> pair;
};

// Rows in a block: a few hundred keep the set-up of a tile small next to its work; no more than
// some thousand blocks, so that the pairs stay few; a multiple of what every filter wants.
int64_t block_rows(int64_t padded) {
    constexpr int64_t kLeast = 384, kMostBlocks = 1024;
    const int64_t rows = std::max(kLeast, padded / kMostBlocks);
    return (rows + FilterRows::kAlign - 1) / FilterRows::kAlign * FilterRows::kAlign;
}

}  // namespace

SweepCounts sweep_self(const Keys& keys, const std::vector<int32_t>& ids, const FilterRows& rows,
                       NeighbourLists& lists, const Run& run) {
    const simd::Kernels& kernels = simd::active();
    const int64_t padded = rows.padded(), block = block_rows(padded);
    BlockPairs pairs((padded + block - 1) / block);
    std::vector<SweepCounts> counts(static_cast<size_t>(std::max(1, run.threads)));
    parallel_for(run, "sweep", pairs.count(), [&](int64_t, const Worker& worker) {
        const Held held(pairs);
        const auto [first, second] = held.pair;
        const bool same = first == second;
        Side left(rows, first * block, std::min(padded, (first + 1) * block));
        Side right(rows, second * block, std::min(padded, (second + 1) * block));
        left.open(lists, 0, rows.rho_max(right.begin, right.end));
        right.open(lists, 0, rows.rho_max(left.begin, left.end));
        const auto offer = [&](int64_t row, double key, int32_t other) {
            if (!lists.offer(row, key, other)) return;
            if (row >= left.begin && row < left.end) left.set(row, lists.bound(row));
            if (row >= right.begin && row < right.end) right.set(row, lists.bound(row));
        };
        const auto refine = [&](const std::vector<std::pair<int32_t, int32_t>>& survivors) {
            for (const auto& [i, j] : survivors) {
                const double key = Keys::between(keys, ids[static_cast<size_t>(i)], keys,
                                                 ids[static_cast<size_t>(j)]);
                offer(i, key, j);
                offer(j, key, i);
            }
        };
        counts[static_cast<size_t>(worker.id)].add(
            filter_tile(kernels, left, right, keys.d(), same, worker, refine));
    });
    SweepCounts total;
    for (const auto& c : counts) total.add(c);
    return total;
}

SweepCounts sweep_cross(const CrossInput& in, NeighbourLists& lists, int64_t first_list,
                        const Run& run) {
    const simd::Kernels& kernels = simd::active();
    // A chunk of queries reads the whole base once: more of them for less traffic, fewer for more
    // threads.
    const int64_t m = in.queries.padded(), chunk = (m < 4096 ? 1 : 4) * FilterRows::kAlign;
    std::vector<SweepCounts> counts(static_cast<size_t>(std::max(1, run.threads)));
    parallel_rows(run, "sweep", m, chunk, [&](int64_t begin, int64_t end, const Worker& worker) {
        const int64_t padded = in.base.padded(), block = block_rows(padded);
        for (int64_t start = 0; start < padded; start += block) {
            Side left(in.queries, begin, end);
            Side right(in.base, start, std::min(padded, start + block));
            left.open(lists, first_list, in.base.rho_max(right.begin, right.end));
            std::fill(right.a.begin(), right.a.end(),
                      FilterRows::kKeepNone);  // base rows seek nothing
            const auto refine = [&](const std::vector<std::pair<int32_t, int32_t>>& survivors) {
                for (const auto& [i, j] : survivors) {
                    const auto id = static_cast<int32_t>(in.base_start + j);
                    if (in.exclude_same && in.query_start + i == id) continue;
                    const double key = Keys::between(in.query_keys, i, in.base_keys, j);
                    if (lists.offer(first_list + i, key, id))
                        left.set(i, lists.bound(first_list + i));
                }
            };
            counts[static_cast<size_t>(worker.id)].add(
                filter_tile(kernels, left, right, in.base_keys.d(), false, worker, refine));
        }
    });
    SweepCounts total;
    for (const auto& c : counts) total.add(c);
    return total;
}

}  // namespace dqcore
