// Row `avxvnni`: AVX2 with its own int8 dot product (Alder Lake, Zen 5 and later), for processors without AVX-512.
#include <immintrin.h>

#include "simd/kernels.h"
#include "simd/vec_avx2.inl"

namespace {
// As on `avx2`, in eight bits: rows moved to 1 .. 255.
struct Bytes : ByteLanes {
    static constexpr int32_t kOffset = 128, kMost = 127;
    // Written out so that it is the VEX form even where the compiler could choose.
    static reg add_dot(reg sum, reg x, reg y) {
        asm("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sum) : "x"(x), "xm"(y));
        return sum;
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

const dqcore::simd::Kernels dqcore::simd::avxvnni{
    .isa = "avxvnni",
    .squared_l2 = &squared_l2,
    .dot = &dot,
    .filter_rows = kFilterRows,
    .filter_cols = kFilterCols,
    .filter_cost = 0.02,
    .filter = &filter,
    .byte_offset = Bytes::kOffset,
    .byte_most = Bytes::kMost,
    .byte_cost = 0.005,
    .filter_bytes = &filter_bytes,
    .near_l2 = &near_l2,
    .project = &project,
    .scan_probs32 = &scan_short_or_long<Prob32, Columns32>,
    .scan_probs64 = &scan_short_or_long<Prob64, Columns64>,
    .next_at_least32 = &next_at_least<Prob32>,
    .next_at_least64 = &next_at_least<Prob64>,
    .widen_halves = &widen_halves,
    .count_common = &count_common,
    .keep_common = &keep_common,
};
