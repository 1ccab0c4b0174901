#include "slices/search.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <stdexcept>
#include <string>

#include "slices/lattice.h"
#include "slices/search_count.h"

namespace dqcore::cpu {
namespace {

// Candidates made at once, and counted before the next look at which of them still matter.
constexpr int64_t kBatch = 1 << 18, kFirstStep = 1 << 8, kMostStep = 1 << 16;
constexpr size_t kMeasured = 8;  // slices summed row by row before the next look

struct Found {
    std::vector<int32_t> items;
    std::vector<std::pair<int32_t, int32_t>> predicate;  // columns and codes, ascending
    uint128 error = 0, weight = 0;
    double score = 0;
};

bool better(const Found& a, const Found& b) {
    return a.score != b.score ? a.score > b.score : a.predicate < b.predicate;
}

class Search {
public:
    Search(const SearchInput& in, const SearchSpec& spec, const Run& run)
        : in_(in),
          spec_(spec),
          run_(run),
          deadline_(spec.time_limit),
          rows_(in, spec, run),
          scores_(rows_, spec),
          items_(frequent_items()),
          bits_(in.rows, spec, rows_, items_),
          counter_(rows_, bits_, deadline_, run) {}

    FoundSlices result() {
        if (rows_.total().sum > 0) {
            try {
                search();
            } catch (const OutOfTime&) {
                stop_ = Stop::kTimeLimit;
            }
        }
        return finished();
    }

private:
    std::vector<Item> frequent_items() const;
    void search();
    void search_level(const Level& parents);
    bool make_batch(Children& children, LevelCounts& counts);
    void count_batch(const Level& parents, LevelCounts& counts, Level& next);
    void count_rest(const Level& parents, const std::vector<size_t>& chosen, Level& next);
    void score(std::vector<Found>& found);
    void offer(std::vector<Found> found);
    bool matters(double bound) const { return bound > 0.0 && bound >= threshold_; }
    void tick();
    std::vector<int32_t> items_of(const Level& parents, const Candidate& c) const;
    FoundSlices finished();
    void describe(FoundSlices& out);

