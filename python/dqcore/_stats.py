"""Intervals, tail probabilities and false discovery rates, from integer counts, in NumPy alone.

Computed once on the host, so that every backend reports the same numbers, with logarithms and exponentials that are the
same on every machine, as NumPy's are not. Relative errors stay near 1e-12, in far tails too; a probability below the
least double is 0.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .reference import _exact

Floats = NDArray[np.float64]

_HALF_LOG_2PI = 0.91893853320467274178
_HALF_LOG_PI = 0.57236494292470008707
_LEAST_SERIES = 16.0  # where Stirling's series of seven terms is exact to the last bit
# A step of a tail sum handles half a megabyte of doubles: it fits a second-level cache.
_TAIL_WORK, _TAIL_BATCH, _TAIL_STEPS = 1 << 16, 1 << 12, 1 << 12


_AS241_A = (
    2509.0809287301227,
    33430.57558358813,
    67265.7709270087,
    45921.95393154987,
    13731.69376550946,
    1971.5909503065513,
    133.14166789178438,
    3.3871328727963665,
)
_AS241_B = (
    5226.495278852854,
    28729.085735721943,
    39307.89580009271,
    21213.794301586597,
    5394.196021424751,
    687.1870074920579,
    42.31333070160091,
    1.0,
)
_AS241_C = (
    0.0007745450142783414,
    0.022723844989269184,
    0.2417807251774506,
    1.2704582524523684,
    3.6478483247632045,
    5.769497221460691,
    4.630337846156546,
    1.4234371107496835,
)
_AS241_D = (
    1.0507500716444169e-09,
    0.0005475938084995345,
    0.015198666563616457,
    0.14810397642748008,
    0.6897673349851,
    1.6763848301838038,
    2.053191626637759,
    1.0,
)
_AS241_E = (
    2.0103343992922881e-07,
    2.7115555687434876e-05,
    0.0012426609473880784,
    0.026532189526576124,
    0.29656057182850487,
    1.7848265399172913,
    5.463784911164114,
    6.657904643501103,
)
_AS241_F = (
    2.0442631033899397e-15,
    1.421511758316446e-07,
    1.8463183175100548e-05,
    0.0007868691311456133,
    0.014875361290850615,
    0.1369298809227358,
    0.599832206555888,
    1.0,
)


# ---- special functions -----------------------------------------------------------------------------


def _polynomial(coefficients: tuple[float, ...], x: Floats) -> Floats:
    result = np.full_like(x, coefficients[0])
    for c in coefficients[1:]:
        result = result * x + c
    return result


def _log1p(x: ArrayLike) -> Floats:
    """Return log(1 + x). Source: Kahan's, in Goldberg (1991), theorem 4: what rounding 1 + x lost is put back."""
    x = np.minimum(np.asarray(x, np.float64), 1e300)
    above = 1.0 + x
    step = above - 1.0
    same = step == 0.0
    return np.where(same, x, _exact.log(above) * (x / np.where(same, 1.0, step)))


def normal_quantile(p: ArrayLike) -> Floats:
    """Return the standard normal quantile of `p` in (0, 1).

    Source: Wichura (1988), Algorithm AS 241, PPND16; relative error about 1e-16.
    """
    p = np.asarray(p, np.float64)
    q = p - 0.5
    r = 0.180625 - q * q
    middle = q * _polynomial(_AS241_A, r) / _polynomial(_AS241_B, r)
    tail = np.sqrt(-_exact.log(np.where(q < 0.0, p, 1.0 - p)))
    near = tail - 1.6
    far = tail - 5.0
    outside = np.where(
        tail <= 5.0,
        _polynomial(_AS241_C, near) / _polynomial(_AS241_D, near),
        _polynomial(_AS241_E, far) / _polynomial(_AS241_F, far),
    )
    return np.where(np.abs(q) <= 0.425, middle, np.copysign(outside, q))


