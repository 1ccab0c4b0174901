// The k slices of highest SliceLine score, found exactly. Definition, by full enumeration:
// python/dqcore/reference/slices.py.
//
//   score     alpha (lift - 1) - (1 - alpha) (n / size - 1), size and n in rows or in weight; only
//             slices that score above 0, hold an error and have min_support rows are found
//   search    level by level: a slice is counted where all its parents (one condition less) can
//             still have a descendant among the k best. The bound is Sagadeeva and Boehm's (2021,
//             SliceLine) with n = rows: of all sizes that a descendant can have, three matter
//   counting  a bit for each row and category, rows with the largest errors first: the number of
//             errors is known after the first rows, and most candidates need no others
//
// Sums are whole numbers, so that no order of counting shows; ties go to the lower predicate.
// Callers have checked lengths; values are checked where they are read (std::invalid_argument).
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "slices/slices.h"

namespace dqcore::cpu {

struct SearchSpec {
    std::vector<int64_t> n_categories;
    int64_t k = 1;
    double alpha = 0.6;  // in (0, 1]
    int64_t max_level = 1;
    int64_t min_support = 1;
    int64_t error_exponent = 0;   // as in SliceSpec
    int64_t weight_exponent = 0;  // weights are in [0, 2^weight_exponent]
    int64_t max_candidates = std::numeric_limits<int64_t>::max();  // counted, over all levels
    double time_limit = std::numeric_limits<double>::infinity();   // seconds
    int64_t most_bytes = 1LL << 29;  // of bits: with more categories they are made for each pass
};

struct SearchInput {
    SliceInput rows;
    bool weighted = false;
    ErrorColumn weights;  // float64
};

// What became of the candidates of one level.
struct LevelCounts {
    int64_t candidates = 0;  // all parents stand
    int64_t bounded = 0;     // of those, left out by what is known of the parents
    int64_t evaluated = 0;   // of those, counted: the other ones
    int64_t settled = 0;     // of those, left out by their errors alone
    int64_t kept = 0;        // of those, may have children among the best
};

enum class Stop : int { kComplete, kTimeLimit, kMaxCandidates };

struct FoundSlices {
    SliceCounts counts;  // best first; error sums are weighted
    std::vector<double> score;
    std::vector<uint8_t> redundant;  // the same rows as one of its parents
    std::vector<LevelCounts> levels;
    Stop stop = Stop::kComplete;
    double bound = 0;  // no slice outside the result scores above it
};

FoundSlices find_slices(const SearchInput& in, const SearchSpec& spec, const Run& run);

}  // namespace dqcore::cpu
