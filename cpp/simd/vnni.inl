// The int8 filter of the knn room for sets with the VNNI dot product (vpdpbusd).
namespace {

// 16 sums in named registers: arrays of them, indexed in unrolled loops, end up on the stack.
bool filter_bytes(const uint8_t* rows, const int8_t* cols, int64_t dims, const int32_t* row_norm,
                  const int32_t* row_limit, const int32_t* col_start, const int32_t* col_limit,
                  int32_t most, uint64_t* survivors) {
    const int64_t panel = dims * 16;
    const __m512i start0 = _mm512_loadu_si512(col_start),
                  start1 = _mm512_loadu_si512(col_start + 16);
    const __m512i start2 = _mm512_loadu_si512(col_start + 32),
                  start3 = _mm512_loadu_si512(col_start + 48);
    __m512i a0 = start0, a1 = start1, a2 = start2, a3 = start3;
    __m512i b0 = start0, b1 = start1, b2 = start2, b3 = start3;
    __m512i c0 = start0, c1 = start1, c2 = start2, c3 = start3;
    __m512i d0 = start0, d1 = start1, d2 = start2, d3 = start3;
    for (int64_t at = 0; at < panel; at += 64) {
        const __m512i y0 = _mm512_loadu_si512(cols + at),
                      y1 = _mm512_loadu_si512(cols + panel + at);
        const __m512i y2 = _mm512_loadu_si512(cols + 2 * panel + at);
        const __m512i y3 = _mm512_loadu_si512(cols + 3 * panel + at);
        const auto* four = reinterpret_cast<const int32_t*>(rows + at);
        __m512i x = _mm512_set1_epi32(four[0]);
        a0 = _mm512_dpbusd_epi32(a0, x, y0);
        a1 = _mm512_dpbusd_epi32(a1, x, y1);
        a2 = _mm512_dpbusd_epi32(a2, x, y2);
        a3 = _mm512_dpbusd_epi32(a3, x, y3);
        x = _mm512_set1_epi32(four[1]);
        b0 = _mm512_dpbusd_epi32(b0, x, y0);
        b1 = _mm512_dpbusd_epi32(b1, x, y1);
        b2 = _mm512_dpbusd_epi32(b2, x, y2);
        b3 = _mm512_dpbusd_epi32(b3, x, y3);
        x = _mm512_set1_epi32(four[2]);
        c0 = _mm512_dpbusd_epi32(c0, x, y0);
        c1 = _mm512_dpbusd_epi32(c1, x, y1);
        c2 = _mm512_dpbusd_epi32(c2, x, y2);
        c3 = _mm512_dpbusd_epi32(c3, x, y3);
        x = _mm512_set1_epi32(four[3]);
        d0 = _mm512_dpbusd_epi32(d0, x, y0);
        d1 = _mm512_dpbusd_epi32(d1, x, y1);
        d2 = _mm512_dpbusd_epi32(d2, x, y2);
        d3 = _mm512_dpbusd_epi32(d3, x, y3);
    }
    // First against the largest limit of the 64 columns, one comparison for 16 pairs: it almost never holds.
    const auto coarse = [&](int r, __m512i s0, __m512i s1, __m512i s2, __m512i s3) {
        const int32_t limit = row_limit[r] > most ? row_limit[r] : most;
        const __m512i bound = _mm512_set1_epi32((row_norm[r] - limit) >> 1);
        const __m512i high = _mm512_max_epi32(_mm512_max_epi32(s0, s1), _mm512_max_epi32(s2, s3));
        return _mm512_cmpge_epi32_mask(high, bound) != 0;
    };
    const bool any_a = coarse(0, a0, a1, a2, a3), any_b = coarse(1, b0, b1, b2, b3);
    const bool any_c = coarse(2, c0, c1, c2, c3), any_d = coarse(3, d0, d1, d2, d3);
    if (!(any_a | any_b | any_c | any_d)) return false;
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
