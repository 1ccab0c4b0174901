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
    static void store(double* p, reg a) { *p = a; }
};
}  // namespace
