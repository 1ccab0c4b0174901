// The kernels of the joint room. All sums are of whole numbers, so that no order of threads changes a bit.
#pragma once

#include <cmath>

#include "base/elementary.h"
#include "cuda/joint_rows.h"

namespace dqcore::cuda {

// floor(x * 2^64) as high * 2^32 + low: base/fixed_point.h's to_fixed in 64-bit integers. |x| < 2^31.
struct Fixed {
    int64_t high;
    uint32_t low;

    static DQCORE_DEVICE Fixed of(double x) {
        const double scaled = x * 0x1p32;
        const double high = floor(scaled);
        return {static_cast<int64_t>(high), static_cast<uint32_t>(floor((scaled - high) * 0x1p32))};
    }
};

// Sums of a class: four words, see class_sum() in joint.h. A probability's fixed point, raised by kBias * 2^32 to be
// positive, is three limbs of 22 bits; a weighted one's three of 32 bits, the last signed.
inline constexpr int kSumWords = 4;
inline constexpr int64_t kBias = 8192;  // above 1e-6 * 2^32
inline constexpr int kLimb = 22;

// Adds each row's probability of its label to its class. Through shared memory where n_classes is small.
template <class E>
struct GatherThresholds {
    static constexpr const char* kName = "gather_thresholds";
    static constexpr int kThreads = 256, kBlocks = 4;
    static constexpr int64_t kMostShared = 256;  // classes
    static constexpr int64_t kRounds = 4;        // between flushes: 2^10 limbs of 22 bits fit 32
    static int64_t shared_bytes(int64_t n_classes) {
        return n_classes <= kMostShared ? n_classes * kSumWords * 4 : 0;
    }

    ProbRows<E> rows;
    Global<const double> weights;  // (n,), or none
    Global<uint64_t> sums;         // (n_classes, kSumWords): limbs, then rows
    Global<uint64_t> weight_sums;  // (n_classes, 3)

    template <class Ex>
    DQCORE_DEVICE void run(Ex& ex) const {
        const bool fits = rows.n_classes <= kMostShared;
        const auto near = shared<uint32_t>(ex, 0, fits ? rows.n_classes * kSumWords : 0);
        const int64_t step = int64_t{ex.blocks()} * kThreads;
        if (fits) clear(ex, near);
        int64_t round = 0;
        for (int64_t base = int64_t{ex.block()} * kThreads; base < rows.n; base += step) {
            const int64_t row = base + ex.thread();
            if (row < rows.n) add(ex, row, near, fits);
            if (!fits || ++round % kRounds != 0) continue;
            flush(ex, near);
        }
        if (fits) flush(ex, near);
    }

private:
    template <class Ex, class Near>
    DQCORE_DEVICE void clear(Ex& ex, const Near& near) const {
        for (int64_t i = ex.thread(); i < rows.n_classes * kSumWords; i += kThreads) near.set(i, 0);
        ex.sync();
    }
    template <class Ex, class Near>
    DQCORE_DEVICE void flush(Ex& ex, const Near& near) const {
        ex.sync();
        for (int64_t i = ex.thread(); i < rows.n_classes * kSumWords; i += kThreads) {
            const uint32_t word = near[i];
            if (word != 0) ex.atomic_add(sums, i, uint64_t{word});
            near.set(i, 0);
        }
        ex.sync();
    }
    template <class Ex, class Near>
    DQCORE_DEVICE void add(Ex& ex, int64_t row, const Near& near, bool fits) const {
        const int64_t c = rows.label(row);
        if (!rows.is_label(ex, row, c)) return;
        const auto v = rows.at(row, c);
        if (!rows.is_probability(ex, row, c, v)) return;
        if (weights.size() > 0) return add_weighted(ex, c, static_cast<double>(v), weights[row]);
        const Fixed x = Fixed::of(static_cast<double>(v));
        const auto high = static_cast<uint64_t>(x.high + kBias);
        constexpr uint32_t kMask = (1u << kLimb) - 1, kRest = 32 - kLimb;
        const uint32_t words[kSumWords] = {
            x.low & kMask, x.low >> kLimb | (static_cast<uint32_t>(high << kRest) & kMask),
            static_cast<uint32_t>(high >> (kLimb - kRest)), 1u};
        DQCORE_UNROLL
        for (int i = 0; i < kSumWords; ++i) {
            if (fits)
                ex.atomic_add(near, c * kSumWords + i, words[i]);
            else
                ex.atomic_add(sums, c * kSumWords + i, uint64_t{words[i]});
        }
    }