    const SearchInput& in_;
    const SearchSpec& spec_;
    const Run& run_;
    Deadline deadline_;
    SearchRows rows_;
    Scores scores_;
    std::vector<Item> items_;
    ItemBits bits_;
    Counter counter_;
    std::vector<Candidate> batch_;
    std::vector<Counted> erring_;  // of the batch
    std::vector<Found> best_;      // at most k
    double threshold_ = 0.0;       // of the last of the k best, once there are k
    std::vector<LevelCounts> levels_;
    int64_t evaluated_ = 0;
    Stop stop_ = Stop::kComplete;
    double bound_ = 0.0;
};

std::vector<Item> Search::frequent_items() const {
    std::vector<Item> items;
    const auto counts = count_categories(in_.rows, spec_, run_);
    for (size_t j = 0; j < counts.size(); ++j) {
        for (size_t code = 0; code < counts[j].size(); ++code) {
            if (counts[j][code] >= spec_.min_support)
                items.push_back(
                    {static_cast<int32_t>(j), static_cast<int32_t>(code), counts[j][code]});
        }
    }
    return items;
}

// Between the parallel parts, on the calling thread.
void Search::tick() {
    if (deadline_.is_over()) throw OutOfTime{};
    if (run_.watcher) run_.watcher->tick(counter_.stage.c_str(), 0, 1);
}

// ---- the search -----------------------------------------------------------------------------------------

std::vector<int32_t> Search::items_of(const Level& parents, const Candidate& c) const {
    std::vector<int32_t> items;
    if (parents.level > 0) items.assign(parents.of(c.parent), parents.of(c.parent) + parents.level);
    items.push_back(c.item);
    return items;
}

// Keeps the k best of those found so far and these.
void Search::offer(std::vector<Found> found) {
    for (Found& f : found) {
        if (!(f.score > 0.0) || (f.score < threshold_)) continue;
        for (const int32_t item : f.items) {
            const Item& it = items_[static_cast<size_t>(item)];
            f.predicate.emplace_back(it.column, it.code);
        }
        std::sort(f.predicate.begin(), f.predicate.end());
        const auto at = std::upper_bound(best_.begin(), best_.end(), f, better);
        best_.insert(at, std::move(f));
        if (static_cast<int64_t>(best_.size()) > spec_.k) best_.pop_back();
        if (static_cast<int64_t>(best_.size()) == spec_.k) threshold_ = best_.back().score;
    }
}

void Search::search() {
    Level root;
    const RowSums& all = rows_.total();
    const double weight = rows_.weight_sum(all.weight);
    root.known.push_back({static_cast<double>(all.size), rows_.error_sum(all.sum),
                          rows_.quantised_max(all.max), weight, weight});
    search_level(root);
}

// Counts the children of `parents`, then goes on with those that may have children.
void Search::search_level(const Level& parents) {
    levels_.emplace_back();
    LevelCounts& counts = levels_.back();
    counter_.stage = "level " + std::to_string(parents.level + 1);
    bound_ = 0.0;
    for (const Known& known : parents.known) bound_ = std::max(bound_, scores_.bound(known));
    Level next;
    next.level = parents.level + 1;
    if (parents.level == 0) {
        batch_.clear();
        for (size_t i = 0; i < items_.size(); ++i) {
            ++counts.candidates;
            if (evaluated_ >= spec_.max_candidates) {
                stop_ = Stop::kMaxCandidates;
                break;
            }
            ++evaluated_;
            Known known = parents.known[0];
            known.size = static_cast<double>(items_[i].size);
            if (!rows_.weighted()) known.weight = known.size;
            batch_.push_back({0, static_cast<int32_t>(i), known, scores_.bound(known)});
        }
        count_batch(parents, counts, next);
    } else {
        Children children(parents, items_);
        while (!children.done() && stop_ == Stop::kComplete) {
            if (!make_batch(children, counts)) stop_ = Stop::kMaxCandidates;
            count_batch(parents, counts, next);
        }
    }
    if (stop_ != Stop::kComplete || next.level >= spec_.max_level) return;

    // Of those kept, the ones that still matter, in order.
    std::vector<int64_t> order;
    for (int64_t i = 0; i < next.size(); ++i) {
        if (matters(scores_.bound(next.known[static_cast<size_t>(i)]))) order.push_back(i);
    }
    constexpr int64_t kComparisonsPerTick = 1 << 18;  // some 10 ms
    int64_t comparisons = 0;
    std::sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
        if (++comparisons % kComparisonsPerTick == 0) tick();
        return std::lexicographical_compare(next.of(a), next.of(a) + next.level, next.of(b),
                                            next.of(b) + next.level);
    });
    Level sorted;
    sorted.level = next.level;
    for (const int64_t i : order) {
        sorted.items.insert(sorted.items.end(), next.of(i), next.of(i) + next.level);
        sorted.known.push_back(next.known[static_cast<size_t>(i)]);
    }
    counts.kept = sorted.size();
    next = {};
    if (sorted.size() > sorted.level) search_level(sorted);
}

// Returns whether the candidates that may be counted sufficed.
bool Search::make_batch(Children& children, LevelCounts& counts) {
    batch_.clear();
    bool enough = true;
    children.next(
        [&](const Candidate& made) {
            Candidate c = made;
            c.bound = scores_.bound(c.known);
            const bool wanted =
                c.known.size >= static_cast<double>(spec_.min_support) && matters(c.bound);
            if (wanted) {
                if (evaluated_ >= spec_.max_candidates) {
                    enough = false;
                    return false;
                }
                if (static_cast<int64_t>(batch_.size()) == kBatch) return false;
                ++evaluated_;
                batch_.push_back(c);
            }
            ++counts.candidates;
            counts.bounded += !wanted;
            return true;
        },
        [&] { tick(); });
    return enough;
}

