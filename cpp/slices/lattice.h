// Sets of conditions that still matter on one level of a search, and their children.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "slices/item_bits.h"

namespace dqcore::cpu {

// What is known of some rows: nothing here is too low, and weight_lo not too high.
struct Known {
    double size = 0;  // rows
    double sum = 0;   // of (weighted) errors
    double max = 0;   // of an error
    double weight = 0, weight_lo = 0;

    void least(const Known& other);
};

// Scores and their bounds from what is known.
class Scores {
public:
    Scores(const SearchRows& rows, const SearchSpec& spec);

    double score(double sum, double weight) const {
        const double lift = sum / weight / overall_;
        return alpha_ * (lift - 1.0) - (1.0 - alpha_) * (total_weight_ / weight - 1.0);
    }
    // No slice of which `known` is told scores more.
    double own_bound(const Known& known) const;
    // No slice within one of which `known` is told scores more, if it has min_support rows.
    double bound(const Known& known) const;

private:
    double loosened(double sum, double weight) const;

    double alpha_, overall_, total_weight_, least_weight_, error_slack_, weight_slack_;
};

// The slices of one level that may have children, `level` items each, ascending; sorted.
struct Level {
    int64_t level = 0;
    std::vector<int32_t> items;  // (slices, level)
    std::vector<Known> known;

    int64_t size() const { return static_cast<int64_t>(known.size()); }
    const int32_t* of(int64_t i) const { return items.data() + i * level; }
};

// A slice with one more item than a parent, the largest.
struct Candidate {
    int64_t parent = 0;
    int32_t item = 0;
    Known known;  // the least of all parents; then its own
    double bound = 0.0;
};

// Makes the candidates of the level after `parents`, in order, those whose parents all stand.
class Children {
public:
    Children(const Level& parents, const std::vector<Item>& items);

    // Calls take(candidate) until it returns false or none is left; goes on from there next time. `tick` is
    // called now and then.
    void next(const std::function<bool(const Candidate&)>& take, const std::function<void()>& tick);
    bool done() const { return first_ >= parents_.size(); }

private:
    int64_t find(const int32_t* wanted) const;
    bool join(Candidate& candidate, int64_t other);

    const Level& parents_;
    const std::vector<Item>& items_;
    std::vector<uint32_t> places_;  // parent + 1, 0 where free; a power of two
    std::vector<int32_t> set_, wanted_;
    int64_t first_ = 0, second_ = 1;
};

}  // namespace dqcore::cpu
