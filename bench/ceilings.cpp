// What one core of this machine can do at most: multiply-adds from registers, no memory. Prints "name operations-per-second"
// for each kind of arithmetic the machine has; a multiply-add is two operations.
// g++ -O2 ceilings.cpp -o ceilings
#include <cstdio>
#include <ctime>

namespace {

double seconds() {  // of this process, whatever else runs
    return static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
}

// Ten sums that do not wait for each other; `step` adds to each of them once.
template <class Step>
void report(const char* name, double operations_a_step, const Step& step) {
    constexpr long kSteps = 20'000'000;
    double best = 1e30;
    for (int run = 0; run < 3; ++run) {
        const double start = seconds();
        asm volatile("vzeroall" ::: "memory");  // no subnormals, which are slow
        for (long i = 0; i < kSteps; ++i) step();
        const double taken = seconds() - start;
        best = taken < best ? taken : best;
    }
    std::printf("%s %.4g\n", name, operations_a_step * kSteps / best);
}

}  // namespace

// Registers are named in the text: the loop then holds these instructions and nothing else.
#define TEN(op, r)                                                                              \
    op " %%" r "10, %%" r "11, %%" r "0\n" op " %%" r "10, %%" r "11, %%" r "1\n"               \
    op " %%" r "10, %%" r "11, %%" r "2\n" op " %%" r "10, %%" r "11, %%" r "3\n"               \
    op " %%" r "10, %%" r "11, %%" r "4\n" op " %%" r "10, %%" r "11, %%" r "5\n"               \
    op " %%" r "10, %%" r "11, %%" r "6\n" op " %%" r "10, %%" r "11, %%" r "7\n"               \
    op " %%" r "10, %%" r "11, %%" r "8\n" op " %%" r "10, %%" r "11, %%" r "9\n"
#define RUN(text)                                                                               \
    [] {                                                                                        \
        asm volatile(text ::: "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",   \
                              "xmm8", "xmm9");                                                  \
    }

int main() {
    __builtin_cpu_init();
    if (__builtin_cpu_supports("fma")) report("float32", 10 * 8 * 2, RUN(TEN("vfmadd231ps", "ymm")));
    if (__builtin_cpu_supports("avx512f"))
        report("float32", 10 * 16 * 2, RUN(TEN("vfmadd231ps", "zmm")));
    if (__builtin_cpu_supports("avx512bf16"))
        report("bf16", 10 * 32 * 2, RUN(TEN("vdpbf16ps", "zmm")));
    if (__builtin_cpu_supports("avx512vnni"))
        report("int8", 10 * 64 * 2, RUN(TEN("vpdpbusd", "zmm")));
}
