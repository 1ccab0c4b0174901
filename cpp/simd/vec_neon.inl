// Registers of the rows `neon` and `neondot`: 128 bits, on every 64-bit ARM. The including file brings Bytes.
namespace {
struct Double {
    using reg = float64x2_t;
    static constexpr int64_t kWidth = 2;
    static reg zero() { return vdupq_n_f64(0.0); }
    static reg add(reg a, reg b) { return vaddq_f64(a, b); }
    static reg sub(reg a, reg b) { return vsubq_f64(a, b); }
    static reg mul(reg a, reg b) { return vmulq_f64(a, b); }
    static reg from_float(const float* p) { return vcvt_f64_f32(vld1_f32(p)); }
    static reg load(const double* p) { return vld1q_f64(p); }
    static reg broadcast(double x) { return vdupq_n_f64(x); }
    static reg multiply_add(reg a, reg b, reg c) { return vfmaq_f64(c, a, b); }
    static void store(double* p, reg a) { vst1q_f64(p, a); }
};

// Bit l tells whether all bits of lane l are set, or none.
uint32_t bits_of(uint32x4_t mask) {
    const uint32x4_t weight = {1, 2, 4, 8};
    return vaddvq_u32(vandq_u32(mask, weight));
}
uint32_t bits_of(uint64x2_t mask) {
    const uint64x2_t weight = {1, 2};
    return static_cast<uint32_t>(vaddvq_u64(vandq_u64(mask, weight)));
}

struct Float {
    using reg = float32x4_t;
    static constexpr int64_t kWidth = 4;
    static reg zero() { return vdupq_n_f32(0.0f); }
    static reg load(const float* p) { return vld1q_f32(p); }
    static reg broadcast(float x) { return vdupq_n_f32(x); }
    static reg add(reg a, reg b) { return vaddq_f32(a, b); }
    static reg sub(reg a, reg b) { return vsubq_f32(a, b); }
    static float sum(reg a) { return vaddvq_f32(a); }
    static reg multiply_add(reg a, reg b, reg c) { return vfmaq_f32(c, a, b); }
    static reg min(reg a, reg b) { return vminq_f32(a, b); }
    static uint64_t at_least(reg a, reg b) { return bits_of(vcgeq_f32(a, b)); }
};
constexpr int64_t kFilterRows = 4, kFilterCols = 16;  // 16 sums of the 32 registers

// Probabilities of a row: `first(n)` is a number of lanes, `load_first` reads no others. The extremes are those of the
// number that is not NaN where one is, as the x86 rows' may be.
struct Prob32 {
    using T = float;
    using reg = float32x4_t;
    using lanes = int64_t;
    static constexpr int64_t kWidth = 4;
    static reg broadcast(T x) { return vdupq_n_f32(x); }
    static reg load(const T* p) { return vld1q_f32(p); }
    static lanes first(int64_t n) { return n; }
    static reg load_first(const T* p, lanes n, reg rest) {
        T lane[kWidth];
        vst1q_f32(lane, rest);
        for (int64_t l = 0; l < n; ++l) lane[l] = p[l];
        return vld1q_f32(lane);
    }
    static reg add(reg a, reg b) { return vaddq_f32(a, b); }
    static reg max(reg a, reg b) { return vmaxnmq_f32(a, b); }
    static reg min(reg a, reg b) { return vminnmq_f32(a, b); }
    static uint32_t at_least(reg a, reg b) { return bits_of(vcgeq_f32(a, b)); }
    static uint32_t equal(reg a, reg b) { return bits_of(vceqq_f32(a, b)); }
    static T greatest(reg a) { return vmaxnmvq_f32(a); }
    static T sum(reg a) { return vaddvq_f32(a); }
    static void store(T* p, reg a) { vst1q_f32(p, a); }
};
struct Prob64 {
    using T = double;
    using reg = float64x2_t;
    using lanes = int64_t;
    static constexpr int64_t kWidth = 2;
    static reg broadcast(T x) { return vdupq_n_f64(x); }
    static reg load(const T* p) { return vld1q_f64(p); }
    static lanes first(int64_t n) { return n; }
    static reg load_first(const T* p, lanes n, reg rest) {
        T lane[kWidth];
        vst1q_f64(lane, rest);
        for (int64_t l = 0; l < n; ++l) lane[l] = p[l];
        return vld1q_f64(lane);
    }
    static reg add(reg a, reg b) { return vaddq_f64(a, b); }
    static reg max(reg a, reg b) { return vmaxnmq_f64(a, b); }
    static reg min(reg a, reg b) { return vminnmq_f64(a, b); }
    static uint32_t at_least(reg a, reg b) { return bits_of(vcgeq_f64(a, b)); }
    static uint32_t equal(reg a, reg b) { return bits_of(vceqq_f64(a, b)); }
    static T greatest(reg a) { return vmaxnmvq_f64(a); }
    static T sum(reg a) { return vaddvq_f64(a); }
    static void store(T* p, reg a) { vst1q_f64(p, a); }
};
void widen_halves(const char* halves, float* out, int64_t n) {
    int64_t i = 0;
    for (; i + 4 <= n; i += 4) {
        uint16x4_t h;
        __builtin_memcpy(&h, halves + 2 * i, sizeof h);
        vst1q_f32(out + i, vcvt_f32_f16(vreinterpret_f16_u16(h)));
    }
    for (; i < n; ++i) {
        __fp16 half;
        __builtin_memcpy(&half, halves + 2 * i, sizeof half);
        out[i] = static_cast<float>(half);
    }
}

// What both rows' Bytes share: bytes are signed on both sides.
struct ByteLanes {
    using reg = int32x4_t;
    static constexpr int64_t kWidth = 4, kRegs = 4;  // 16 sums of the 32 registers
    static constexpr int32_t kOffset = 0;
    static reg load(const int32_t* p) { return vld1q_s32(p); }
    static reg load_bytes(const int8_t* p) { return vreinterpretq_s32_s8(vld1q_s8(p)); }
    static reg four(const uint8_t* p) {
        int32_t bytes;
        __builtin_memcpy(&bytes, p, sizeof bytes);
        return vdupq_n_s32(bytes);
    }
    static reg broadcast(int32_t x) { return vdupq_n_s32(x); }
    static reg add(reg a, reg b) { return vaddq_s32(a, b); }
    static reg max(reg a, reg b) { return vmaxq_s32(a, b); }
    static reg both(reg a, reg b) { return vandq_s32(a, b); }
    static uint64_t not_negative(reg a) { return bits_of(vcgezq_s32(a)); }
};
}  // namespace
