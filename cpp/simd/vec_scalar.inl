// Registers of the row `scalar`.
namespace {
// One double for each lane: the compiler may use what the baseline has.
struct Double {
    using reg = double;
    static constexpr int64_t kWidth = 1;
    static reg zero() { return 0.0; }
    static reg add(reg a, reg b) { return a + b; }
    static reg sub(reg a, reg b) { return a - b; }
    static reg mul(reg a, reg b) { return a * b; }
    static reg from_float(const float* p) { return static_cast<double>(*p); }
    static reg load(const double* p) { return *p; }
    static reg broadcast(double x) { return x; }
    static reg multiply_add(reg a, reg b, reg c) { return a * b + c; }
    static void store(double* p, reg a) { *p = a; }
};

// Four floats as the compiler's own vector type: every 64-bit machine has such a register.
struct Float {
    typedef float reg __attribute__((vector_size(16)));
    static constexpr int64_t kWidth = 4;
    static reg zero() { return reg{0, 0, 0, 0}; }
    static reg load(const float* p) { return reg{p[0], p[1], p[2], p[3]}; }
    static reg broadcast(float x) { return reg{x, x, x, x}; }
    static reg add(reg a, reg b) { return a + b; }
    static reg sub(reg a, reg b) { return a - b; }
    static float sum(reg a) { return (a[0] + a[1]) + (a[2] + a[3]); }
    static reg multiply_add(reg a, reg b, reg c) { return a * b + c; }
    static reg min(reg a, reg b) { return a < b ? a : b; }
    static uint64_t at_least(reg a, reg b) {
        uint64_t bits = 0;
        for (int lane = 0; lane < 4; ++lane) bits |= uint64_t{a[lane] >= b[lane]} << lane;
        return bits;
    }
};
constexpr int64_t kFilterRows = 2, kFilterCols = 16;  // 8 sums in the 16 registers of the baseline

// Probabilities of a row: `first(n)` marks the lanes below n, `load_first` reads no other.
template <class Number, int64_t width>
struct Prob {
    using T = Number;
    typedef T reg __attribute__((vector_size(16)));
    using lanes = int64_t;
    static constexpr int64_t kWidth = width;
    static reg broadcast(T x) { return reg{} + x; }
    static reg load(const T* p) { return load_first(p, kWidth, reg{}); }
    static lanes first(int64_t n) { return n; }
    static reg load_first(const T* p, lanes n, reg rest) {
        for (int64_t l = 0; l < n; ++l) rest[l] = p[l];
        return rest;
    }
    static reg add(reg a, reg b) { return a + b; }
    static reg max(reg a, reg b) { return a > b ? a : b; }
    static reg min(reg a, reg b) { return a < b ? a : b; }
    static uint32_t at_least(reg a, reg b) {
        uint32_t bits = 0;
        for (int64_t l = 0; l < kWidth; ++l) bits |= uint32_t{a[l] >= b[l]} << l;
        return bits;
    }
    static uint32_t equal(reg a, reg b) {
        uint32_t bits = 0;
        for (int64_t l = 0; l < kWidth; ++l) bits |= uint32_t{a[l] == b[l]} << l;
        return bits;
    }
    static T greatest(reg a) {
        T m = a[0];
        for (int64_t l = 1; l < kWidth; ++l) m = a[l] > m ? a[l] : m;
        return m;
    }
    static T sum(reg a) {
        T total = a[0];
        for (int64_t l = 1; l < kWidth; ++l) total += a[l];
        return total;
    }
    static void store(T* p, reg a) {
        for (int64_t l = 0; l < kWidth; ++l) p[l] = a[l];
    }
};
using Prob32 = Prob<float, 4>;
using Prob64 = Prob<double, 2>;
void widen_halves(const char* halves, float* out, int64_t n) {
    for (int64_t i = 0; i < n; ++i) {
        uint16_t half;
        __builtin_memcpy(&half, halves + 2 * i, sizeof half);
        out[i] = dqcore::half_to_float(half);
    }
}
}  // namespace
