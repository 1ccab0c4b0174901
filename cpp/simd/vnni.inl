// The int8 filter of the knn room for sets with the VNNI dot product (vpdpbusd).
namespace {

constexpr int64_t kByteRows = dqcore::simd::kByteGroup;

// A row's sums with 64 columns, or something of the columns. Named registers: arrays of them, indexed in unrolled loops,
// end up on the stack.
struct Bytes64 {
    __m512i g0, g1, g2, g3;
};

inline __attribute__((always_inline)) Bytes64 load64(const void* at) {
    const auto* p = static_cast<const char*>(at);
    return {_mm512_loadu_si512(p), _mm512_loadu_si512(p + 64), _mm512_loadu_si512(p + 128),
            _mm512_loadu_si512(p + 192)};
}

inline __attribute__((always_inline)) Bytes64 plus(const Bytes64& a, const Bytes64& b) {
    return {_mm512_add_epi32(a.g0, b.g0), _mm512_add_epi32(a.g1, b.g1),
            _mm512_add_epi32(a.g2, b.g2), _mm512_add_epi32(a.g3, b.g3)};
}

// Written out because GCC 12 copies the sums from register to register around the intrinsic.
inline __attribute__((always_inline)) void add_products(__m512i& sum, __m512i x, __m512i y) {
    asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(x), "v"(y));
}

inline __attribute__((always_inline)) void add_products(Bytes64& sums, const uint8_t* row,
                                                        __m512i y0, __m512i y1, __m512i y2,
                                                        __m512i y3) {
    int32_t four;
    __builtin_memcpy(&four, row, sizeof four);
    const __m512i x = _mm512_set1_epi32(four);
    add_products(sums.g0, x, y0);
    add_products(sums.g1, x, y1);
    add_products(sums.g2, x, y2);
    add_products(sums.g3, x, y3);
}

// How sums are tested. They start from col_start plus half of the column's limit, so that u = s + half of it, and
//     2 s >= norm - max(row limit, column limit)   only where   u >= min(norm / 2, (norm - row limit) / 2 + h),
// h the least half of some columns with this one: here the four of a lane, whose limits are alike where their rows' lengths
// are (order.cpp). Half a limit is rounded up and half a norm down, so that no pair is lost.
struct ByteTest {
    const int32_t* row_limit;
    Bytes64 limits, halves;  // of the columns
    __m512i least;           // half of each lane
    alignas(64) int32_t by_row[kByteRows], by_column[kByteRows];

    // NOLINTNEXTLINE(cppcoreguidelines-pro-type-member-init): all is written before it is read
    ByteTest(const int32_t* row_limits, const int32_t* col_limit)
        : row_limit(row_limits), limits(load64(col_limit)) {
        const auto half = [](__m512i limit) {
            return _mm512_srai_epi32(_mm512_add_epi32(limit, _mm512_set1_epi32(1)), 1);
        };
        halves = {half(limits.g0), half(limits.g1), half(limits.g2), half(limits.g3)};
        least = _mm512_min_epi32(_mm512_min_epi32(halves.g0, halves.g1),
                                 _mm512_min_epi32(halves.g2, halves.g3));
    }

    // To be called before a stage is tested.
    __attribute__((always_inline)) void begin_stage(const int32_t* row_norm) {
        for (int64_t r = 0; r < kByteRows; r += 16) {
            const __m512i norm = _mm512_loadu_si512(row_norm + r);
            const __m512i less = _mm512_sub_epi32(norm, _mm512_loadu_si512(row_limit + r));
            _mm512_store_si512(by_row + r, _mm512_srai_epi32(less, 1));
            _mm512_store_si512(by_column + r, _mm512_srai_epi32(norm, 1));
        }
    }

    // Lanes of a row in which any column may pass.
    __attribute__((always_inline)) uint32_t lanes(const Bytes64& u, int64_t r) const {
        const __m512i most =
            _mm512_max_epi32(_mm512_max_epi32(u.g0, u.g1), _mm512_max_epi32(u.g2, u.g3));
        const __m512i bound = _mm512_add_epi32(_mm512_set1_epi32(by_row[r]), least);
        return _mm512_cmpge_epi32_mask(most,
                                       _mm512_min_epi32(_mm512_set1_epi32(by_column[r]), bound));
    }

    // The columns that pass.
    uint64_t columns(const Bytes64& u, int32_t norm, int64_t r) const {
        const __m512i norms = _mm512_set1_epi32(norm), limit = _mm512_set1_epi32(row_limit[r]);
        const auto pass = [&](__m512i sum, __m512i half, __m512i col_limit, int64_t g) {
            const __m512i larger = _mm512_max_epi32(limit, col_limit);
            const __m512i bound = _mm512_srai_epi32(_mm512_sub_epi32(norms, larger), 1);
            const __mmask16 bits = _mm512_cmpge_epi32_mask(_mm512_sub_epi32(sum, half), bound);
            return static_cast<uint64_t>(bits) << (16 * g);
        };
        return pass(u.g0, halves.g0, limits.g0, 0) | pass(u.g1, halves.g1, limits.g1, 1) |
               pass(u.g2, halves.g2, limits.g2, 2) | pass(u.g3, halves.g3, limits.g3, 3);
    }
};

