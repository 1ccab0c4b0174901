// Counting the rows of many slices at once, and the exact sums of a few.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "slices/item_bits.h"
#include "slices/lattice.h"

namespace dqcore::cpu {

// What the segments tell of some rows.
struct Counted {
    int64_t size = 0;
    uint128 sum = 0, weight = 0, weight_lo = 0;
    double max = 0.0;  // of the segments that hold a row

    void add(const Counted& other);
};

class OutOfTime {};

// The time that a search may take; asked by any thread.
class Deadline {
public:
    explicit Deadline(double seconds) : limit_(seconds), start_(std::chrono::steady_clock::now()) {}

    bool is_over() {
        const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start_;
        if (spent.count() > limit_) over_.store(true, std::memory_order_relaxed);
        return over_.load(std::memory_order_relaxed);
    }
    void lift() {
        limit_ = std::numeric_limits<double>::infinity();
        over_ = false;
    }

private:
    double limit_;
    const std::chrono::steady_clock::time_point start_;
    std::atomic<bool> over_{false};
};

// Throws OutOfTime where the deadline passes.
class Counter {
public:
    Counter(const SearchRows& rows, ItemBits& bits, Deadline& deadline, const Run& run)
        : rows_(rows), bits_(bits), deadline_(deadline), run_(run) {}

    // Of each candidate its rows in the segments [first, end).
    std::vector<Counted> count(const Level& parents, const std::vector<Candidate>& candidates,
                               size_t first, size_t end);
    // Exact sums of sets of items, row by row where segments do not tell.
    std::vector<RowSums> measure(const std::vector<std::vector<int32_t>>& sets);

    std::string stage;  // for progress

private:
    template <class Body>
    void each_stripe(int64_t groups, const Body& body);
    void count_block(const Level& parents, const std::vector<Candidate>& candidates, size_t begin,
                     size_t past, int64_t block, size_t first, size_t end,
                     std::vector<uint64_t>& prefix, Counted* out) const;
    void measure_block(const std::vector<int32_t>& set, int64_t block,
                       std::vector<uint64_t>& common, RowSums& out) const;

    const SearchRows& rows_;
    ItemBits& bits_;
    Deadline& deadline_;
    const Run& run_;
};

}  // namespace dqcore::cpu
