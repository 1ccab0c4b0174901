#include "joint/selections.h"

#include <algorithm>
#include <numeric>

#include "joint/class_selections.h"
#include "joint/pass.h"

namespace dqcore::joint {
namespace {

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
    OneRow<T> block(in.pred_probs);
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
                 const std::vector<std::vector<ClassRow>>& others, const Run& run,
                 const BringRows& bring) {
    const size_t n_classes = state.plan.thresholds.size();
    std::vector<uint8_t> wants_rest(n_classes);
    with_type(in.pred_probs, [&](auto type) {
        using T = decltype(type);
        if (bring) bring(others);
        offer_classes<T>(state, in, RowsByClass(n_classes, others, run), kAll, wants_rest, run);
        if (std::find(wants_rest.begin(), wants_rest.end(), 1) == wants_rest.end()) return;
        const auto rest = rest_of(in, state.pieces[0], wants_rest, run);
        if (bring) bring(rest);
        offer_classes<T>(state, in, RowsByClass(n_classes, rest, run), 0.0, wants_rest, run);
    });
}

}  // namespace dqcore::joint
