// log and exp from +, -, *, / and exponent bits alone: the same bits in NumPy, in C++ and on a GPU,
// where each platform's own library would differ in the last place. Errors stay below 1 ulp.
// Source: the argument reductions and coefficients of fdlibm (Sun, 1993), e_log.c and e_exp.c.
// The twin in Python is reference/_exact.py; change both or neither.
#pragma once

#include <bit>
#include <cstdint>
#include <limits>

namespace dqcore {

static constexpr double two_to(int64_t k) {  // -1022 <= k <= 1023
    return std::bit_cast<double>(static_cast<uint64_t>(k + 1023) << 52);
}

// Natural logarithm; -infinity at 0, NaN below. Finite arguments only.
static constexpr double log_same_bits(double x) {
    if (x <= 0.0) {
        return x == 0.0 ? -std::numeric_limits<double>::infinity()
                        : std::numeric_limits<double>::quiet_NaN();
    }
    int64_t exponent = 0;
    if (x < 0x1p-1022) {  // subnormal: scaled exactly
        x *= 0x1p54;
        exponent = -54;
    }
    const uint64_t bits = std::bit_cast<uint64_t>(x);
    exponent += static_cast<int64_t>(bits >> 52) - 1023;
    double m = std::bit_cast<double>((bits & 0xfffffffffffffull) | 0x3ff0000000000000ull);
    if (m >= 0x1.6a09e667f3bcdp+0) {  // sqrt(2): m into [sqrt(1/2), sqrt(2))
        m *= 0.5;
        exponent += 1;
    }
    const double f = m - 1.0;
    const double s = f / (2.0 + f);
    const double z = s * s;
    double r = 1.479819860511658591e-01;
    r = 1.531383769920937332e-01 + z * r;
    r = 1.818357216161805012e-01 + z * r;
    r = 2.222219843214978396e-01 + z * r;
    r = 2.857142874366239149e-01 + z * r;
    r = 3.999999999940941908e-01 + z * r;
    r = 6.666666666666735130e-01 + z * r;
    r = z * r;
    const double half_square = 0.5 * f * f;
    const double k = static_cast<double>(exponent);
    constexpr double kLn2High = 6.93147180369123816490e-01, kLn2Low = 1.90821492927058770002e-10;
    return k * kLn2High - ((half_square - (s * (half_square + r) + k * kLn2Low)) - f);
}

// e^x; 0 below the least subnormal, infinity above the greatest double. No NaN.
static constexpr double exp_same_bits(double x) {
    if (x > 709.782712893383973096) return std::numeric_limits<double>::infinity();
    if (x < -745.133219101941108420) return 0.0;
    constexpr double kLn2High = 6.93147180369123816490e-01, kLn2Low = 1.90821492927058770002e-10;
    constexpr double kInverseLn2 = 1.44269504088896338700;
    // Round to nearest without the rounding mode: truncation of a shifted, positive number.
    const int64_t k = static_cast<int64_t>(x * kInverseLn2 + 1100.5) - 1100;
    const double high = x - static_cast<double>(k) * kLn2High;
    const double low = static_cast<double>(k) * kLn2Low;
    const double r = high - low;
    const double t = r * r;
    double p = 4.13813679705723846039e-08;
    p = -1.65339022054652515390e-06 + t * p;
    p = 6.61375632143793436117e-05 + t * p;
    p = -2.77777777770155933842e-03 + t * p;
    p = 1.66666666666666019037e-01 + t * p;
    const double c = r - t * p;
    const double y = 1.0 - ((low - (r * c) / (2.0 - c)) - high);
    // Two exact steps, the second of which may round to a subnormal.
    const int64_t half = k / 2;
    return y * two_to(half) * two_to(k - half);
}

}  // namespace dqcore
