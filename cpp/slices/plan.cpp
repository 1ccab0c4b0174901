#include "slices/plan.h"

#include <algorithm>
#include <numeric>
#include <stdexcept>
#include <string>

#include "slices/slices.h"
#include "slices/table.h"

namespace dqcore::cpu {
namespace {

// Columns tried for a table: those from its first one on. Keeps a plan over hundreds of columns
// linear in the number of crossings.
constexpr int32_t kCandidates = 64;

using Columns = std::vector<int32_t>;

int64_t saturating_product(int64_t a, int64_t b) {
    int64_t product;
    return __builtin_mul_overflow(a, b, &product) ? INT64_MAX : product;
}

// Numbers the subsets of each size: rank = sum of C(column_i, i + 1) over ascending columns.
class Ranks {
public:
    Ranks(int64_t n, int64_t level) : n_(n), choose_(static_cast<size_t>((n + 1) * (level + 2))) {
        for (int64_t a = 0; a <= n; ++a) {
            at(a, 0) = 1;
            for (int64_t b = 1; b <= level + 1; ++b) {
                const int64_t rest = a == 0 ? 0 : at(a - 1, b);
                const int64_t with = a == 0 ? 0 : at(a - 1, b - 1);
                if (__builtin_add_overflow(rest, with, &at(a, b))) at(a, b) = INT64_MAX;
            }
        }
    }

    int64_t count(int64_t level) { return at(n_, level); }

    size_t rank(const Columns& columns) {
        int64_t sum = 0;
        for (size_t i = 0; i < columns.size(); ++i)
            sum += at(columns[i], static_cast<int64_t>(i) + 1);
        return static_cast<size_t>(sum);
    }

private:
    int64_t& at(int64_t a, int64_t b) { return choose_[static_cast<size_t>(b * (n_ + 1) + a)]; }

    int64_t n_;
    std::vector<int64_t> choose_;
};

// Calls visit(subset) for each subset of `level` of the `columns`, in lexicographic order.
template <class Visit>
void each_subset(const Columns& columns, size_t level, const Visit& visit) {
    if (level > columns.size()) return;
    std::vector<size_t> pick(level);
    std::iota(pick.begin(), pick.end(), size_t{0});
    Columns subset(level);
    for (;;) {
        for (size_t i = 0; i < level; ++i) subset[i] = columns[pick[i]];
        visit(subset);
        size_t i = level;
        while (i > 0 && pick[i - 1] == columns.size() - level + i - 1) --i;
        if (i == 0) return;
        ++pick[i - 1];
        for (size_t j = i; j < level; ++j) pick[j] = pick[j - 1] + 1;
    }
}

// Covers all subsets of the highest level, greedily.
class Cover {
public:
    Cover(const std::vector<int64_t>& n_categories, size_t level, int64_t wide_cells,
          int64_t all_cells, Ranks& ranks)
        : level_(level),
          wide_cells_(wide_cells),
          all_cells_(all_cells),
          ranks_(ranks),
          covered_(static_cast<size_t>(ranks.count(level))) {
        for (const int64_t n : n_categories) radix_.push_back(n + 1);  // one more for missing
        all_.resize(radix_.size());
        std::iota(all_.begin(), all_.end(), 0);
        each_subset(all_, level, [&](const Columns& seed) {
            if (!covered_[ranks_.rank(seed)]) add_table(seed);
        });
    }

    std::vector<SlicePlan::TablePlan> tables;

private:
    int64_t cells(const Columns& columns) const {
        int64_t product = 1;
        for (const int32_t c : columns)
            product = saturating_product(product, radix_[static_cast<size_t>(c)]);
        return product;
    }

    void add_table(Columns columns) {
        int64_t product = cells(columns);
        while (product <= wide_cells_) {
            const int32_t best = best_addition(columns, product);
            if (best < 0) break;
            columns.insert(std::upper_bound(columns.begin(), columns.end(), best), best);
            product *= radix_[static_cast<size_t>(best)];
        }
        each_subset(columns, level_, [&](const Columns& s) { covered_[ranks_.rank(s)] = true; });
        const bool dense = product <= kDenseCells && used_ + product <= all_cells_;
        if (dense) used_ += product;
        tables.push_back({std::move(columns), dense});
    }