    // The product may reach 2^31: there it is halved first, exactly.
    template <class Ex>
    DQCORE_DEVICE void add_weighted(Ex& ex, int64_t c, double v, double weight) const {
        const double product = weight * v;
        const bool halved = !(product < 0x1p31);
        add_fixed(ex, sums, c * kSumWords, Fixed::of(halved ? 0.5 * product : product), halved);
        ex.atomic_add(sums, c * kSumWords + 3, uint64_t{1});
        add_fixed(ex, weight_sums, c * 3, Fixed::of(weight), false);
    }

public:
    // Three words of 32 bits, the last signed.
    template <class Ex>
    static DQCORE_DEVICE void add_fixed(Ex& ex, const Global<uint64_t>& to, int64_t at, Fixed x,
                                        bool doubled) {
        const int by = doubled ? 1 : 0;
        ex.atomic_add(to, at, uint64_t{x.low} << by);
        ex.atomic_add(to, at + 1, (static_cast<uint64_t>(x.high) & 0xffffffffu) << by);
        ex.atomic_add(to, at + 2, static_cast<uint64_t>(x.high >> 32) << by);
    }
};

// Counts rows by given class and guess + 1 (0: confident of none).
template <class E, int kPack>
struct CountJoint {
    static constexpr const char* kName = "count_joint";
    static constexpr int kThreads = 256, kBlocks = 2;
    static constexpr int64_t kMostShared = 156;  // classes whose table fits 97 KiB
    static int64_t shared_bytes(int64_t n_classes) {
        return n_classes <= kMostShared ? n_classes * (n_classes + 1) * 4 : 0;
    }

    ProbRows<E> rows;
    Global<const double> weights;    // (n,), or none
    Global<uint64_t> counts;         // (n_classes, n_classes + 1)
    Global<uint64_t> weight_counts;  // (n_classes, n_classes + 1, 3) of 32 bits, the last signed
    bool among_confident;

    template <class Ex>
    DQCORE_DEVICE void run(Ex& ex) const {
        const int64_t cells = rows.n_classes * (rows.n_classes + 1);
        const bool fits = rows.n_classes <= kMostShared;
        const auto near = shared<uint32_t>(ex, 0, fits ? cells : 0);
        if (fits) {
            for (int64_t i = ex.thread(); i < cells; i += kThreads) near.set(i, 0);
            ex.sync();
        }
        each_row(ex, rows, kThreads, [&](int64_t row, bool leads) {
            const auto found = scan_row<E, kPack>(ex, rows, row, -1);
            if (!leads) return;
            check_sum(ex, rows, row, found.sum);
            const int64_t label = rows.label(row);
            if (!rows.is_label(ex, row, label)) return;
            const int64_t at = label * (rows.n_classes + 1) + found.guess(among_confident) + 1;
            if (fits)
                ex.atomic_add(near, at, 1u);
            else
                ex.atomic_add(counts, at, uint64_t{1});
            if (weights.size() > 0)
                GatherThresholds<E>::add_fixed(ex, weight_counts, at * 3, Fixed::of(weights[row]),
                                               false);
        });
        if (!fits) return;
        ex.sync();
        for (int64_t i = ex.thread(); i < cells; i += kThreads)
            if (const uint32_t count = near[i]) ex.atomic_add(counts, i, uint64_t{count});
    }
};

// Rows of the worst sum: the first of them.
template <class E>
struct FirstWorstSum {
    static constexpr const char* kName = "first_worst_sum";
    static constexpr int kThreads = 256, kBlocks = 2;

