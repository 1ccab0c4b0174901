"""Arithmetic with the same bits everywhere: fixed-point sums, log and exp.

The twins in C++ are cpp/base/fixed_point.h and cpp/base/elementary.h; change both or neither.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LN2_HIGH, LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10


def fixed_sums(
    values: NDArray[np.float64], groups: NDArray[np.integer], n_groups: int
) -> list[int]:
    """Return for each group the sum of floor(value * 2^64), as exact Python integers.

    |value| < 2^31. Any order and any split of the rows gives the same sums.
    """
    scaled = values * 2.0**32
    high = np.floor(scaled)
    low = np.floor((scaled - high) * 2.0**32)
    # Three limbs, so that int64 sums of 2^31 rows cannot overflow.
    top = np.floor(high / 2.0**32)
    middle = high - top * 2.0**32
    sums = [0] * n_groups
    for limb, shift in ((top, 64), (middle, 32), (low, 0)):
        part = np.zeros(n_groups, np.int64)
        np.add.at(part, groups, limb.astype(np.int64))
        for g in range(n_groups):
            sums[g] += int(part[g]) << shift
    return sums


def from_fixed(total: int) -> float:
    """Return total * 2^-64, rounded once to the nearest double."""
    return float(total) * 2.0**-64


def log(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Natural logarithm; -inf at 0, NaN below. Source: fdlibm e_log.c."""
    x = np.asarray(x, np.float64)
    safe = np.where(x > 0.0, x, 1.0)
    m, exponent = np.frexp(safe)  # m in [1/2, 1)
    m, exponent = m * 2.0, exponent - 1
    wide = m >= float.fromhex("0x1.6a09e667f3bcdp+0")
    m = np.where(wide, m * 0.5, m)
    k = (exponent + wide).astype(np.float64)
    f = m - 1.0
    s = f / (2.0 + f)
    z = s * s
    r = np.full_like(z, 1.479819860511658591e-01)
    for c in (
        1.531383769920937332e-01,
        1.818357216161805012e-01,
        2.222219843214978396e-01,
        2.857142874366239149e-01,
        3.999999999940941908e-01,
        6.666666666666735130e-01,
    ):
        r = c + z * r
    r = z * r
    half_square = 0.5 * f * f
    result = k * LN2_HIGH - ((half_square - (s * (half_square + r) + k * LN2_LOW)) - f)
    return np.where(x > 0.0, result, np.where(x == 0.0, -np.inf, np.nan))


def exp(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """e^x; 0 below the least subnormal, infinity above the greatest double. Source: fdlibm e_exp.c."""
    x = np.asarray(x, np.float64)
    inside = (x <= 709.782712893383973096) & (x >= -745.133219101941108420)
    safe = np.where(inside, x, 0.0)
    k = (safe * 1.44269504088896338700 + 1100.5).astype(np.int64) - 1100
    high = safe - k.astype(np.float64) * LN2_HIGH
    low = k.astype(np.float64) * LN2_LOW
    r = high - low
    t = r * r
    p = np.full_like(t, 4.13813679705723846039e-08)
    for c in (
        -1.65339022054652515390e-06,
        6.61375632143793436117e-05,
        -2.77777777770155933842e-03,
        1.66666666666666019037e-01,
    ):
        p = c + t * p
    q = r - t * p
    y = 1.0 - ((low - (r * q) / (2.0 - q)) - high)
    half = (np.sign(k) * (np.abs(k) // 2)).astype(np.int64)  # toward zero, as C++ divides
    result = y * np.ldexp(1.0, half) * np.ldexp(1.0, k - half)
    return np.where(inside, result, np.where(x > 0.0, np.inf, 0.0))
