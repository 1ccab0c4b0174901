// Row `avx2`: AVX2, FMA, F16C (Haswell, Zen and later).
#include <immintrin.h>

#include "simd/kernels.h"
#include "simd/vec_avx2.inl"

namespace {
// Columns within 63, rows moved to 1 .. 127: four products, the sum of two pairs, are at most 4 * 127 * 63 < 2^15, exact
// in the 16 bits that the instruction has.
struct Bytes : ByteLanes {
    static constexpr int32_t kOffset = 64, kMost = 63;
    static reg add_pairs(reg sum, reg pairs) {
        return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
    }
    static reg add_dot(reg sum, reg x, reg y) { return add_pairs(sum, _mm256_maddubs_epi16(x, y)); }
    static reg add_dots(reg sum, reg x, reg y, reg x1, reg y1) {
        return add_pairs(
            sum, _mm256_add_epi16(_mm256_maddubs_epi16(x, y), _mm256_maddubs_epi16(x1, y1)));
    }
};
}  // namespace

#include "simd/bytes.inl"
#include "simd/joint.inl"
#include "simd/knn.inl"
#include "simd/slices.inl"

const dqcore::simd::Kernels dqcore::simd::avx2{
    .isa = "avx2",
    .squared_l2 = &squared_l2,
    .dot = &dot,
    .filter_rows = kFilterRows,
    .filter_cols = kFilterCols,
    .filter_cost = 0.02,
    .filter = &filter,
    .byte_offset = Bytes::kOffset,
    .byte_most = Bytes::kMost,
    .byte_cost = 0.007,
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
