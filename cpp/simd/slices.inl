// Bits of rows: how many two sets have in common. Included by each row of the kernel table.

namespace {

int64_t bits_set(uint64_t x) {
#if defined(__POPCNT__) || defined(__ARM_NEON)
    return __builtin_popcountll(x);
#else
    // Without an instruction for it the library's own function would be slower still. Source: Warren (2012), "Hacker's
    // Delight", 5-1.
    x -= (x >> 1) & 0x5555555555555555u;
    x = (x & 0x3333333333333333u) + ((x >> 2) & 0x3333333333333333u);
    x = (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0fu;
    return static_cast<int64_t>((x * 0x0101010101010101u) >> 56);
#endif
}

#if defined(__AVX512F__) && defined(SLICES_VPOPCNTDQ)
__attribute__((target("avx512vpopcntdq"))) int64_t count_common_at_once(const uint64_t* a,
                                                                        const uint64_t* b,
                                                                        int64_t words) {
    __m512i sum = _mm512_setzero_si512();
    for (int64_t i = 0; i < words; i += 8) {
        sum = _mm512_add_epi64(sum, _mm512_popcnt_epi64(_mm512_and_si512(
                                        _mm512_loadu_si512(a + i), _mm512_loadu_si512(b + i))));
    }
    return _mm512_reduce_add_epi64(sum);
}
#endif

int64_t count_common(const uint64_t* a, const uint64_t* b, int64_t words) {
#if defined(__AVX512F__) && defined(SLICES_VPOPCNTDQ)
    // Not every machine of this row has it; the check is a load and a test.
    if (__builtin_cpu_supports("avx512vpopcntdq")) return count_common_at_once(a, b, words);
#endif
    int64_t sum = 0;
    for (int64_t i = 0; i < words; ++i) sum += bits_set(a[i] & b[i]);
    return sum;
}

void keep_common(const uint64_t* a, const uint64_t* b, int64_t words, uint64_t* out) {
    for (int64_t i = 0; i < words; ++i) out[i] = a[i] & b[i];
}

}  // namespace
