// Registers of the rows `avx2` and `avxvnni`, which bring Bytes.
#include "simd/vec_columns.inl"

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

// What the Bytes of these rows share: four dims a lane.
struct ByteLanes {
    using reg = __m256i;
    static constexpr int64_t kWidth = 8, kRegs = 1;  // more sums would go to the stack
    static reg load(const int32_t* p) {
        return _mm256_loadu_si256(reinterpret_cast<const reg*>(p));
    }
    static reg load_bytes(const int8_t* p) {
        return _mm256_load_si256(reinterpret_cast<const reg*>(p));
    }
    static reg four(const uint8_t* p) {
        int32_t bytes;
        __builtin_memcpy(&bytes, p, sizeof bytes);
        return _mm256_set1_epi32(bytes);
    }
    static reg broadcast(int32_t x) { return _mm256_set1_epi32(x); }
    static reg add(reg a, reg b) { return _mm256_add_epi32(a, b); }
    static reg max(reg a, reg b) { return _mm256_max_epi32(a, b); }
    static reg both(reg a, reg b) { return _mm256_and_si256(a, b); }
    static uint64_t not_negative(reg a) {
        return static_cast<uint64_t>(_mm256_movemask_ps(_mm256_castsi256_ps(a)) ^ 0xff);
    }
};

// Probabilities of a row: `first(n)` marks the lanes below n, `load_first` reads no other.
struct Prob32 {
    using T = float;
    using reg = __m256;
    using lanes = __m256i;
    static constexpr int64_t kWidth = 8;
    static reg broadcast(T x) { return _mm256_set1_ps(x); }
    static reg load(const T* p) { return _mm256_loadu_ps(p); }
    static lanes first(int64_t n) {
        return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)),
                                  _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    }
    static reg load_first(const T* p, lanes m, reg rest) {
        return _mm256_blendv_ps(rest, _mm256_maskload_ps(p, m), _mm256_castsi256_ps(m));
    }
    static reg add(reg a, reg b) { return _mm256_add_ps(a, b); }
    static reg max(reg a, reg b) { return _mm256_max_ps(a, b); }
    static reg min(reg a, reg b) { return _mm256_min_ps(a, b); }
    static uint32_t at_least(reg a, reg b) {
        return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_GE_OQ)));
    }
    static uint32_t equal(reg a, reg b) {
        return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_EQ_OQ)));
    }
    static T greatest(reg a) {
        __m128 m = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
        m = _mm_max_ps(m, _mm_movehl_ps(m, m));
        return _mm_cvtss_f32(_mm_max_ss(m, _mm_movehdup_ps(m)));
    }
    static T sum(reg a) {
        __m128 m = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
        m = _mm_add_ps(m, _mm_movehl_ps(m, m));
        return _mm_cvtss_f32(_mm_add_ss(m, _mm_movehdup_ps(m)));
    }
    static void store(T* p, reg a) { _mm256_storeu_ps(p, a); }
};
struct Prob64 {
    using T = double;
    using reg = __m256d;
    using lanes = __m256i;
    static constexpr int64_t kWidth = 4;
    static reg broadcast(T x) { return _mm256_set1_pd(x); }
    static reg load(const T* p) { return _mm256_loadu_pd(p); }
    static lanes first(int64_t n) {
        return _mm256_cmpgt_epi64(_mm256_set1_epi64x(n), _mm256_setr_epi64x(0, 1, 2, 3));
    }
    static reg load_first(const T* p, lanes m, reg rest) {
        return _mm256_blendv_pd(rest, _mm256_maskload_pd(p, m), _mm256_castsi256_pd(m));
    }
    static reg add(reg a, reg b) { return _mm256_add_pd(a, b); }
    static reg max(reg a, reg b) { return _mm256_max_pd(a, b); }
    static reg min(reg a, reg b) { return _mm256_min_pd(a, b); }
    static uint32_t at_least(reg a, reg b) {
        return static_cast<uint32_t>(_mm256_movemask_pd(_mm256_cmp_pd(a, b, _CMP_GE_OQ)));
    }
    static uint32_t equal(reg a, reg b) {
        return static_cast<uint32_t>(_mm256_movemask_pd(_mm256_cmp_pd(a, b, _CMP_EQ_OQ)));
    }
    static T greatest(reg a) {
        const __m128d m = _mm_max_pd(_mm256_castpd256_pd128(a), _mm256_extractf128_pd(a, 1));
        return _mm_cvtsd_f64(_mm_max_sd(m, _mm_unpackhi_pd(m, m)));
    }
    static T sum(reg a) {
        const __m128d m = _mm_add_pd(_mm256_castpd256_pd128(a), _mm256_extractf128_pd(a, 1));
        return _mm_cvtsd_f64(_mm_add_sd(m, _mm_unpackhi_pd(m, m)));
    }
    static void store(T* p, reg a) { _mm256_storeu_pd(p, a); }
};
void widen_halves(const char* halves, float* out, int64_t n) {
    int64_t i = 0;
    for (; i + 8 <= n; i += 8) {
        const __m128i h = _mm_loadu_si128(reinterpret_cast<const __m128i*>(halves + 2 * i));
        _mm256_storeu_ps(out + i, _mm256_cvtph_ps(h));
    }
    for (; i < n; ++i) {
        uint16_t half;
        __builtin_memcpy(&half, halves + 2 * i, sizeof half);
        out[i] = _cvtsh_ss(half);
    }
}
}  // namespace
