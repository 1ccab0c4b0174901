// knn::knn_disagreement on a device: a warp for each row, its votes in shared memory. Votes of a class are added in
// neighbour order and classes in ascending order, as on the CPU, so every lane computes the same bits.
#pragma once

#include <algorithm>
#include <array>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/parallel.h"
#include "cuda/exec.h"
#include "knn/votes.h"

namespace dqcore::cuda {

enum VoteWord : int {
    kBadVoter = 0,  // the least row with a label that is no class, and not -1
    kBadEdge = 1,   // the least row of a piece with a neighbour that is no row
    kVoteWords = 2,
};

struct CountVotes {
    static constexpr const char* kName = "count_votes";
    static constexpr int kThreads = kWarp, kBlocks = 16;
    static int64_t shared_bytes(int64_t k) { return k * 20; }

    Global<const int32_t> labels;        // (rows of the graph,)
    Global<const int64_t> class_counts;  // (n_classes,)
    Global<const int32_t> indices;       // (n, k), of rows `begin`, `begin` + 1, ...
    Global<const float> distances;
    Global<double> score, margin, entropy;  // (n,)
    Global<int32_t> suggested;
    Global<uint8_t> flags;
    Global<uint64_t> confusion;  // (n_classes, n_classes)
    Global<uint64_t> faults;     // (kVoteWords,)
    int64_t begin, k, n_classes;
    double log_classes;
    Weights weights;
    bool class_balanced, labelled_only;

    template <class Ex>
    DQCORE_DEVICE void run(Ex& ex) const {
        const auto weight = shared<double>(ex, 0, k);
        const auto voter = shared<int32_t>(ex, 16 * k, k);
        const int64_t row = ex.block();
        const int32_t given = label(ex, begin + row);
        const Seen seen = collect(ex, row, given, weight, voter);
        uint8_t flag = given < 0 ? uint8_t{kUnlabelled} : uint8_t{0};
        if (given >= 0 && class_counts[given] <= 1) flag |= kSingleton;
        if (!seen.voters) flag |= kNoVoters;
        if (seen.voters && !seen.weighty) flag |= kZeroWeights;
        const double none = bits_as<double>(uint64_t{0x7ff8000000000000});
        Result result{none, none, none, -1};
        if (seen.voters) result = counted(ex, given, seen.weighty, weight, voter);
        if (ex.lane() > 0) return;
        flags.set(row, flag);
        score.set(row, result.score);
        margin.set(row, result.margin);
        entropy.set(row, result.entropy);
        suggested.set(row, result.suggested);
    }

private:
    struct Seen {
        bool voters, weighty;  // any; any whose weight is above 0
    };
    struct Result {
        double score, margin, entropy;
        int32_t suggested;
    };

    template <class Ex>
    DQCORE_DEVICE int32_t label(Ex& ex, int64_t row) const {
        const int32_t found = labels[row];
        if (found >= -1 && found < n_classes) return found;
        ex.atomic_min(faults, kBadVoter, static_cast<uint64_t>(row));
        return -1;
    }

    // Fills the row's voters (-1: none) and weights, and counts the voters' classes.
    template <class Ex, class Weight, class Voter>
    DQCORE_DEVICE Seen collect(Ex& ex, int64_t row, int32_t given, const Weight& weight,
                               const Voter& voter) const {
        int32_t last = -1;  // of the neighbours that tell sigma
        for (int64_t t = ex.lane(); t < k; t += kWarp) {
            const int32_t j = indices[row * k + t];
            const bool there = j >= 0 && j < labels.size();
            if (!there) ex.atomic_min(faults, kBadEdge, static_cast<uint64_t>(row));
            const int32_t found = there ? label(ex, j) : -1;
            voter.set(t, found);
            if (found >= 0 || !labelled_only) last = static_cast<int32_t>(t);
            if (found >= 0 && given >= 0)
                ex.atomic_add(confusion, given * n_classes + found, uint64_t{1});
        }
        last = largest(ex, last);
        const double sigma = last < 0 ? 0.0 : distances[row * k + last];
        bool any = false, weighty = false;
        for (int64_t t = ex.lane(); t < k; t += kWarp) {
            const double w = vote_weight(distances[row * k + t], sigma, weights);
            weight.set(t, w);
            if (voter[t] < 0) continue;
            any = true;
            weighty = weighty || w > 0.0;
        }
        ex.sync_warp();
        const uint32_t voters = ex.ballot(any);
        return {voters != 0, ex.ballot(weighty) != 0};
    }

    template <class Ex>
    DQCORE_DEVICE int32_t largest(Ex& ex, int32_t v) const {
        for (int m = kWarp / 2; m > 0; m /= 2) {
            const int32_t other = ex.shuffle_xor(v, m);
            v = other > v ? other : v;
        }
        return v;
    }

    // The least class above `last` with a vote, or n_classes.
    template <class Ex, class Weight, class Voter>
    DQCORE_DEVICE int32_t next_class(Ex& ex, int32_t last, bool weighty, const Weight& weight,
                                     const Voter& voter) const {
        auto next = static_cast<int32_t>(n_classes);
        for (int64_t t = ex.lane(); t < k; t += kWarp) {
            const int32_t c = voter[t];
            if (c > last && c < next && (!weighty || weight[t] > 0.0)) next = c;
        }
        return -largest(ex, -next);
    }

