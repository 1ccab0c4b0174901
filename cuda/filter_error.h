// A self-test of the filter's bound, for whoever has a device: what the tensor cores make of given rows.
#pragma once

#include "base/view.h"
#include "knn/knn.h"

namespace dqcore::cuda {

// The largest |v_i.v_j - s| / E_ij of all pairs of rows (knn_filter.h): above 1, the bound does not hold here.
double largest_filter_error(Matrix<const float> x, Metric metric);

}  // namespace dqcore::cuda
