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
    static void store(double* p, reg a) { _mm256_storeu_pd(p, a); }
};
}  // namespace
