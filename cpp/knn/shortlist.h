// Rows that may be among a row's nearest, until canonical keys decide.
//
// Level 2 knows an upper bound of a pair's distance as well as a lower one. The k-th smallest upper bound is a
// reach: k rows are no farther. So a row can wait with its keys until the sweep is over, when hardly more than its k
// neighbours are left; a key costs a walk to both original rows, several times what level 2 costs.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <vector>

#include "knn/points.h"

namespace dqcore {

class Shortlists {
    struct Entry {
        float most;  // upper bound of the distance
        int32_t other;
    };

public:
    // Gives the pair its canonical key, offers that to the row's list and returns the list's k-th key.
    using Offer = std::function<double(int64_t row, int64_t other)>;

    // Room beyond the k nearest is for pairs that level 2 cannot tell apart.
    static int64_t capacity(int64_t k) { return k + std::max<int64_t>(14, k / 2); }
    static int64_t bytes_per_row(int64_t k) {
        return capacity(k) * int64_t{sizeof(Entry)} + int64_t{sizeof(int32_t)};
    }

    // For rows [begin, end) of `seekers`, whose lists hold k of `others`. Empty where level 2 knows no upper bounds.
    Shortlists(Points& seekers, const Points& others, const Frame& frame, int64_t begin,
               int64_t end, int64_t k, Offer offer);

    // The row has met another, whose distance at level 2 has the square `squared`. Whether its reach fell.
    bool meet(int64_t row, int64_t other, float squared, int64_t& keys);

    // Gives the row's list all that may belong in it. Whether its reach fell. `keys` counts those computed.
    bool settle(int64_t row, int64_t& keys);

private:
    Entry* entries(int64_t row) { return entries_.data() + (row - begin_) * capacity_; }
    void drop_far(int64_t row);

    Points& seekers_;
    const Points& others_;
    const Frame& frame_;
    int64_t begin_, k_, capacity_;
    Offer offer_;
    std::vector<Entry> entries_;  // of each row, by `most`
    std::vector<int32_t> sizes_;
};

}  // namespace dqcore