def stirling_error(x: ArrayLike) -> Floats:
    """Return log Gamma(x) - ((x - 1/2) log x - x + log(2 pi) / 2) for x > 0.

    Stirling's series from 16 on; below, stepped up by log Gamma(x + 1) = log Gamma(x) + log x.
    """
    x = np.array(x, np.float64)
    result = np.zeros_like(x)
    while (small := x < _LEAST_SERIES).any():
        step = x[small]
        result[small] += (step + 0.5) * _log1p(1.0 / step) - 1.0
        x[small] = step + 1.0
    return result + _stirling_series(x)


def _stirling_series(x: Floats) -> Floats:
    # B_2k / (2k (2k - 1)), the Bernoulli numbers.
    inverse = 1.0 / x
    coefficients = (1 / 156, -691 / 360360, 1 / 1188, -1 / 1680, 1 / 1260, -1 / 360, 1 / 12)
    return _polynomial(coefficients, inverse * inverse) * inverse


_STIRLING_ERROR = np.concatenate(([np.inf], stirling_error(np.arange(1.0, _LEAST_SERIES))))


def _stirling_error_whole(x: Floats) -> Floats:
    small = x < _LEAST_SERIES
    table = _STIRLING_ERROR[np.where(small, x, 1.0).astype(np.int64)]
    return np.where(small, table, _stirling_series(np.maximum(x, 1.0)))


def _deviance(x: Floats, mean: Floats) -> Floats:
    """Return x log(x / mean) + mean - x without cancellation. Source: Loader (2000), bd0."""
    v = (x - mean) / (x + mean)
    square = v * v
    series = np.zeros_like(v)
    for j in range(9, 0, -1):  # |v| < 0.1: the tenth term is below 1e-19 of the first
        series = (series + 1.0 / (2 * j + 1)) * square
    near = (x - mean) * v + 2.0 * x * v * series
    safe = np.where(x > 0.0, x, 1.0)
    far = np.where(x > 0.0, x * _exact.log(safe / mean), 0.0) + mean - x
    return np.where(np.abs(v) < 0.1, near, far)


def _log_binomial(x: Floats, n: Floats, p: Floats, q: Floats) -> Floats:
    """Return the log of the binomial probability of `x` in `n`, with q = 1 - p given exactly.

    Source: Loader (2000), "Fast and accurate computation of binomial probabilities".
    """
    inner = (x > 0.0) & (x < n)
    a, b = np.where(inner, x, 1.0), np.where(inner, n - x, 1.0)
    m = a + b
    middle = (
        _stirling_error_whole(m)
        - _stirling_error_whole(a)
        - _stirling_error_whole(b)
        - _deviance(a, m * p)
        - _deviance(b, m * q)
        - _HALF_LOG_2PI
        + 0.5 * (_exact.log(m) - _exact.log(a) - _exact.log(b))
    )
    log_p = np.where(p < 0.5, _exact.log(np.where(p > 0.0, p, 1.0)), _log1p(-q))
    log_q = np.where(q < 0.5, _exact.log(np.where(q > 0.0, q, 1.0)), _log1p(-p))
    edge = np.where(n == 0.0, 0.0, np.where(x == 0.0, n * log_q, n * log_p))
    return np.where(inner, middle, edge)


# ---- tail probabilities ----------------------------------------------------------------------------


