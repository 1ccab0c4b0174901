// The selections of one given class while rows are offered to them, row after row, by one worker: bars that rise as the
// lists fill, so that most rows are done with one comparison.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <vector>

#include "joint/issue_state.h"
#include "simd/kernels.h"

namespace dqcore::joint {

inline constexpr double kNone = -std::numeric_limits<double>::infinity();
inline constexpr double kAll = std::numeric_limits<double>::infinity();

// The best candidates of one selection so far, at most half more than are wanted and some; then cut to those.
class Best {
public:
    Best(int64_t take, std::vector<Candidate>& list)
        : take_(static_cast<size_t>(take)), list_(list) {}

    double bar() const { return bar_; }  // the least key that can still count

    // Whether the bar has been raised.
    bool keep(Candidate candidate) {
        const size_t most = take_ + take_ / 2 + kSlack;
        if (list_.empty()) list_.reserve(most);
        list_.push_back(candidate);
        if (list_.size() < most) return false;
        cut();
        return true;
    }

    // Leaves no more than are wanted; the bar then holds for what has been seen.
    void cut() {
        if (list_.size() < take_) return;
        keep_best(list_, static_cast<int64_t>(take_));
        bar_ = list_.back().key;
    }

private:
    static constexpr size_t kSlack = 6;  // so that short lists are not cut at every other row

    size_t take_;
    std::vector<Candidate>& list_;
    double bar_ = kNone;
};

// The selections of one class. Most rows are done with one comparison, most of the others with one for each register
// of classes.
template <class T>
class ClassSelections {
public:
    ClassSelections(IssueState& state, size_t k)
        : rivals_(state.plan.rival), k_(k), begin_(static_cast<size_t>(state.plan.first[k])) {
        const auto end = static_cast<size_t>(state.plan.first[k + 1]);
        own_ = begin_ < end && static_cast<size_t>(rivals_[begin_]) == k ? 1 : 0;
        best_.reserve(end - begin_);
        for (size_t s = begin_; s < end; ++s) best_.emplace_back(state.plan.take[s], state.best[s]);
        const size_t n_classes = state.plan.thresholds.size();
        if (best_.size() - own_ > n_classes / kGatherCost) {
            filter_.assign(n_classes, static_cast<T>(kAll));
            place_.resize(n_classes);
            for (size_t b = own_; b < best_.size(); ++b) {
                filter_[rival(b)] = static_cast<T>(kNone);
                place_[rival(b)] = static_cast<int32_t>(b);
            }
        }
        find_least_bar();
    }

    bool empty() const { return best_.empty(); }

    // A row whose keys by rival are at most `most`, and its probabilities p.
    void offer(const T* p, double most, int64_t row) {
        const auto given = static_cast<double>(p[k_]);
        if (own_ && -given >= best_[0].bar()) best_[0].keep({-given, row});
        if (most < least_bar_) return;
        if (!filter_.empty()) return offer_filtered(p, row);
        for (size_t b = own_; b < best_.size(); ++b) offer_one(p, b, row);
    }

    // Cuts every list; whether rows whose keys by rival are at most 0 may still count.
    bool cut() {
        for (Best& b : best_) b.cut();
        find_least_bar();
        return own_ || least_bar_ <= 0.0;
    }

private:
    static constexpr size_t kGatherCost =
        8;  // classes that a filter passes in the time of one gathered number
    static constexpr size_t kStep = 16;  // classes that are filtered at once
    // More than the roundings, in float, of a sum below 2 and of a bar.
    static constexpr double kFilterSlack = 4e-7;

    size_t rival(size_t b) const { return static_cast<size_t>(rivals_[begin_ + b]); }

    void offer_filtered(const T* p, int64_t row) {
        const auto n_classes = static_cast<int64_t>(filter_.size());
        for (int64_t c = -1; (c = next(p, c + 1, n_classes)) < n_classes;)
            offer_one(p, static_cast<size_t>(place_[static_cast<size_t>(c)]), row);
    }

    int64_t next(const T* p, int64_t c, int64_t n_classes) const {
        if constexpr (std::is_same_v<T, float>)
            return kernels_.next_at_least32(p, filter_.data(), p[k_], c, n_classes);
        else
            return kernels_.next_at_least64(p, filter_.data(), p[k_], c, n_classes);
    }

    void offer_one(const T* p, size_t b, int64_t row) {
        const double key = static_cast<double>(p[rival(b)]) - static_cast<double>(p[k_]);
        const double bar = best_[b].bar();
        if (!(key >= bar) || !best_[b].keep({key, row})) return;
        if (!filter_.empty()) filter_[rival(b)] = static_cast<T>(best_[b].bar() - kFilterSlack);
        if (bar <= least_bar_) find_least_bar();
    }

    // +infinity where the class has no selection by rival.
    void find_least_bar() {
        least_bar_ = kAll;
        for (size_t b = own_; b < best_.size(); ++b)
            least_bar_ = std::min(least_bar_, best_[b].bar());
    }

    const simd::Kernels& kernels_ = simd::active();
    const std::vector<int32_t>& rivals_;
    const size_t k_, begin_;
    size_t own_ = 0;  // 1 where the first selection is the class's own
    std::vector<Best> best_;
    double least_bar_ = kAll;
    std::vector<T> filter_;  // (n_classes,), below the bar; empty where there are few selections
    std::vector<int32_t> place_;  // (n_classes,) -> its selection
};

}  // namespace dqcore::joint
