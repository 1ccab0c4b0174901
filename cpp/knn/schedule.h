// Pairs of blocks, near ones first, handed out so that no two workers ever hold the same block: the lists and
// thresholds of a block then need no lock.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <utility>
#include <vector>

#include "knn/order.h"

namespace dqcore {

class BlockPairs {
public:
    using Pair = std::pair<int32_t, int32_t>;

    explicit BlockPairs(const Boxes& blocks) : busy_(static_cast<size_t>(blocks.size())) {
        const auto count = static_cast<int32_t>(blocks.size());
        std::vector<std::pair<float, Pair>> order;
        order.reserve(static_cast<size_t>(count) * static_cast<size_t>(count + 1) / 2);
        for (int32_t i = 0; i < count; ++i)
            for (int32_t j = i; j < count; ++j)
                order.emplace_back(i == j ? -1.0f : Boxes::between_centres(blocks, i, blocks, j),
                                   Pair{i, j});
        std::sort(order.begin(), order.end());
        pairs_.reserve(order.size());
        for (const auto& entry : order) pairs_.push_back(entry.second);
    }

    int64_t count() const { return static_cast<int64_t>(pairs_.size()); }

    // The first pair of which both blocks are free; waits for one. To be called count() times in all.
    Pair take() {
        std::unique_lock lock(mutex_);
        for (;;) {
            for (auto it = skipped_.begin(); it != skipped_.end(); ++it) {
                if (!free(*it)) continue;
                const Pair pair = *it;
                skipped_.erase(it);
                return hold(pair);
            }
            while (next_ < pairs_.size() && skipped_.size() < kMostSkipped) {
                const Pair pair = pairs_[next_++];
                if (free(pair)) return hold(pair);
                skipped_.push_back(pair);
            }
            released_.wait(lock);
        }
    }

    void release(Pair pair) {
        const std::lock_guard lock(mutex_);
        busy_[static_cast<size_t>(pair.first)] = busy_[static_cast<size_t>(pair.second)] = false;
        released_.notify_all();
    }

private:
    // Pairs passed over while their blocks are busy: far more than workers, few enough to look through.
    static constexpr size_t kMostSkipped = 4096;

    bool free(Pair p) const {
        return !busy_[static_cast<size_t>(p.first)] && !busy_[static_cast<size_t>(p.second)];
    }
    Pair hold(Pair p) {
        busy_[static_cast<size_t>(p.first)] = busy_[static_cast<size_t>(p.second)] = true;
        return p;
    }

    std::mutex mutex_;
    std::condition_variable released_;
    std::vector<bool> busy_;
    std::vector<Pair> pairs_, skipped_;
    size_t next_ = 0;
};

// A pair of blocks for as long as it is being worked on, also when that ends with an exception.
class HeldPair {
public:
    explicit HeldPair(BlockPairs& pairs) : pair(pairs.take()), pairs_(pairs) {}
    ~HeldPair() { pairs_.release(pair); }
    HeldPair(const HeldPair&) = delete;
    HeldPair& operator=(const HeldPair&) = delete;

    const BlockPairs::Pair pair;

private:
    BlockPairs& pairs_;
};

}  // namespace dqcore
