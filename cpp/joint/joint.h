// The joint room: confident learning. Which labels are likely wrong, from out-of-sample predicted
// probabilities, and the joint distribution of given and true labels.
//
// Callers have checked: labels has pred_probs.rows entries; weights, where given, too, finite, in
// [0, 2^31); every other number is in the range that its comment says. Labels and values of
// pred_probs are checked here, by the pass that reads them: std::invalid_argument names the first
// bad row, and no result is made and no state changed.
//
// A probability is bad where it is NaN or outside [-1e-6, 1 + 1e-6]. Everything is compared and
// scored as float64; ties go to the lower index. Source: Northcutt, Jiang and Chuang, "Confident
// Learning: Estimating Uncertainty in Dataset Labels", JAIR 70 (2021); where the paper is silent,
// cleanlab 2.9.0. The twin in Python is reference/joint.py.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/fixed_point.h"
#include "base/parallel.h"
#include "base/view.h"
#include "base/zeroed.h"

namespace dqcore::cuda {
struct DeviceMatrix;
}  // namespace dqcore::cuda

namespace dqcore {

inline constexpr double kTolerance = 1e-6;
inline constexpr double kLeastThreshold = 2e-6;
inline constexpr double kNeverConfident = 2.0;  // the threshold of a class without rows
inline constexpr double kRowSumTolerance = 1e-3;
inline constexpr double kTiny = 1e-100;  // keeps divisions by an empty total defined

struct JointInput {
    Vector<const int32_t> labels;  // (n,) in [0, n_classes)
    StridedMatrix pred_probs;      // (n, n_classes)
    Vector<const double> weights;  // (n,), or no data: every row weighs 1
    // Where the rows are on a device, which its backend alone reads: pred_probs then has a shape but no data.
    const cuda::DeviceMatrix* device = nullptr;
};

// Rows whose sum (float64, class by class) is off 1 by more than kRowSumTolerance.
struct RowSums {
    int64_t off = 0;
    int64_t worst_row = -1;  // the first of the worst
    double worst_sum = 1.0;

    void add(int64_t row, double sum);
    void merge(const RowSums& other);
};

enum class Collision { kArgmax, kConfident };  // cleanlab's rule, the paper's
enum class Quality { kSelfConfidence, kNormalizedMargin, kConfidenceWeightedEntropy };
enum class Filter {
    kPruneByNoiseRate,
    kPruneByClass,
    kBoth,
    kConfidentLearning,
    kPredictedNeqGiven,
    kLowSelfConfidence,
    kLowNormalizedMargin,
};

// ---- thresholds: each class's mean probability over the rows labelled with it ----

struct ThresholdState {
    explicit ThresholdState(int64_t n_classes, bool weighted = false);

    // Throws std::invalid_argument where the parameters differ.
    void merge(const ThresholdState& other);
    std::vector<double> finish() const;  // (n_classes,)
    std::string to_bytes() const;
    static ThresholdState from_bytes(std::string_view bytes);

    int64_t n_classes;
    bool weighted;
    std::vector<int64_t> class_counts;
    std::vector<int128> sums;           // of weight * probability, in 2^-64
    std::vector<int128> class_weights;  // in 2^-64; empty without weights
};

// ---- the confident joint ----

struct JointState {
    JointState(std::vector<double> thresholds, Collision collision, bool weighted = false);

    void merge(const JointState& other);
    std::string to_bytes() const;
    static JointState from_bytes(std::string_view bytes);

