// The rows of a search in the order in which they are counted.
//
// Rows with larger errors come first, cut into segments of rows that err alike: the number of a
// slice's rows in each segment bounds its error from above, and tells it exactly where all rows of
// the segment have one error. A segment starts a cache line; the places before it stay empty.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "slices/search.h"
#include "slices/table.h"

namespace dqcore::cpu {

inline constexpr int64_t kBitBlock = 1 << 15;  // places: 4 KiB of bits for each category
inline constexpr int64_t kBlockWords = kBitBlock / 64;

// Exact sums of some rows. Units: of errors (weighted), of weights, and of the squares of each.
struct RowSums {
    int64_t size = 0;
    uint128 sum = 0, squares = 0, weight = 0, weight_squares = 0;
    double max = 0.0;

    void add(const RowSums& other);
    RowSums times(int64_t rows) const;
};

struct Segment {
    int64_t first_word = 0, words = 0;  // within one block
    bool same = false;                  // all rows have one error and one weight
    double max_error = 0.0;             // of an unweighted error
    uint64_t error = 0, weight = 0,
             weight_lo = 0;  // the most of a row, in units; weight_lo the least
    RowSums one;             // what a row adds, where all are the same
};

class SearchRows {
public:
    // Reads and checks errors and weights.
    SearchRows(const SearchInput& in, const SearchSpec& spec, const Run& run);

    int64_t n_blocks() const { return static_cast<int64_t>(block_segments_.size()) - 1; }
    const std::vector<Segment>& segments() const { return segments_; }
    // Segments [first, second) lie in block `b`.
    std::pair<size_t, size_t> of_block(int64_t b) const {
        return {block_segments_[static_cast<size_t>(b)],
                block_segments_[static_cast<size_t>(b) + 1]};
    }
    // Segments from here on hold no error.
    size_t first_without_error() const { return first_without_error_; }
    // Whether segments alone tell every sum.
    bool all_same() const { return all_same_; }
    bool weighted() const { return weighted_; }
    bool binary() const { return binary_; }
    const RowSums& total() const { return total_; }

    // Row at each place; -1 where there is none.
    const std::vector<int64_t>& row_at() const { return row_at_; }
    // Adds the row at `place`.
    void add_row(int64_t place, RowSums& sums) const;

    double error_sum(uint128 units) const { return product_unit_.sum(units); }
    double weight_sum(uint128 units) const { return weight_unit_.sum(units); }
    double weight_squares(const RowSums& sums) const;
    double deviation(const RowSums& sums) const;
    double quantised_max(double max_error) const;

private:
    void read(const SearchInput& in, const Run& run);
    std::vector<int64_t> ordered(const Worker& worker) const;
    std::vector<int64_t> runs(const std::vector<int64_t>& order) const;
    void cut(const std::vector<int64_t>& order, const std::vector<int64_t>& starts, const Run& run);
    RowSums describe(Segment& segment, int64_t first, int64_t rows, const double* errors,
                     int64_t step, const double* weights) const;
    RowSums of_row(double error, double weight) const;

    bool weighted_, binary_ = true, all_same_ = true;
    ErrorUnit error_unit_, weight_unit_, product_unit_, square_unit_, weight_square_unit_;
    std::vector<double> errors_, weights_;  // by row, then by place; empty where segments tell all
    std::vector<int64_t> row_at_;
    std::vector<Segment> segments_;
    std::vector<size_t> block_segments_;
    size_t first_without_error_ = SIZE_MAX;
    RowSums total_;
};

}  // namespace dqcore::cpu
