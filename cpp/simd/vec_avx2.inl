// Registers of the row `avx2`.
namespace {
struct Double {
    using reg = __m256d;
    static constexpr int64_t kWidth = 4;
    static reg zero() { return _mm256_setzero_pd(); }
    static reg add(reg a, reg b) { return _mm256_add_pd(a, b); }
    static reg sub(reg a, reg b) { return _mm256_sub_pd(a, b); }
    static reg mul(reg a, reg b) { return _mm256_mul_pd(a, b); }
    static reg from_float(const float* p) { return _mm256_cvtps_pd(_mm_loadu_ps(p)); }
    static reg load(const double* p) { return _mm256_loadu_pd(p); }
    static reg broadcast(double x) { return _mm256_set1_pd(x); }
    static reg multiply_add(reg a, reg b, reg c) { return _mm256_fmadd_pd(a, b, c); }
    static void store(double* p, reg a) { _mm256_storeu_pd(p, a); }
};
struct Float {
    using reg = __m256;
    static constexpr int64_t kWidth = 8;
    static reg zero() { return _mm256_setzero_ps(); }
    static reg load(const float* p) { return _mm256_loadu_ps(p); }
    static reg broadcast(float x) { return _mm256_set1_ps(x); }
    static reg add(reg a, reg b) { return _mm256_add_ps(a, b); }
    static reg sub(reg a, reg b) { return _mm256_sub_ps(a, b); }
    static float sum(reg v) {
        __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
        s = _mm_add_ps(s, _mm_movehl_ps(s, s));
        return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
    }
    static reg multiply_add(reg a, reg b, reg c) { return _mm256_fmadd_ps(a, b, c); }
    static reg min(reg a, reg b) { return _mm256_min_ps(a, b); }
    static uint64_t at_least(reg a, reg b) {
        return static_cast<uint64_t>(_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_GE_OQ)));
    }
};
constexpr int64_t kFilterRows = 4, kFilterCols = 16;  // 8 sums hide the latency of 2 FMAs a cycle
}  // namespace
