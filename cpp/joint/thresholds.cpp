// Thresholds: a gather of each row's probability of its given label. Sums are integers, so that
// any split of the rows over threads, files and machines gives the same thresholds.
#include "joint/thresholds.h"

#include <algorithm>
#include <stdexcept>

#include "base/bytes.h"

namespace dqcore {
namespace {

// To 2^-64, for a product that may reach 2^31 * (1 + 1e-6): there a number's last bit is worth more
// than 2^-63, and halving is exact.
int128 product_to_fixed(double x) { return x < kFixedLimit ? to_fixed(x) : 2 * to_fixed(0.5 * x); }

// The same integer as to_fixed(p), for a probability that was a T, without a call of floor. A float
// of at least 2^-38 is a whole number of 2^-62, which one conversion gives.
template <class T>
int128 probability_to_fixed(double p) {
    if (sizeof(T) < sizeof(double) && p >= 0x1p-38)
        return static_cast<int128>(static_cast<int64_t>(p * 0x1p62)) * 4;
    if (p < 0.0) return to_fixed(p);
    const double scaled = p * 0x1p32;
    const auto high = static_cast<int64_t>(scaled);
    const auto low = static_cast<int64_t>((scaled - static_cast<double>(high)) * 0x1p32);
    return (static_cast<int128>(high) << 32) + low;
}

template <class Number>
void add_to(std::vector<Number>& sums, const std::vector<Number>& others) {
    for (size_t i = 0; i < sums.size(); ++i) sums[i] += others[i];
}

void check_classes(int64_t n_classes) {
    if (n_classes < 1 || n_classes > INT32_MAX)
        throw std::invalid_argument("n_classes must be in [1, 2^31 - 1], got " +
                                    std::to_string(n_classes));
}

}  // namespace

ThresholdState::ThresholdState(int64_t classes, bool with_weights)
    : n_classes(classes), weighted(with_weights) {
    check_classes(n_classes);
    const auto n = static_cast<size_t>(n_classes);
    class_counts.resize(n);
    sums.resize(n);
    if (weighted) class_weights.resize(n);
}

void ThresholdState::merge(const ThresholdState& other) {
    if (n_classes != other.n_classes) {
        throw std::invalid_argument("states differ in n_classes: " + std::to_string(n_classes) +
                                    " and " + std::to_string(other.n_classes));
    }
    if (weighted != other.weighted)
        throw std::invalid_argument("states differ in weighted: one has weights, the other none");
    if (!addable(class_counts, other.class_counts) || !addable(sums, other.sums) ||
        !addable(class_weights, other.class_weights)) {
        throw std::invalid_argument("states hold more rows together than can be counted");
    }
    add_to(class_counts, other.class_counts);
    add_to(sums, other.sums);
    add_to(class_weights, other.class_weights);
}

std::vector<double> ThresholdState::finish() const {
    std::vector<double> thresholds(sums.size(), kNeverConfident);
    for (size_t c = 0; c < sums.size(); ++c) {
        const double total = weighted ? static_cast<double>(class_weights[c])
                                      : static_cast<double>(class_counts[c]) * 0x1p64;
        if (total > 0.0)
            thresholds[c] = std::max(static_cast<double>(sums[c]) / total, kLeastThreshold);
    }
    return thresholds;
}

std::string ThresholdState::to_bytes() const {
    StateWriter writer(StateKind::kThreshold);
    writer.put(n_classes);
    writer.put(static_cast<uint8_t>(weighted));
    writer.put(class_counts);
    writer.put(sums);
    writer.put(class_weights);
    return std::move(writer).finish();
}

ThresholdState ThresholdState::from_bytes(std::string_view bytes) {
    StateReader reader(bytes, StateKind::kThreshold);
    const auto n = reader.get<int64_t>();
    const auto weighted = reader.get<uint8_t>();
    if (n < 1 || n > INT32_MAX || weighted > 1) StateReader::fail("a parameter out of range");
    const auto size = static_cast<uint64_t>(n);
    const auto counts = reader.get_vector<int64_t>(size);
    const auto sums = reader.get_vector<int128>(size);
    const auto weights = reader.get_vector<int128>(weighted ? size : 0);
    reader.end();
    if (std::any_of(counts.begin(), counts.end(), [](int64_t c) { return c < 0; }) ||
        std::any_of(weights.begin(), weights.end(), [](int128 w) { return w < 0; }))
        StateReader::fail("a negative count");
    if (!addable(counts) || !addable(sums) || !addable(weights))
        StateReader::fail("more rows than can be counted");
    ThresholdState state(n, weighted != 0);
    state.class_counts = counts;
    state.sums = sums;
    state.class_weights = weights;
    return state;
}

namespace cpu {
namespace {

constexpr int64_t kChunkRows = 1 << 14;  // some 50 us
// Rows on their way at once, where each is lines apart: a miss takes as long as that many hits.
constexpr int64_t kAhead = 16, kFarApart = 256;

// T is uint16_t for halves.
template <class T>
double load(const char* p) {
    T value;
    std::memcpy(&value, p, sizeof value);
    if constexpr (std::is_same_v<T, uint16_t>)
        return half_to_float(value);
    else
        return value;
}

template <class T>
void gather(const JointInput& in, int64_t begin, int64_t end, ThresholdState& state,
            joint::Faults& faults) {
    const StridedMatrix m = in.pred_probs;
    const Vector<const double> weights = in.weights;
    int64_t* const counts = state.class_counts.data();
    int128* const sums = state.sums.data();
    const int64_t hinted = std::abs(m.row_stride) >= kFarApart ? end - kAhead : begin;
    for (int64_t i = begin; i < end; ++i) {
        if (i < hinted) {  // a hint alone: a label is used, and checked, when it is its turn
            const int64_t c = read_once(in.labels.data + i + kAhead);
            if (c >= 0 && c < m.cols)
                __builtin_prefetch(m.data + (i + kAhead) * m.row_stride + c * m.col_stride);
        }
        const int64_t c = joint::label_at(in.labels, i, m.cols);
        const double p = load<T>(m.data + i * m.row_stride + c * m.col_stride);
        if (!joint::is_probability(p)) [[unlikely]] {
            faults.add(i, c, p, m.type == Float::kFloat64);
            continue;
        }
        ++counts[c];
        if (weights.data) {
            sums[c] += product_to_fixed(weights[i] * p);
            state.class_weights[static_cast<size_t>(c)] += to_fixed(weights[i]);
        } else {
            sums[c] += probability_to_fixed<T>(p);
        }
    }
}

// Adds the rows to `state`; bad values are left out and told in the result.
joint::Faults add_rows(ThresholdState& state, const JointInput& in, const Run& run) {
    const auto workers = static_cast<size_t>(run.threads);
    std::vector<ThresholdState> states(workers, ThresholdState(state.n_classes, state.weighted));
    std::vector<joint::Faults> faults(workers);
    parallel_rows(run, "thresholds", in.labels.size, kChunkRows,
                  [&](int64_t begin, int64_t end, const Worker& worker) {
                      const auto id = static_cast<size_t>(worker.id);
                      joint::add_rows(in, begin, end, states[id], faults[id]);
                  });
    joint::Faults all;
    for (size_t w = 0; w < workers; ++w) {
        all.merge(faults[w]);
        if (all.count == 0) state.merge(states[w]);
    }
    return all;
}

}  // namespace

void update(ThresholdState& state, const JointInput& in, const Run& run) {
    ThresholdState fresh(state.n_classes, state.weighted);
    const joint::Faults faults = add_rows(fresh, in, run);
    if (faults.count > 0) faults.raise();
    state.merge(fresh);
}

}  // namespace cpu

void joint::add_rows(const JointInput& in, int64_t begin, int64_t end, ThresholdState& state,
                     Faults& faults) {
    switch (in.pred_probs.type) {
        case Float::kFloat16:
            return cpu::gather<uint16_t>(in, begin, end, state, faults);
        case Float::kFloat32:
            return cpu::gather<float>(in, begin, end, state, faults);
        case Float::kFloat64:
            return cpu::gather<double>(in, begin, end, state, faults);
    }
}

std::vector<double> joint::data_thresholds(const JointInput& in, const Run& run) {
    ThresholdState state(in.pred_probs.cols, in.weights.data != nullptr);
    const Faults faults = cpu::add_rows(state, in, run);
    if (faults.count > 0) raise_for_all(in.pred_probs, faults, run);
    return state.finish();
}

}  // namespace dqcore