    // Every lane the same: only who looks for the next class differs.
    template <class Ex, class Weight, class Voter>
    DQCORE_DEVICE Result counted(Ex& ex, int32_t given, bool weighty, const Weight& weight,
                                 const Voter& voter) const {
        const auto votes_of = shared<double>(ex, 8 * k, k);
        Tally tally{given};
        int64_t classes = 0;
        for (int32_t c = next_class(ex, -1, weighty, weight, voter); c < n_classes;
             c = next_class(ex, c, weighty, weight, voter)) {
            double votes = 0.0;
            for (int64_t t = 0; t < k; ++t)
                if (voter[t] == c && (!weighty || weight[t] > 0.0))
                    votes += weighty ? weight[t] : 1.0;
            if (class_balanced) votes = tally.balanced(c, votes, class_counts[c]);
            tally.add(c, votes);
            if (ex.lane() == 0) votes_of.set(classes, votes);
            ++classes;
        }
        ex.sync_warp();
        double sum = 0.0;
        for (int64_t i = 0; i < classes; ++i) sum += entropy_term(votes_of[i], tally.total);
        const double spread = entropy_of(sum, n_classes, log_classes);
        const double none = bits_as<double>(uint64_t{0x7ff8000000000000});
        if (given < 0) return {none, none, spread, tally.suggested};
        return {tally.score(), tally.margin(), spread, tally.suggested};
    }
};

// Callers have checked as for knn.h's; here a piece of the graph is on the device at a time.
template <class Device>
void knn_disagreement(Device& device, const DisagreementInput& in, const DisagreementOutput& out,
                      const Run& run) {
    const int64_t n = in.labels.size, k = in.indices.cols, cells = in.n_classes * in.n_classes;
    std::vector<int64_t> class_counts(static_cast<size_t>(in.n_classes));
    const std::vector<int32_t> labels(in.labels.data, in.labels.data + n);
    for (const int32_t c : labels)
        if (c >= 0 && c < in.n_classes) ++class_counts[static_cast<size_t>(c)];
    const auto uploaded = [&](const auto* values, int64_t size) {
        auto buffer = device.template alloc<std::remove_cvref_t<decltype(*values)>>(size);
        device.upload(buffer, values, size);
        return buffer;
    };
    auto all_labels = uploaded(labels.data(), n);
    auto counts = uploaded(class_counts.data(), in.n_classes);
    auto confusion = device.template alloc<uint64_t>(cells);
    device.fill_zero(confusion);
    constexpr int64_t kResult = 64;  // bytes of a row besides its neighbours, and more
    const int64_t piece =
        std::clamp<int64_t>(device.free_bytes() / 2 / (8 * k + kResult), 1, int64_t{1} << 30);
    for (int64_t begin = 0; begin < n; begin += piece) {
        const int64_t rows = std::min(piece, n - begin);
        if (run.watcher) run.watcher->tick("disagreement", begin, n);
        auto indices = uploaded(in.indices.row(begin), rows * k);
        auto distances = uploaded(in.distances.row(begin), rows * k);
        auto score = device.template alloc<double>(rows),
             margin = device.template alloc<double>(rows),
             entropy = device.template alloc<double>(rows);
        auto suggested = device.template alloc<int32_t>(rows);
        auto flags = device.template alloc<uint8_t>(rows);
        std::array<uint64_t, kVoteWords> words;
        words.fill(~uint64_t{0});
        auto faults = uploaded(words.data(), kVoteWords);
        device.launch(CountVotes{all_labels.all(), counts.all(), indices.all(), distances.all(),
                                 score.all(), margin.all(), entropy.all(), suggested.all(),
                                 flags.all(), confusion.all(), faults.all(), begin, k, in.n_classes,
                                 log_same_bits(static_cast<double>(in.n_classes)), in.weights,
                                 in.class_balanced, in.labelled_only},
                      rows, CountVotes::shared_bytes(k));
        device.download(words.data(), faults, kVoteWords);
        if (words[kBadVoter] != ~uint64_t{0})
            throw std::invalid_argument(
                "labels changed during the call: row " + std::to_string(words[kBadVoter]) + " is " +
                std::to_string(labels[static_cast<size_t>(words[kBadVoter])]));
        if (words[kBadEdge] != ~uint64_t{0})
            throw std::invalid_argument(
                "graph changed during the call: row " +
                std::to_string(begin + static_cast<int64_t>(words[kBadEdge])) +
                " has a neighbour that is no row");
        device.download(out.score.data + begin, score, rows);
        device.download(out.margin.data + begin, margin, rows);
        device.download(out.entropy.data + begin, entropy, rows);
        device.download(out.suggested.data + begin, suggested, rows);
        device.download(out.flags.data + begin, flags, rows);
    }
    std::vector<uint64_t> pairs(static_cast<size_t>(cells));
    device.download(pairs.data(), confusion, cells);
    std::copy(pairs.begin(), pairs.end(), out.confusion.data);
}

}  // namespace dqcore::cuda
