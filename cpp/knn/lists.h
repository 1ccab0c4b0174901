// The k best (key, index) pairs of each row, sorted, as far as they are known.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "knn/knn.h"

namespace dqcore {

inline float reported_distance(double key, Metric metric) {
    return static_cast<float>(metric == Metric::kEuclidean ? std::sqrt(key) : key);
}

class NeighbourLists {
public:
    static constexpr int32_t kNone = std::numeric_limits<int32_t>::max();

    NeighbourLists(int64_t rows, int64_t k)
        : k_(k),
          keys_(static_cast<size_t>(rows * k), std::numeric_limits<double>::infinity()),
          ids_(static_cast<size_t>(rows * k), kNone) {}

    int64_t k() const { return k_; }
    int64_t rows() const { return static_cast<int64_t>(keys_.size()) / k_; }
    const double* keys(int64_t row) const { return keys_.data() + row * k_; }
    const int32_t* ids(int64_t row) const { return ids_.data() + row * k_; }
    double* keys(int64_t row) { return keys_.data() + row * k_; }
    int32_t* ids(int64_t row) { return ids_.data() + row * k_; }

    // No key above this can enter the row's list any more; infinity while the list is not full.
    double bound(int64_t row) const { return keys_[static_cast<size_t>(row * k_ + k_ - 1)]; }

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
    int64_t k_;
    std::vector<double> keys_;
    std::vector<int32_t> ids_;
};

}  // namespace dqcore
