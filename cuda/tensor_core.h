// ldmatrix.x4 and mma.sync.m16n8k16 for 32 lanes, by the fragment layouts of the PTX ISA (9.7.14).
//
// A tensor core does not round as IEEE 754 asks: products are exact, but a block of them and the accumulator are shifted
// to the largest exponent and cut off, and so is their sum. The coarsest that has been measured (V100: blocks of 4, no
// further bits; Fasi et al. 2021, PeerJ CS 7:e330) is what is emulated, so that a bound that leaves truncation out fails.
#pragma once

#include <cmath>
#include <cstdint>

#include "cuda/exec.h"

namespace dqcore::cuda {

// Lane l's row is 16 bytes; register m of lane l gets 4 bytes of the l/4-th row of matrix m, whose rows are lanes 8m..
inline void load_matrices(const unsigned char* const (&rows)[kWarp],
                          uint32_t* const (&out)[kWarp]) {
    for (int l = 0; l < kWarp; ++l)
        for (int m = 0; m < 4; ++m)
            std::memcpy(&out[l][m], rows[8 * m + l / 4] + 4 * (l % 4), sizeof(uint32_t));
}

// c + a[0] b[0] + .. + a[3] b[3], cut off.
inline float truncated_block(float c, const float* a, const float* b) {
    float p[4], largest = std::fabs(c);
    for (int t = 0; t < 4; ++t) {
        p[t] = a[t] * b[t];  // exact: 11 bits by 11
        largest = std::fmax(largest, std::fabs(p[t]));
    }
    if (!(largest > 0.0f) || !std::isfinite(largest)) return c + ((p[0] + p[1]) + (p[2] + p[3]));
    // In units of the last of the largest one's 24 bits.
    const double unit =
        bits_as<double>((bits_as<uint64_t>(double{largest}) & (0x7ffull << 52)) - (23ull << 52));
    const double inverse = 1.0 / unit;
    int64_t sum = static_cast<int64_t>(c * inverse);
    for (const float term : p) sum += static_cast<int64_t>(term * inverse);
    const double value = static_cast<double>(sum) * unit;
    // Toward zero to 24 bits.
    return static_cast<float>(bits_as<double>(bits_as<uint64_t>(value) & ~((1ull << 29) - 1)));
}

struct MmaOperands {
    float* c;
    const uint32_t *a, *b;
};

inline void multiply_fragments(const MmaOperands (&lanes)[kWarp]) {
    float a[16][16], b[8][16];  // b by columns
    const auto half = [](uint32_t pair, int e) {
        return from_half(static_cast<uint16_t>(pair >> (16 * e)));
    };
    for (int l = 0; l < kWarp; ++l) {
        const int g = l / 4, t = l % 4;
        for (int e = 0; e < 2; ++e) {
            for (int i = 0; i < 4; ++i)
                a[g + 8 * (i & 1)][2 * t + e + 8 * (i >> 1)] = half(lanes[l].a[i], e);
            for (int i = 0; i < 2; ++i) b[g][2 * t + e + 8 * i] = half(lanes[l].b[i], e);
        }
    }
    for (int l = 0; l < kWarp; ++l) {
        const int g = l / 4, t = l % 4;
        for (int i = 0; i < 4; ++i) {
            float sum = lanes[l].c[i];
            for (int k = 0; k < 16; k += 4)
                sum = truncated_block(sum, &a[g + 8 * (i >> 1)][k], &b[2 * t + (i & 1)][k]);
            lanes[l].c[i] = sum;
        }
    }
}

}  // namespace dqcore::cuda
