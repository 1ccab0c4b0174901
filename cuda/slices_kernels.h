// The kernels of slices: codes and errors are read and checked once, then every table of crossings counts its rows. All
// sums are of whole numbers, so that no order of threads changes a bit.
#pragma once

#include <type_traits>

#include "cuda/exec.h"

namespace dqcore::cuda {

// Rows per block of the CPU, which tells what is wrong block by block.
inline constexpr int kFaultRows = 1024;

enum SliceWord : int {
    kFaultBlock = 0,  // the first block of kFaultRows rows with a value out of range
    kLosses = 1,      // 1 where an error is neither 0 nor 1
    kSliceWords = 2,
};

// Codes plus one, 0 for missing.
template <class T>
struct ReadCodes {
    static constexpr const char* kName = "read_codes";
    static constexpr int kThreads = 256, kBlocks = 4;

    Global<const T> raw;  // (n,)
    Global<uint32_t> codes;
    Global<uint64_t> faults;
    int64_t n, n_categories;

    template <class Ex>
    DQCORE_DEVICE void run(Ex& ex) const {
        each_index(ex, kThreads, n, [&](int64_t i) {
            const T value = raw[i];
            bool inside;
            if constexpr (std::is_signed_v<T>)
                inside = value >= -1 && int64_t{value} < n_categories;
            else
                inside = uint64_t{value} < static_cast<uint64_t>(n_categories);
            codes.set(i, inside ? static_cast<uint32_t>(value) + 1u : 0u);
            if (!inside) ex.atomic_min(faults, kFaultBlock, static_cast<uint64_t>(i / kFaultRows));
        });
    }
};

// Errors as flags and, of losses, as whole numbers of the unit.
template <class T>
struct ReadErrors {
    static constexpr const char* kName = "read_errors";
    static constexpr int kThreads = 256, kBlocks = 4;

    Global<const T> raw;     // (n,)
    Global<uint8_t> flags;   // (n,)
    Global<uint64_t> units;  // (n,), of losses
    Global<uint64_t> faults;
    int64_t n;
    double most, scale;  // the greatest error, and what it is multiplied by to be a number of units

    template <class Ex>
    DQCORE_DEVICE void run(Ex& ex) const {
        each_index(ex, kThreads, n, [&](int64_t i) {
            const T value = raw[i];
            const auto error = static_cast<double>(value);
            bool right = error >= 0.0 && error <= most;
            if constexpr (std::is_same_v<T, uint8_t>)
                right = right && value <= 1;
            else
                units.set(i, right
                                 ? static_cast<uint64_t>(static_cast<int64_t>(error * scale + 0.5))
                                 : 0);
            flags.set(i, error == 1.0 ? 1 : 0);
            if (!right) ex.atomic_min(faults, kFaultBlock, static_cast<uint64_t>(i / kFaultRows));
            if (right && error != 0.0 && error != 1.0) ex.atomic_max(faults, kLosses, uint64_t{1});
        });
    }
};

// One table: its cells are sums over its columns of code * stride.
struct SliceTable {
    int32_t first_part, end_part;  // of the parts
    int32_t near;  // its first cell in shared memory; -1 where it is counted in global memory
    int32_t cells;
    int64_t first_cell;  // in the counts of all tables
};
struct SlicePart {
    int32_t column;
    uint32_t stride;
};

struct SliceRows {
    Global<const uint32_t> codes;  // (columns, n), plus one
    Global<const SliceTable> tables;
    Global<const SlicePart> parts;
    int64_t n;

    DQCORE_DEVICE uint32_t cell(const SliceTable& table, int64_t row) const {
        uint32_t at = 0;
        for (int32_t p = table.first_part; p < table.end_part; ++p) {
            const SlicePart part = parts[p];
            at += codes[part.column * n + row] * part.stride;
        }
        return at;
    }
};

// Rows with errors 0 and 1: how many, and how many errors. A block takes the tables of one group, whose cells fit shared
// memory together, and a share of the rows.
struct CountFlags {
    static constexpr const char* kName = "count_flags";
    static constexpr int kThreads = 256, kBlocks = 2;
    static constexpr int64_t kNearCells = 12'000;  // of 8 bytes: two blocks fit a multiprocessor

