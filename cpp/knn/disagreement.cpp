// Votes of a row's neighbours, one row at a time over the classes that got any.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <vector>

#include "base/elementary.h"
#include "knn/knn.h"
#include "knn/votes.h"

namespace dqcore {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// Tables of confusion counts of at most this many entries are kept once for each worker (2 MB); of
// larger ones there is one, which workers rarely touch in the same place.
constexpr int64_t kOwnTable = 1 << 18;

struct Voter {
    int32_t label;
    double weight;
};

class Votes {
public:
    Votes(const DisagreementInput& in, const std::vector<int64_t>& class_counts, double log_classes)
        : in_(in),
          class_counts_(class_counts),
          log_classes_(log_classes),
          votes_(static_cast<size_t>(in.n_classes), 0.0) {}

    // Counts each voter with count(label) and fills the row's results.
    template <class Count>
    void row(int64_t i, const DisagreementOutput& out, const Count& count) {
        const int32_t given = label(i);
        uint8_t flags = given < 0 ? uint8_t{kUnlabelled} : uint8_t{0};
        if (given >= 0 && class_counts_[static_cast<size_t>(given)] <= 1) flags |= kSingleton;
        out.score[i] = out.margin[i] = out.entropy[i] = kNaN;
        out.suggested[i] = -1;
        collect(i, flags);
        if (given >= 0)
            for (const Voter& v : voters_) count(given, v.label);
        if (voters_.empty()) flags |= kNoVoters;
        out.flags[i] = flags;
        if (!voters_.empty()) count_votes(i, given, out);
    }

private:
    int32_t label(int64_t row) const {
        const int32_t value = read_once(in_.labels.data + row);
        if (value < -1 || value >= in_.n_classes) {
            throw std::invalid_argument("labels changed during the call: row " +
                                        std::to_string(row) + " is " + std::to_string(value));
        }
        return value;
    }

    // The row's voters in neighbour order, with their weights; sets kZeroWeights.
    void collect(int64_t i, uint8_t& flags) {
        voters_.clear();
        const int64_t k = in_.indices.cols;
        double sigma = 0.0;
        for (int64_t t = 0; t < k; ++t) {
            const int32_t j = read_once(in_.indices.row(i) + t);
            if (j < 0 || j >= in_.labels.size) {
                throw std::invalid_argument("graph changed during the call: row " +
                                            std::to_string(i) + " has neighbour " +
                                            std::to_string(j));
            }
            const double distance = in_.distances.row(i)[t];
            const int32_t voter = label(j);
            if (voter >= 0) voters_.push_back({voter, distance});
            if (voter >= 0 || !in_.labelled_only) sigma = distance;
        }
        bool any = false;
        for (Voter& v : voters_) {
            v.weight = vote_weight(v.weight, sigma, in_.weights);
            any = any || v.weight > 0.0;
        }
        if (any || voters_.empty()) return;
        flags |= kZeroWeights;
        for (Voter& v : voters_) v.weight = 1.0;
    }

    void count_votes(int64_t i, int32_t given, const DisagreementOutput& out) {
        classes_.clear();
        for (const Voter& v : voters_) {
            if (!(v.weight > 0.0)) continue;
            double& votes = votes_[static_cast<size_t>(v.label)];
            if (votes == 0.0) classes_.push_back(v.label);
            votes += v.weight;
        }
        std::sort(classes_.begin(), classes_.end());
        Tally tally{given};
        for (const int32_t c : classes_) {
            double& votes = votes_[static_cast<size_t>(c)];
            if (in_.class_balanced)
                votes = tally.balanced(c, votes, class_counts_[static_cast<size_t>(c)]);
            tally.add(c, votes);
        }
        double sum = 0.0;
        for (const int32_t c : classes_) {
            sum += entropy_term(votes_[static_cast<size_t>(c)], tally.total);
            votes_[static_cast<size_t>(c)] = 0.0;
        }
        out.suggested[i] = tally.suggested;
        out.entropy[i] = entropy_of(sum, in_.n_classes, log_classes_);
        if (given < 0) return;
        out.score[i] = tally.score();
        out.margin[i] = tally.margin();
    }

    const DisagreementInput& in_;
    const std::vector<int64_t>& class_counts_;
    const double log_classes_;
    std::vector<double> votes_;  // by class; zero between rows
    std::vector<Voter> voters_;
    std::vector<int32_t> classes_;
};

}  // namespace

void cpu::knn_disagreement(const DisagreementInput& in, const DisagreementOutput& out,
                           const Run& run) {
    std::vector<int64_t> class_counts(static_cast<size_t>(in.n_classes), 0);
    for (int64_t i = 0; i < in.labels.size; ++i) {
        const int32_t label = read_once(in.labels.data + i);
        if (label >= 0 && label < in.n_classes) ++class_counts[static_cast<size_t>(label)];
    }
    const double log_classes = log_same_bits(static_cast<double>(in.n_classes));
    const int64_t entries = in.n_classes * in.n_classes;
    const bool own_tables = entries <= kOwnTable;
    std::vector<std::vector<int64_t>> tables(static_cast<size_t>(std::max(1, run.threads)));
    std::vector<Votes> workers(tables.size(), Votes(in, class_counts, log_classes));
    const int64_t bytes = in.indices.cols * int64_t{sizeof(int32_t) + sizeof(float)} + 64;
    parallel_rows(run, "disagreement", in.labels.size, rows_per_chunk(bytes),
                  [&](int64_t begin, int64_t end, const Worker& worker) {
                      Votes& votes = workers[static_cast<size_t>(worker.id)];
                      auto& table = tables[static_cast<size_t>(worker.id)];
                      if (own_tables) table.resize(static_cast<size_t>(entries));
                      worker.check();
                      for (int64_t i = begin; i < end; ++i) {
                          votes.row(i, out, [&](int32_t a, int32_t b) {
                              const int64_t at = a * in.n_classes + b;
                              if (own_tables) {
                                  ++table[static_cast<size_t>(at)];
                              } else {
                                  std::atomic_ref(out.confusion.data[at])
                                      .fetch_add(1, std::memory_order_relaxed);
                              }
                          });
                      }
                  });
    for (const auto& table : tables)
        for (size_t at = 0; at < table.size(); ++at) out.confusion.data[at] += table[at];
}

}  // namespace dqcore
