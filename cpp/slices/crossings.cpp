// Tables for given crossings, such as those of the columns of groups with the label. A crossing goes
// into a table that holds its columns, or widens one that stays small, or gets one of its own.
#include <algorithm>
#include <cstddef>
#include <iterator>
#include <numeric>
#include <stdexcept>

#include "slices/plan.h"
#include "slices/slices.h"
#include "slices/table.h"

namespace dqcore::cpu {
namespace {

using Columns = std::vector<int32_t>;

void check(const std::vector<int64_t>& n_categories, const std::vector<Columns>& crossings) {
    const auto m = static_cast<int64_t>(n_categories.size());
    if (static_cast<int64_t>(crossings.size()) > kMostCrossings)
        throw std::invalid_argument("there are too many crossings");
    for (const Columns& columns : crossings) {
        const bool ascending =
            std::adjacent_find(columns.begin(), columns.end(),
                               [](int32_t a, int32_t b) { return a >= b; }) == columns.end();
        if (columns.empty() || !ascending || columns.front() < 0 || columns.back() >= m)
            throw std::invalid_argument("crossings must be of ascending columns");
    }
}

bool holds(const Columns& table, const Columns& crossing) {
    return std::includes(table.begin(), table.end(), crossing.begin(), crossing.end());
}

Columns united(const Columns& a, const Columns& b) {
    Columns both;
    std::set_union(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(both));
    return both;
}

// Tables that a crossing is tried in, the last ones: with all of them, many crossings would take the square of their
// number.
constexpr std::ptrdiff_t kCandidates = 64;

// Whether a table over `columns` stays small; of any size, where table_cells would throw.
bool is_small(const Columns& columns, const std::vector<int64_t>& n_categories,
              int64_t wide_cells) {
    int64_t cells = 1;
    for (const int32_t c : columns) {
        cells *= n_categories[static_cast<size_t>(c)] + 1;  // both below 2^31
        if (cells > wide_cells) return false;
    }
    return true;
}

}  // namespace

SlicePlan plan_crossings(const std::vector<int64_t>& n_categories,
                         const std::vector<Columns>& crossings, int64_t wide_cells) {
    check(n_categories, crossings);
    SlicePlan plan;
    std::vector<size_t> order(crossings.size());  // those of most columns first: they hold others
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](size_t a, size_t b) { return crossings[a].size() > crossings[b].size(); });
    std::vector<int32_t> table_of(crossings.size());
    for (const size_t i : order) {
        const Columns& wanted = crossings[i];
        const auto fits = [&](const SlicePlan::TablePlan& table) {
            return holds(table.columns, wanted) ||
                   is_small(united(table.columns, wanted), n_categories, wide_cells);
        };
        const auto from =
            plan.tables.end() - std::min<std::ptrdiff_t>(std::ssize(plan.tables), kCandidates);
        const auto found = std::find_if(from, plan.tables.end(), fits);
        table_of[i] = static_cast<int32_t>(found - plan.tables.begin());
        if (found == plan.tables.end()) {
            plan.tables.push_back({wanted, false});
        } else {
            found->columns = united(found->columns, wanted);
        }
    }
    uint128 used = 0;
    for (auto& table : plan.tables) {
        const uint128 cells = table_cells(table.columns, n_categories);
        table.dense = cells <= uint128{kDenseCells} && used + cells <= uint128{kAllCells};
        if (table.dense) used += cells;
    }
    for (size_t i = 0; i < crossings.size(); ++i)
        plan.crossings.push_back({crossings[i], table_of[i]});
    return plan;
}

}  // namespace dqcore::cpu