    SliceRows rows;
    Global<const int32_t> groups;  // (n_groups + 1,): the first table of each
    Global<const uint8_t> flags;   // (n,)
    Global<uint32_t> counts;       // (cells of all tables, 2)
    int32_t n_groups;
    int32_t near_cells;  // of the largest group

    template <class Ex>
    DQCORE_DEVICE void run(Ex& ex) const {
        const auto near = shared<uint32_t>(ex, 0, int64_t{near_cells} * 2);
        for (int64_t i = ex.thread(); i < int64_t{near_cells} * 2; i += kThreads) near.set(i, 0);
        ex.sync();
        const int group = ex.block() % n_groups;
        const int32_t begin = groups[group], end = groups[group + 1];
        const int64_t step = int64_t{ex.blocks() / n_groups} * kThreads;
        const int64_t first = int64_t{ex.block() / n_groups} * kThreads + ex.thread();
        for (int64_t row = first; row < rows.n; row += step) {
            const uint32_t flag = flags[row];
            for (int32_t t = begin; t < end; ++t) count(ex, near, rows.tables[t], row, flag);
        }
        ex.sync();
        for (int32_t t = begin; t < end; ++t) {
            const SliceTable table = rows.tables[t];
            if (table.near < 0) continue;
            for (int64_t i = ex.thread(); i < int64_t{table.cells} * 2; i += kThreads) {
                const uint32_t count = near[int64_t{table.near} * 2 + i];
                if (count != 0) ex.atomic_add(counts, table.first_cell * 2 + i, count);
            }
        }
    }

private:
    template <class Ex, class Near>
    DQCORE_DEVICE void count(Ex& ex, const Near& near, const SliceTable& table, int64_t row,
                             uint32_t flag) const {
        const int64_t cell = rows.cell(table, row);
        if (table.near >= 0) {
            ex.atomic_add(near, (table.near + cell) * 2, 1u);
            if (flag != 0) ex.atomic_add(near, (table.near + cell) * 2 + 1, 1u);
        } else {
            ex.atomic_add(counts, (table.first_cell + cell) * 2, 1u);
            if (flag != 0) ex.atomic_add(counts, (table.first_cell + cell) * 2 + 1, 1u);
        }
    }
};

// Losses: for each cell the rows, the sum of units and of their squares in words of 32 bits, and the greatest loss.
// Small tables have copies, one for every so manieth block, so that not all rows wait for the same few words.
enum LossWord : int {
    kRowsWord,
    kSum0,
    kSum1,
    kSquare0,
    kSquare1,
    kSquare2,
    kMostLoss,
    kLossWords
};

struct CountLosses {
    static constexpr const char* kName = "count_losses";
    static constexpr int kThreads = 256, kBlocks = 4;

    SliceRows rows;
    Global<const double> errors;   // (n,)
    Global<const uint64_t> units;  // (n,)
    Global<uint64_t> cells;        // (copies, cells of all tables, kLossWords)
    int32_t n_tables, copies;
    int64_t n_cells;

    template <class Ex>
    DQCORE_DEVICE void run(Ex& ex) const {
        const int64_t copy = ex.block() % copies * n_cells;
        each_index(ex, kThreads, rows.n, [&](int64_t row) {
            for (int32_t t = 0; t < n_tables; ++t) {
                const SliceTable table = rows.tables[t];
                const int64_t cell = copy + table.first_cell + rows.cell(table, row);
                add(ex, cell * kLossWords, units[row], errors[row]);
            }
        });
    }

private:
    template <class Ex>
    DQCORE_DEVICE void add(Ex& ex, int64_t at, uint64_t x, double error) const {
        constexpr uint64_t kLow = 0xffffffffu;
        const uint64_t low = x & kLow, high = x >> 32;  // below 2^17
        // x^2 = low^2 + 2^33 * low * high + 2^64 * high^2
        const uint64_t square = low * low, cross = 2 * low * high;
        ex.atomic_add(cells, at + kRowsWord, uint64_t{1});
        ex.atomic_add(cells, at + kSum0, low);
        ex.atomic_add(cells, at + kSum1, high);
        ex.atomic_add(cells, at + kSquare0, square & kLow);
        ex.atomic_add(cells, at + kSquare1, (square >> 32) + (cross & kLow));
        ex.atomic_add(cells, at + kSquare2, (cross >> 32) + high * high);
        ex.atomic_max(cells, at + kMostLoss, bits_as<uint64_t>(error + 0.0));
    }
};

}  // namespace dqcore::cuda
