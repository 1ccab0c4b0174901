// What calibration needs of each row of pred_probs.
#pragma once

#include "joint/joint.h"

namespace dqcore {

// Each (n,): the largest probability (0 where none is above it), its class (the first such), and
// Brier's score, the sum over classes in order of (p - [label])^2. Source: Brier (1950).
struct ConfidenceOutput {
    Vector<double> confidence;
    Vector<int32_t> predicted;
    Vector<double> brier;
};

namespace DQCORE_BACKEND {
void confidences(const JointInput& in, const ConfidenceOutput& out, const Run& run);
}  // namespace DQCORE_BACKEND

}  // namespace dqcore
