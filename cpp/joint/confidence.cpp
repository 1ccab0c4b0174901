#include "joint/confidence.h"

#include "joint/pass.h"

namespace dqcore::cpu {

void confidences(const JointInput& in, const ConfidenceOutput& out, const Run& run) {
    const int64_t n_classes = in.pred_probs.cols;
    RowSums sums;
    joint::scan_rows(
        in.pred_probs, {}, run, "confidences", sums, [&](const auto& block, const Worker&) {
            for (int64_t r = 0; r < block.n; ++r) {
                const int64_t i = block.begin + r;
                const int64_t label = joint::label_at(in.labels, i, n_classes);
                const auto* p = block.row(r);
                double brier = 0.0;
                for (int64_t c = 0; c < n_classes; ++c) {
                    const double off = static_cast<double>(p[c]) - (c == label ? 1.0 : 0.0);
                    brier += off * off;
                }
                const double most = static_cast<double>(p[block.argmax[r]]);
                out.confidence[i] = most > 0.0 ? most : 0.0;
                out.predicted[i] = block.argmax[r];
                out.brier[i] = brier;
            }
        });
}

}  // namespace dqcore::cpu
