// Weights, states and passes of the bootstrap. A row whose guess no replicate's thresholds change
// costs one addition of its weights to one cell; only rows near a threshold are looked at again.
#include "joint/bootstrap.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <stdexcept>
#include <string>
#include <utility>

#include "joint/pass.h"

namespace dqcore {
namespace {

constexpr uint64_t kGolden = 0x9E3779B97F4A7C15u;

// The finalizer of splitmix64. Source: Steele, Lea and Flood (2014), "Fast splittable pseudorandom
// number generators"; constants of Vigna's splitmix64.c.
uint64_t mix(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

void check_same(const BootstrapWeights& a, const BootstrapWeights& b) {
    if (a.seed != b.seed) throw std::invalid_argument("states differ in seed");
    if (a.replicates != b.replicates) throw std::invalid_argument("states differ in replicates");
}

}  // namespace

// The row's stream of 64-bit words, four replicates a word, lowest bits first. A draw is compared
// as a signed number, which is what a vector unit has: the table's bounds less 2^15.
void BootstrapWeights::fill(int64_t row, uint16_t* weights) const {
    static_assert(std::endian::native == std::endian::little);
    const uint64_t key = mix(seed + kGolden * (static_cast<uint64_t>(row) + 1));
    const int64_t n = padded();
    for (int64_t word = 0; word < n / 4; ++word) {
        const uint64_t bits = mix(key + kGolden * (static_cast<uint64_t>(word) + 1));
        std::memcpy(weights + 4 * word, &bits, sizeof bits);
    }
    for (int64_t r = 0; r < n; ++r) {
        const auto draw = static_cast<int16_t>(weights[r]);
        int16_t weight = 0;
        for (const int32_t bound : kPoissonAtMost)
            weight = static_cast<int16_t>(weight + (draw > static_cast<int16_t>(bound - 32769)));
        weights[r] = static_cast<uint16_t>(weight);
    }
}

ReplicateSums::ReplicateSums(int64_t classes, BootstrapWeights by)
    : n_classes(classes),
      weights(by),
      counts(static_cast<size_t>(classes * by.padded())),
      sums(counts.size()) {}

void ReplicateSums::merge(const ReplicateSums& other) {
    check_same(weights, other.weights);
    if (n_classes != other.n_classes) throw std::invalid_argument("states differ in n_classes");
    for (size_t i = 0; i < counts.size(); ++i) counts[i] += other.counts[i];
    for (size_t i = 0; i < sums.size(); ++i) sums[i] += other.sums[i];
}

std::vector<double> ReplicateSums::finish() const {
    std::vector<double> thresholds;
    thresholds.reserve(static_cast<size_t>(n_classes * weights.replicates));
    for (int64_t c = 0; c < n_classes; ++c) {
        for (int64_t b = 0; b < weights.replicates; ++b) {
            const auto i = static_cast<size_t>(c * weights.padded() + b);
            const double total = static_cast<double>(counts[i]) * 0x1p64;
            thresholds.push_back(
                counts[i] > 0 ? std::max(static_cast<double>(sums[i]) / total, kLeastThreshold)
                              : kNeverConfident);
        }
    }
    return thresholds;
}

ReplicateCounts::ReplicateCounts(std::vector<double> by_class, Collision rule, BootstrapWeights by)
    : thresholds(std::move(by_class)), collision(rule), weights(by) {}

void ReplicateCounts::merge(const ReplicateCounts& other) {
    check_same(weights, other.weights);
    if (thresholds != other.thresholds) throw std::invalid_argument("states differ in thresholds");
    if (collision != other.collision) throw std::invalid_argument("states differ in collision");
    const int64_t width = weights.padded();
    for (const auto& [cell, slot] : other.slots) {
        int64_t* const to = row(cell);
        const int64_t* const from = other.counts.data() + slot * width;
        for (int64_t b = 0; b < width; ++b) to[b] += from[b];
    }
}

int64_t* ReplicateCounts::row(int64_t cell) {
    const int64_t width = weights.padded();
    const auto [found, is_new] = slots.try_emplace(cell, static_cast<int64_t>(slots.size()));
    if (is_new) counts.resize(slots.size() * static_cast<size_t>(width));
    return counts.data() + found->second * width;
}

ReplicateTable finish(const ReplicateCounts& state) {
    ReplicateTable table;
    table.thresholds = state.thresholds;
    const int64_t replicates = state.weights.replicates, width = state.weights.padded();
    const auto counts_of = [&](int64_t slot) { return state.counts.data() + slot * width; };
    for (const auto& [cell, slot] : state.slots) {
        const int64_t* const counts = counts_of(slot);
        if (std::any_of(counts, counts + replicates, [](int64_t count) { return count > 0; }))
            table.cells.push_back(cell);
    }
    std::sort(table.cells.begin(), table.cells.end());
    table.counts.reserve(table.cells.size() * static_cast<size_t>(replicates));
    for (const int64_t cell : table.cells) {
        const int64_t* const counts = counts_of(state.slots.at(cell));
        table.counts.insert(table.counts.end(), counts, counts + replicates);
    }
    return table;
}

namespace cpu {
namespace {

constexpr int64_t kSumChunkRows = 1 << 12;  // some 5 ms with 200 replicates
constexpr int64_t kCheckRows = 1 << 6;

// One worker's sums, in two limbs of 32 bits so that a row is added by multiplications of 32 bits.
class Limbs {
public:
    explicit Limbs(const ReplicateSums& like)
        : sums_(like.n_classes, like.weights),
          high_(sums_.counts.size()),
          low_(sums_.counts.size()),
          weights_(static_cast<size_t>(like.weights.padded())) {}

