// Registers of the row `avx512`.
namespace {
struct Double {
    using reg = __m512d;
    static constexpr int64_t kWidth = 8;
    static reg zero() { return _mm512_setzero_pd(); }
    static reg add(reg a, reg b) { return _mm512_add_pd(a, b); }
    static reg sub(reg a, reg b) { return _mm512_sub_pd(a, b); }
    static reg mul(reg a, reg b) { return _mm512_mul_pd(a, b); }
    static reg from_float(const float* p) { return _mm512_cvtps_pd(_mm256_loadu_ps(p)); }
    static reg load(const double* p) { return _mm512_loadu_pd(p); }
    static reg broadcast(double x) { return _mm512_set1_pd(x); }
    static reg multiply_add(reg a, reg b, reg c) { return _mm512_fmadd_pd(a, b, c); }
    static void store(double* p, reg a) { _mm512_storeu_pd(p, a); }
};
struct Float {
    using reg = __m512;
    static constexpr int64_t kWidth = 16;
    static reg zero() { return _mm512_setzero_ps(); }
    static reg load(const float* p) { return _mm512_loadu_ps(p); }
    static reg broadcast(float x) { return _mm512_set1_ps(x); }
    static reg add(reg a, reg b) { return _mm512_add_ps(a, b); }
    static reg sub(reg a, reg b) { return _mm512_sub_ps(a, b); }
    static float sum(reg v) { return _mm512_reduce_add_ps(v); }
    static reg multiply_add(reg a, reg b, reg c) { return _mm512_fmadd_ps(a, b, c); }
    static reg min(reg a, reg b) { return _mm512_min_ps(a, b); }
    static uint64_t at_least(reg a, reg b) { return _mm512_cmp_ps_mask(a, b, _CMP_GE_OQ); }
};
constexpr int64_t kFilterRows = 4,
                  kFilterCols = 64;  // 16 sums, 4 columns, 1 row of the 32 registers
}  // namespace