def hypergeometric_tail(
    marked_drawn: ArrayLike, total: ArrayLike, marked: ArrayLike, drawn: ArrayLike
) -> Floats:
    """Return P(X >= marked_drawn) where X of `drawn` rows out of `total` are among the `marked`.

    The tail away from the mean is summed term by term, from the largest down, until what is left
    is below 1e-16 of it; the other side is its complement.
    """
    x, n, k, d = (
        np.atleast_1d(a)
        for a in np.broadcast_arrays(
            *(np.asarray(a, np.float64) for a in (marked_drawn, total, marked, drawn))
        )
    )
    least, most = np.maximum(0.0, d + k - n), np.minimum(d, k)
    result = np.where(x <= least, 1.0, 0.0)
    inner = (x > least) & (x <= most)
    x, n, k, d = x[inner], n[inner], k[inner], d[inner]
    # The lower tail is an upper one too: d - X of the drawn are among the n - k unmarked.
    upper = x * n > d * k
    start = np.where(upper, x, d - (x - 1.0))
    of = np.where(upper, k, n - k)
    p, q = d / n, (n - d) / n
    largest = _exact.exp(
        _log_binomial(start, of, p, q)
        + _log_binomial(d - start, n - of, p, q)
        - _log_binomial(d, n, p, q)
    )
    sums = np.empty_like(x)
    for begin in range(0, len(x), _TAIL_BATCH):
        batch = slice(begin, begin + _TAIL_BATCH)
        sums[batch] = _tail_sum(start[batch], n[batch], of[batch], d[batch])
    tail = largest * sums
    result[inner] = np.clip(np.where(upper, tail, 1.0 - tail), 0.0, 1.0)
    shape = np.broadcast_shapes(*(np.shape(a) for a in (marked_drawn, total, marked, drawn)))
    return result.reshape(shape)


