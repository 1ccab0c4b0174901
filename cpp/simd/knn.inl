// The knn room's primitives, written once over the register types of the including file.
//
// No include guard and no inline or template with external linkage: the text is compiled once for
// each instruction set, and a weak symbol from here could be the copy the linker keeps for every
// other file.
namespace {

constexpr int64_t kLanes = 32;  // of the canonical sum; part of the definition, not a tuning

// The lanes folded in the canonical order, l with l + 16, then 8, 4, 2, 1: whole registers first.
template <int64_t kRegs>
double fold(Double::reg (&lanes)[kRegs]) {
    int64_t regs = kRegs;
    for (; regs > 1; regs /= 2)
        for (int64_t r = 0; r < regs / 2; ++r)
            lanes[r] = Double::add(lanes[r], lanes[r + regs / 2]);
    double last[Double::kWidth];
    Double::store(last, lanes[0]);
    for (int64_t width = Double::kWidth / 2; width > 0; width /= 2)
        for (int64_t l = 0; l < width; ++l) last[l] += last[l + width];
    return last[0];
}

// Sum of term(x, y) over all dims by the canonical lanes. A short last step is padded with +0,
// whose term is +0 and changes no bit: a sum that starts at +0 never becomes -0.
template <class Term>
double lane_sum(const float* x, const float* y, int64_t d, const Term& term) {
    constexpr int64_t kRegs = kLanes / Double::kWidth;
    Double::reg acc[kRegs];
    for (auto& a : acc) a = Double::zero();
    int64_t c = 0;
    for (; c + kLanes <= d; c += kLanes)
        for (int64_t r = 0; r < kRegs; ++r) {
            const int64_t at = c + r * Double::kWidth;
            acc[r] =
                Double::add(acc[r], term(Double::from_float(x + at), Double::from_float(y + at)));
        }
    if (c < d) {
        float tail_x[kLanes] = {}, tail_y[kLanes] = {};
        for (int64_t t = 0; c + t < d; ++t) {
            tail_x[t] = x[c + t];
            tail_y[t] = y[c + t];
        }
        for (int64_t r = 0; r < kRegs; ++r) {
            const int64_t at = r * Double::kWidth;
            acc[r] = Double::add(
                acc[r], term(Double::from_float(tail_x + at), Double::from_float(tail_y + at)));
        }
    }
    return fold(acc);
}

double squared_l2(const float* x, const float* y, int64_t d) {
    return lane_sum(x, y, d, [](Double::reg a, Double::reg b) {
        const Double::reg diff = Double::sub(a, b);
        return Double::mul(diff, diff);
    });
}

double dot(const float* x, const float* y, int64_t d) {
    return lane_sum(x, y, d, [](Double::reg a, Double::reg b) { return Double::mul(a, b); });
}

void filter(const float* rows, const float* cols, int64_t d, const float* row_a, const float* row_b,
            const float* col_a, const float* col_b, uint64_t* survivors) {
    using dqcore::simd::kPanel;
    constexpr int64_t kRegs = kFilterCols / Float::kWidth;
    Float::reg sum[kFilterRows][kRegs];
    for (auto& row : sum)
        for (auto& s : row) s = Float::zero();
    for (int64_t c = 0; c < d; ++c) {
        Float::reg col[kRegs];
#pragma GCC unroll 8
        for (int64_t g = 0; g < kRegs; ++g) {
            const int64_t at = g * Float::kWidth;
            col[g] = Float::load(cols + (at / kPanel * d + c) * kPanel + at % kPanel);
        }
#pragma GCC unroll 8
        for (int64_t r = 0; r < kFilterRows; ++r) {
            const Float::reg x = Float::broadcast(rows[c * kPanel + r]);
#pragma GCC unroll 8
            for (int64_t g = 0; g < kRegs; ++g)
                sum[r][g] = Float::multiply_add(x, col[g], sum[r][g]);
        }
    }
#pragma GCC unroll 8
    for (int64_t r = 0; r < kFilterRows; ++r) {
        const Float::reg a = Float::broadcast(row_a[r]), b = Float::broadcast(row_b[r]);
        uint64_t bits = 0;
#pragma GCC unroll 8
        for (int64_t g = 0; g < kRegs; ++g) {
            const int64_t at = g * Float::kWidth;
            const Float::reg bound = Float::min(Float::add(a, Float::load(col_b + at)),
                                                Float::add(Float::load(col_a + at), b));
            bits |= Float::at_least(sum[r][g], bound) << at;
        }
        survivors[r] = bits;
    }
}

float near_l2(const float* x, const float* y, int64_t d, float limit) {
    constexpr int64_t kStride = 64;  // dims between two looks at the limit
    float total = 0.0f;
    for (int64_t c = 0; c < d;) {
        const int64_t end = d - c < kStride ? d : c + kStride;
        Float::reg a = Float::zero(), b = Float::zero();
        for (; c + 16 <= end; c += 16) {
            for (int64_t t = 0; t < 16; t += Float::kWidth) {
                const Float::reg diff = Float::sub(Float::load(x + c + t), Float::load(y + c + t));
                if (t % (2 * Float::kWidth) == 0) {
                    a = Float::multiply_add(diff, diff, a);
                } else {
                    b = Float::multiply_add(diff, diff, b);
                }
            }
        }
        total += Float::sum(Float::add(a, b));
        if (total > limit) break;
    }
    return total;
}

// `kRows` rows of the eight.
template <int64_t kRows>
void project_rows(const double* rows, const double* panel, int64_t d, double* out, int64_t stride) {
    constexpr int64_t kColumns = 16, kWidth = Double::kWidth;
    constexpr int64_t kRegs = 2;  // registers of columns at a time
    for (int64_t a = 0; a < kColumns; a += kRegs * kWidth) {
        Double::reg sum[kRows][kRegs];
        for (auto& row : sum)
            for (auto& s : row) s = Double::zero();
        for (int64_t c = 0; c < d; ++c) {
#pragma GCC unroll 4
            for (int64_t g = 0; g < kRegs; ++g) {
                const Double::reg column = Double::load(panel + c * kColumns + a + g * kWidth);
#pragma GCC unroll 8
                for (int64_t r = 0; r < kRows; ++r)
                    sum[r][g] =
                        Double::multiply_add(Double::broadcast(rows[r * d + c]), column, sum[r][g]);
            }
        }
#pragma GCC unroll 8
        for (int64_t r = 0; r < kRows; ++r)
#pragma GCC unroll 4
            for (int64_t g = 0; g < kRegs; ++g)
                Double::store(out + r * stride + a + g * kWidth, sum[r][g]);
    }
}

void project(const double* rows, const double* panel, int64_t d, double* out, int64_t stride) {
    constexpr int64_t kRows = 8, kAtOnce = Double::kWidth == 8 ? 8 : 4;  // as registers allow
    for (int64_t r = 0; r < kRows; r += kAtOnce)
        project_rows<kAtOnce>(rows + r * d, panel, d, out + r * stride, stride);
}

}  // namespace
