// Row `avx2`: AVX2, FMA, F16C (Haswell, Zen and later).
#include <immintrin.h>

#include "simd/kernels.h"
#include "simd/vec_avx2.inl"
//
#include "simd/knn.inl"

const dqcore::simd::Kernels dqcore::simd::avx2{
    .isa = "avx2",
    .squared_l2 = &squared_l2,
    .dot = &dot,
    .filter_rows = kFilterRows,
    .filter_cols = kFilterCols,
    .filter = &filter,
    .filter_bytes = nullptr,
    .near_l2 = &near_l2,
    .project = &project,
};
