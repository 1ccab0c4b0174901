// Label quality on its own: self-confidence is a gather, every other score a pass.
#include "joint/quality.h"

#include "joint/pass.h"

namespace dqcore::cpu {
namespace {

constexpr int64_t kChunkRows = 1 << 14;  // some 50 us

void self_confidence(const JointInput& in, Vector<double> quality, const Run& run) {
    std::vector<joint::Faults> faults(static_cast<size_t>(run.threads));
    const StridedMatrix& m = in.pred_probs;
    parallel_rows(run, "quality", m.rows, kChunkRows,
                  [&](int64_t begin, int64_t end, const Worker& worker) {
                      for (int64_t i = begin; i < end; ++i) {
                          const int64_t label = joint::label_at(in.labels, i, m.cols);
                          quality[i] = element(m, i, label);
                          if (!joint::is_probability(quality[i])) {
                              faults[static_cast<size_t>(worker.id)].add(i, label, quality[i],
                                                                         m.type == Float::kFloat64);
                          }
                      }
                  });
    joint::Faults all;
    for (const auto& f : faults) all.merge(f);
    if (all.count > 0) all.raise();
}

}  // namespace

void label_quality(const JointInput& in, Quality method, bool adjust, Vector<double> quality,
                   const Run& run) {
    if (method == Quality::kSelfConfidence && !adjust) return self_confidence(in, quality, run);
    const int64_t n_classes = in.pred_probs.cols;
    const joint::Scorer score(method, n_classes,
                              adjust ? joint::data_thresholds(in, run) : std::vector<double>());
    joint::ScanOptions options;
    options.runner_up = score.wants_runner_up();
    RowSums sums;
    joint::scan_rows(
        in.pred_probs, options, run, "quality", sums, [&](const auto& block, const Worker&) {
            for (int64_t r = 0; r < block.n; ++r) {
                const int64_t label = joint::label_at(in.labels, block.begin + r, n_classes);
                quality[block.begin + r] =
                    score(block.row(r), label, block.argmax[r], block.runner_up_of(r));
            }
        });
}

}  // namespace dqcore::cpu
