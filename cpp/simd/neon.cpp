// Row `neon`: what every 64-bit ARM has.
#include <arm_neon.h>

#include "simd/kernels.h"
#include "simd/vec_neon.inl"

namespace {
// Bytes within 63: a lane of 16 bits holds two products, a sum of neighbours four, at most 4 * 63 * 63 < 2^15.
struct Bytes : ByteLanes {
    static constexpr int32_t kMost = 63;
    static reg add_sums(reg sum, int16x8_t low, int16x8_t high) {
        return vpadalq_s16(sum, vpaddq_s16(low, high));
    }
    static reg add_dot(reg sum, reg x, reg y) {
        const int8x16_t a = vreinterpretq_s8_s32(x), b = vreinterpretq_s8_s32(y);
        return add_sums(sum, vmull_s8(vget_low_s8(a), vget_low_s8(b)), vmull_high_s8(a, b));
    }
    static reg add_dots(reg sum, reg x, reg y, reg x1, reg y1) {
        const int8x16_t a = vreinterpretq_s8_s32(x), b = vreinterpretq_s8_s32(y);
        const int8x16_t a1 = vreinterpretq_s8_s32(x1), b1 = vreinterpretq_s8_s32(y1);
        const int16x8_t low = vmull_s8(vget_low_s8(a), vget_low_s8(b));
        const int16x8_t high = vmull_high_s8(a, b);
        return add_sums(sum, vmlal_s8(low, vget_low_s8(a1), vget_low_s8(b1)),
                        vmlal_high_s8(high, a1, b1));
    }
};
}  // namespace

#include "simd/bytes.inl"
#include "simd/joint.inl"
#include "simd/knn.inl"
#include "simd/slices.inl"

const dqcore::simd::Kernels dqcore::simd::neon{
    .isa = "neon",
    .squared_l2 = &squared_l2,
    .dot = &dot,
    .filter_rows = kFilterRows,
    .filter_cols = kFilterCols,
    .filter_cost = 0.04,
    .filter = &filter,
    .byte_offset = Bytes::kOffset,
    .byte_most = Bytes::kMost,
    .byte_cost = 0.03,
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
