// The bootstrap of the confident joint: what it would be for data sets drawn from the same source.
// Replicate b is the data set in which row i occurs weight(i, b) times, Poisson with mean 1, and
// has the joint that such a data set has. Weights are a hash of (seed, row, replicate), so that
// any split of the rows and any number of threads gives the same replicates.
//
// Callers have checked what joint.h says, and that replicates is in [1, 2^31).
// Source: Chamandy, Muralidharan, Najmi and Naidu, "Estimating Uncertainty for Massive Data
// Streams", Google (2012). The twin in Python is reference/bootstrap.py.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "joint/joint.h"

namespace dqcore {

// The Poisson table: of 2^16 equally likely draws, how many give at most weight k. Numbers of draws
// are the nearest to Poisson's whose mean and variance are 1 exactly.
inline constexpr int32_t kPoissonAtMost[] = {24107, 48220, 60275, 64292,
                                             65296, 65497, 65530, 65535};
inline constexpr int64_t kMostWeight = 8;

struct BootstrapWeights {
    uint64_t seed = 0;
    int64_t replicates = 0;

    // Replicates rounded up to whole vectors; entries from `replicates` on mean nothing.
    int64_t padded() const { return (replicates + 7) / 8 * 8; }
    // Weights of one row of the data set; `weights` has padded() entries.
    void fill(int64_t row, uint16_t* weights) const;
};

// Sums from which every replicate has its thresholds. Tables are [class][padded replicate].
struct ReplicateSums {
    ReplicateSums(int64_t n_classes, BootstrapWeights weights);

    void merge(const ReplicateSums& other);
    std::vector<double> finish() const;  // (n_classes, replicates)

    int64_t n_classes;
    BootstrapWeights weights;
    std::vector<int64_t> counts;
    std::vector<int128> sums;  // of weight * probability, in 2^-64
};

// Every replicate's rows by given class and guess; only of cells that rows are in, since few are.
struct ReplicateCounts {
    ReplicateCounts(std::vector<double> thresholds, Collision collision, BootstrapWeights weights);

    // Throw std::invalid_argument where the parameters differ.
    void merge(const ReplicateCounts& other);
    int64_t n_classes() const {
        return static_cast<int64_t>(thresholds.size()) / weights.replicates;
    }
    // The counts of a cell, one for each replicate; valid until the next call. The cell of
    // (given, guess) is given * (n_classes + 1) + guess + 1, a row without a guess having -1.
    int64_t* row(int64_t cell);
    int64_t held_bytes() const {
        constexpr size_t kSlotBytes = 64;  // of a map's entry, with its node and bucket
        return static_cast<int64_t>(thresholds.capacity() * sizeof(double) +
                                    slots.size() * kSlotBytes +
                                    counts.capacity() * sizeof(int64_t));
    }

    std::vector<double> thresholds;  // (n_classes, replicates)
    Collision collision;
    BootstrapWeights weights;
    std::unordered_map<int64_t, int64_t> slots;
    std::vector<int64_t> counts;  // [slot][padded replicate]
};

// Cells with a row in any replicate, ascending, and their counts.
struct ReplicateTable {
    std::vector<int64_t> cells;
    std::vector<int64_t> counts;     // (cells, replicates)
    std::vector<double> thresholds;  // (n_classes, replicates)
};
ReplicateTable finish(const ReplicateCounts& state);

}  // namespace dqcore

namespace dqcore::cpu {

// The rows are row_start, row_start + 1, ... of the data set.
void update(ReplicateSums& state, const JointInput& in, int64_t row_start, const Run& run);
void update(ReplicateCounts& state, const JointInput& in, int64_t row_start, const Run& run);

// Thresholds are those given, for every replicate, or where empty each replicate's own.
ReplicateTable bootstrap_joint(const JointInput& in, const std::vector<double>& thresholds,
                               Collision collision, BootstrapWeights weights, const Run& run);

// The class that each row confidently belongs to, or -1. `guess` has as many rows as `in`.
void confident_classes(const JointInput& in, const std::vector<double>& thresholds,
                       Collision collision, Vector<int32_t> guess, const Run& run);

}  // namespace dqcore::cpu
