// Slices: how many rows and how much error lie in each category of each column, and in each
// crossing of up to max_level columns. Definition: python/dqcore/reference/slices.py.
//
//   errors        (n,) uint8 0 or 1, or float64 in [0, 2^error_exponent]
//   columns       m code columns (n,) of any integer type; column j in [0, n_categories[j]), -1 for
//                 missing: such a row takes no part in the slices of that column
//   error sums    whole numbers of 2^(error_exponent - 48), each error rounded to the nearest, so
//                 that any order and any split of the rows gives the same bits
//   rows of the   by number of columns, then columns, then codes (all ascending)
//   result
//
// Callers have checked lengths. Values are checked where they are read (std::invalid_argument) and
// used from the copy that was checked. Sums are exact up to 2^34 rows.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/parallel.h"

namespace dqcore::cpu {

enum class Integer { kInt8, kInt16, kInt32, kInt64, kUint8, kUint16, kUint32, kUint64 };

// Strides are in bytes, of either sign or zero; an element may lie at any address.
struct CodeColumn {
    const char* data = nullptr;
    Integer type = Integer::kInt32;
    int64_t size = 0, stride = 0;
};

struct ErrorColumn {
    const char* data = nullptr;
    bool flags = false;  // uint8, else float64
    int64_t size = 0, stride = 0;
};

struct SliceInput {
    ErrorColumn errors;
    std::vector<CodeColumn> columns;
};

struct SliceSpec {
    std::vector<int64_t> n_categories;
    int64_t max_level = 1;
    int64_t error_exponent = 0;  // in [-kMostExponent, kMostExponent]
    std::string description;     // the caller's; states with different ones refuse to merge
    // These crossings alone instead of all of up to max_level: columns ascending, in the order of the
    // result. Not written to bytes.
    std::vector<std::vector<int32_t>> crossings = {};
    // How many cells a table may have that holds more than one crossing needs; 0: as many as suit this machine. Not
    // written to bytes either.
    int64_t wide_cells = 0;
    // How many cells all dense tables may have together; what is beyond holds only cells that occur. 0: 2^25.
    int64_t all_cells = 0;
};

inline constexpr int64_t kMostExponent = 400;         // squares of sums stay finite
inline constexpr int64_t kMostCrossings = 1LL << 20;  // of columns, over all levels
inline constexpr int64_t kMostCategories = (1LL << 31) - 2;

// One entry for each slice. Sums are rounded once, from whole numbers.
struct SliceCounts {
    int64_t width = 0;                              // columns named by a row: max_level
    std::vector<int32_t> predicate_columns;         // (slices, width), -1 beyond its level
    std::vector<int32_t> predicate_codes;           // the same
    std::vector<int64_t> size;                      // rows
    std::vector<double> error_sum, rest_error_sum;  // of the slice, of the other rows
    std::vector<double> max_error;                  // largest in the slice
    std::vector<double> deviation, rest_deviation;  // sum of (error - mean)^2
    int64_t n_rows = 0;                             // of the whole set
    double total_error_sum = 0;                     // of the whole set
    bool binary = true;                             // every error was 0 or 1
    std::vector<double> weight, weight_squares;     // sums; rows where there are no weights
    double total_weight = 0, total_weight_squares = 0;
};

class SliceTables;  // cpp/slices/state.cpp
struct Cell;        // cpp/slices/table.h
struct SlicePlan;   // cpp/slices/plan.h
__extension__ typedef unsigned __int128 uint128;

// Zero, update, merge (associative, commutative), finish.
class SliceState {
public:
    explicit SliceState(SliceSpec spec);
    ~SliceState();
    SliceState(SliceState&&) noexcept;
    SliceState& operator=(SliceState&&) noexcept;

    // Adds all rows of `in`, or none where it throws.
    void update(const SliceInput& in, const Run& run);
    // The same on this thread and in place: nothing is made for each block of rows. Returns false where tables of cells
    // that occur would take more than `most_bytes` while they grow. Where it does, or throws, the state is of no use.
    bool add(const SliceInput& in, int64_t most_bytes);
    void merge(const SliceState& other);
    // Slices of at least max(1, min_support) rows. Throws std::invalid_argument where they, with what is made of them in
    // Python, and what they are summed out to take more than `most_bytes`.
    SliceCounts finish(int64_t min_support, int64_t most_bytes = INT64_MAX) const;

    // What all tables hold; what the dense ones will, where there are losses or not; how many others there are.
    int64_t held_bytes() const;
    int64_t dense_bytes(bool losses) const;
    int64_t hash_tables() const;

    std::string to_bytes() const;
    static SliceState from_bytes(std::string_view bytes);

    const SliceSpec& spec() const { return spec_; }
    int64_t n_rows() const { return n_rows_; }

    // For a backend that counts by itself: the tables, one cell with rows of one of them, and how many rows there were.
    const SlicePlan& plan() const;
    void add_cell(size_t table, uint128 key, const Cell& cell);
    void add_rows(int64_t rows, bool binary);

private:
    SliceSpec spec_;
    std::unique_ptr<SliceTables> tables_;
    int64_t n_rows_ = 0;
    bool binary_ = true;
};

}  // namespace dqcore::cpu

// In every backend.
namespace dqcore::DQCORE_BACKEND {

// The state of the rows of `in`.
cpu::SliceState counted(cpu::SliceSpec spec, const cpu::SliceInput& in, const Run& run);

}  // namespace dqcore::DQCORE_BACKEND