// Rows that are still open and their sums. Which of some rows are is hard to foresee, and a branch for each would cost
// as much as its stage: a row is put behind the others always, and counted where it stays.
// NOLINTNEXTLINE(cppcoreguidelines-pro-type-member-init): zeros would cost as much as a stage
struct OpenRows {
    Bytes64 sums[kByteRows];
    uint8_t rows[kByteRows];
    int64_t count = 0;

    __attribute__((always_inline)) void put(const Bytes64& u, int64_t row, bool stays) {
        sums[count] = u;
        rows[count] = static_cast<uint8_t>(row);
        count += stays;
    }
};

uint64_t filter_bytes(const dqcore::simd::ByteStages& stages, const uint8_t* rows,
                      const int8_t* cols, const int32_t* row_norm, const int32_t* row_limit,
                      const int32_t* col_start, const int32_t* col_limit, uint64_t* survivors) {
    const int64_t panel = stages.ends[stages.count - 1] * 16;
    const auto row_at = [&](int64_t r) { return rows + r / 16 * panel + r % 16 * 4; };
    ByteTest test(row_limit, col_limit);
    OpenRows open;

    test.begin_stage(row_norm);
    const Bytes64 start = plus(load64(col_start), test.halves);
    for (int64_t r = 0; r < kByteRows; r += 4) {
        const uint8_t* four = row_at(r);
        Bytes64 a = start, b = start, c = start, d = start;
        for (int64_t at = 0; at < stages.ends[0] * 16; at += 64) {
            const __m512i y0 = _mm512_load_si512(cols + at),
                          y1 = _mm512_load_si512(cols + panel + at),
                          y2 = _mm512_load_si512(cols + 2 * panel + at),
                          y3 = _mm512_load_si512(cols + 3 * panel + at);
            add_products(a, four + at, y0, y1, y2, y3);
            add_products(b, four + at + 4, y0, y1, y2, y3);
            add_products(c, four + at + 8, y0, y1, y2, y3);
            add_products(d, four + at + 12, y0, y1, y2, y3);
        }
        const uint32_t lanes_a = test.lanes(a, r);
        const uint32_t lanes_b = test.lanes(b, r + 1);
        const uint32_t lanes_c = test.lanes(c, r + 2);
        const uint32_t lanes_d = test.lanes(d, r + 3);
        if ((lanes_a | lanes_b | lanes_c | lanes_d) == 0) continue;
        open.put(a, r, lanes_a != 0);
        open.put(b, r + 1, lanes_b != 0);
        open.put(c, r + 2, lanes_c != 0);
        open.put(d, r + 3, lanes_d != 0);
    }

    // Two rows at a time share what is read of the columns; an odd last one is done twice.
    for (int64_t stage = 1; stage < stages.count && open.count > 0; ++stage) {
        row_norm += stages.norm_stride;
        col_start += stages.start_stride;
        test.begin_stage(row_norm);
        const Bytes64 raise = load64(col_start);
        const int64_t count = open.count;
        open.count = 0;
        for (int64_t t = 0; t < count; t += 2) {
            const bool two = t + 1 < count;
            const int64_t r = open.rows[t], q = open.rows[t + two];
            const uint8_t* row_r = row_at(r);
            const uint8_t* row_q = row_at(q);
            Bytes64 a = plus(open.sums[t], raise), b = plus(open.sums[t + two], raise);
            for (int64_t at = stages.ends[stage - 1] * 16; at < stages.ends[stage] * 16; at += 64) {
                __m512i y0 = _mm512_load_si512(cols + at),
                        y1 = _mm512_load_si512(cols + panel + at),
                        y2 = _mm512_load_si512(cols + 2 * panel + at),
                        y3 = _mm512_load_si512(cols + 3 * panel + at);
                // Opaque to the compiler, which would read them again for the second row.
                asm("" : "+v"(y0), "+v"(y1), "+v"(y2), "+v"(y3));
                add_products(a, row_r + at, y0, y1, y2, y3);
                add_products(b, row_q + at, y0, y1, y2, y3);
            }
            open.put(a, r, test.lanes(a, r) != 0);
            open.put(b, q, two && test.lanes(b, q) != 0);
        }
    }

    uint64_t found = 0;
    for (int64_t t = 0; t < open.count; ++t) {
        const int64_t r = open.rows[t];
        survivors[r] = test.columns(open.sums[t], row_norm[r], r);
        found |= uint64_t{survivors[r] != 0} << r;
    }
    return found;
}

}  // namespace