// Counts the errors of the batch, then the other rows of those that still matter, most promising first.
void Search::count_batch(const Level& parents, LevelCounts& counts, Level& next) {
    tick();
    counts.evaluated += static_cast<int64_t>(batch_.size());
    erring_ = counter_.count(parents, batch_, 0, rows_.first_without_error());
    std::vector<size_t> order;
    for (size_t i = 0; i < batch_.size(); ++i) {
        Known& known = batch_[i].known;
        known.sum = std::min(known.sum, rows_.error_sum(erring_[i].sum));
        known.max = std::min(known.max, rows_.quantised_max(erring_[i].max));
        batch_[i].bound = scores_.bound(known);
        order.push_back(i);
    }
    std::stable_sort(order.begin(), order.end(),
                     [&](size_t a, size_t b) { return batch_[a].bound > batch_[b].bound; });
    int64_t step = kFirstStep;
    for (size_t at = 0; at < order.size(); step = std::min(4 * step, kMostStep)) {
        std::vector<size_t> chosen;
        while (at < order.size() && static_cast<int64_t>(chosen.size()) < step) {
            if (!matters(batch_[order[at]].bound)) {
                counts.settled += static_cast<int64_t>(order.size() - at);
                at = order.size();
                break;
            }
            chosen.push_back(order[at++]);
        }
        std::sort(chosen.begin(), chosen.end());  // by parent again
        count_rest(parents, chosen, next);
        tick();
    }
}

// Counts the rows without error of these candidates of the batch, keeps those that may have children, and
// scores those that may be among the best.
void Search::count_rest(const Level& parents, const std::vector<size_t>& chosen, Level& next) {
    std::vector<Candidate> some;
    some.reserve(chosen.size());
    for (const size_t i : chosen) some.push_back(batch_[i]);
    std::vector<Counted> all =
        counter_.count(parents, some, rows_.first_without_error(), rows_.segments().size());
    std::vector<std::pair<double, size_t>> promising;  // by falling bound
    for (size_t j = 0; j < some.size(); ++j) {
        all[j].add(erring_[chosen[j]]);
        if (all[j].size < spec_.min_support) continue;
        Known& known = some[j].known;
        known.size = static_cast<double>(all[j].size);
        known.weight = std::min(known.weight, rows_.weight_sum(all[j].weight));
        known.weight_lo = rows_.weight_sum(all[j].weight_lo);
        const double own = scores_.own_bound(known);
        if (matters(own)) promising.emplace_back(-own, j);
        if (next.level < spec_.max_level && matters(scores_.bound(known))) {
            const std::vector<int32_t> items = items_of(parents, some[j]);
            next.items.insert(next.items.end(), items.begin(), items.end());
            next.known.push_back(known);
        }
    }
    std::sort(promising.begin(), promising.end());
    for (size_t from = 0; from < promising.size(); from += kMeasured) {
        std::vector<Found> found;
        for (size_t p = from; p < std::min(from + kMeasured, promising.size()); ++p) {
            const auto [bound, j] = promising[p];
            if (!matters(-bound)) break;
            found.emplace_back();
            found.back().items = items_of(parents, some[j]);
            found.back().error = all[j].sum;
            found.back().weight = all[j].weight;
        }
        if (found.empty()) break;
        score(found);
        offer(std::move(found));
    }
}

// Fills in scores; errors and weights too, unless segments have told them exactly.
void Search::score(std::vector<Found>& found) {
    if (!rows_.all_same()) {
        std::vector<std::vector<int32_t>> sets;
        for (const Found& f : found) sets.push_back(f.items);
        const std::vector<RowSums> sums = counter_.measure(sets);
        for (size_t i = 0; i < found.size(); ++i) {
            found[i].error = sums[i].sum;
            found[i].weight = sums[i].weight;
        }
    }
    for (Found& f : found) {
        if (f.error > 0 && f.weight > 0)
            f.score = scores_.score(rows_.error_sum(f.error), rows_.weight_sum(f.weight));
    }
}

