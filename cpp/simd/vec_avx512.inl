// Registers of the row `avx512`.
#include "simd/vec_columns.inl"

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

// Probabilities of a row: `first(n)` marks the lanes below n, `load_first` reads no other.
struct Prob32 {
    using T = float;
    using reg = __m512;
    using lanes = __mmask16;
    static constexpr int64_t kWidth = 16;
    static reg broadcast(T x) { return _mm512_set1_ps(x); }
    static reg load(const T* p) { return _mm512_loadu_ps(p); }
    static lanes first(int64_t n) { return static_cast<lanes>((1u << n) - 1); }
    static reg load_first(const T* p, lanes m, reg rest) {
        return _mm512_mask_loadu_ps(rest, m, p);
    }
    static reg add(reg a, reg b) { return _mm512_add_ps(a, b); }
    static reg max(reg a, reg b) { return _mm512_max_ps(a, b); }
    static reg min(reg a, reg b) { return _mm512_min_ps(a, b); }
    static uint32_t at_least(reg a, reg b) { return _mm512_cmp_ps_mask(a, b, _CMP_GE_OQ); }
    static uint32_t equal(reg a, reg b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
    static T greatest(reg a) { return _mm512_reduce_max_ps(a); }
    static T sum(reg a) { return _mm512_reduce_add_ps(a); }
    static void store(T* p, reg a) { _mm512_storeu_ps(p, a); }
};
struct Prob64 {
    using T = double;
    using reg = __m512d;
    using lanes = __mmask8;
    static constexpr int64_t kWidth = 8;
    static reg broadcast(T x) { return _mm512_set1_pd(x); }
    static reg load(const T* p) { return _mm512_loadu_pd(p); }
    static lanes first(int64_t n) { return static_cast<lanes>((1u << n) - 1); }
    static reg load_first(const T* p, lanes m, reg rest) {
        return _mm512_mask_loadu_pd(rest, m, p);
    }
    static reg add(reg a, reg b) { return _mm512_add_pd(a, b); }
    static reg max(reg a, reg b) { return _mm512_max_pd(a, b); }
    static reg min(reg a, reg b) { return _mm512_min_pd(a, b); }
    static uint32_t at_least(reg a, reg b) { return _mm512_cmp_pd_mask(a, b, _CMP_GE_OQ); }
    static uint32_t equal(reg a, reg b) { return _mm512_cmp_pd_mask(a, b, _CMP_EQ_OQ); }
    static T greatest(reg a) { return _mm512_reduce_max_pd(a); }
    static T sum(reg a) { return _mm512_reduce_add_pd(a); }
    static void store(T* p, reg a) { _mm512_storeu_pd(p, a); }
};
void widen_halves(const char* halves, float* out, int64_t n) {
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) {
        const __m256i h = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(halves + 2 * i));
        _mm512_storeu_ps(out + i, _mm512_cvtph_ps(h));
    }
    if (i < n) {
        const auto rest = static_cast<__mmask16>((1u << (n - i)) - 1);
        const __m256i h = _mm256_maskz_loadu_epi16(rest, halves + 2 * i);
        _mm512_mask_storeu_ps(out + i, rest, _mm512_cvtph_ps(h));
    }
}
}  // namespace
