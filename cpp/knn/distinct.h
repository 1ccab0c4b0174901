// Rows that are equal bit for bit, as groups: thousands of them would make every pair among them a
// survivor, so one of each group enters the sweep and the lists are expanded afterwards.
#pragma once

#include <cstdint>
#include <vector>

#include "base/parallel.h"
#include "knn/keys.h"

namespace dqcore {

class DistinctRows {
public:
    DistinctRows(const Keys& rows, const Run& run);

    int64_t size() const { return static_cast<int64_t>(first_.size()); }

    // The lowest row of each group, ascending.
    const std::vector<int32_t>& first() const { return first_; }

    // The rows of a group, ascending.
    const int32_t* begin(int64_t group) const {
        return members_.data() + start_[static_cast<size_t>(group)];
    }
    const int32_t* end(int64_t group) const {
        return members_.data() + start_[static_cast<size_t>(group) + 1];
    }

private:
    std::vector<int32_t> first_, members_;
    std::vector<int64_t> start_;  // of each group in members_, and the end
};

}  // namespace dqcore
