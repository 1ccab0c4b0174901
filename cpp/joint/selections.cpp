#include "joint/selections.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "joint/pass.h"

namespace dqcore::joint {
namespace {

constexpr double kNone = -std::numeric_limits<double>::infinity();
constexpr double kAll = std::numeric_limits<double>::infinity();

// Rows sorted by class: those of class k are rows[first[k]] .. rows[first[k + 1] - 1].
struct RowsByClass {
    RowsByClass(size_t n_classes, const std::vector<std::vector<ClassRow>>& lists, const Run& run)
        : first(n_classes + 1) {
        for_each(lists, run, [&](const ClassRow& r) { ++first[static_cast<size_t>(r.label) + 1]; });
        std::partial_sum(first.begin(), first.end(), first.begin());
        rows.resize(first.back());
        std::vector<size_t> next(first.begin(), first.end() - 1);
        for_each(lists, run,
                 [&](const ClassRow& r) { rows[next[static_cast<size_t>(r.label)]++] = r.row; });
    }

    std::vector<size_t> first;
    std::vector<int64_t> rows;

private:
    // One after the other, on a worker so that an interrupt is seen.
    template <class Body>
    static void for_each(const std::vector<std::vector<ClassRow>>& lists, const Run& run,
                         const Body& body) {
        parallel_for(run, "selections", 1, [&](int64_t, const Worker& worker) {
            constexpr size_t kRowsPerCheck = size_t{1} << 16;
            for (const auto& list : lists) {
                for (size_t i = 0; i < list.size(); ++i) {
                    if (i % kRowsPerCheck == 0) worker.check();
                    body(list[i]);
                }
            }
        });
    }
};

// The best candidates of one selection so far, at most twice as many as are wanted and some; then cut to those.
class Best {
public:
    Best(int64_t take, std::vector<Candidate>& list)
        : take_(static_cast<size_t>(take)), list_(list) {}

    double bar() const { return bar_; }  // the least key that can still count

    // Whether the bar has been raised.
    bool keep(Candidate candidate) {
        if (list_.empty()) list_.reserve(2 * take_ + kSlack);
        list_.push_back(candidate);
        if (list_.size() < 2 * take_ + kSlack) return false;
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

// Asks for the first lines of a row that will soon be read.
inline void prefetch_row(const StridedMatrix& m, int64_t row) {
    constexpr int64_t kLine = 64, kMostBytes = 8 * kLine;
    const int64_t last = std::min((m.cols - 1) * std::abs(m.col_stride), kMostBytes);
    const int64_t step = m.col_stride < 0 ? -1 : 1;
    const char* const p = m.data + row * m.row_stride;
    for (int64_t b = 0; b < last; b += kLine) __builtin_prefetch(p + step * b);
    __builtin_prefetch(p + step * last);
}

// Offers rows [0, n) of `rows`, of one class, whose keys by rival are at most `most`, to its selections.
template <class T>
void offer_rows(ClassSelections<T>& selections, const JointInput& in, int64_t row_start,
                double most, const int64_t* rows, size_t n, const Worker& worker) {
    constexpr size_t kAhead = 8, kRowsPerCheck = 1024;
    RowBlock<T> block(in.pred_probs);
    for (size_t i = 0; i < n; ++i) {
        if (i % kRowsPerCheck == 0) worker.check();
        if (i + kAhead < n) prefetch_row(in.pred_probs, rows[i + kAhead]);
        selections.offer(block.row(rows[i]), most, row_start + rows[i]);
    }
}

// Offers each class's rows to its selections; marks in `wants_rest` the classes for which they are not enough.
template <class T>
void offer_classes(IssueState& state, const JointInput& in, const RowsByClass& by_class,
                   double most, std::vector<uint8_t>& wants_rest, const Run& run) {
    const auto n_classes = static_cast<int64_t>(state.plan.thresholds.size());
    parallel_rows(run, "selections", n_classes, 1,
                  [&](int64_t begin, int64_t, const Worker& worker) {
                      const auto k = static_cast<size_t>(begin);
                      ClassSelections<T> selections(state, k);
                      if (selections.empty()) return;
                      const size_t first = by_class.first[k], n = by_class.first[k + 1] - first;
                      offer_rows(selections, in, state.pieces[0].start, most,
                                 by_class.rows.data() + first, n, worker);
                      wants_rest[k] = selections.cut() ? 1 : 0;
                  });
}

// The rows of the marked classes whose argmax is the given class, as lists of one worker each: the best of them are the
// same in any order.
std::vector<std::vector<ClassRow>> rest_of(const JointInput& in, const IssueRows& piece,
                                           const std::vector<uint8_t>& wanted, const Run& run) {
    std::vector<std::vector<ClassRow>> rest(static_cast<size_t>(run.threads));
    parallel_rows(run, "selections", in.labels.size, rows_per_chunk(2 * sizeof(int32_t)),
                  [&](int64_t begin, int64_t end, const Worker& worker) {
                      for (int64_t i = begin; i < end; ++i) {
                          const int64_t label = label_at(in.labels, i, in.pred_probs.cols);
                          if (wanted[static_cast<size_t>(label)] &&
                              piece.suggested[static_cast<size_t>(i)] == label)
                              rest[static_cast<size_t>(worker.id)].push_back(
                                  {static_cast<int32_t>(label), i});
                      }
                  });
    return rest;
}

}  // namespace

void select_best(IssueState& state, const JointInput& in,
                 const std::vector<std::vector<ClassRow>>& others, const Run& run) {
    const size_t n_classes = state.plan.thresholds.size();
    std::vector<uint8_t> wants_rest(n_classes);
    with_type(in.pred_probs, [&](auto type) {
        using T = decltype(type);
        offer_classes<T>(state, in, RowsByClass(n_classes, others, run), kAll, wants_rest, run);
        if (std::find(wants_rest.begin(), wants_rest.end(), 1) == wants_rest.end()) return;
        const RowsByClass rest(n_classes, rest_of(in, state.pieces[0], wants_rest, run), run);
        offer_classes<T>(state, in, rest, 0.0, wants_rest, run);
    });
}

}  // namespace dqcore::joint
