#include "knn/distinct.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>

namespace dqcore {
namespace {

uint64_t mix(uint64_t hash, uint64_t bits) {
    hash = (hash ^ bits) * 0xbf58476d1ce4e5b9ull;
    return hash ^ (hash >> 29);
}

// A hash of a row's bits, in lanes that do not wait for each other. Quality decides speed alone: rows with one hash are
// compared in full. The mixing steps are those of splitmix64 (Steele, Lea, Flood, 2014).
uint64_t hash_row(const float* row, int64_t d) {
    constexpr int64_t kLanes = 4, kStep = 2 * kLanes;  // numbers
    uint64_t hash[kLanes] = {1, 2, 3, 4}, bits[kLanes];
    for (int64_t c = 0; c < d; c += kStep) {
        if (c + kStep > d) std::fill_n(bits, kLanes, 0);
        std::memcpy(bits, row + c, static_cast<size_t>(std::min(kStep, d - c)) * sizeof(float));
        for (int64_t l = 0; l < kLanes; ++l) hash[l] = mix(hash[l], bits[l]);
    }
    for (int64_t l = 1; l < kLanes; ++l) hash[0] = mix(hash[0], hash[l]);
    hash[0] *= 0x94d049bb133111ebull;
    return hash[0] ^ (hash[0] >> 31);
}

}  // namespace

DistinctRows::DistinctRows(const Keys& x, const Run& run) {
    const auto n = static_cast<size_t>(x.rows());
    const int64_t bytes = x.d() * int64_t{sizeof(float)};
    std::vector<std::pair<uint64_t, int32_t>> rows(n);  // with their hashes
    parallel_rows(run, "prepare", x.rows(), rows_per_chunk(bytes),
                  [&](int64_t begin, int64_t end, const Worker& worker) {
                      worker.check();
                      for (int64_t i = begin; i < end; ++i)
                          rows[static_cast<size_t>(i)] = {hash_row(x.row(i), x.d()),
                                                          static_cast<int32_t>(i)};
                  });
    std::sort(rows.begin(), rows.end());
    // Each row's group, named by its lowest row. A row that shares the hash of a lower one and not
    // its bits stays alone, whatever else it equals: groups save work, no result depends on them.
    std::vector<int32_t> leader(n);
    for (size_t i = 0, run_start = 0; i < n; ++i) {
        if (rows[i].first != rows[run_start].first) run_start = i;
        const int32_t row = rows[i].second, lowest = rows[run_start].second;
        const bool equal = row == lowest ||
                           std::memcmp(x.row(lowest), x.row(row), static_cast<size_t>(bytes)) == 0;
        leader[static_cast<size_t>(row)] = equal ? lowest : row;
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
