// What a vote of a neighbour weighs: the same operations on every backend.
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

}  // namespace dqcore
