// Row `scalar`: the plain loops, which every machine can run.
#include "base/row_block.h"
#include "simd/kernels.h"
#include "simd/vec_scalar.inl"
//
#include "simd/joint.inl"
#include "simd/knn.inl"
#include "simd/slices.inl"

const dqcore::simd::Kernels dqcore::simd::scalar{
    .isa = "scalar",
    .squared_l2 = &squared_l2,
    .dot = &dot,
    .filter_rows = kFilterRows,
    .filter_cols = kFilterCols,
    .filter_cost = 0.14,
    .filter = &filter,
    .byte_offset = 0,
    .byte_most = 0,
    .byte_cost = 0.0,
    .filter_bytes = nullptr,
    .near_l2 = &near_l2,
    .project = &project,
    .scan_probs32 = &scan<Prob32>,
    .scan_probs64 = &scan<Prob64>,
    .next_at_least32 = &next_at_least<Prob32>,
    .next_at_least64 = &next_at_least<Prob64>,
    .widen_halves = &widen_halves,
    .count_common = &count_common,
    .keep_common = &keep_common,
};
