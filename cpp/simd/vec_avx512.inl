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
    static void store(double* p, reg a) { _mm512_storeu_pd(p, a); }
};
}  // namespace