    ProbRows<E> rows;

    template <class Ex>
    DQCORE_DEVICE void run(Ex& ex) const {
        const uint64_t worst = rows.faults[kWorstSum];
        each_index(ex, kThreads, rows.n, [&](int64_t row) {
            const double off = rows.exact_sum(row) - 1.0;
            if (bits_as<uint64_t>(off < 0.0 ? -off : off) == worst)
                ex.atomic_min(rows.faults, kWorstRow, static_cast<uint64_t>(row));
        });
    }
};

// One element, and the sum of its row.
template <class E>
struct LookAt {
    static constexpr const char* kName = "look_at";
    static constexpr int kThreads = 32, kBlocks = 1;

    ProbRows<E> rows;
    int64_t row, col;
    Global<double> out;  // (2,)

    template <class Ex>
    DQCORE_DEVICE void run(Ex& ex) const {
        if (ex.thread() > 0) return;
        out.set(0, static_cast<double>(rows.at(row, col)));
        out.set(1, rows.exact_sum(row));
    }
};

// Scores of given labels. The twin on the CPU is joint/quality.h.
enum class ScoreKind : int { kNone, kGiven, kMargin, kEntropy, kAdjustedGiven, kAdjustedMargin };

inline constexpr double kEdge = 1e-6;  // kTolerance of joint/joint.h

DQCORE_BOTH double margin(double given, double rival) { return (given - rival + 1.0) / 2.0; }

// Scores that need a row class by class, in order.
template <class E>
struct OrderedScore {
    ScoreKind kind;
    Global<const double> thresholds;  // (n_classes,), of the adjusted ones
    double most, log_classes;         // the greatest threshold, ln(n_classes)

    DQCORE_DEVICE double operator()(const ProbRows<E>& rows, int64_t row, int64_t label) const {
        return kind == ScoreKind::kEntropy ? weighted_entropy(rows, row, label)
                                           : adjusted(rows, row, label);
    }

private:
    DQCORE_DEVICE double weighted_entropy(const ProbRows<E>& rows, int64_t row,
                                          int64_t label) const {
        double entropy = 0.0;
        for (int64_t c = 0; c < rows.n_classes; ++c) {
            const auto x = static_cast<double>(rows.at(row, c));
            if (x > 0.0) entropy -= x * log_same_bits(x);
        }
        if (rows.n_classes > 1) entropy /= log_classes;
        const auto given = static_cast<double>(rows.at(row, label));
        const double q = entropy / (given > kEdge ? given : kEdge);
        return q < kEdge ? 1.0 : log_same_bits(q + 1.0) / q;
    }

    DQCORE_DEVICE double adjusted(const ProbRows<E>& rows, int64_t row, int64_t label) const {
        double total = 0.0, rival = rows.n_classes == 1 ? 0.0 : -1e300, given = 0.0;
        for (int64_t c = 0; c < rows.n_classes; ++c) {
            const double shifted = (static_cast<double>(rows.at(row, c)) - thresholds[c]) + most;
            total += shifted;
            if (c == label)
                given = shifted;
            else
                rival = shifted > rival ? shifted : rival;
        }
        if (!(total > 0.0)) total = given = rival = 0.0;
        const double scale = total > 0.0 ? total : 1.0;
        if (kind == ScoreKind::kAdjustedGiven) return given / scale;
        return margin(given / scale, rival / scale);
    }
};

// What each row is to label_issues, label_quality and confidences. Outputs of size 0 are not written.
template <class E, int kPack>
struct ScanRows {
    static constexpr const char* kName = "scan_rows";
    static constexpr int kThreads = 256, kBlocks = 2;
    enum : uint8_t { kAsGiven = 1, kOffDiagonal = 2, kOtherArgmax = 4 };  // joint/issue_state.h

