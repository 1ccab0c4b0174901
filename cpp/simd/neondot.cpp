// Row `neondot`: ARM with the int8 dot product (Armv8.2 DotProd: Neoverse N1, Cortex-A76, Apple M1 and later).
#include <arm_neon.h>

#include "simd/kernels.h"
#include "simd/vec_neon.inl"

namespace {
struct Bytes : ByteLanes {
    static constexpr int32_t kMost = 127;
    static reg add_dot(reg sum, reg x, reg y) {
        return vdotq_s32(sum, vreinterpretq_s8_s32(y), vreinterpretq_s8_s32(x));
    }
    static reg add_dots(reg sum, reg x, reg y, reg x1, reg y1) {
        return add_dot(add_dot(sum, x, y), x1, y1);
    }
};
}  // namespace

#include "simd/bytes.inl"
#include "simd/joint.inl"
#include "simd/knn.inl"
#include "simd/slices.inl"

const dqcore::simd::Kernels dqcore::simd::neondot{
    .isa = "neondot",
    .squared_l2 = &squared_l2,
    .dot = &dot,
    .filter_rows = kFilterRows,
    .filter_cols = kFilterCols,
    .filter_cost = 0.04,
    .filter = &filter,
    .byte_offset = Bytes::kOffset,
    .byte_most = Bytes::kMost,
    .byte_cost = 0.01,
    .filter_bytes = &filter_bytes,
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
