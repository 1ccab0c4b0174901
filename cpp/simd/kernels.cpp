// Which rows this machine can run, and which is in force.
#include "simd/kernels.h"

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace dqcore::simd {
namespace {

#if defined(__x86_64__)
// Not every compiler's __builtin_cpu_supports knows the name.
bool has_avx_vnni() {
    unsigned a = 0, b = 0, c = 0, d = 0;
    return __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 && (a >> 4 & 1) != 0;
}
#endif

struct Usable {
    const Kernels* rows[6] = {};

    Usable() {
        int n = 0;
#if defined(__x86_64__)
        // Also asks whether the operating system saves the wide registers.
        __builtin_cpu_init();
        const bool f16c_fma = __builtin_cpu_supports("f16c") && __builtin_cpu_supports("fma");
        if (f16c_fma && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
            __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq")) {
            if (__builtin_cpu_supports("avx512vnni")) rows[n++] = &avx512vnni;
            rows[n++] = &avx512;
        }
        if (f16c_fma && __builtin_cpu_supports("avx2")) {
            if (has_avx_vnni()) rows[n++] = &avxvnni;
            rows[n++] = &avx2;
        }
#elif defined(__aarch64__)
#if defined(__linux__)
        const bool dot = (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
#else
        const bool dot = true;  // every Mac of this kind has it
#endif
        if (dot) rows[n++] = &neondot;
        rows[n++] = &neon;
#endif
        rows[n] = &scalar;
    }
};

const Kernels& find(const char* isa) {
    std::string names;
    for (auto row = usable(); *row; ++row) {
        if (std::strcmp((*row)->isa, isa) == 0) return **row;
        names += std::string(names.empty() ? "" : ", ") + (*row)->isa;
    }
    throw std::invalid_argument("instruction set '" + std::string(isa) +
                                "' is not usable on this machine; usable: " + names);
}

std::atomic<const Kernels*>& slot() {
    static std::atomic<const Kernels*> row = [] {
        const char* isa = std::getenv("DQCORE_ISA");  // NOLINT(concurrency-mt-unsafe)
        return isa ? &find(isa) : usable()[0];
    }();
    return row;
}

}  // namespace

const Kernels* const* usable() {
    static const Usable usable;
    return usable.rows;
}

const Kernels& active() { return *slot().load(std::memory_order_relaxed); }

void set_active(const char* isa) { slot() = &find(isa); }

}  // namespace dqcore::simd
