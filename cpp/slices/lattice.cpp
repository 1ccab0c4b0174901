#include "slices/lattice.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <new>

namespace dqcore::cpu {
namespace {

constexpr int64_t kStepsPerTick = 1 << 18;
// Bounds are rounded like scores: some 10 operations, each within 2^-53 of its result.
constexpr double kRounding = 0x1p-46;

uint64_t mixed(uint64_t hash, int32_t item) {
    hash = (hash ^ static_cast<uint64_t>(static_cast<uint32_t>(item))) * 0x9e3779b97f4a7c15u;
    return hash ^ (hash >> 29);
}

size_t home(const int32_t* set, int64_t size, size_t places) {
    uint64_t hash = 0;
    for (int64_t i = 0; i < size; ++i) hash = mixed(hash, set[i]);
    return static_cast<size_t>(hash) & (places - 1);
}

}  // namespace

void Known::least(const Known& other) {
    size = std::min(size, other.size);
    sum = std::min(sum, other.sum);
    max = std::min(max, other.max);
    weight = std::min(weight, other.weight);
}

// ---- scores -----------------------------------------------------------------------------------------

Scores::Scores(const SearchRows& rows, const SearchSpec& spec)
    : alpha_(spec.alpha),
      overall_(rows.error_sum(rows.total().sum) / rows.weight_sum(rows.total().weight)),
      total_weight_(rows.weight_sum(rows.total().weight)),
      least_weight_(rows.weighted() ? rows.weight_sum(1) : static_cast<double>(spec.min_support)),
      error_slack_(rows.weighted() ? rows.error_sum(1) : 0.0),
      weight_slack_(rows.weighted() ? rows.weight_sum(1) : 0.0) {}

// The score and what rounding may have taken from it.
double Scores::loosened(double sum, double weight) const {
    const double lift = sum / weight / overall_, part = total_weight_ / weight;
    return score(sum, weight) + kRounding * (lift + part + 2.0);
}

double Scores::own_bound(const Known& known) const {
    if (!(known.sum > 0.0) || !(known.weight > 0.0)) return -1.0;
    const double least = std::max(known.weight_lo, least_weight_);
    if (least > known.weight) return -1.0;
    return std::max(loosened(known.sum, least), loosened(known.sum, known.weight));
}

// Of a slice of weight w the errors are at most min(w max + slack, sum): the score rises or falls
// throughout on either side of the weight where these are equal. Source: Sagadeeva and Boehm (2021), 3.2.
double Scores::bound(const Known& known) const {
    if (!(known.sum > 0.0) || least_weight_ > known.weight) return -1.0;
    // Errors and weights are rounded row by row, each by half a unit at most.
    const double slack = known.size * (error_slack_ + known.max * weight_slack_);
    const double turn = std::clamp((known.sum - slack) / known.max, least_weight_, known.weight);
    double most = -1.0;
    for (const double weight : {least_weight_, turn, known.weight}) {
        const double sum = std::min(weight * known.max + slack, known.sum);
        most = std::max(most, loosened(sum * (1.0 + kRounding), weight));
    }
    return most;
}

// ---- children -----------------------------------------------------------------------------------------

Children::Children(const Level& parents, const std::vector<Item>& items)
    : parents_(parents),
      items_(items),
      set_(static_cast<size_t>(parents.level) + 1),
      wanted_(static_cast<size_t>(parents.level)) {
    if (parents.level < 2) return;
    if (parents.size() >= std::numeric_limits<uint32_t>::max()) throw std::bad_alloc();
    places_.resize(std::bit_ceil(static_cast<size_t>(parents.size()) * 2 + 1));
    for (int64_t i = 0; i < parents.size(); ++i) {
        size_t at = home(parents.of(i), parents.level, places_.size());
        while (places_[at] != 0) at = (at + 1) & (places_.size() - 1);
        places_[at] = static_cast<uint32_t>(i + 1);
    }
}

// The parent with these items, -1 where it does not stand. Whole sets are compared: none can collide.
int64_t Children::find(const int32_t* wanted) const {
    size_t at = home(wanted, parents_.level, places_.size());
    for (; places_[at] != 0; at = (at + 1) & (places_.size() - 1)) {
        const int64_t i = static_cast<int64_t>(places_[at]) - 1;
        if (std::equal(wanted, wanted + parents_.level, parents_.of(i))) return i;
    }
    return -1;
}

// Whether the parents `first_` and `other`, which differ in their last item, have a child all of whose
// parents stand.
bool Children::join(Candidate& candidate, int64_t other) {
    const int64_t level = parents_.level;
    const int32_t* a = parents_.of(first_);
    const int32_t last = parents_.of(other)[level - 1];
    if (items_[static_cast<size_t>(a[level - 1])].column ==
        items_[static_cast<size_t>(last)].column) {
        return false;
    }
    candidate.parent = first_;
    candidate.item = last;
    candidate.known = parents_.known[static_cast<size_t>(first_)];
    candidate.known.least(parents_.known[static_cast<size_t>(other)]);
    candidate.known.weight_lo = 0.0;
    if (level < 2) return true;
    std::copy(a, a + level, set_.begin());
    set_[static_cast<size_t>(level)] = last;
    for (size_t out = 0; out + 1 < static_cast<size_t>(level); ++out) {
        std::copy(set_.begin(), set_.begin() + static_cast<std::ptrdiff_t>(out), wanted_.begin());
        std::copy(set_.begin() + static_cast<std::ptrdiff_t>(out) + 1, set_.end(),
                  wanted_.begin() + static_cast<std::ptrdiff_t>(out));
        const int64_t parent = find(wanted_.data());
        if (parent < 0) return false;
        candidate.known.least(parents_.known[static_cast<size_t>(parent)]);
    }
    return true;
}

void Children::next(const std::function<bool(const Candidate&)>& take,
                    const std::function<void()>& tick) {
    const int64_t level = parents_.level;
    int64_t steps = 0;
    Candidate candidate{};
    for (; first_ < parents_.size(); ++first_, second_ = first_ + 1) {
        for (; second_ < parents_.size(); ++second_) {
            if (++steps % kStepsPerTick == 0) tick();
            const int32_t* a = parents_.of(first_);
            if (!std::equal(a, a + level - 1, parents_.of(second_))) break;
            if (join(candidate, second_) && !take(candidate)) return;  // it comes again
        }
    }
}

}  // namespace dqcore::cpu
