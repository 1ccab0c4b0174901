// The kernel table: one column for each SIMD primitive, one row for each instruction set. Rooms
// call columns; only the files in this folder know instruction sets.
#pragma once

#include <cstdint>

namespace dqcore::simd {

struct Kernels {
    const char* isa;

    // ---- knn (simd/knn.inl) ----

    // Sum over c of (x[c] - y[c])^2: the canonical key. Float64, no fused multiply-add, 32 lanes
    // (lane l takes dims l, l + 32, ... in order), folded 16, 8, 4, 2, 1. Every row gives the same
    // bits.
    double (*squared_l2)(const float* x, const float* y, int64_t d);

    // Sum over c of x[c] * y[c], by the same lanes.
    double (*dot)(const float* x, const float* y, int64_t d);
};

extern const Kernels scalar;
extern const Kernels avx2;
extern const Kernels avx512;

// The rows that this build holds and this machine can run, best first, ended by nullptr. The last
// is always `scalar`.
const Kernels* const* usable();

// The row in force: the best usable one, unless DQCORE_ISA or set_active says else. Taken once for
// each call of a kernel, outside its loops.
const Kernels& active();

// Throws std::invalid_argument on a name that is not usable here.
void set_active(const char* isa);

}  // namespace dqcore::simd
