// Columns of several rows at once, for rows too short to fill registers: 8 floats or 4 doubles of
// one class, one of each row. Shared by the rows that have AVX2.
namespace {
struct Columns32 {
    using T = float;
    using reg = __m256;
    using ints = __m256i;  // one 32-bit number a row
    static constexpr int64_t kRows = 8, kGroup = 4;

    // kGroup neighbouring classes from p on, of kRows rows: pairs of rows that lie 4 apart share a
    // register, so that transposing never crosses its halves.
    static void load(const char* p, int64_t stride, reg* x) {
        const auto pair = [&](int64_t r) {
            const auto* low = reinterpret_cast<const float*>(p + r * stride);
            const auto* high = reinterpret_cast<const float*>(p + (r + 4) * stride);
            return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(low)),
                                        _mm_loadu_ps(high), 1);
        };
        const reg a = pair(0), b = pair(1), c = pair(2), d = pair(3);
        const reg ab_low = _mm256_unpacklo_ps(a, b), ab_high = _mm256_unpackhi_ps(a, b);
        const reg cd_low = _mm256_unpacklo_ps(c, d), cd_high = _mm256_unpackhi_ps(c, d);
        x[0] = _mm256_shuffle_ps(ab_low, cd_low, 0x44);
        x[1] = _mm256_shuffle_ps(ab_low, cd_low, 0xee);
        x[2] = _mm256_shuffle_ps(ab_high, cd_high, 0x44);
        x[3] = _mm256_shuffle_ps(ab_high, cd_high, 0xee);
    }
    static reg broadcast(T x) { return _mm256_set1_ps(x); }
    static reg add(reg a, reg b) { return _mm256_add_ps(a, b); }
    static reg max(reg a, reg b) { return _mm256_max_ps(a, b); }
    static reg min(reg a, reg b) { return _mm256_min_ps(a, b); }
    static reg above(reg a, reg b) { return _mm256_cmp_ps(a, b, _CMP_GT_OQ); }
    static reg at_least(reg a, reg b) { return _mm256_cmp_ps(a, b, _CMP_GE_OQ); }
    static reg both(reg a, reg b) { return _mm256_and_ps(a, b); }
    static uint32_t bits(reg mask) { return static_cast<uint32_t>(_mm256_movemask_ps(mask)); }
    static void store(T* p, reg a) { _mm256_storeu_ps(p, a); }

    static ints whole(int64_t x) { return _mm256_set1_epi32(static_cast<int>(x)); }
    static ints masked(ints a, reg mask) { return _mm256_and_si256(a, _mm256_castps_si256(mask)); }
    static ints plus(ints a, ints b) { return _mm256_add_epi32(a, b); }
    static ints low_half(ints a) { return _mm256_and_si256(a, whole(0xffff)); }
    static reg above(ints a, ints b) { return _mm256_castsi256_ps(_mm256_cmpgt_epi32(a, b)); }
    static ints choose(reg mask, ints yes, ints no) {
        return _mm256_blendv_epi8(no, yes, _mm256_castps_si256(mask));
    }
    static void store(int32_t* p, ints a) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), a); }
};
struct Columns64 {
    using T = double;
    using reg = __m256d;
    using ints = __m256i;  // one 64-bit number a row
    static constexpr int64_t kRows = 4, kGroup = 2;

    static void load(const char* p, int64_t stride, reg* x) {
        const auto pair = [&](int64_t r) {
            const auto* low = reinterpret_cast<const double*>(p + r * stride);
            const auto* high = reinterpret_cast<const double*>(p + (r + 2) * stride);
            return _mm256_insertf128_pd(_mm256_castpd128_pd256(_mm_loadu_pd(low)),
                                        _mm_loadu_pd(high), 1);
        };
        const reg a = pair(0), b = pair(1);
        x[0] = _mm256_unpacklo_pd(a, b);
        x[1] = _mm256_unpackhi_pd(a, b);
    }
    static reg broadcast(T x) { return _mm256_set1_pd(x); }
    static reg add(reg a, reg b) { return _mm256_add_pd(a, b); }
    static reg max(reg a, reg b) { return _mm256_max_pd(a, b); }
    static reg min(reg a, reg b) { return _mm256_min_pd(a, b); }
    static reg above(reg a, reg b) { return _mm256_cmp_pd(a, b, _CMP_GT_OQ); }
    static reg at_least(reg a, reg b) { return _mm256_cmp_pd(a, b, _CMP_GE_OQ); }
    static reg both(reg a, reg b) { return _mm256_and_pd(a, b); }
    static uint32_t bits(reg mask) { return static_cast<uint32_t>(_mm256_movemask_pd(mask)); }
    static void store(T* p, reg a) { _mm256_storeu_pd(p, a); }

    static ints whole(int64_t x) { return _mm256_set1_epi64x(x); }
    static ints masked(ints a, reg mask) { return _mm256_and_si256(a, _mm256_castpd_si256(mask)); }
    static ints plus(ints a, ints b) { return _mm256_add_epi64(a, b); }
    static ints low_half(ints a) { return _mm256_and_si256(a, whole(0xffff)); }
    static reg above(ints a, ints b) { return _mm256_castsi256_pd(_mm256_cmpgt_epi64(a, b)); }
    static ints choose(reg mask, ints yes, ints no) {
        return _mm256_blendv_epi8(no, yes, _mm256_castpd_si256(mask));
    }
    static void store(int32_t* p, ints a) {
        const __m256i low = _mm256_setr_epi32(0, 2, 4, 6, 0, 2, 4, 6);
        _mm_storeu_si128(reinterpret_cast<__m128i*>(p),
                         _mm256_castsi256_si128(_mm256_permutevar8x32_epi32(a, low)));
    }
};
}  // namespace