    void add(int64_t row, int64_t label, double p) {
        if (++rows_ > kMostRows) carry();
        sums_.weights.fill(row, weights_.data());
        const auto width = static_cast<int64_t>(weights_.size());
        const int128 value = to_fixed(p);
        const auto high = static_cast<int64_t>(value >> 32);
        const auto low = static_cast<uint32_t>(value);
        const auto at = static_cast<size_t>(label * width);
        add_weights(high, low, sums_.counts.data() + at, high_.data() + at, low_.data() + at);
    }

    const ReplicateSums& finish() {
        carry();
        return sums_;
    }

private:
    // 8 * 2^33 * 2^26 is below 2^63.
    static constexpr int64_t kMostRows = int64_t{1} << 26;

    void add_weights(int64_t high, uint32_t low, int64_t* counts, int64_t* highs, int64_t* lows) {
        const auto width = static_cast<int64_t>(weights_.size());
        const uint16_t* const weights = weights_.data();
        if (high >= 0 && high <= UINT32_MAX) {
            const auto high32 = static_cast<uint32_t>(high);
            for (int64_t b = 0; b < width; ++b) {
                const uint32_t weight = weights[b];
                counts[b] += weight;
                highs[b] += static_cast<int64_t>(uint64_t{weight} * high32);
                lows[b] += static_cast<int64_t>(uint64_t{weight} * low);
            }
        } else {  // 1 and above, or below 0
            for (int64_t b = 0; b < width; ++b) {
                counts[b] += weights[b];
                highs[b] += int64_t{weights[b]} * high;
                lows[b] += int64_t{weights[b]} * low;
            }
        }
    }

    void carry() {
        for (size_t i = 0; i < high_.size(); ++i)
            sums_.sums[i] += (static_cast<int128>(high_[i]) << 32) + low_[i];
        std::fill(high_.begin(), high_.end(), 0);
        std::fill(low_.begin(), low_.end(), 0);
        rows_ = 0;
    }

    ReplicateSums sums_;
    std::vector<int64_t> high_, low_;
    std::vector<uint16_t> weights_;
    int64_t rows_ = 0;
};

// Between which bounds a class's least confident probability lies, over the replicates.
struct Bounds {
    explicit Bounds(const ReplicateCounts& state) : replicates(state.weights.replicates) {
        at_least = state.thresholds;
        for (double& bound : at_least) bound -= kTolerance;
        for (int64_t c = 0; c < state.n_classes(); ++c) {
            const auto* const first = at_least.data() + c * replicates;
            const auto [low, high] = std::minmax_element(first, first + replicates);
            lowest.push_back(*low);
            highest.push_back(*high);
        }
    }
    const double* of(int64_t c) const { return at_least.data() + c * replicates; }

    int64_t replicates;
    std::vector<double> at_least;         // (n_classes, replicates)
    std::vector<double> lowest, highest;  // (n_classes,)
};

// One worker's way to count rows under the thresholds of every replicate.
class Counter {
public:
    Counter(const ReplicateCounts& like, const Bounds& bounds)
        : table_(like.thresholds, like.collision, like.weights),
          bounds_(bounds),
          weights_(static_cast<size_t>(like.weights.padded())) {}

    const ReplicateCounts& table() const { return table_; }

    template <class T>
    void add(int64_t row, int64_t label, const T* p, int32_t argmax) {
        look(p);
        table_.weights.fill(row, weights_.data());
        const int64_t first = label * (static_cast<int64_t>(bounds_.lowest.size()) + 1) + 1;
        if (open_.empty()) return add_all(first + guess(sure_, only_, best_, argmax));
        if (is_settled(argmax)) return add_all(first + argmax);
        for (int64_t b = 0; b < bounds_.replicates; ++b) {
            int64_t count = sure_, only = only_, best = best_;
            for (const int64_t c : open_) {
                if (static_cast<double>(p[c]) < bounds_.of(c)[b]) continue;
                ++count;
                only = c;
                if (best < 0 || p[c] > p[best] || (p[c] == p[best] && c < best)) best = c;
            }
            table_.row(first + guess(count, only, best, argmax))[b] +=
                weights_[static_cast<size_t>(b)];
        }
    }

private:
    // Which classes are confident in every replicate, and which in some.
    template <class T>
    void look(const T* p) {
        sure_ = 0;
        only_ = best_ = -1;
        open_.clear();
        const auto n = static_cast<int64_t>(bounds_.lowest.size());
        for (int64_t c = 0; c < n; ++c) {
            const auto value = static_cast<double>(p[c]);
            if (value < bounds_.lowest[static_cast<size_t>(c)]) continue;
            if (value < bounds_.highest[static_cast<size_t>(c)]) {
                open_.push_back(c);
                continue;
            }
            ++sure_;
            only_ = c;
            if (best_ < 0 || value > static_cast<double>(p[best_])) best_ = c;
        }
    }

