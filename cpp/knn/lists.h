// The k best (key, index) pairs of each row, sorted, as far as they are known.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "knn/knn.h"
#include "knn/room.h"

namespace dqcore {

inline float reported_distance(double key, Metric metric) {
    return static_cast<float>(metric == Metric::kEuclidean ? std::sqrt(key) : key);
}

class NeighbourLists {
public:
    static constexpr int32_t kNone = std::numeric_limits<int32_t>::max();

    NeighbourLists(int64_t rows, int64_t k) : rows_(rows), k_(k) {
        keys_.assign(static_cast<size_t>(rows * k), kOpen);
        ids_.assign(static_cast<size_t>(rows * k), kNone);
    }

    // In a room, from `at` on.
    NeighbourLists(int64_t rows, int64_t k, Room& room, char* at) : rows_(rows), k_(k) {
        keys_.lie_in(room, reinterpret_cast<double*>(at));
        ids_.lie_in(room, reinterpret_cast<int32_t*>(at + rows * k * int64_t{sizeof(double)}));
        fill(room, keys_, kOpen);
        fill(room, ids_, kNone);
    }
    static int64_t bytes(int64_t rows, int64_t k) {
        return rows * k * int64_t{sizeof(double) + sizeof(int32_t)};
    }

    int64_t k() const { return k_; }
    int64_t rows() const { return rows_; }
    const double* keys(int64_t row) const { return keys_.some(row * k_, k_); }
    const int32_t* ids(int64_t row) const { return ids_.some(row * k_, k_); }
    double* keys(int64_t row) { return keys_.some(row * k_, k_); }
    int32_t* ids(int64_t row) { return ids_.some(row * k_, k_); }

    // No key above this can enter the row's list any more; infinity while the list is not full.
    double bound(int64_t row) const { return *keys_.some(row * k_ + k_ - 1, 1); }

    // Whether the list changed. A pair offered twice is taken once: it has the same key both times,
    // so the two would stand side by side.
    bool offer(int64_t row, double key, int32_t id) {
        double* keys = this->keys(row);
        int32_t* ids = this->ids(row);
        int64_t at = k_;
        while (at > 0 && (key < keys[at - 1] || (key == keys[at - 1] && id < ids[at - 1]))) --at;
        if (at == k_ || (at > 0 && keys[at - 1] == key && ids[at - 1] == id)) return false;
        for (int64_t t = k_ - 1; t > at; --t) {
            keys[t] = keys[t - 1];
            ids[t] = ids[t - 1];
        }
        keys[at] = key;
        ids[at] = id;
        return true;
    }

    // The first row whose list is not full, or -1.
    int64_t first_open() const {
        for (int64_t row = 0; row < rows(); ++row)
            if (ids(row)[k_ - 1] == kNone) return row;
        return -1;
    }

    void write(Metric metric, const KnnOutput& out) const {
        for (int64_t row = 0; row < rows(); ++row) {
            for (int64_t t = 0; t < k_; ++t) {
                out.indices.row(row)[t] = ids(row)[t];
                out.distances.row(row)[t] = reported_distance(keys(row)[t], metric);
            }
        }
    }

private:
    template <class T>
    void fill(Room& room, Stored<T>& numbers, T value) const {
        const std::vector<T> some(1 << 13, value);
        const auto most = static_cast<int64_t>(some.size());
        for (int64_t at = 0; at < rows_ * k_; at += most)
            room.write(numbers.at(at), some.data(),
                       std::min(most, rows_ * k_ - at) * int64_t{sizeof(T)});
    }

    static constexpr double kOpen = std::numeric_limits<double>::infinity();

    int64_t rows_, k_;
    Stored<double> keys_;
    Stored<int32_t> ids_;
};

}  // namespace dqcore
