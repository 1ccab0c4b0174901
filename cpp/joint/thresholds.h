// The inner loop of thresholds, for the passes that feed it.
#pragma once

#include <cstdint>

#include "joint/joint.h"
#include "joint/pass.h"

namespace dqcore::joint {

// Adds rows [begin, end) to `state`; bad values are left out and told in `faults`.
void add_rows(const JointInput& in, int64_t begin, int64_t end, ThresholdState& state,
              Faults& faults);

}  // namespace dqcore::joint
