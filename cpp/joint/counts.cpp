// The confident joint: one fused pass that finds the class each row confidently belongs to and
// counts it under the given one.
#include <cmath>
#include <stdexcept>
#include <utility>

#include "base/bytes.h"
#include "joint/pass.h"

namespace dqcore {

JointState::JointState(std::vector<double> class_thresholds, Collision rule, bool with_weights)
    : thresholds(std::move(class_thresholds)), collision(rule), weighted(with_weights) {
    const size_t n = thresholds.size();
    if (n < 1 || n > INT32_MAX)
        throw std::invalid_argument("thresholds must have 1 to 2^31 - 1 entries");
    counts.resize(n * (n + 1));
    if (weighted) weights.resize(n * (n + 1));
}

void JointState::merge(const JointState& other) {
    if (thresholds.size() != other.thresholds.size()) {
        throw std::invalid_argument(
            "states differ in n_classes: " + std::to_string(thresholds.size()) + " and " +
            std::to_string(other.thresholds.size()));
    }
    for (size_t c = 0; c < thresholds.size(); ++c)
        if (thresholds[c] != other.thresholds[c])
            throw std::invalid_argument("states differ in thresholds: that of class " +
                                        std::to_string(c));
    if (collision != other.collision) throw std::invalid_argument("states differ in collision");
    if (weighted != other.weighted)
        throw std::invalid_argument("states differ in weighted: one has weights, the other none");
    if (!addable(counts, other.counts) || !addable(weights, other.weights))
        throw std::invalid_argument("states hold more rows together than can be counted");
    for (size_t i = 0; i < counts.size(); ++i) counts[i] += other.counts[i];
    for (size_t i = 0; i < weights.size(); ++i) weights[i] += other.weights[i];
}

std::string JointState::to_bytes() const {
    StateWriter writer(StateKind::kJoint);
    writer.put(n_classes());
    writer.put(static_cast<uint8_t>(collision));
    writer.put(static_cast<uint8_t>(weighted));
    writer.put(thresholds);
    writer.put(counts);
    writer.put(weights);
    return std::move(writer).finish();
}

JointState JointState::from_bytes(std::string_view bytes) {
    StateReader reader(bytes, StateKind::kJoint);
    const auto n = reader.get<int64_t>();
    const auto collision = reader.get<uint8_t>();
    const auto weighted = reader.get<uint8_t>();
    if (n < 1 || n > INT32_MAX || collision > 1 || weighted > 1)
        StateReader::fail("a parameter out of range");
    auto thresholds = reader.get_vector<double>(static_cast<uint64_t>(n));
    for (const double t : thresholds)
        if (!std::isfinite(t)) StateReader::fail("a threshold that is not finite");
    const uint64_t cells = static_cast<uint64_t>(n) * static_cast<uint64_t>(n + 1);
    auto counts = reader.get_vector<int64_t>(cells);
    auto weights = reader.get_vector<int128>(weighted ? cells : 0);
    reader.end();
    for (const int64_t c : counts)
        if (c < 0) StateReader::fail("a negative count");
    for (const int128 w : weights)
        if (w < 0) StateReader::fail("a negative weight");
    if (!addable(counts, {}) || !addable(weights, {}))
        StateReader::fail("more rows than can be counted");
    JointState state(std::move(thresholds), static_cast<Collision>(collision), weighted != 0);
    state.counts = std::move(counts);
    state.weights = std::move(weights);
    return state;
}

JointCounts finish(const JointState& state) {
    const int64_t n = state.n_classes();
    const auto size = static_cast<size_t>(n);
    JointCounts result;
    result.counts.resize(size * size);
    result.class_counts.resize(size);
    if (state.weighted) {
        result.weights.resize(size * size);
        result.class_weights.resize(size);
    }
    for (int64_t g = 0; g < n; ++g) {
        int128 weight = 0;
        for (int64_t t = -1; t < n; ++t) {
            const auto from = static_cast<size_t>(state.cell(g, t));
            const auto to = static_cast<size_t>(g * n + t);
            result.class_counts[static_cast<size_t>(g)] += state.counts[from];
            if (t >= 0) result.counts[to] = state.counts[from];
            if (!state.weighted) continue;
            weight += state.weights[from];
            if (t >= 0) result.weights[to] = from_fixed(state.weights[from]);
        }
        if (state.weighted) result.class_weights[static_cast<size_t>(g)] = from_fixed(weight);
    }
    return result;
}

namespace cpu {
namespace {

// Up to this many bytes of table each worker counts in its own, which then fits its second level of
// cache; beyond, all add to one.
constexpr size_t kOwnTableBytes = 1 << 20;

// The state that counts no rows yet.
JointState like(const JointState& state) {
    return JointState(state.thresholds, state.collision, state.weighted);
}

// One worker's way to add a block of rows; `n_classes` and pointers are out of the loop's way.
class Counter {
public:
    Counter(JointState& table, const JointInput& in, bool shared)
        : n_classes_(table.n_classes()),
          counts_(table.counts.data()),
          weights_(table.weights.data()),
          in_(in),
          shared_(shared) {}

    template <class T>
    void add(const joint::Block<T>& block) const {
        if (shared_) {
            for (int64_t r = 0; r < block.n; ++r)
                __atomic_fetch_add(counts_ + cell(block, r), 1, __ATOMIC_RELAXED);
        } else {
            for (int64_t r = 0; r < block.n; ++r) ++counts_[cell(block, r)];
        }
        if (in_.weights.data)
            for (int64_t r = 0; r < block.n; ++r)
                weights_[cell(block, r)] += to_fixed(in_.weights[block.begin + r]);
    }

private:
    template <class T>
    int64_t cell(const joint::Block<T>& block, int64_t r) const {
        const int64_t label = joint::label_at(in_.labels, block.begin + r, n_classes_);
        return label * (n_classes_ + 1) + block.guess[r] + 1;
    }

    const int64_t n_classes_;
    int64_t* const counts_;
    int128* const weights_;
    const JointInput& in_;
    const bool shared_;
};

RowSums count(JointState& state, const JointInput& in, const Run& run) {
    const bool own = state.weighted || state.counts.size() * sizeof(int64_t) <= kOwnTableBytes;
    std::vector<JointState> tables;
    if (own) tables.assign(static_cast<size_t>(run.threads), like(state));
    joint::ScanOptions options;
    options.thresholds = state.thresholds;
    options.collision = state.collision;
    RowSums sums;
    joint::scan_rows(in.pred_probs, options, run, "joint", sums,
                     [&](const auto& block, int worker) {
                         JointState& table = own ? tables[static_cast<size_t>(worker)] : state;
                         Counter(table, in, !own).add(block);
                     });
    for (const JointState& table : tables) state.merge(table);
    return sums;
}

}  // namespace

RowSums update(JointState& state, const JointInput& in, const Run& run) {
    JointState fresh = like(state);
    const RowSums sums = count(fresh, in, run);
    state.merge(fresh);
    return sums;
}

JointState confident_joint(const JointInput& in, std::vector<double> thresholds,
                           Collision collision, RowSums& sums, const Run& run) {
    if (thresholds.empty()) thresholds = joint::data_thresholds(in, run);
    JointState state(std::move(thresholds), collision, in.weights.data != nullptr);
    sums = count(state, in, run);
    return state;
}

}  // namespace cpu
}  // namespace dqcore
