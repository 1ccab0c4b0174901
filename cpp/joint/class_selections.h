// The selections of one given class while rows are offered to them, row after row, by one worker: bars that rise as the
// lists fill, so that most rows are done with one comparison.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <vector>

#include "base/row_block.h"
#include "joint/issue_state.h"
#include "simd/kernels.h"

namespace dqcore::joint {

inline constexpr double kNone = -std::numeric_limits<double>::infinity();
inline constexpr double kAll = std::numeric_limits<double>::infinity();

// The best candidates of one selection so far: at most a quarter more than are wanted and some; then cut to those.
//
// Of rows in no particular order, a share holds about that share of the best. So a list that is told which share of its
// class's rows has been seen keeps little more than that, and its bar rises soon. Where it has kept too few, it says so;
// it never keeps a wrong one: whatever is above the bar, in the order of candidates, has been kept.
class Best {
public:
    Best(int64_t take, std::vector<Candidate>& list)
        : take_(static_cast<size_t>(take)), slack_(std::min(take_, kMostSlack)), list_(list) {}

    // Candidates that a list has room for.
    static size_t room(int64_t take) {
        const auto wanted = static_cast<size_t>(take);
        return wanted + wanted / 4 + std::min(wanted, kMostSlack);
    }

    double bar() const { return bar_.key; }  // the least key that can still count
    const Candidate& last() const { return bar_; }

    // Goes on with a list that had this bar.
    void resume(Candidate bar) { bar_ = bar; }

    // Whether the bar has been raised.
    bool keep(Candidate candidate, double share) {
        if (!kBetter(candidate, bar_)) return false;
        if (list_.empty()) list_.reserve(room(static_cast<int64_t>(take_)));
        list_.push_back(candidate);
        if (list_.size() < full_) return false;
        const size_t wanted = wanted_of(share);
        full_ = most(wanted);
        if (list_.size() < full_) return false;
        cut_to(wanted);
        return true;
    }

    // Leaves no more than are wanted; the bar then holds for what has been seen.
    void cut() { cut_to(take_); }

    // Whether rows that were let go may be among the best after all.
    bool lacks() const { return list_.size() < take_ && bar_.key > kNone; }

private:
    static constexpr size_t kMostSlack = 24;  // so that short lists are not cut at every other row
    // Of the number of the best in a share: how far it may be off, and some for the smallest.
    static constexpr double kDeviations = 6.0, kFew = 8.0;

    size_t most(size_t wanted) const { return wanted + wanted / 4 + slack_; }

    size_t wanted_of(double share) const {
        const double expected = static_cast<double>(take_) * share;
        const double wanted = expected + kDeviations * std::sqrt(expected) + kFew;
        return wanted < static_cast<double>(take_) ? static_cast<size_t>(wanted) : take_;
    }

    void cut_to(size_t wanted) {
        if (list_.size() < wanted || (list_.size() == wanted && wanted < take_)) return;
        keep_best(list_, static_cast<int64_t>(wanted));
        bar_ = list_.back();
    }

    size_t take_, slack_, full_ = 0;
    std::vector<Candidate>& list_;
    Candidate bar_{kNone, std::numeric_limits<int64_t>::max()};
};

// Rows one by one, as contiguous numbers; halves as fast as the processor widens them.
template <class T>
class OneRow {
public:
    explicit OneRow(const StridedMatrix& m) : m_(m), block_(m) {
        if (std::is_same_v<T, float> && m.type == Float::kFloat16 && m.col_stride == 2)
            wide_.resize(static_cast<size_t>(m.cols));
    }

