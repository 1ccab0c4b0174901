// The int8 filter of the knn room for sets with the VNNI dot product (vpdpbusd).
namespace {

// Written out because GCC 12 copies the sums from register to register around the intrinsic.
inline __attribute__((always_inline)) void add_products(__m512i& sum, __m512i x, __m512i y) {
    asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(x), "v"(y));
}

// 16 sums in named registers: arrays of them, indexed in unrolled loops, end up on the stack.
bool filter_bytes(const dqcore::simd::ByteStages& stages, const uint8_t* rows, const int8_t* cols,
                  const int32_t* row_norm, const int32_t* row_limit, const int32_t* col_start,
                  const int32_t* col_limit, uint64_t* survivors) {
    const int64_t panel = stages.ends[stages.count - 1] * 16;
    __m512i a0 = _mm512_loadu_si512(col_start), a1 = _mm512_loadu_si512(col_start + 16);
    __m512i a2 = _mm512_loadu_si512(col_start + 32), a3 = _mm512_loadu_si512(col_start + 48);
    __m512i b0 = a0, b1 = a1, b2 = a2, b3 = a3;
    __m512i c0 = a0, c1 = a1, c2 = a2, c3 = a3;
    __m512i d0 = a0, d1 = a1, d2 = a2, d3 = a3;
    const auto half = [&](int64_t g) {
        const __m512i limit = _mm512_load_si512(col_limit + 16 * g);
        return _mm512_srai_epi32(_mm512_add_epi32(limit, _mm512_set1_epi32(1)), 1);
    };
    const __m512i half0 = half(0), half1 = half(1), half2 = half(2), half3 = half(3);
    bool any_a, any_b, any_c, any_d;
    for (int64_t stage = 0, at = 0;; ++stage) {
        for (const int64_t end = stages.ends[stage] * 16; at < end; at += 64) {
            const __m512i y0 = _mm512_load_si512(cols + at),
                          y1 = _mm512_load_si512(cols + panel + at);
            const __m512i y2 = _mm512_load_si512(cols + 2 * panel + at);
            const __m512i y3 = _mm512_load_si512(cols + 3 * panel + at);
            const auto* four = reinterpret_cast<const int32_t*>(rows + at);
            __m512i x = _mm512_set1_epi32(four[0]);
            add_products(a0, x, y0);
            add_products(a1, x, y1);
            add_products(a2, x, y2);
            add_products(a3, x, y3);
            x = _mm512_set1_epi32(four[1]);
            add_products(b0, x, y0);
            add_products(b1, x, y1);
            add_products(b2, x, y2);
            add_products(b3, x, y3);
            x = _mm512_set1_epi32(four[2]);
            add_products(c0, x, y0);
            add_products(c1, x, y1);
            add_products(c2, x, y2);
            add_products(c3, x, y3);
            x = _mm512_set1_epi32(four[3]);
            add_products(d0, x, y0);
            add_products(d1, x, y1);
            add_products(d2, x, y2);
            add_products(d3, x, y3);
        }
        // 2 s >= norm - max(row limit, column limit), by the two limits in turn, for a row's 64 columns at once.
        // Half a limit or norm is rounded so that no pair is lost.
        const auto coarse = [&](int r, __m512i s0, __m512i s1, __m512i s2, __m512i s3) {
            const __m512i by_row = _mm512_set1_epi32((row_norm[r] - row_limit[r]) >> 1);
            const __m512i by_column = _mm512_set1_epi32(row_norm[r] >> 1);
            const __m512i high =
                _mm512_max_epi32(_mm512_max_epi32(s0, s1), _mm512_max_epi32(s2, s3));
            const __m512i raised = _mm512_max_epi32(
                _mm512_max_epi32(_mm512_add_epi32(s0, half0), _mm512_add_epi32(s1, half1)),
                _mm512_max_epi32(_mm512_add_epi32(s2, half2), _mm512_add_epi32(s3, half3)));
            return (_mm512_cmpge_epi32_mask(high, by_row) |
                    _mm512_cmpge_epi32_mask(raised, by_column)) != 0;
        };
        any_a = coarse(0, a0, a1, a2, a3);
        any_b = coarse(1, b0, b1, b2, b3);
        any_c = coarse(2, c0, c1, c2, c3);
        any_d = coarse(3, d0, d1, d2, d3);
        if (!(any_a | any_b | any_c | any_d)) return false;
        if (stage + 1 == stages.count) break;
        row_norm += stages.norm_stride;
        col_start += stages.start_stride;
        const auto raise = [](__m512i by, __m512i& a, __m512i& b, __m512i& c, __m512i& d) {
            a = _mm512_add_epi32(a, by);
            b = _mm512_add_epi32(b, by);
            c = _mm512_add_epi32(c, by);
            d = _mm512_add_epi32(d, by);
        };
        raise(_mm512_loadu_si512(col_start), a0, b0, c0, d0);
        raise(_mm512_loadu_si512(col_start + 16), a1, b1, c1, d1);
        raise(_mm512_loadu_si512(col_start + 32), a2, b2, c2, d2);
        raise(_mm512_loadu_si512(col_start + 48), a3, b3, c3, d3);
    }
    const auto exact = [&](int r, bool any, __m512i s0, __m512i s1, __m512i s2, __m512i s3) {
        survivors[r] = 0;
        if (!any) return;
        const __m512i norm = _mm512_set1_epi32(row_norm[r]),
                      limit = _mm512_set1_epi32(row_limit[r]);
        const auto keep = [&](__m512i s, int64_t g) {
            const __m512i larger = _mm512_max_epi32(limit, _mm512_loadu_si512(col_limit + 16 * g));
            const __m512i bound = _mm512_srai_epi32(_mm512_sub_epi32(norm, larger), 1);
            return static_cast<uint64_t>(_mm512_cmpge_epi32_mask(s, bound)) << (16 * g);
        };
        survivors[r] = keep(s0, 0) | keep(s1, 1) | keep(s2, 2) | keep(s3, 3);
    };
    exact(0, any_a, a0, a1, a2, a3);
    exact(1, any_b, b0, b1, b2, b3);
    exact(2, any_c, c0, c1, c2, c3);
    exact(3, any_d, d0, d1, d2, d3);
    return true;
}

}  // namespace
