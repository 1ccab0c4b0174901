// The int8 filter of the knn room, written once over the register type Bytes of the including file: how wide it is, how
// many registers of columns a block holds, and its dot product of bytes. Each block of four rows by kByteCols columns
// goes through the stages by itself.
//
// No include guard and no inline or template with external linkage: see knn.inl.
namespace {

constexpr int64_t kByteRows = 4, kByteCols = Bytes::kRegs * Bytes::kWidth;
using ByteSums = Bytes::reg[kByteRows][Bytes::kRegs];

// kSteps times four dims.
template <int64_t kSteps>
inline __attribute__((always_inline)) void add_products(ByteSums& sum, const uint8_t* rows,
                                                        const int8_t* cols, int64_t panel) {
    constexpr int64_t kStep = 64;  // bytes of a panel
#pragma GCC unroll 4
    for (int64_t g = 0; g < Bytes::kRegs; ++g) {
        const int64_t at = g * Bytes::kWidth;
        const int8_t* y = cols + at / 16 * panel + at % 16 * 4;
        const Bytes::reg y0 = Bytes::load_bytes(y),
                         y1 = Bytes::load_bytes(y + (kSteps - 1) * kStep);
#pragma GCC unroll 4
        for (int64_t r = 0; r < kByteRows; ++r) {
            const Bytes::reg x = Bytes::four(rows + 4 * r);
            if constexpr (kSteps == 1) {
                sum[r][g] = Bytes::add_dot(sum[r][g], x, y0);
            } else {
                const Bytes::reg x1 = Bytes::four(rows + 4 * r + kStep);
                sum[r][g] = Bytes::add_dots(sum[r][g], x, y0, x1, y1);
            }
        }
    }
}

// What a block of rows is tested by. With u = s - floor(norm / 2), a pair passes where u + max(half of the row's limit,
// half of the column's) is not negative; halves are rounded so that no pair is lost.
struct ByteRows {
    int32_t half[kByteRows], raise[kByteRows];  // raise: what u starts from
};
int32_t half_up(int32_t limit) { return (limit + 1) >> 1; }

// u + max(the halves), for row r and columns g.
inline __attribute__((always_inline)) Bytes::reg over(const ByteSums& sum, const ByteRows& by,
                                                      const int32_t* col_half, int64_t r,
                                                      int64_t g) {
    const Bytes::reg half = Bytes::load(col_half + g * Bytes::kWidth);
    return Bytes::add(sum[r][g], Bytes::max(Bytes::broadcast(by.half[r]), half));
}

// The block's dot products over dims [from, to) of a panel's bytes.
inline __attribute__((always_inline)) void add_stage(ByteSums& sum, const uint8_t* rows,
                                                     const int8_t* cols, int64_t panel,
                                                     int64_t from, int64_t to) {
    for (; from + 128 <= to; from += 128) add_products<2>(sum, rows + from, cols + from, panel);
    if (from < to) add_products<1>(sum, rows + from, cols + from, panel);
}

inline __attribute__((always_inline)) void first_stage(ByteSums& sum, const ByteRows& by,
                                                       const uint8_t* rows, const int8_t* cols,
                                                       const int32_t* col_start, int64_t panel,
                                                       int64_t to) {
#pragma GCC unroll 4
    for (int64_t r = 0; r < kByteRows; ++r)
#pragma GCC unroll 4
        for (int64_t g = 0; g < Bytes::kRegs; ++g)
            sum[r][g] = Bytes::add(Bytes::load(col_start + g * Bytes::kWidth),
                                   Bytes::broadcast(by.raise[r]));
    add_stage(sum, rows, cols, panel, 0, to);
}

inline __attribute__((always_inline)) bool any_passes(const ByteSums& sum, const ByteRows& by,
                                                      const int32_t* col_half) {
    Bytes::reg all = Bytes::broadcast(-1);
#pragma GCC unroll 4
    for (int64_t r = 0; r < kByteRows; ++r)
#pragma GCC unroll 4
        for (int64_t g = 0; g < Bytes::kRegs; ++g)
            all = Bytes::both(all, over(sum, by, col_half, r, g));
    return Bytes::not_negative(all) != 0;
}

// What a block's first stage left goes through the others. Sets the bits of the pairs that pass the last, from `shift`
// on; whether there are any.
bool filter_block(const dqcore::simd::ByteStages& stages, const uint8_t* rows, const int8_t* cols,
                  const int32_t* row_norm, const ByteRows& by, const int32_t* col_start,
                  const int32_t* col_half, int64_t shift, ByteSums& first, uint64_t* survivors) {
    const int64_t panel = stages.ends[stages.count - 1] * 16;
    ByteSums sum;
    __builtin_memcpy(&sum, &first, sizeof sum);
    for (int64_t stage = 1; stage < stages.count; ++stage) {
        col_start += stages.start_stride;
#pragma GCC unroll 4
        for (int64_t r = 0; r < kByteRows; ++r) {
            const int32_t now = row_norm[r + stages.norm_stride] >> 1;
            const Bytes::reg raise = Bytes::broadcast((row_norm[r] >> 1) - now);
#pragma GCC unroll 4
            for (int64_t g = 0; g < Bytes::kRegs; ++g) {
                const Bytes::reg start = Bytes::load(col_start + g * Bytes::kWidth);
                sum[r][g] = Bytes::add(sum[r][g], Bytes::add(start, raise));
            }
        }
        row_norm += stages.norm_stride;
        add_stage(sum, rows, cols, panel, stages.ends[stage - 1] * 16, stages.ends[stage] * 16);
        if (!any_passes(sum, by, col_half)) return false;
    }
#pragma GCC unroll 4
    for (int64_t r = 0; r < kByteRows; ++r)
#pragma GCC unroll 4
        for (int64_t g = 0; g < Bytes::kRegs; ++g)
            survivors[r] |= Bytes::not_negative(over(sum, by, col_half, r, g))
                            << (shift + g * Bytes::kWidth);
    return true;
}

// Four rows against all columns: the first stage of all blocks, then the others of those that it leaves. Which they are is
// hard to foresee, and a branch for each would cost as much as its stage.
bool filter_rows(const dqcore::simd::ByteStages& stages, const uint8_t* rows, const int8_t* cols,
                 const int32_t* row_norm, const int32_t* row_limit, const int32_t* col_start,
                 const int32_t* col_half, uint64_t* survivors) {
    constexpr int64_t kBlocks = dqcore::simd::kByteGroup / kByteCols;
    const int64_t panel = stages.ends[stages.count - 1] * 16;
    ByteRows by = {};
    for (int64_t r = 0; r < kByteRows; ++r) {
        by.half[r] = half_up(row_limit[r]);
        by.raise[r] = -(row_norm[r] >> 1);
        survivors[r] = 0;
    }
    const auto columns = [&](int64_t c) { return cols + c / 16 * panel + c % 16 * 4; };
    ByteSums first[kBlocks];
    uint32_t open = 0;
    for (int64_t b = 0; b < kBlocks; ++b) {
        const int64_t c = b * kByteCols;
        ByteSums sum;
        first_stage(sum, by, rows, columns(c), col_start + c, panel, stages.ends[0] * 16);
        open |= uint32_t{any_passes(sum, by, col_half + c)} << b;
        __builtin_memcpy(&first[b], &sum, sizeof sum);
    }
    bool any = false;
    for (; open != 0; open &= open - 1) {
        const int64_t b = __builtin_ctz(open), c = b * kByteCols;
        any |= filter_block(stages, rows, columns(c), row_norm, by, col_start + c, col_half + c, c,
                            first[b], survivors);
    }
    return any;
}

uint64_t filter_bytes(const dqcore::simd::ByteStages& stages, const uint8_t* rows,
                      const int8_t* cols, const int32_t* row_norm, const int32_t* row_limit,
                      const int32_t* col_start, const int32_t* col_limit, uint64_t* survivors) {
    constexpr int64_t kGroup = dqcore::simd::kByteGroup;
    const int64_t panel = stages.ends[stages.count - 1] * 16;
    alignas(64) int32_t col_half[kGroup];
    for (int64_t c = 0; c < kGroup; ++c) col_half[c] = half_up(col_limit[c]);
    uint64_t found = 0;
    for (int64_t r = 0; r < kGroup; r += kByteRows) {
        if (!filter_rows(stages, rows + r / 16 * panel + r % 16 * 4, cols, row_norm + r,
                         row_limit + r, col_start, col_half, survivors + r))
            continue;
        for (int64_t t = r; t < r + kByteRows; ++t) found |= uint64_t{survivors[t] != 0} << t;
    }
    return found;
}

}  // namespace
