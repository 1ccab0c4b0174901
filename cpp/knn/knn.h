// knn: the exact graph of nearest neighbours, and how far their labels disagree with a row's own.
//
// knn_graph
//   base       (n, d)  finite float32
//   queries    (m, d)  finite float32; absent in a self-join, where row i is not its own neighbour
//   indices    (m, k)  int32 out: the k nearest rows of base, nearest first
//   distances  (m, k)  float32 out: sqrt(key) for euclidean, key for cosine
//
// The key is the canonical float64 one (simd/kernels.h): squared_l2 for euclidean; for cosine
// min(2, max(0, 1 - xy / sqrt(xx * yy))), and 1 where a row is zero. Order is (key, index): ties go
// to the lower index. A distance above float32's range is infinity.
//
// Callers have checked: 1 <= k <= n - (self-join ? 1 : 0), n < 2^31, shapes agree, values finite.
//
// knn_disagreement
//   labels     (n,)    int32 in [0, n_classes), or -1 for unlabelled: such a row does not vote
//   score      (n,)    votes for other classes over all votes; NaN where unlabelled or no voters
//   suggested  (n,)    class with most votes; the given one where tied, then the lowest; -1 without
//                      voters
//   margin     (n,)    (most votes of another class - votes of the given one) / all votes
//   entropy    (n,)    of the votes, over ln(n_classes), in [0, 1]
//   flags      (n,)    bits of Flag
//   confusion  (n_classes, n_classes)  int64: neighbours labelled b of rows labelled a
// Votes are added in float64 in neighbour order, classes ascending. Source of the rule: Wilson
// (1972), "Asymptotic properties of nearest neighbor rules using edited data".
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/parallel.h"
#include "base/view.h"

namespace dqcore::cuda {
struct DeviceMatrix;
}  // namespace dqcore::cuda

namespace dqcore {

enum class Metric : uint8_t { kEuclidean, kCosine };

struct KnnInput {
    Matrix<const float> base;
    Matrix<const float> queries;  // data == nullptr: self-join
    int64_t k = 0;
    Metric metric = Metric::kEuclidean;
    int64_t forced_head = 0;  // for tests: plan.h
    // Where rows are on a device, which its backend alone reads and checks: in their places.
    const cuda::DeviceMatrix* device_base = nullptr;
    const cuda::DeviceMatrix* device_queries = nullptr;
};

class Room;

// What lies outside memory: `room` begins with the base and has knn_room_bytes. `limit` bounds the bytes held besides
// the base as given and the result.
struct KnnSpill {
    Room& room;
    int64_t limit = 0;
};

struct KnnOutput {
    Matrix<int32_t> indices;
    Matrix<float> distances;
};

// What the engine did; outside the promise of equal bits.
struct KnnStats {
    int64_t distinct_rows = 0;       // rows that entered the sweep: bit-equal ones are taken once
    const char* level1 = "float32";  // what level 1 computes in
    int64_t head = 0;                // dimensions of level 1
    std::vector<int64_t> stages;     // of them, those that each stage of the filter knows
    int64_t near = 0;                // coordinates of level 2
    int64_t pairs = 0;               // pairs that level 1 tested
    int64_t survivors1 = 0;          // of them, pairs that went on
    int64_t survivors2 = 0;          // of them, pairs that level 2 let pass
    int64_t keys = 0;                // canonical keys computed
    int64_t again = 0;               // rows swept again, their reach having been guessed too low
    double seconds_prepare = 0, seconds_sweep = 0;
};

enum class Weights : uint8_t { kUniform, kDistance, kGaussian, kSimilarity };

enum Flag : uint8_t { kUnlabelled = 1, kNoVoters = 2, kSingleton = 4, kZeroWeights = 8 };

struct DisagreementInput {
    Vector<const int32_t> labels;
    Matrix<const int32_t> indices;
    Matrix<const float> distances;
    int64_t n_classes = 0;
    Weights weights = Weights::kUniform;
    bool class_balanced = false;
    bool labelled_only = false;  // gaussian: width is the distance to the last labelled neighbour
};

struct DisagreementOutput {
    Vector<double> score;
    Vector<int32_t> suggested;
    Vector<double> margin;
    Vector<double> entropy;
    Vector<uint8_t> flags;
    Matrix<int64_t> confusion;  // zeroed by the caller
};

// In every backend.
namespace DQCORE_BACKEND {

KnnStats knn_graph(const KnnInput& in, const KnnOutput& out, const Run& run);

// Throws std::invalid_argument where a label or an index is out of range at the moment it is read.
void knn_disagreement(const DisagreementInput& in, const DisagreementOutput& out, const Run& run);

}  // namespace DQCORE_BACKEND

namespace cpu {

// A self-join whose base lies in a room, and is overwritten there. Throws std::invalid_argument where the limit is
// below what has to be in memory.
KnnStats knn_graph_spilled(const KnnInput& in, const KnnSpill& spill, const KnnOutput& out,
                           const Run& run);

// For n rows of d numbers: the room; a limit that no plan can do with less than; and one that is enough for everything in
// memory whatever the plan, the base as float32 counted in.
int64_t knn_room_bytes(int64_t n, int64_t d, int64_t k);
int64_t knn_least_bytes(int64_t n, int64_t k);
int64_t knn_most_bytes(int64_t n, int64_t d, int64_t k);

// What a block of rows against a block of base holds at most, both as float32 counted in, and the lists of the rows.
int64_t knn_block_bytes(int64_t rows, int64_t base, int64_t d, int64_t k);

}  // namespace cpu
}  // namespace dqcore