    // The column that covers most for this table's size; -1 where none covers anything new.
    int32_t best_addition(const Columns& columns, int64_t product) {
        int32_t best = -1;
        int64_t best_gain = 0, best_radix = 0;
        const auto m = static_cast<int32_t>(all_.size());
        const int32_t first = m > kCandidates ? columns.front() : 0;
        const int32_t end = std::min(first + kCandidates, m);
        for (int32_t c = first; c < end; ++c) {
            const int64_t radix = radix_[static_cast<size_t>(c)];
            if (saturating_product(product, radix) > wide_cells_) continue;
            if (std::binary_search(columns.begin(), columns.end(), c)) continue;
            int64_t gain = 0;
            Columns with;
            each_subset(columns, level_ - 1, [&](const Columns& rest) {
                with.assign(rest.begin(), rest.end());
                with.insert(std::upper_bound(with.begin(), with.end(), c), c);
                gain += !covered_[ranks_.rank(with)];
            });
            if (gain > best_gain || (gain == best_gain && gain > 0 && radix < best_radix)) {
                best = c;
                best_gain = gain;
                best_radix = radix;
            }
        }
        return best;
    }

    size_t level_;
    int64_t wide_cells_, all_cells_;
    Ranks& ranks_;
    std::vector<bool> covered_;
    std::vector<int64_t> radix_;
    Columns all_;
    int64_t used_ = 0;
};

}  // namespace

SlicePlan plan_slices(const std::vector<int64_t>& n_categories, int64_t max_level,
                      int64_t wide_cells, int64_t all_cells) {
    const auto m = static_cast<int64_t>(n_categories.size());
    const int64_t level = std::min(m, max_level);
    SlicePlan plan;
    if (level < 1) return plan;
    if (m > kMostCrossings) throw std::invalid_argument("too many columns");
    Ranks ranks(m, std::min<int64_t>(level, 64));
    int64_t crossings = 0;
    for (int64_t l = 1; l <= level; ++l) {
        // Where one level alone is too much, its count may have wrapped: it is not added.
        const bool too_much = l > 64 || ranks.count(l) > kMostCrossings;
        if (!too_much) crossings += ranks.count(l);
        if (too_much || crossings > kMostCrossings) {
            throw std::invalid_argument("max_level asks for more than " +
                                        std::to_string(kMostCrossings) + " crossings of columns");
        }
    }

    Cover cover(n_categories, static_cast<size_t>(level), wide_cells, all_cells, ranks);
    plan.tables = std::move(cover.tables);

    // Each crossing comes from the table with the fewest cells that holds its columns; hash tables
    // last.
    std::vector<std::pair<uint128, int32_t>> order;
    order.reserve(plan.tables.size());
    for (size_t t = 0; t < plan.tables.size(); ++t) {
        order.emplace_back(table_cells(plan.tables[t].columns, n_categories),
                           static_cast<int32_t>(t));
    }
    std::stable_sort(order.begin(), order.end(), [&](const auto& a, const auto& b) {
        const bool a_dense = plan.tables[static_cast<size_t>(a.second)].dense;
        const bool b_dense = plan.tables[static_cast<size_t>(b.second)].dense;
        return a_dense != b_dense ? a_dense : a.first < b.first;
    });
    Columns all(static_cast<size_t>(m));
    std::iota(all.begin(), all.end(), 0);
    for (size_t l = 1; l <= static_cast<size_t>(level); ++l) {
        std::vector<int32_t> source(static_cast<size_t>(ranks.count(static_cast<int64_t>(l))), -1);
        for (const auto& [cells, t] : order) {
            each_subset(plan.tables[static_cast<size_t>(t)].columns, l,
                        [&, t = t](const Columns& s) {
                            int32_t& from = source[ranks.rank(s)];
                            if (from < 0) from = t;
                        });
        }
        each_subset(all, l, [&](const Columns& s) {
            plan.crossings.push_back({s, source[ranks.rank(s)]});
        });
    }
    return plan;
}

}  // namespace dqcore::cpu
