// Counts of one crossing of columns: a cell for each combination of codes, dense or only those that
// occur. A missing code has a cell of its own (digit 0), so that sums over a column lose no row.
#pragma once

#include <cmath>
#include <cstdint>
#include <functional>
#include <vector>

#include "slices/slices.h"

namespace dqcore::cpu {

inline constexpr int64_t kBlockRows = 1024;  // codes of 5 columns, ids and errors fit 32 KiB
inline constexpr int kErrorBits = 48;        // 2^error_exponent is 2^48 units
// A table of its own is dense up to 8 MiB of 0/1 counts; above, it holds only cells that occur.
inline constexpr int64_t kDenseCells = 1 << 20;

// Errors as whole numbers of 2^(exponent - kErrorBits). The twin is reference.slices.quantised.
class ErrorUnit {
public:
    explicit ErrorUnit(int64_t exponent);
    uint64_t quantise(double error) const {
        const double units = error * scale_ + 0.5;  // never below zero: the cast is floor
        return static_cast<uint64_t>(static_cast<int64_t>(units));
    }
    double sum(uint128 units) const { return static_cast<double>(units) * unit_; }
    // Sum of squared distances from the mean. Exact but for one rounding of each of two terms:
    // `squares` may have wrapped, the centred sum has not.
    double deviation(int64_t size, uint128 sum, uint128 squares) const;
    double most() const { return most_; }

private:
    double scale_, unit_, most_;
};

struct Cell {
    uint128 sum = 0, squares = 0;  // of quantised errors; squares modulo 2^128
    double max = 0.0;
    int64_t size = 0;

    void add(const Cell& other) {
        sum += other.sum;
        squares += other.squares;
        if (other.max > max) max = other.max;
        size += other.size;
    }
};

// One block of rows, read and checked once. Codes are shifted by one: 0 is missing.
struct Block {
    explicit Block(size_t columns) : codes(columns * kBlockRows), slots(kBlockRows) {}

    // Throws std::invalid_argument naming the row.
    void load(const SliceInput& in, const SliceSpec& spec, const ErrorUnit& unit, int64_t begin,
              int64_t end);
    const uint32_t* column(int32_t c) const {
        return codes.data() + static_cast<size_t>(c) * kBlockRows;
    }

    int64_t rows = 0;
    bool binary = true;               // all errors of the block are 0 or 1
    std::vector<uint32_t> codes;      // (columns, kBlockRows)
    std::vector<uint32_t> slots;      // scratch of Table::count
    std::vector<uint64_t> flags;      // 1 + error * 2^32
    std::vector<double> errors;       // empty while all blocks have been binary
    std::vector<uint64_t> quantised;  // the same
};

// Reads codes + 1 of rows from `begin` on, 0 for missing; throws std::invalid_argument naming the row
// and this number of the column.
void read_codes(const CodeColumn& c, int64_t column, int64_t begin, int64_t rows,
                int64_t n_categories, uint32_t* out);

// The product of (categories + 1); throws std::invalid_argument where it does not fit 128 bits.
uint128 table_cells(const std::vector<int32_t>& columns, const std::vector<int64_t>& n_categories);

// Numbers keys 0, 1, 2, ... as they first come. Whole keys are compared: none can collide.
class KeyIndex {
public:
    uint32_t find_or_add(uint128 key);
    const std::vector<uint128>& keys() const { return keys_; }
    int64_t held_bytes() const {
        return static_cast<int64_t>(keys_.capacity() * sizeof(uint128) +
                                    places_.capacity() * sizeof(uint32_t));
    }

private:
    void grow();
    size_t home(uint128 key) const;

    std::vector<uint128> keys_;
    std::vector<uint32_t> places_;  // slot + 1, 0 where free; a power of two
};

class Table {
public:
    // `categories` are those of each of `columns`.
    Table(std::vector<int32_t> columns, std::vector<int64_t> categories, bool dense,
          const ErrorUnit& unit);

    void count(Block& block);
    void merge(const Table& other);
    void add(uint128 key, const Cell& cell);

    // The same rows by some of the columns; rows with a missing code in those are left out.
    Table project(const std::vector<int32_t>& columns) const;

    // Calls visit(key, cell) for each cell with rows, in any order, or by ascending key.
    using Visit = std::function<void(uint128, const Cell&)>;
    void each(const Visit& visit) const;
    void each_sorted(const Visit& visit) const;

    // Digit of column `i` of this table: 0 missing, else code + 1.
    int64_t digit(uint128 key, size_t i) const;

    const std::vector<int32_t>& columns() const { return columns_; }
    uint128 cells() const { return cells_; }
    bool dense() const { return dense_; }
    int64_t held_bytes() const {
        return index_.held_bytes() + static_cast<int64_t>(packed_.capacity() * sizeof(uint64_t) +
                                                          full_.capacity() * sizeof(Cell));
    }
    // At most what `project` to these columns takes.
    int64_t projected_bytes(const std::vector<int32_t>& columns) const;

private:
    void find_slots(Block& block);
    void count_flags(const Block& block);
    void count_losses(const Block& block);
    void flush();
    template <class T, class Plus>
    void sum_out(const std::vector<T>& from, const std::vector<int64_t>& step, size_t to_slots,
                 std::vector<T>& to, const Plus& plus) const;
    size_t slots() const;
    Cell unpacked(uint64_t packed) const;
    Cell cell(size_t slot) const;

    std::vector<int32_t> columns_;
    std::vector<int64_t> categories_;
    std::vector<uint128> stride_;
    uint128 cells_ = 1;
    bool dense_;
    ErrorUnit unit_;
    uint64_t one_;  // the error 1 in units
    KeyIndex index_;
    // Rows with errors 0 and 1: count in the low half, errors in the high half. Emptied into full_
    // before a half could overflow.
    std::vector<uint64_t> packed_;
    int64_t packed_rows_ = 0;
    std::vector<Cell> full_;  // all other rows
};

}  // namespace dqcore::cpu
