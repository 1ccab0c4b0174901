// Rows that are equal bit for bit: where there are more of them than a stage has room for, one of each is joined and the
// lists are expanded afterwards, as the CPU does always (knn/distinct.h).
#pragma once

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <utility>
#include <vector>

#include "cuda/knn_points.h"
#include "knn/knn.h"

namespace dqcore::cuda {

// hashes[r]: equal rows have equal ones.
struct HashRows {
    static constexpr const char* kName = "hash_rows";
    static constexpr int kThreads = 128, kBlocks = 4;
    Global<const float> x;
    Global<uint64_t> hashes;
    int64_t n, d;

    template <class Ex>
    DQCORE_DEVICE void run(Ex& ex) const {
        const int64_t row = int64_t{ex.block()} * (kThreads / kWarp) + ex.warp();
        if (row >= n) return;
        uint64_t sum = 0;
        for (int64_t c = ex.lane(); c < d; c += kWarp) {
            // splitmix64 of the number and its place.
            uint64_t z = bits_as<uint32_t>(x[row * d + c]) +
                         static_cast<uint64_t>(c + 1) * 0x9e3779b97f4a7c15u;
            z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
            z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
            sum += z ^ (z >> 31);
        }
        for (int m = kWarp / 2; m > 0; m /= 2) sum += ex.shuffle_xor(sum, m);
        if (ex.lane() == 0) hashes.set(row, sum);
    }
};

// first[r] = r where row r and row first[r] differ after all.
struct CompareRows {
    static constexpr const char* kName = "compare_rows";
    static constexpr int kThreads = 128, kBlocks = 4;
    Global<const float> x;
    Global<int32_t> first;
    int64_t n, d;

    template <class Ex>
    DQCORE_DEVICE void run(Ex& ex) const {
        const int64_t row = int64_t{ex.block()} * (kThreads / kWarp) + ex.warp();
        if (row >= n) return;
        const int64_t other = first[row];
        bool differ = false;
        for (int64_t c = ex.lane(); c < d; c += kWarp)
            differ =
                differ || bits_as<uint32_t>(x[row * d + c]) != bits_as<uint32_t>(x[other * d + c]);
        if (ex.ballot(differ) != 0 && ex.lane() == 0) first.set(row, static_cast<int32_t>(row));
    }
};

// Puts results of the host where the caller wants them.
struct DeliverLists {
    static constexpr const char* kName = "deliver_lists";
    static constexpr int kThreads = 128, kBlocks = 4;
    Global<const int32_t> from_indices;
    Global<const float> from_distances;
    Global<int32_t> indices;
    Global<float> distances;

    template <class Ex>
    DQCORE_DEVICE void run(Ex& ex) const {
        const int64_t t = int64_t{ex.block()} * kThreads + ex.thread();
        if (t >= indices.size()) return;
        indices.set(t, from_indices[t]);
        distances.set(t, from_distances[t]);
    }
};

// Groups of equal rows: the lowest row of each, ascending, and all rows, those of a group side by side and ascending.
class RowGroups {
public:
    // first[r]: the lowest row equal to row r.
    explicit RowGroups(const std::vector<int32_t>& first)
        : start_(first.size() + 1), members_(first.size()) {
        for (size_t r = 0; r < first.size(); ++r) {
            if (first[r] == static_cast<int32_t>(r)) lowest.push_back(first[r]);
            ++start_[static_cast<size_t>(first[r]) + 1];
        }
        for (size_t r = 0; r < first.size(); ++r) start_[r + 1] += start_[r];
        std::vector<int64_t> next(start_.begin(), start_.end() - 1);
        for (size_t r = 0; r < first.size(); ++r)
            members_[static_cast<size_t>(next[static_cast<size_t>(first[r])]++)] =
                static_cast<int32_t>(r);
    }

    // Of the group whose lowest row is `row`.
    const int32_t* begin(int32_t row) const {
        return members_.data() + start_[static_cast<size_t>(row)];
    }
    const int32_t* end(int32_t row) const {
        return members_.data() + start_[static_cast<size_t>(row) + 1];
    }

    std::vector<int32_t> lowest;

private:
    std::vector<int64_t> start_;
    std::vector<int32_t> members_;
};

template <class Device>
RowGroups group_rows(Device& device, Global<const float> x, int64_t n, int64_t d) {
    auto hashes = device.template alloc<uint64_t>(n);
    device.launch(HashRows{x, hashes.all(), n, d}, (n + 3) / 4, 0);
    std::vector<uint64_t> hash(static_cast<size_t>(n));
    device.download(hash.data(), hashes, n);
    std::vector<std::pair<uint64_t, int32_t>> order;
    order.reserve(hash.size());
    for (const uint64_t h : hash) order.emplace_back(h, static_cast<int32_t>(order.size()));
    std::sort(order.begin(), order.end());
    std::vector<int32_t> first(hash.size());
    for (size_t t = 0, lowest = 0; t < order.size(); ++t) {
        if (order[t].first != order[lowest].first) lowest = t;
        first[static_cast<size_t>(order[t].second)] = order[lowest].second;
    }
    auto firsts = device.template alloc<int32_t>(n);
    device.upload(firsts, first.data(), n);
    device.launch(CompareRows{x, firsts.all(), n, d}, (n + 3) / 4, 0);
    device.download(first.data(), firsts, n);
    return RowGroups(first);
}

// The lists of groups, by position: row[p] is a lowest row, its k nearest others are ids[p * k ..].
struct GroupLists {
    std::vector<int32_t> rows, ids;
    std::vector<double> keys;
    int64_t k = 0;
};

// Lists of all rows from those of groups. A group stands for its members, of which the k + 1 lowest can be among any
// row's k nearest. `zero(row)`: of cosine, as far from every row, itself included.
template <class Zero>
void expand_groups(const RowGroups& groups, const GroupLists& lists, Metric metric,
                   const Zero& zero, const KnnOutput& out) {
    const int64_t k = out.indices.cols;
    std::vector<std::pair<double, int32_t>> candidates;
    const auto add = [&](double key, int32_t lowest) {
        const int32_t* first = groups.begin(lowest);
        const int64_t size = std::min<int64_t>(groups.end(lowest) - first, k + 1);
        for (int64_t t = 0; t < size; ++t) candidates.emplace_back(key, first[t]);
    };
    for (size_t p = 0; p < lists.rows.size(); ++p) {
        const int32_t row = lists.rows[p];
        candidates.clear();
        if (zero(row)) {
            for (int32_t id = 0; id <= k; ++id) candidates.emplace_back(1.0, id);
        } else {
            add(0.0, row);
            for (int64_t t = 0; t < lists.k; ++t) {
                const size_t at = p * static_cast<size_t>(lists.k) + static_cast<size_t>(t);
                if (lists.ids[at] != kNoNeighbour) add(lists.keys[at], lists.ids[at]);
            }
            std::sort(candidates.begin(), candidates.end());
        }
        for (const int32_t* member = groups.begin(row); member != groups.end(row); ++member) {
            int64_t t = 0;
            for (size_t c = 0; c < candidates.size() && t < k; ++c) {
                const auto [key, id] = candidates[c];
                if (id == *member) continue;
                out.indices.row(*member)[t] = id;
                out.distances.row(*member)[t++] =
                    static_cast<float>(metric == Metric::kEuclidean ? std::sqrt(key) : key);
            }
            if (t < k)
                throw std::invalid_argument(
                    "features changed during the call: a row has no k nearest rows");
        }
    }
}

}  // namespace dqcore::cuda