// ---- results --------------------------------------------------------------------------------------------

FoundSlices Search::finished() {
    FoundSlices out;
    out.levels = levels_;
    out.stop = stop_;
    out.bound = stop_ == Stop::kComplete ? threshold_ : std::max(bound_, threshold_);
    const RowSums& all = rows_.total();
    out.counts.width =
        std::min<int64_t>(spec_.max_level, static_cast<int64_t>(spec_.n_categories.size()));
    out.counts.n_rows = all.size;
    out.counts.total_error_sum = rows_.error_sum(all.sum);
    out.counts.binary = rows_.binary();
    out.counts.total_weight = rows_.weight_sum(all.weight);
    out.counts.total_weight_squares = rows_.weight_squares(all);
    deadline_.lift();  // what was found is described whatever the time
    describe(out);
    return out;
}

void Search::describe(FoundSlices& out) {
    std::vector<std::vector<int32_t>> sets;
    for (const Found& f : best_) {
        sets.push_back(f.items);
        for (size_t leave = 0; leave < f.items.size() && f.items.size() > 1; ++leave) {
            sets.push_back(f.items);
            sets.back().erase(sets.back().begin() + static_cast<std::ptrdiff_t>(leave));
        }
    }
    const std::vector<RowSums> sums = counter_.measure(sets);
    const RowSums& all = rows_.total();
    size_t at = 0;
    for (const Found& f : best_) {
        const RowSums& own = sums[at++];
        const auto level = static_cast<int64_t>(f.items.size());
        bool redundant = level == 1 && own.size == all.size;
        for (int64_t l = 0; l < level && level > 1; ++l) redundant |= sums[at++].size == own.size;
        const RowSums rest{all.size - own.size,
                           all.sum - own.sum,
                           all.squares - own.squares,
                           all.weight - own.weight,
                           all.weight_squares - own.weight_squares,
                           0.0};
        for (int64_t l = 0; l < out.counts.width; ++l) {
            const auto place = static_cast<size_t>(l);
            out.counts.predicate_columns.push_back(l < level ? f.predicate[place].first : -1);
            out.counts.predicate_codes.push_back(l < level ? f.predicate[place].second : -1);
        }
        out.counts.size.push_back(own.size);
        out.counts.error_sum.push_back(rows_.error_sum(own.sum));
        out.counts.rest_error_sum.push_back(rows_.error_sum(rest.sum));
        out.counts.max_error.push_back(own.max);
        out.counts.deviation.push_back(rows_.deviation(own));
        out.counts.rest_deviation.push_back(rows_.deviation(rest));
        out.score.push_back(f.score);
        out.redundant.push_back(redundant);
        out.counts.weight.push_back(rows_.weight_sum(own.weight));
        out.counts.weight_squares.push_back(rows_.weight_squares(own));
    }
}

}  // namespace

FoundSlices find_slices(const SearchInput& in, const SearchSpec& spec, const Run& run) {
    if (spec.n_categories.empty() || in.rows.columns.size() != spec.n_categories.size())
        throw std::invalid_argument("columns must be as many as n_categories, and not none");
    if (spec.k < 1 || spec.max_level < 1 || spec.min_support < 1)
        throw std::invalid_argument("k, max_level and min_support must be at least 1");
    if (!(spec.alpha > 0.0 && spec.alpha <= 1.0))
        throw std::invalid_argument("alpha must be above 0 and at most 1");
    for (const int64_t n : spec.n_categories) {
        if (n < 0 || n > kMostCategories)
            throw std::invalid_argument("n_categories must be in [0, 2^31 - 2]");
    }
    const int64_t most = in.weighted ? kMostExponent / 4 : kMostExponent;
    for (const int64_t e : {spec.error_exponent, spec.weight_exponent}) {
        if (e < -most || e > most)
            throw std::invalid_argument("error_exponent and weight_exponent are out of range");
    }
    return Search(in, spec, run).result();
}

}  // namespace dqcore::cpu