def _tail_sum(i: Floats, n: Floats, k: Floats, d: Floats) -> Floats:
    """Return P(X >= i) / P(X = i) for i above the mean."""
    sums = np.ones_like(i)
    active = np.arange(len(i))
    term = np.ones_like(i)
    factors = np.stack([k - i, d - i, i + 1.0, n - k - d + i + 1.0])
    while active.size:
        width = min(_TAIL_WORK // active.size, _TAIL_STEPS)
        steps = np.arange(width, dtype=np.float64)[:, None]
        # The next term over this one; 0 at the end of the support.
        ratio = (factors[0] - steps) * (factors[1] - steps)
        ratio /= (factors[2] + steps) * (factors[3] + steps)
        last = ratio[-1].copy()
        terms = np.cumprod(ratio, axis=0, out=ratio)
        sums[active] += term * terms.sum(axis=0)
        term = term * terms[-1]
        # Ratios only fall: what is left is below a geometric series.
        left = np.where(last < 1.0, term * last / np.maximum(1.0 - last, 1e-300), np.inf)
        on = (term > 0.0) & (left > 1e-16 * sums[active])
        factors += width * np.array([[-1.0], [-1.0], [1.0], [1.0]])
        active, term, factors = active[on], term[on], factors[:, on]
    return sums


def student_tail(t: ArrayLike, df: ArrayLike) -> Floats:
    """Return P(T >= t) for Student's t with `df` > 0 degrees of freedom."""
    t, df = np.broadcast_arrays(np.asarray(t, np.float64), np.asarray(df, np.float64))
    size = np.minimum(np.abs(t), 1e150)  # squares stay finite
    a, b = 0.5 * df, np.full_like(size, 0.5)
    x = df / (df + size * size)
    y = size * size / (df + size * size)
    # log of x^a y^b / B(a, b), with B(a, 1/2) = sqrt(pi) Gamma(a) / Gamma(a + 1/2).
    log_gap = (
        a * _log1p(0.5 / a)
        + 0.5 * _exact.log(a)
        - 0.5
        + (stirling_error(a + 0.5) - stirling_error(a))
    )
    log_y = _exact.log(np.where(y > 0.0, y, 1.0))
    log_front = -a * _log1p(size * size / df) + 0.5 * log_y - _HALF_LOG_PI + log_gap
    front = np.where(y > 0.0, _exact.exp(log_front), 0.0)
    direct = a * y >= b * x
    fraction = _beta_fraction(
        np.where(direct, a, b),
        np.where(direct, b, a),
        np.where(direct, x, y),
        np.where(direct, y, x),
    )
    both = np.where(direct, front * fraction, 1.0 - front * fraction)
    return np.where(t > 0.0, 0.5 * both, 1.0 - 0.5 * both)


def _beta_fraction(a: Floats, b: Floats, x: Floats, y: Floats) -> Floats:
    """Return I_x(a, b) B(a, b) / (x^a y^b) where y = 1 - x is given too and a y >= b x.

    Unlike the usual fraction in x alone it keeps its digits where x is near 1. Source: DiDonato and
    Morris (1992), Algorithm 708, BFRAC.
    """
    c = 1.0 + (a * y - b * x)
    c0, c1 = b / a, 1.0 + 1.0 / a
    p, s = np.ones_like(x), a + 1.0
    before_n, before_d = np.zeros_like(x), np.ones_like(x)
    now_n, now_d = np.ones_like(x), c / c1
    result = c1 / c
    settled = np.zeros(result.shape, bool)
    for n in range(1, 5000):
        t = n / a
        w = n * (b - n) * x
        e = a / s
        alpha = (p * (p + c0) * e * e) * (w * x)
        e = (t + 1.0) / (c1 + t + t)
        beta = n + w / s + e * (c + n * (1.0 + y))
        p, s = t + 1.0, s + 2.0
        before_n, now_n = now_n, alpha * before_n + beta * now_n
        before_d, now_d = now_d, alpha * before_d + beta * now_d
        # What has settled stays: no number depends on those it is computed with.
        last, result = result, np.where(settled, result, now_n / now_d)
        before_n, before_d = before_n / now_d, before_d / now_d
        now_n, now_d = result, np.ones_like(x)
        settled |= np.abs(result - last) <= 1e-15 * result
        if settled.all():
            break
    return result


def binomial_tail(x: ArrayLike, n: ArrayLike, p: ArrayLike) -> Floats:
    """Return P(X >= x) where X counts successes of probability `p`, in (0, 1), in `n` trials."""
    x, n, p = np.broadcast_arrays(*(np.asarray(a, np.float64) for a in (x, n, p)))
    inner = (x > 0.0) & (x <= n)
    a = np.where(inner, x, 1.0)
    b = np.where(inner, n - x + 1.0, 1.0)
    # I_p(a, b), whose front p^a q^b / B(a, b) is the probability of x itself times x q.
    q = 1.0 - p
    front = _exact.exp(_log_binomial(a, a + b - 1.0, p, q)) * a * q
    direct = a * q >= b * p
    fraction = _beta_fraction(
        np.where(direct, a, b),
        np.where(direct, b, a),
        np.where(direct, p, q),
        np.where(direct, q, p),
    )
    tail = np.clip(np.where(direct, front * fraction, 1.0 - front * fraction), 0.0, 1.0)
    return np.where(inner, tail, np.where(x <= 0.0, 1.0, 0.0))


def chi_square_tail(x: ArrayLike, df: ArrayLike) -> Floats:
    """Return P(X >= x) of the chi-square distribution with `df` > 0 degrees of freedom, x >= 0.

    The incomplete gamma function: its series below the mean, Legendre's continued fraction above.
    Source: Press et al. (2007), "Numerical Recipes", 6.2.
    """
    x, df = np.broadcast_arrays(np.asarray(x, np.float64), np.asarray(df, np.float64))
    a, z = df / 2.0, x / 2.0
    below = z < a + 1.0
    safe = np.where(z > 0.0, z, 1.0)
    # log of z^a e^-z / Gamma(a + 1), with Stirling's error to keep the digits of large a.
    log_front = (a * _exact.log(safe / a) + a - safe) - 0.5 * _exact.log(2.0 * math.pi * a)
    log_front = log_front - (stirling_error(a))
    front = np.where(z > 0.0, _exact.exp(log_front), 0.0)
    series = 1.0 - front * _gamma_series(a, np.where(below, z, 0.0))
    fraction = front * a * _gamma_fraction(a, np.where(below, a + 1.0, z))
    return np.clip(np.where(below, series, fraction), 0.0, 1.0)


def _gamma_series(a: Floats, z: Floats) -> Floats:
    """Return the sum of z^n Gamma(a + 1) / Gamma(a + 1 + n) over n >= 0, for z < a + 1."""
    term, total = np.ones_like(z), np.ones_like(z)
    n = 0.0
    while (term > 1e-17 * total).any():
        n += 1.0
        term = term * (z / (a + n))
        total = total + term
    return total


def _gamma_fraction(a: Floats, z: Floats) -> Floats:
    """Return e^z z^-a times the upper incomplete gamma function, for z >= a + 1, by Lentz's method."""
    b = z + 1.0 - a
    c = np.full_like(z, 1e300)
    d = 1.0 / b
    result = d
    for n in range(1, 100_000):
        step = -n * (n - a)
        b = b + 2.0
        d = 1.0 / (step * d + b)
        c = b + step / c
        result = result * (d * c)
        if (np.abs(d * c - 1.0) <= 1e-15).all():
            break
    return result


def entropy(counts: ArrayLike) -> float:
    """Return the entropy, in nats, of the shares of some counts above 0."""
    counts = np.asarray(counts, np.float64)
    shares = counts / counts.sum()
    return max(0.0, -math.fsum((shares * _exact.log(shares)).tolist()))


def effective_number(entropy: float) -> float:
    """Return how many equal shares have this entropy: e to it."""
    return float(_exact.exp(np.asarray(entropy)))


# ---- what a slice is told by ------------------------------------------------------------------------


def wilson_interval(errors: ArrayLike, size: ArrayLike, confidence: float) -> tuple[Floats, Floats]:
    """Return Wilson's interval for a share, `size` >= 1; 0 and 1 exactly where it reaches them.

    Source: Wilson (1927), "Probable inference, the law of succession, and statistical inference".
    """
    errors, size = np.asarray(errors, np.float64), np.asarray(size, np.float64)
    z = float(normal_quantile(0.5 + 0.5 * confidence))
    rate = errors / size
    shrink = 1.0 / (1.0 + z * z / size)
    center = (rate + z * z / (2.0 * size)) * shrink
    half = z * shrink * np.sqrt(rate * (1.0 - rate) / size + (z / (2.0 * size)) ** 2)
    low = np.where(errors == 0.0, 0.0, np.clip(center - half, 0.0, 1.0))
    high = np.where(errors == size, 1.0, np.clip(center + half, 0.0, 1.0))
    return low, high


def bounded_interval(
    mean: ArrayLike, deviation: ArrayLike, size: ArrayLike, most: float, confidence: float
) -> tuple[Floats, Floats]:
    """Return an interval for the mean of losses in [0, most]; all of it where there is one row.

    The empirical Bernstein bound, each side at half of what `confidence` leaves: it holds at every
    size, however the losses are distributed. `deviation` is the sum of squared distances from the
    mean. Source: Maurer and Pontil (2009), "Empirical Bernstein bounds", theorem 4.
    """
    mean, deviation, size = (np.asarray(a, np.float64) for a in (mean, deviation, size))
    log_term = float(_exact.log(np.asarray(4.0 / (1.0 - confidence))))
    free = np.maximum(size - 1.0, 1.0)
    variance = np.maximum(deviation, 0.0) / free
    half = np.sqrt(2.0 * variance * log_term / size) + 7.0 * most * log_term / (3.0 * free)
    half = np.where(size < 2.0, most, half)
    return np.maximum(mean - half, 0.0), np.minimum(mean + half, most)


def student_quantile(p: float, df: ArrayLike) -> Floats:
    """Return the quantile at `p` in [0.5, 1) of Student's t with `df` >= 1 degrees of freedom; at most 2^500.

    By bisection of `student_tail`, which only falls: to the last bits.
    """
    df = np.asarray(df, np.float64)
    each, place = np.unique(df, return_inverse=True)
    low, high = np.zeros_like(each), np.ones_like(each)
    while (short := (student_tail(high, each) > 1.0 - p) & (high < 2.0**500)).any():
        low[short], high[short] = high[short], 2.0 * high[short]
    for _ in range(64):
        middle = 0.5 * (low + high)
        above = student_tail(middle, each) > 1.0 - p
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return np.asarray(high[place].reshape(df.shape))


def unbounded_interval(
    mean: ArrayLike,
    deviation: ArrayLike,
    size: ArrayLike,
    rest_deviation: ArrayLike,
    rest_size: ArrayLike,
    confidence: float,
) -> tuple[Floats, Floats]:
    """Return Student's interval for the mean of losses of at least 0; [0, inf) where there is one row.

    It holds where means of so many losses are near normal. A group without any spread borrows that of
    the rest. Source: Student (1908), "The probable error of a mean".
    """
    mean, deviation, size, rest_deviation, rest_size = (
        np.asarray(a, np.float64) for a in (mean, deviation, size, rest_deviation, rest_size)
    )
    free = np.maximum(size - 1.0, 1.0)
    own = np.maximum(deviation, 0.0) / free
    other = np.maximum(rest_deviation, 0.0) / np.maximum(rest_size - 1.0, 1.0)
    variance = np.where(own > 0.0, own, other)
    half = student_quantile(0.5 + 0.5 * confidence, free) * np.sqrt(
        variance / np.maximum(size, 1.0)
    )
    half = np.where(size < 2.0, np.inf, half)
    return np.maximum(mean - half, 0.0), mean + half


def welch_tail(
    mean: ArrayLike,
    deviation: ArrayLike,
    size: ArrayLike,
    rest_mean: ArrayLike,
    rest_deviation: ArrayLike,
    rest_size: ArrayLike,
) -> Floats:
    """Return the p-value of Welch's test that a group's mean is above that of the rest.

    A side of one row or of no variance tells nothing of its spread and borrows the other's (for one
    row this is the test of Crawford and Howell, 1998). Where neither side has any, each is constant
    and the permutation test is exact: a random group of this size is this one with probability
    1 / C(size + rest_size, size). Without rest, or without excess, of constant sides: 1.
    """
    m1, s1, n1, m2, s2, n2 = np.broadcast_arrays(
        *(
            np.asarray(a, np.float64)
            for a in (mean, deviation, size, rest_mean, rest_deviation, rest_size)
        )
    )
    v1 = np.maximum(s1, 0.0) / np.maximum(n1 - 1.0, 1.0)
    v2 = np.maximum(s2, 0.0) / np.maximum(n2 - 1.0, 1.0)
    known1, known2 = (n1 > 1.0) & (v1 > 0.0), (n2 > 1.0) & (v2 > 0.0)
    e1 = np.where(known1, v1, v2) / np.maximum(n1, 1.0)
    e2 = np.where(known2, v2, v1) / np.maximum(n2, 1.0)
    error = np.where(known1 | known2, e1 + e2, 1.0)
    share = e1 / error
    free1, free2 = np.maximum(n1 - 1.0, 1.0), np.maximum(n2 - 1.0, 1.0)
    df = 1.0 / np.where(known1 & known2, share**2 / free1 + (1.0 - share) ** 2 / free2, 1.0)
    df = np.where(known1 & known2, df, np.where(known1, free1, free2))
    p = student_tail((m1 - m2) / np.sqrt(error), df)
    constant = ~known1 & ~known2 & (n2 > 0.0)
    exact = hypergeometric_tail(n1, n1 + np.maximum(n2, 1.0), n1, n1)
    p = np.where(constant, np.where(m1 > m2, exact, 1.0), p)
    return np.where(n2 > 0.0, p, 1.0)


def benjamini_hochberg(p: ArrayLike) -> Floats:
    """Return q-values: the least false discovery rate at which each test is among the found.

    Source: Benjamini and Hochberg (1995).
    """
    p = np.asarray(p, np.float64)
    order = np.argsort(p, kind="stable")
    scaled = p[order] * (p.size / np.arange(1.0, p.size + 1.0))
    q = np.empty_like(p)
    q[order] = np.minimum.accumulate(scaled[::-1])[::-1]
    q[q > 1.0] = 1.0
    return q
