// ldmatrix.x4 and mma.sync.m16n8k16 for 32 lanes, by the fragment layouts of the PTX ISA (9.7.14).
//
// A tensor core does not round as IEEE 754 asks: products are exact, but a block of them and the accumulator are shifted
// to the largest exponent and cut off, and so is their sum. The coarsest that has been measured (V100: blocks of 4, no
// further bits; Fasi et al. 2021, PeerJ CS 7:e330) is what is emulated, so that a bound that leaves truncation out fails.
#pragma once

#include <algorithm>
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

// One row of c = c + a b, for 16 dims of a and a 16 x 8 b: blocks of 4 products, each cut off.
inline void multiply_row(float (&c)[8], const float (&a)[16], const float (&b)[16][8]) {
    for (int k = 0; k < 16; k += 4) {
        float product[4][8], largest[8], inverse[8];  // products are exact: 11 bits by 11
        for (int n = 0; n < 8; ++n) largest[n] = std::fabs(c[n]);
        for (int t = 0; t < 4; ++t)
            for (int n = 0; n < 8; ++n) {
                product[t][n] = a[k + t] * b[k + t][n];
                const float size = std::fabs(product[t][n]);
                largest[n] = size > largest[n] ? size : largest[n];
            }
        // In units of the last of the largest one's 24 bits, toward zero.
        uint32_t exponent[8];
        int32_t sum[8];
        for (int n = 0; n < 8; ++n) {
            exponent[n] = bits_as<uint32_t>(largest[n] + 0x1p-90f) & 0x7f800000u;
            inverse[n] = bits_as<float>((277u << 23) - exponent[n]);
            sum[n] = static_cast<int32_t>(c[n] * inverse[n]);
        }
        for (int t = 0; t < 4; ++t)
            for (int n = 0; n < 8; ++n) sum[n] += static_cast<int32_t>(product[t][n] * inverse[n]);
        // The sum has at most 27 bits: toward zero to 24.
        for (int n = 0; n < 8; ++n) {
            const int32_t size = sum[n] < 0 ? -sum[n] : sum[n];
            const int32_t cut = size & ~((size >= 1 << 24 ? 1 : 0) | (size >= 1 << 25 ? 2 : 0) |
                                         (size >= 1 << 26 ? 4 : 0));
            c[n] = static_cast<float>(sum[n] < 0 ? -cut : cut) *
                   bits_as<float>(exponent[n] - (23u << 23));
        }
    }
}

struct MmaOperands {
    float* c;
    const uint32_t *a, *b;
};

inline void multiply_fragments(const MmaOperands (&lanes)[kWarp]) {
    float a[16][16], b[16][8], c[16][8];
    const auto half = [](uint32_t pair, int e) {
        return from_half(static_cast<uint16_t>(pair >> (16 * e)));
    };
    for (int l = 0; l < kWarp; ++l) {
        const int g = l / 4, t = l % 4;
        for (int e = 0; e < 2; ++e) {
            for (int i = 0; i < 4; ++i)
                a[g + 8 * (i & 1)][2 * t + e + 8 * (i >> 1)] = half(lanes[l].a[i], e);
            for (int i = 0; i < 2; ++i) b[2 * t + e + 8 * i][g] = half(lanes[l].b[i], e);
        }
        for (int i = 0; i < 4; ++i) c[g + 8 * (i >> 1)][2 * t + (i & 1)] = lanes[l].c[i];
    }
    for (int row = 0; row < 16; ++row) multiply_row(c[row], a[row], b);
    for (int l = 0; l < kWarp; ++l)
        for (int i = 0; i < 4; ++i) lanes[l].c[i] = c[l / 4 + 8 * (i >> 1)][2 * (l % 4) + (i & 1)];
}

}  // namespace dqcore::cuda
