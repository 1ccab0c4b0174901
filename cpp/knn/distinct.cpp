#include "knn/distinct.h"

#include <algorithm>
#include <cstring>
#include <numeric>

namespace dqcore {
namespace {

// A hash of a row's bits. Quality decides speed alone: rows with one hash are compared in full. The
// mixing step is that of splitmix64 (Steele, Lea, Flood, 2014).
uint64_t hash_row(const float* row, int64_t d) {
    uint64_t hash = 0x9e3779b97f4a7c15ull;
    for (int64_t c = 0; c < d; ++c) {
        uint32_t bits;
        std::memcpy(&bits, row + c, sizeof bits);
        hash = (hash ^ bits) * 0xbf58476d1ce4e5b9ull;
        hash ^= hash >> 29;
    }
    hash *= 0x94d049bb133111ebull;
    return hash ^ (hash >> 31);
}

}  // namespace

DistinctRows::DistinctRows(Matrix<const float> x, const Run& run) {
    const auto n = static_cast<size_t>(x.rows);
    const int64_t bytes = x.cols * int64_t{sizeof(float)};
    std::vector<uint64_t> hashes(n);
    parallel_rows(run, "prepare", x.rows, rows_per_chunk(bytes),
                  [&](int64_t begin, int64_t end, const Worker& worker) {
                      worker.check();
                      for (int64_t i = begin; i < end; ++i)
                          hashes[static_cast<size_t>(i)] = hash_row(x.row(i), x.cols);
                  });
    std::vector<int32_t> order(n);
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
        const uint64_t ha = hashes[static_cast<size_t>(a)], hb = hashes[static_cast<size_t>(b)];
        return ha != hb ? ha < hb : a < b;
    });
    // Each row's group, named by its lowest row. A row that shares the hash of a lower one and not
    // its bits stays alone, whatever else it equals: groups save work, no result depends on them.
    std::vector<int32_t> leader(n);
    for (size_t i = 0, run_start = 0; i < n; ++i) {
        const auto row = static_cast<size_t>(order[i]);
        if (hashes[row] != hashes[static_cast<size_t>(order[run_start])]) run_start = i;
        const int32_t lowest = order[run_start];
        const bool equal =
            std::memcmp(x.row(lowest), x.row(order[i]), static_cast<size_t>(bytes)) == 0;
        leader[row] = equal ? lowest : order[i];
    }
    std::vector<int32_t> group(n);
    start_.push_back(0);
    for (size_t i = 0; i < n; ++i) {
        if (leader[i] == static_cast<int32_t>(i)) {
            group[i] = static_cast<int32_t>(first_.size());
            first_.push_back(leader[i]);
            start_.push_back(0);
        } else {
            group[i] = group[static_cast<size_t>(leader[i])];
        }
        ++start_[static_cast<size_t>(group[i]) + 1];
    }
    std::partial_sum(start_.begin(), start_.end(), start_.begin());
    members_.resize(n);
    std::vector<int64_t> at(start_.begin(), start_.end() - 1);
    for (size_t i = 0; i < n; ++i)
        members_[static_cast<size_t>(at[static_cast<size_t>(group[i])]++)] =
            static_cast<int32_t>(i);
}

}  // namespace dqcore