    int64_t n_classes() const { return static_cast<int64_t>(thresholds.size()); }
    std::vector<double> thresholds;
    Collision collision;
    bool weighted;
    ZeroedVector<int64_t> counts;  // (n_classes, n_classes) [given, true]
    std::vector<int64_t> unsure;  // (n_classes,) rows that no class is confident of, by given class
    // The same of weights in 2^-64; empty without weights.
    ZeroedVector<int128> weights;
    std::vector<int128> unsure_weights;
};

// What a JointState amounts to. `weights` and `class_weights` are empty without weights.
struct JointCounts {
    ZeroedVector<int64_t> counts;       // (n_classes, n_classes) [given, true]
    std::vector<double> weights;        // the same
    std::vector<int64_t> class_counts;  // (n_classes,)
    std::vector<double> class_weights;
};
JointCounts finish(JointState state);

// Every diagonal entry raised to 1, then each row scaled to its class's total. Counts are rounded
// so that rows keep their totals: by largest remainder, then lower class. `result` is (K, K).
void calibrate(Matrix<const int64_t> counts, Vector<const int64_t> class_counts,
               Matrix<int64_t> result);
void calibrate(Matrix<const double> counts, Vector<const double> class_weights,
               Matrix<double> result);

// ---- issues ----

struct IssueOptions {
    Filter filter = Filter::kPruneByNoiseRate;
    Quality rank_by = Quality::kSelfConfidence;
    Collision collision = Collision::kArgmax;
    bool adjust = false;      // rank by probabilities less their class's threshold
    double frac_noise = 1.0;  // in [0, 1]
    std::vector<int64_t> num_to_remove_per_class;  // (n_classes,), >= 0; empty: as the joint says
    int64_t min_examples_per_class = 1;            // >= 0
};

// What an issue pass needs to know of the whole data set. A selection is the `take` rows of given
// class k with the largest p[rival] - p[k], or with the least p[k] where rival is k itself; those
// of class k are first[k] .. first[k + 1], the one with rival k before the others.
struct IssuePlan {
    IssueOptions options;
    std::vector<double> thresholds;  // (n_classes,)
    std::vector<int64_t> first;      // (n_classes + 1,)
    std::vector<int32_t> rival;
    std::vector<int64_t> take;  // > 0
};
IssuePlan plan_issues(const IssueOptions& options, std::vector<double> thresholds,
                      Matrix<const int64_t> calibrated, Vector<const int64_t> class_counts);
// The same, of counts before calibration: no second table of classes by classes is made.
IssuePlan plan_issues(const IssueOptions& options, std::vector<double> thresholds,
                      const JointCounts& counts);

struct Candidate {
    double key;
    int64_t row;
};

// Consecutive rows that an issue state has seen.
struct IssueRows {
    int64_t start = 0;
    ZeroedVector<double> quality;
    ZeroedVector<double> low_score;  // what a low_* filter selects by, where quality is another
    ZeroedVector<int32_t> suggested;
    ZeroedVector<uint8_t> flags;

    int64_t end() const { return start + static_cast<int64_t>(suggested.size()); }
};

// The same where the caller keeps the rows: all of one size, but low_score, which is empty where nothing asks for it.
struct IssueColumns {
    Vector<double> quality, low_score;
    Vector<int32_t> suggested;
    Vector<uint8_t> flags;
};

struct Issues {
    ZeroedVector<uint8_t> mask;
    std::vector<int64_t> indices;
    ZeroedVector<double> quality;
    ZeroedVector<int32_t> suggested;
    RowSums row_sums;
};

struct IssueState {
    explicit IssueState(IssuePlan plan);

    // Throws std::invalid_argument where the plans differ or a row is in both.
    void merge(IssueState other);
    // Throws std::invalid_argument where the rows seen are not 0 .. n - 1.
    Issues finish() &&;
    std::string to_bytes() const;
    // `rows_elsewhere`: the caller keeps the rows, so candidates are of rows that no piece has.
    static IssueState from_bytes(std::string_view bytes, bool rows_elsewhere = false);

    IssuePlan plan;
    std::vector<IssueRows> pieces;             // by start, never adjacent
    std::vector<std::vector<Candidate>> best;  // for each selection, at most `take`, in no order
    RowSums row_sums;
};

// Of a state without pieces, whose n rows the caller has kept: indices, while the flags become the mask. Throws
// std::invalid_argument where a candidate is not one of them. Holds at most `spare` bytes besides, or none of the rows'
// size.
Issues finish(IssueState state, const IssueColumns& rows, int64_t spare = INT64_MAX);

// Marks in `flags` what is selected, and takes it out of `state`: of a state in parts, part by part before the end.
void mark_selected(IssueState& state, Vector<uint8_t> flags);

}  // namespace dqcore

namespace dqcore::cpu {

void update(ThresholdState& state, const JointInput& in, const Run& run);
// Row sums count rows from the start of `in`.
RowSums update(JointState& state, const JointInput& in, const Run& run);
// The rows are row_start, row_start + 1, ... of the data set.
void update(IssueState& state, const JointInput& in, int64_t row_start, const Run& run);

}  // namespace dqcore::cpu

// In every backend.
namespace dqcore::DQCORE_BACKEND {

// Thresholds are those given, or where empty those of the data.
JointState confident_joint(const JointInput& in, std::vector<double> thresholds,
                           Collision collision, RowSums& sums, const Run& run);

// `quality` has as many rows as `in`.
void label_quality(const JointInput& in, Quality method, bool adjust, Vector<double> quality,
                   const Run& run);

// `calibrated` may have no data: then it is the data's own.
Issues label_issues(const JointInput& in, const IssueOptions& options,
                    Matrix<const int64_t> calibrated, const Run& run);

}  // namespace dqcore::DQCORE_BACKEND
