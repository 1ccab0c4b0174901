// The confident joint: one fused pass that finds the class each row confidently belongs to and
// counts it under the given one.
#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <stdexcept>
#include <utility>

#include "base/bytes.h"
#include "joint/pass.h"

namespace dqcore {
namespace {

template <class Numbers>
void add_to(Numbers& sums, const Numbers& others) {
    for (size_t i = 0; i < sums.size(); ++i)
        if (others[i] != 0) sums[i] += others[i];  // most pages of a large table stay untouched
}

bool all_addable(const JointState& a, const JointState& b) {
    return addable(a.counts, a.unsure, b.counts, b.unsure) &&
           addable(a.weights, a.unsure_weights, b.weights, b.unsure_weights);
}

}  // namespace

JointState::JointState(std::vector<double> class_thresholds, Collision rule, bool with_weights)
    : thresholds(std::move(class_thresholds)), collision(rule), weighted(with_weights) {
    const size_t n = thresholds.size();
    if (n < 1 || n > INT32_MAX)
        throw std::invalid_argument("thresholds must have 1 to 2^31 - 1 entries");
    counts = ZeroedVector<int64_t>(n * n);
    unsure.resize(n);
    if (!weighted) return;
    weights = ZeroedVector<int128>(n * n);
    unsure_weights.resize(n);
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
    if (!all_addable(*this, other))
        throw std::invalid_argument("states hold more rows together than can be counted");
    add_to(counts, other.counts);
    add_to(unsure, other.unsure);
    add_to(weights, other.weights);
    add_to(unsure_weights, other.unsure_weights);
}

std::string JointState::to_bytes() const {
    StateWriter writer(StateKind::kJoint);
    writer.put(n_classes());
    writer.put(static_cast<uint8_t>(collision));
    writer.put(static_cast<uint8_t>(weighted));
    writer.put(thresholds);
    writer.put(counts);
    writer.put(unsure);
    writer.put(weights);
    writer.put(unsure_weights);
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
    const auto size = static_cast<uint64_t>(n);
    JointState state(std::move(thresholds), static_cast<Collision>(collision), weighted != 0);
    state.counts = reader.get_vector<int64_t, ZeroedAllocator<int64_t>>(size * size);
    state.unsure = reader.get_vector<int64_t>(size);
    state.weights = reader.get_vector<int128, ZeroedAllocator<int128>>(weighted ? size * size : 0);
    state.unsure_weights = reader.get_vector<int128>(weighted ? size : 0);
    reader.end();
    const auto negative = [](const auto& x) { return x < 0; };
    if (std::any_of(state.counts.begin(), state.counts.end(), negative) ||
        std::any_of(state.unsure.begin(), state.unsure.end(), negative))
        StateReader::fail("a negative count");
    if (std::any_of(state.weights.begin(), state.weights.end(), negative) ||
        std::any_of(state.unsure_weights.begin(), state.unsure_weights.end(), negative))
        StateReader::fail("a negative weight");
    if (!addable(state.counts, state.unsure) || !addable(state.weights, state.unsure_weights))
        StateReader::fail("more rows than can be counted");
    return state;
}

JointCounts finish(JointState state) {
    const auto n = state.thresholds.size();
    JointCounts result;
    result.class_counts = std::move(state.unsure);
    for (size_t g = 0; g < n; ++g)
        result.class_counts[g] =
            std::accumulate(state.counts.begin() + g * n, state.counts.begin() + (g + 1) * n,
                            result.class_counts[g]);
    result.counts = std::move(state.counts);
    if (!state.weighted) return result;
    result.weights.resize(n * n);
    result.class_weights.resize(n);
    for (size_t g = 0; g < n; ++g) {
        int128 weight = state.unsure_weights[g];
        for (size_t i = g * n; i < (g + 1) * n; ++i) {
            weight += state.weights[i];
            result.weights[i] = from_fixed(state.weights[i]);
        }
        result.class_weights[g] = from_fixed(weight);
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

// One worker's counts: [given][guess + 1], column 0 for rows that no class is confident of, so that no row needs a
// branch.
class Table {
public:
    explicit Table(const JointState& state)
        : n_classes_(state.n_classes()),
          counts_(static_cast<size_t>(n_classes_ * (n_classes_ + 1))),
          weights_(state.weighted ? counts_.size() : 0) {}

    template <class T>
    void add(const joint::Block<T>& block, const JointInput& in) {
        const int64_t n_classes = n_classes_;
        int64_t* const counts = counts_.data();
        const auto cell = [&](int64_t r) {
            return joint::label_at(in.labels, block.begin + r, n_classes) * (n_classes + 1) +
                   block.guess[r] + 1;
        };
        for (int64_t r = 0; r < block.n; ++r) ++counts[cell(r)];
        if (!in.weights.data) return;
        for (int64_t r = 0; r < block.n; ++r)
            weights_[static_cast<size_t>(cell(r))] += to_fixed(in.weights[block.begin + r]);
    }

    void add_to(JointState& state) const {
        fold(counts_, state.counts, state.unsure);
        if (state.weighted) fold(weights_, state.weights, state.unsure_weights);
    }

private:
    template <class Number>
    void fold(const std::vector<Number>& from, ZeroedVector<Number>& table,
              std::vector<Number>& unsure) const {
        const auto n = static_cast<size_t>(n_classes_);
        for (size_t g = 0; g < n; ++g) {
            unsure[g] += from[g * (n + 1)];
            for (size_t t = 0; t < n; ++t) table[g * n + t] += from[g * (n + 1) + t + 1];
        }
    }

    int64_t n_classes_;
    std::vector<int64_t> counts_;
    std::vector<int128> weights_;
};

// Adds a block of rows, without weights, to a state that other workers add to too. Its table is large and mostly out of
// cache: all rows' entries are asked for before the first is used.
template <class T>
void add_shared(JointState& state, const joint::Block<T>& block, const JointInput& in) {
    const int64_t n_classes = state.n_classes();
    std::array<int64_t*, joint::kMostBlockRows> cells = {};  // it costs less than a row
    for (int64_t r = 0; r < block.n; ++r) {
        const int64_t label = joint::label_at(in.labels, block.begin + r, n_classes);
        int64_t* const at = block.guess[r] >= 0
                                ? state.counts.data() + label * n_classes + block.guess[r]
                                : state.unsure.data() + label;
        cells[static_cast<size_t>(r)] = at;
        __builtin_prefetch(at, 1);
    }
    for (int64_t r = 0; r < block.n; ++r)
        __atomic_fetch_add(cells[static_cast<size_t>(r)], 1, __ATOMIC_RELAXED);
}

RowSums count(JointState& state, const JointInput& in, const Run& run) {
    const bool own = state.weighted || state.counts.size() * sizeof(int64_t) <= kOwnTableBytes;
    std::vector<Table> tables;
    if (own) tables.assign(static_cast<size_t>(run.threads), Table(state));
    joint::ScanOptions options;
    options.thresholds = state.thresholds;
    options.collision = state.collision;
    options.argmax = false;
    RowSums sums;
    joint::scan_rows(in.pred_probs, options, run, "joint", sums,
                     [&](const auto& block, const Worker& worker) {
                         if (own)
                             tables[static_cast<size_t>(worker.id)].add(block, in);
                         else
                             add_shared(state, block, in);
                     });
    for (const Table& table : tables) table.add_to(state);
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