    // Whether the open classes change nothing: the guess is the argmax with or without them.
    bool is_settled(int64_t argmax) const {
        if (table_.collision == Collision::kArgmax)
            return sure_ > 1 || (sure_ == 1 && only_ == argmax);
        return best_ == argmax;
    }

    int64_t guess(int64_t count, int64_t only, int64_t best, int64_t argmax) const {
        if (count <= 1) return only;
        return table_.collision == Collision::kArgmax ? argmax : best;
    }

    void add_all(int64_t cell) {
        int64_t* const counts = table_.row(cell);
        for (size_t b = 0; b < weights_.size(); ++b) counts[b] += weights_[b];
    }

    ReplicateCounts table_;
    const Bounds& bounds_;
    std::vector<uint16_t> weights_;
    int64_t sure_ = 0, only_ = -1, best_ = -1;
    std::vector<int64_t> open_;
};

}  // namespace

void update(ReplicateSums& state, const JointInput& in, int64_t row_start, const Run& run) {
    const StridedMatrix& m = in.pred_probs;
    std::vector<Limbs> hands(static_cast<size_t>(run.threads), Limbs(state));
    std::vector<joint::Faults> faults(hands.size());
    const auto add_chunk = [&](int64_t begin, int64_t end, const Worker& worker) {
        const auto id = static_cast<size_t>(worker.id);
        for (int64_t i = begin; i < end; ++i) {
            if (i % kCheckRows == 0) worker.check();
            const int64_t label = joint::label_at(in.labels, i, m.cols);
            const double p = element(m, i, label);
            if (joint::is_probability(p))
                hands[id].add(row_start + i, label, p);
            else
                faults[id].add(i, label, p, m.type == Float::kFloat64);
        }
    };
    parallel_rows(run, "bootstrap thresholds", m.rows, kSumChunkRows, add_chunk);
    for (size_t w = 1; w < faults.size(); ++w) faults[0].merge(faults[w]);
    if (faults[0].count > 0) joint::raise_for_all(m, faults[0], run);
    for (Limbs& hand : hands) state.merge(hand.finish());
}

void update(ReplicateCounts& state, const JointInput& in, int64_t row_start, const Run& run) {
    const Bounds bounds(state);
    std::vector<Counter> hands;
    for (int w = 0; w < run.threads; ++w) hands.emplace_back(state, bounds);
    RowSums sums;
    joint::scan_rows(
        in.pred_probs, {}, run, "bootstrap", sums, [&](const auto& block, const Worker& worker) {
            Counter& hand = hands[static_cast<size_t>(worker.id)];
            for (int64_t r = 0; r < block.n; ++r) {
                worker
                    .check();  // a row near many thresholds takes milliseconds with 10,000 replicates
                const int64_t i = block.begin + r;
                const int64_t label = joint::label_at(in.labels, i, in.pred_probs.cols);
                hand.add(row_start + i, label, block.row(r), block.argmax[r]);
            }
        });
    for (const Counter& hand : hands) state.merge(hand.table());
}

ReplicateTable bootstrap_joint(const JointInput& in, const std::vector<double>& thresholds,
                               Collision collision, BootstrapWeights weights, const Run& run) {
    std::vector<double> by_replicate;
    if (thresholds.empty()) {
        ReplicateSums sums(in.pred_probs.cols, weights);
        update(sums, in, 0, run);
        by_replicate = sums.finish();
    } else {
        for (const double t : thresholds)
            by_replicate.insert(by_replicate.end(), static_cast<size_t>(weights.replicates), t);
    }
    ReplicateCounts state(std::move(by_replicate), collision, weights);
    update(state, in, 0, run);
    return finish(state);
}

void confident_classes(const JointInput& in, const std::vector<double>& thresholds,
                       Collision collision, Vector<int32_t> guess, const Run& run) {
    joint::ScanOptions options;
    options.thresholds = thresholds.empty() ? joint::data_thresholds(in, run) : thresholds;
    options.collision = collision;
    RowSums sums;
    joint::scan_rows(in.pred_probs, options, run, "confident classes", sums,
                     [&](const auto& block, const Worker&) {
                         std::copy(block.guess, block.guess + block.n, guess.data + block.begin);
                     });
}

}  // namespace cpu
}  // namespace dqcore