    ProbRows<E> rows;
    bool among_confident;
    ScoreKind kind, low_kind;  // the ordered ones are left to ScoreRows
    Global<int32_t> argmax;
    Global<uint8_t> flags;
    Global<double> quality, low_score, top;

    template <class Ex>
    DQCORE_DEVICE void run(Ex& ex) const {
        each_row(ex, rows, kThreads, [&](int64_t row, bool leads) {
            const int64_t label = rows.label(row);
            const auto found = scan_row<E, kPack>(ex, rows, row, label);
            if (!leads || !rows.is_label(ex, row, label)) return;
            check_sum(ex, rows, row, found.sum);
            if (argmax.size() > 0) argmax.set(row, found.top.at);
            if (flags.size() > 0) flags.set(row, flags_of(row, label, found));
            if (quality.size() > 0) score(quality, kind, row, label, found);
            if (low_score.size() > 0) score(low_score, low_kind, row, label, found);
            const auto most = static_cast<double>(found.top.value);
            if (top.size() > 0) top.set(row, most > 0.0 ? most : 0.0);
        });
    }

private:
    using Found = RowFound<typename E::Value>;

    // Whether the given label would be the argmax if it were 1e-6 more probable, and what it is else.
    DQCORE_DEVICE uint8_t flags_of(int64_t row, int64_t label, const Found& found) const {
        if (label == found.top.at) return kAsGiven;
        const double raised = static_cast<double>(rows.at(row, label)) + kEdge;
        const auto most = static_cast<double>(found.top.value);
        if (raised > most || (raised == most && label < found.top.at)) return kAsGiven;
        const int32_t guess = found.guess(among_confident);
        return static_cast<uint8_t>(kOtherArgmax |
                                    (guess >= 0 && guess != label ? kOffDiagonal : 0));
    }

    DQCORE_DEVICE void score(const Global<double>& out, ScoreKind what, int64_t row, int64_t label,
                             const Found& found) const {
        const auto given = static_cast<double>(rows.at(row, label));
        if (what == ScoreKind::kGiven) out.set(row, given);
        if (what != ScoreKind::kMargin) return;
        out.set(row, margin(given, rows.n_classes == 1 ? 0.0 : static_cast<double>(found.rival)));
    }
};

// The ordered scores, and Brier's: a thread for each row.
template <class E>
struct ScoreRows {
    static constexpr const char* kName = "score_rows";
    static constexpr int kThreads = 128, kBlocks = 4;

    ProbRows<E> rows;
    OrderedScore<E> score;
    Global<double> quality, brier;

    template <class Ex>
    DQCORE_DEVICE void run(Ex& ex) const {
        each_index(ex, kThreads, rows.n, [&](int64_t row) {
            const int64_t label = rows.label(row);
            if (!rows.is_label(ex, row, label)) return;
            if (quality.size() > 0) quality.set(row, score(rows, row, label));
            if (brier.size() > 0) brier.set(row, brier_of(row, label));
        });
    }

private:
    DQCORE_DEVICE double brier_of(int64_t row, int64_t label) const {
        double sum = 0.0;
        for (int64_t c = 0; c < rows.n_classes; ++c) {
            const double off = static_cast<double>(rows.at(row, c)) - (c == label ? 1.0 : 0.0);
            sum += off * off;
        }
        return sum;
    }
};

// Each row's probability of its label.
template <class E>
struct GivenRows {
    static constexpr const char* kName = "given_rows";
    static constexpr int kThreads = 256, kBlocks = 4;

    ProbRows<E> rows;
    Global<double> quality;

    template <class Ex>
    DQCORE_DEVICE void run(Ex& ex) const {
        each_index(ex, kThreads, rows.n, [&](int64_t row) {
            const int64_t label = rows.label(row);
            if (!rows.is_label(ex, row, label)) return;
            const auto v = rows.at(row, label);
            rows.is_probability(ex, row, label, v);
            quality.set(row, static_cast<double>(v));
        });
    }
};

}  // namespace dqcore::cuda
