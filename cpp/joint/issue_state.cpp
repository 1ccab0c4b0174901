// The state of label issues: what rows amount to, in pieces of consecutive rows, until all are seen.
#include "joint/issue_state.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <iterator>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>

#include "base/bytes.h"

namespace dqcore {
namespace joint {
namespace {

template <class Values>
void append(Values& to, std::type_identity_t<Values>&& from) {
    if (to.empty())
        to = std::move(from);
    else
        to.insert(to.end(), from.begin(), from.end());
}

}  // namespace

void keep_best(std::vector<Candidate>& candidates, int64_t take) {
    if (static_cast<int64_t>(candidates.size()) < take || take < 1) return;
    std::nth_element(candidates.begin(), candidates.begin() + (take - 1), candidates.end(),
                     kBetter);
    candidates.resize(static_cast<size_t>(take));
}

void merge_best(IssueState& state, std::vector<std::vector<Candidate>>& others) {
    for (size_t s = 0; s < others.size(); ++s) {
        std::vector<Candidate>& best = state.best[s];
        append(best, std::move(others[s]));
        keep_best(best, state.plan.take[s]);
    }
}

}  // namespace joint

namespace {

// Which parameter differs, or "".
std::string difference(const IssuePlan& a, const IssuePlan& b) {
    if (a.thresholds.size() != b.thresholds.size()) return "n_classes";
    if (a.options.filter != b.options.filter) return "filter_by";
    if (a.options.rank_by != b.options.rank_by) return "rank_by";
    if (a.options.collision != b.options.collision) return "collision";
    if (a.options.adjust != b.options.adjust) return "adjust";
    if (a.thresholds != b.thresholds) return "joint (its thresholds)";
    if (a.first != b.first || a.rival != b.rival || a.take != b.take)
        return "joint, frac_noise, num_to_remove_per_class or min_examples_per_class";
    return "";
}

// Sorted, adjacent pieces joined. Throws, before anything is changed, where two share a row.
std::vector<IssueRows> joined(std::vector<IssueRows>& a, std::vector<IssueRows>& b) {
    std::vector<IssueRows*> order;
    order.reserve(a.size() + b.size());
    for (auto& piece : a) order.push_back(&piece);
    for (auto& piece : b) order.push_back(&piece);
    std::sort(order.begin(), order.end(),
              [](const IssueRows* x, const IssueRows* y) { return x->start < y->start; });
    for (size_t i = 1; i < order.size(); ++i)
        if (order[i]->start < order[i - 1]->end())
            throw std::invalid_argument("row " + std::to_string(order[i]->start) +
                                        " has been seen already");
    std::vector<IssueRows> result;
    for (IssueRows* piece : order) {
        if (result.empty() || result.back().end() != piece->start) {
            result.push_back(std::move(*piece));
            continue;
        }
        IssueRows& last = result.back();
        joint::append(last.quality, std::move(piece->quality));
        joint::append(last.low_score, std::move(piece->low_score));
        joint::append(last.suggested, std::move(piece->suggested));
        joint::append(last.flags, std::move(piece->flags));
    }
    return result;
}

// An unsigned number that orders as the score does; -0 and 0 are one.
uint64_t order_bits(double score) {
    constexpr uint64_t kSign = uint64_t{1} << 63;
    const auto bits = std::bit_cast<uint64_t>(score + 0.0);
    return bits & kSign ? ~bits : bits | kSign;
}

// Marks the `take` rows with the least score, ties to the lower row: the greatest of those scores is found digit by digit,
// from the highest, by counting the scores that begin as it does. Nothing of the rows' size is held.
void mark_lowest(Vector<const double> score, int64_t take, Vector<uint8_t> mask) {
    constexpr unsigned kDigit = 16;
    uint64_t last = 0;
    int64_t left = take;  // of the scores that begin as `last`, how many are taken
    for (unsigned shift = 64; shift > 0 && take > 0; shift -= kDigit) {
        std::vector<int64_t> counts(size_t{1} << kDigit);
        const unsigned low = shift - kDigit;
        for (int64_t i = 0; i < score.size; ++i) {
            const uint64_t bits = order_bits(score[i]);
            if (shift == 64 || bits >> shift == last >> shift)
                ++counts[bits >> low & (counts.size() - 1)];
        }
        uint64_t digit = 0;
        while (counts[digit] < left) left -= counts[digit++];
        last |= digit << low;
    }
    for (int64_t i = 0; i < score.size; ++i) {
        const uint64_t bits = order_bits(score[i]);
        mask[i] = take > 0 && (bits < last || (bits == last && left-- > 0));
    }
}

// Of rows whose selections are marked, those that the filter takes, less those whose label is as probable as any.
void settle(Filter filter, Vector<uint8_t> mask) {
    const uint8_t wanted = filter == Filter::kBoth           ? joint::kByRate | joint::kByClass
                           : filter == Filter::kPruneByClass ? joint::kByClass
                                                             : joint::kByRate;
    for (int64_t i = 0; i < mask.size; ++i)
        mask[i] = (mask[i] & wanted) == wanted && !(mask[i] & joint::kAsGiven);
}

// Flags become the mask.
void mark(IssueState& state, const IssueColumns& rows) {
    const Filter filter = state.plan.options.filter;
    const Vector<uint8_t> mask = rows.flags;
    if (joint::prunes(filter)) {
        mark_selected(state, mask);
        return settle(filter, mask);
    }
    const uint8_t flag =
        filter == Filter::kPredictedNeqGiven ? joint::kOtherArgmax : joint::kOffDiagonal;
    if (joint::selects_low(filter)) {
        const auto take = std::count_if(mask.data, mask.data + mask.size,
                                        [&](uint8_t f) { return (f & flag) != 0; });
        const Vector<double>& score = rows.low_score.size == 0 ? rows.quality : rows.low_score;
        return mark_lowest({score.data, score.size}, take, mask);
    }
    for (int64_t i = 0; i < mask.size; ++i) mask[i] = (mask[i] & flag) != 0;
}

std::vector<int64_t> ranked_in_place(Vector<const uint8_t> mask, Vector<const double> score,
                                     int64_t marked) {
    std::vector<int64_t> rows;
    rows.reserve(static_cast<size_t>(marked));
    for (int64_t i = 0; i < mask.size; ++i)
        if (mask[i]) rows.push_back(i);
    std::sort(rows.begin(), rows.end(), [&](int64_t a, int64_t b) {
        const uint64_t x = order_bits(score[a]), y = order_bits(score[b]);
        return x < y || (x == y && a < b);
    });
    return rows;
}

// The marked rows by score, ties to the lower row: a radix sort, byte by byte from the lowest, each
// pass stable; a byte that all scores share needs no pass. Where less than it needs is to `spare`, in place.
std::vector<int64_t> ranked(Vector<const uint8_t> mask, Vector<const double> score, int64_t spare) {
    struct Item {
        uint64_t bits;
        int64_t row;
    };
    const auto marked = std::count(mask.data, mask.data + mask.size, 1);
    if (marked > spare / int64_t{2 * sizeof(Item)}) return ranked_in_place(mask, score, marked);
    std::vector<Item> items;
    items.reserve(static_cast<size_t>(marked));
    constexpr size_t kBytes = 8, kValues = 256;
    std::vector<std::array<size_t, kValues>> counts(kBytes);
    for (int64_t i = 0; i < mask.size; ++i) {
        if (!mask[i]) continue;
        const uint64_t bits = order_bits(score[i]);
        items.push_back({bits, i});
        for (size_t b = 0; b < kBytes; ++b) ++counts[b][bits >> 8 * b & 0xff];
    }
    std::vector<Item> sorted(items.size());
    for (size_t b = 0; b < kBytes && !items.empty(); ++b) {
        if (counts[b][items[0].bits >> 8 * b & 0xff] == items.size()) continue;
        size_t before = 0;
        for (size_t& count : counts[b]) before += std::exchange(count, before);
        for (const Item& item : items) sorted[counts[b][item.bits >> 8 * b & 0xff]++] = item;
        items.swap(sorted);
    }
    std::vector<int64_t> rows(items.size());
    for (size_t i = 0; i < items.size(); ++i) rows[i] = items[i].row;
    return rows;
}

void check_piece(const IssueRows& piece, int64_t earliest, uint64_t n_classes) {
    if (piece.start < earliest || piece.suggested.empty()) StateReader::fail("rows out of order");
    for (const int32_t c : piece.suggested)
        if (c < 0 || static_cast<uint64_t>(c) >= n_classes)
            StateReader::fail("a class out of range");
    for (const auto* scores : {&piece.quality, &piece.low_score})
        for (const double s : *scores)
            if (!std::isfinite(s)) StateReader::fail("a score that is not finite");
}

// Every candidate is a row that has been seen, in order, none too many: finish relies on it.
void check_best(const std::vector<Candidate>& best, int64_t take,
                const std::vector<IssueRows>& pieces, bool rows_elsewhere) {
    if (static_cast<int64_t>(best.size()) > take) StateReader::fail("too many candidates");
    for (size_t i = 0; i < best.size(); ++i) {
        const auto piece =
            std::upper_bound(pieces.begin(), pieces.end(), best[i].row,
                             [](int64_t row, const IssueRows& rows) { return row < rows.start; });
        const bool seen = rows_elsewhere
                              ? best[i].row >= 0
                              : piece != pieces.begin() && best[i].row < std::prev(piece)->end();
        if (!std::isfinite(best[i].key) || !seen ||
            (i > 0 && !joint::kBetter(best[i - 1], best[i])))
            StateReader::fail("a candidate out of place");
    }
}

void check_plan(const IssuePlan& plan) {
    const auto n_classes = static_cast<int64_t>(plan.thresholds.size());
    const auto total = static_cast<int64_t>(plan.take.size());
    for (const double t : plan.thresholds)
        if (!std::isfinite(t)) StateReader::fail("a threshold that is not finite");
    if (plan.first.front() != 0 || plan.first.back() != total ||
        !std::is_sorted(plan.first.begin(), plan.first.end()))
        StateReader::fail("selections out of order");
    constexpr int64_t kMostRows = int64_t{1} << 60;
    for (size_t s = 0; s < plan.take.size(); ++s)
        if (plan.rival[s] < 0 || plan.rival[s] >= n_classes || plan.take[s] < 1 ||
            plan.take[s] > kMostRows)
            StateReader::fail("a selection out of range");
    for (int64_t k = 0; k < n_classes; ++k)
        for (int64_t s = plan.first[static_cast<size_t>(k)] + 1;
             s < plan.first[static_cast<size_t>(k + 1)]; ++s)
            if (plan.rival[static_cast<size_t>(s)] == k)
                StateReader::fail("selections out of order");
    if (!joint::prunes(plan.options.filter) && total > 0)
        StateReader::fail("selections without a filter that has any");
}

IssuePlan read_plan(StateReader& reader) {
    const auto n = reader.get<int64_t>();
    const auto selections = reader.get<int64_t>();
    const auto filter = reader.get<uint8_t>(), rank_by = reader.get<uint8_t>();
    const auto collision = reader.get<uint8_t>(), adjust = reader.get<uint8_t>();
    if (n < 1 || n > INT32_MAX || selections < 0 ||
        filter > static_cast<uint8_t>(Filter::kLowNormalizedMargin) ||
        rank_by > static_cast<uint8_t>(Quality::kConfidenceWeightedEntropy) || collision > 1 ||
        adjust > 1)
        StateReader::fail("a parameter out of range");
    IssuePlan plan;
    plan.options.filter = static_cast<Filter>(filter);
    plan.options.rank_by = static_cast<Quality>(rank_by);
    plan.options.collision = static_cast<Collision>(collision);
    plan.options.adjust = adjust != 0;
    plan.thresholds = reader.get_vector<double>(static_cast<uint64_t>(n));
    plan.first = reader.get_vector<int64_t>(static_cast<uint64_t>(n) + 1);
    plan.rival = reader.get_vector<int32_t>(static_cast<uint64_t>(selections));
    plan.take = reader.get_vector<int64_t>(static_cast<uint64_t>(selections));
    check_plan(plan);
    return plan;
}

}  // namespace

IssueState::IssueState(IssuePlan issue_plan)
    : plan(std::move(issue_plan)), best(plan.take.size()) {}

void IssueState::merge(IssueState other) {
    const std::string differs = difference(plan, other.plan);
    if (!differs.empty()) throw std::invalid_argument("states differ in " + differs);
    pieces = joined(pieces, other.pieces);
    joint::merge_best(*this, other.best);
    row_sums.merge(other.row_sums);
}

Issues IssueState::finish() && {
    if (pieces.size() > 1 || (!pieces.empty() && pieces[0].start != 0)) {
        const bool gap = pieces[0].start == 0;
        throw std::invalid_argument("rows " + std::to_string(gap ? pieces[0].end() : 0) + " to " +
                                    std::to_string((gap ? pieces[1].start : pieces[0].start) - 1) +
                                    " are missing");
    }
    Issues issues;
    if (pieces.empty()) return issues;
    IssueRows rows = std::move(pieces[0]);
    issues = dqcore::finish(std::move(*this), joint::columns_of(rows));
    issues.mask = std::move(rows.flags);
    issues.quality = std::move(rows.quality);
    issues.suggested = std::move(rows.suggested);
    return issues;
}

void mark_selected(IssueState& state, Vector<uint8_t> flags) {
    const IssuePlan& plan = state.plan;
    for (size_t k = 0; k + 1 < plan.first.size(); ++k)
        for (auto s = static_cast<size_t>(plan.first[k]);
             s < static_cast<size_t>(plan.first[k + 1]); ++s) {
            for (const Candidate& c : state.best[s]) {
                if (c.row >= flags.size) throw std::invalid_argument("rows are missing");
                flags[c.row] |=
                    static_cast<size_t>(plan.rival[s]) == k ? joint::kByClass : joint::kByRate;
            }
            state.best[s] = {};
        }
}

Issues finish(IssueState state, const IssueColumns& rows, int64_t spare) {
    mark(state, rows);
    state.best = {};  // as large as what follows
    Issues issues;
    issues.indices =
        ranked({rows.flags.data, rows.flags.size}, {rows.quality.data, rows.quality.size}, spare);
    issues.row_sums = state.row_sums;
    return issues;
}

std::string IssueState::to_bytes() const {
    StateWriter writer(StateKind::kIssue);
    writer.put(static_cast<int64_t>(plan.thresholds.size()));
    writer.put(static_cast<int64_t>(plan.take.size()));
    writer.put(static_cast<uint8_t>(plan.options.filter));
    writer.put(static_cast<uint8_t>(plan.options.rank_by));
    writer.put(static_cast<uint8_t>(plan.options.collision));
    writer.put(static_cast<uint8_t>(plan.options.adjust));
    writer.put(plan.thresholds);
    writer.put(plan.first);
    writer.put(plan.rival);
    writer.put(plan.take);
    writer.put(static_cast<int64_t>(pieces.size()));
    for (const IssueRows& piece : pieces) {
        writer.put(piece.start);
        writer.put(static_cast<int64_t>(piece.suggested.size()));
        writer.put(piece.quality);
        writer.put(piece.low_score);
        writer.put(piece.suggested);
        writer.put(piece.flags);
    }
    for (std::vector<Candidate> candidates : best) {
        std::sort(candidates.begin(), candidates.end(), joint::kBetter);
        writer.put(static_cast<int64_t>(candidates.size()));
        writer.put(candidates);
    }
    writer.put(row_sums.off);
    writer.put(row_sums.worst_row);
    writer.put(row_sums.worst_sum);
    return std::move(writer).finish();
}

IssueState IssueState::from_bytes(std::string_view bytes, bool rows_elsewhere) {
    StateReader reader(bytes, StateKind::kIssue);
    IssueState state(read_plan(reader));
    const uint64_t n_classes = state.plan.thresholds.size();
    const bool low = joint::has_low_score(state.plan.options);
    const auto n_pieces = reader.get<int64_t>();
    int64_t earliest = 0;
    for (int64_t i = 0; i < n_pieces; ++i) {
        IssueRows piece;
        piece.start = reader.get<int64_t>();
        const auto n = static_cast<uint64_t>(reader.get<int64_t>());
        piece.quality = reader.get_vector<double, ZeroedAllocator<double>>(n);
        piece.low_score = reader.get_vector<double, ZeroedAllocator<double>>(low ? n : 0);
        piece.suggested = reader.get_vector<int32_t, ZeroedAllocator<int32_t>>(n);
        piece.flags = reader.get_vector<uint8_t, ZeroedAllocator<uint8_t>>(n);
        if (piece.start > INT64_MAX / 2) StateReader::fail("rows out of range");
        check_piece(piece, earliest, n_classes);
        earliest = piece.end() + 1;  // adjacent pieces would have been joined
        state.pieces.push_back(std::move(piece));
    }
    for (size_t s = 0; s < state.best.size(); ++s) {
        const auto n = static_cast<uint64_t>(reader.get<int64_t>());
        state.best[s] = reader.get_vector<Candidate>(n);
        check_best(state.best[s], state.plan.take[s], state.pieces, rows_elsewhere);
    }
    state.row_sums.off = reader.get<int64_t>();
    state.row_sums.worst_row = reader.get<int64_t>();
    state.row_sums.worst_sum = reader.get<double>();
    reader.end();
    if (state.row_sums.off < 0 || !std::isfinite(state.row_sums.worst_sum))
        StateReader::fail("row sums out of range");
    return state;
}

}  // namespace dqcore
