// The mergeable state of the knn room: lists that grow as blocks of rows meet blocks of base.
#pragma once

#include <string>
#include <string_view>

#include "knn/lists.h"

namespace dqcore {

struct ListsInput {
    Matrix<const float> queries, base;
    Metric metric = Metric::kEuclidean;
    int64_t base_start = 0;  // global number of the first row of base
    // Global number of the first query, where a row is not its own neighbour; -1 where queries are no rows of the base.
    int64_t row_start = -1;
    int64_t forced_head = 0;  // as in KnnInput
};

// Offers every query's list every row of base. `first_list` is the list of the first query.
KnnStats update_lists(const ListsInput& in, NeighbourLists& lists, int64_t first_list,
                      const Run& run);

class KnnState {
public:
    KnnState(int64_t n, int64_t k, Metric metric) : metric_(metric), lists_(n, k) {}

    // Rows row_start, ... of the data against rows base_start, ... of it, in any order and any
    // split; a pair met twice counts once. Callers have checked that both ranges lie in [0, n).
    void update(Matrix<const float> rows, Matrix<const float> base, int64_t row_start,
                int64_t base_start, const Run& run) {
        update_lists({.queries = rows,
                      .base = base,
                      .metric = metric_,
                      .base_start = base_start,
                      .row_start = row_start},
                     lists_, row_start, run);
    }
    void merge(const KnnState& other);

    int64_t n() const { return lists_.rows(); }
    int64_t k() const { return lists_.k(); }
    Metric metric() const { return metric_; }

    // Throws std::invalid_argument where a row has not met k others yet.
    void finish(const KnnOutput& out) const;

    std::string to_bytes() const;
    static KnnState from_bytes(std::string_view bytes);

private:
    Metric metric_;
    NeighbourLists lists_;
};

// Some rows, of the data or of queries, while they meet the base block by block: their lists alone.
class KnnRows {
public:
    KnnRows(int64_t rows, int64_t k, Metric metric) : metric_(metric), lists_(rows, k) {}

    // All the rows, against rows base_start, ... of the base; `row_start` as in ListsInput. Callers have checked sizes.
    KnnStats update(Matrix<const float> rows, Matrix<const float> base, int64_t row_start,
                    int64_t base_start, const Run& run) {
        return update_lists({.queries = rows,
                             .base = base,
                             .metric = metric_,
                             .base_start = base_start,
                             .row_start = row_start},
                            lists_, 0, run);
    }

    int64_t rows() const { return lists_.rows(); }
    int64_t k() const { return lists_.k(); }

    // Throws std::invalid_argument where a row has not met k others.
    void finish(const KnnOutput& out) const;

private:
    Metric metric_;
    NeighbourLists lists_;
};

}  // namespace dqcore
