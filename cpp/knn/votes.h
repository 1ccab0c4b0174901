// What a vote of a neighbour weighs, and what the votes make of a row: the same operations on every backend.
#pragma once

#include "base/elementary.h"
#include "knn/knn.h"

namespace dqcore {

// `sigma`: the distance to the last neighbour that counts, of the gaussian.
static constexpr double vote_weight(double distance, double sigma, Weights weights) {
    switch (weights) {
        case Weights::kUniform:
            return 1.0;
        case Weights::kDistance:
            return 1.0 / (distance + 1e-12);
        case Weights::kSimilarity:
            return 1.0 - distance;
        case Weights::kGaussian:
            break;
    }
    if (sigma == 0.0) return 1.0;
    return exp_same_bits(-(distance * distance) / (2.0 * (sigma * sigma)));
}

// The votes of the classes that have any, in ascending order.
struct Tally {
    int32_t given = -1;  // where there is none
    double total = 0.0, own = 0.0, best = 0.0, best_other = 0.0;
    int32_t suggested = -1;

    // Votes over the rows of class c that could have voted: the row itself is none of them.
    constexpr double balanced(int32_t c, double votes, int64_t rows_of_class) const {
        const int64_t others = rows_of_class - (c == given ? 1 : 0);
        return votes / static_cast<double>(others > 0 ? others : 1);
    }

    constexpr void add(int32_t c, double votes) {
        if (suggested < 0) suggested = c;
        total += votes;
        if (c == given) own = votes;
        if (c != given && votes > best_other) best_other = votes;
        if (votes > best || (votes == best && c == given)) {
            best = votes;
            suggested = c;
        }
    }

    // Of a row with a given label.
    constexpr double score() const { return (total - own) / total; }
    constexpr double margin() const { return (best_other - own) / total; }
};

// p log p, of a class that has `votes` of `total`.
static constexpr double entropy_term(double votes, double total) {
    const double p = votes / total;
    return p * log_same_bits(p);
}

// In [0, 1], of the sum of those terms; `log_classes` is the logarithm of n_classes.
static constexpr double entropy_of(double sum, int64_t n_classes, double log_classes) {
    const double spread = n_classes > 1 ? -sum / log_classes : 0.0;
    return spread > 0.0 ? (spread < 1.0 ? spread : 1.0) : 0.0;
}

}  // namespace dqcore