    // Valid until the next call.
    const T* row(int64_t i) {
        if constexpr (std::is_same_v<T, float>) {
            if (!wide_.empty()) {
                kernels_.widen_halves(m_.data + i * m_.row_stride, wide_.data(), m_.cols);
                return wide_.data();
            }
        }
        return block_.row(i);
    }

private:
    const simd::Kernels& kernels_ = simd::active();
    const StridedMatrix m_;
    RowBlock<T> block_;
    std::vector<T> wide_;
};

// The selections of one class. Most rows are done with one comparison, most of the others with one for each register
// of classes.
template <class T>
class ClassSelections {
public:
    // `rows` of the class are to come, in no particular order; 0 where neither is known. `chosen`, where it has any, tells
    // for each selection of the plan whether it is made.
    ClassSelections(IssueState& state, size_t k, int64_t rows = 0,
                    const std::vector<uint8_t>& chosen = {})
        : rivals_(state.plan.rival), k_(k), rows_(rows) {
        const auto begin = static_cast<size_t>(state.plan.first[k]),
                   end = static_cast<size_t>(state.plan.first[k + 1]);
        for (size_t s = begin; s < end; ++s)
            if (chosen.empty() || chosen[s]) selections_.push_back(s);
        own_ = !selections_.empty() && rival(0) == k ? 1 : 0;
        best_.reserve(selections_.size());
        for (const size_t s : selections_) best_.emplace_back(state.plan.take[s], state.best[s]);
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
    // The least keys that can still count: by rival, and of the class's own selection.
    double least_bar() const { return least_bar_; }
    double own_bar() const { return own_ ? best_[0].bar() : kAll; }

    // So many more rows of the class have been seen, offered or not.
    void saw(int64_t rows) { seen_ += rows; }

    int64_t seen() const { return seen_; }

    // tell(selection, bar) for each, by number.
    template <class Tell>
    void each_bar(const Tell& tell) const {
        for (size_t b = 0; b < best_.size(); ++b) tell(selections_[b], best_[b].last());
    }

    // Goes on with lists that had these bars, one for each selection of the plan, when so many rows had been seen.
    void resume(const std::vector<double>& keys, const std::vector<int64_t>& rows, int64_t seen) {
        seen_ = seen;
        for (size_t b = 0; b < best_.size(); ++b) {
            best_[b].resume({keys[selections_[b]], rows[selections_[b]]});
            if (b >= own_) raise_filter(b);
        }
        find_least_bar();
    }

    // The selections, by number, of which rows that were let go may be needed after all.
    template <class Tell>
    void each_lacking(const Tell& tell) const {
        for (size_t b = 0; b < best_.size(); ++b)
            if (best_[b].lacks()) tell(selections_[b]);
    }

    // A row whose keys by rival are at most `most`, and its probabilities p.
    void offer(const T* p, double most, int64_t row) {
        const auto given = static_cast<double>(p[k_]);
        if (own_ && -given >= best_[0].bar()) best_[0].keep({-given, row}, share());
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

    size_t rival(size_t b) const { return static_cast<size_t>(rivals_[selections_[b]]); }

    double share() const {
        return seen_ < rows_ ? static_cast<double>(seen_) / static_cast<double>(rows_) : 1.0;
    }

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
        if (!(key >= bar) || !best_[b].keep({key, row}, share())) return;
        raise_filter(b);
        if (bar <= least_bar_) find_least_bar();
    }

    void raise_filter(size_t b) {
        if (!filter_.empty()) filter_[rival(b)] = static_cast<T>(best_[b].bar() - kFilterSlack);
    }

    // +infinity where the class has no selection by rival.
    void find_least_bar() {
        least_bar_ = kAll;
        for (size_t b = own_; b < best_.size(); ++b)
            least_bar_ = std::min(least_bar_, best_[b].bar());
    }

    const simd::Kernels& kernels_ = simd::active();
    const std::vector<int32_t>& rivals_;
    const size_t k_;
    const int64_t rows_;
    int64_t seen_ = 0;
    std::vector<size_t> selections_;  // of the plan, by number
    size_t own_ = 0;                  // 1 where the first selection is the class's own
    std::vector<Best> best_;
    double least_bar_ = kAll;
    std::vector<T> filter_;  // (n_classes,), below the bar; empty where there are few selections
    std::vector<int32_t> place_;  // (n_classes,) -> its selection
};

}  // namespace dqcore::joint
