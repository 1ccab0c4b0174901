// Which tables to count so that every wanted crossing can be summed out of one of them.
//
// A row costs one addition for each table, so few wide tables beat many narrow ones: a table over
// four columns holds its six pairs. The plan depends on the spec alone, never on the rows.
#pragma once

#include <cstdint>
#include <vector>

namespace dqcore::cpu {

struct SlicePlan {
    struct TablePlan {
        std::vector<int32_t> columns;  // ascending
        bool dense = true;             // one cell for each crossing of codes, else a hash table
    };
    struct Crossing {
        std::vector<int32_t> columns;  // ascending
        int32_t table = 0;             // the one to sum it out of
    };
    std::vector<TablePlan> tables;
    std::vector<Crossing> crossings;  // by number of columns, then columns
};

// 2^15 cells of 8 bytes: two or three such tables fit a core's second-level cache.
inline constexpr int64_t kWideCells = 1 << 15;
// All dense tables of one worker together: 256 MiB of 0/1 counts.
inline constexpr int64_t kAllCells = 1 << 25;

// Throws std::invalid_argument where there are too many crossings or one has 2^128 cells.
// `wide_cells`, `all_cells`: see SliceSpec.
SlicePlan plan_slices(const std::vector<int64_t>& n_categories, int64_t max_level,
                      int64_t wide_cells, int64_t all_cells = kAllCells);

// The same for these crossings alone. Throws std::invalid_argument where one has no columns, or not
// ascending ones of those there are.
SlicePlan plan_crossings(const std::vector<int64_t>& n_categories,
                         const std::vector<std::vector<int32_t>>& crossings, int64_t wide_cells);

}  // namespace dqcore::cpu
