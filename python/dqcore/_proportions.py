"""Exact intervals and tests for shares, and for means of scores in [0, 1], at any number of rows; NumPy alone."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _stats

Floats = NDArray[np.float64]

_HALVINGS = 60  # of an interval in [0, 1]
_LEAST = 2.0**-53  # one less this is still below one


def at_most(x: ArrayLike, n: ArrayLike, p: ArrayLike) -> Floats:
    """Return P(X <= x) where X counts errors of probability `p`, in (0, 1), in `n` rows.

    Summed from its own side, so that small probabilities keep their digits.
    """
    x, n, p = np.broadcast_arrays(*(np.asarray(a, np.float64) for a in (x, n, p)))
    return _stats.binomial_tail(n - x, n, 1.0 - p)


def at_most_in_lot(x: ArrayLike, lot: ArrayLike, wrong: ArrayLike, n: ArrayLike) -> Floats:
    """Return P(X <= x) where X of `n` rows drawn from a lot are among its `wrong` ones."""
    x, lot, wrong, n = (np.asarray(a, np.float64) for a in (x, lot, wrong, n))
    return _stats.hypergeometric_tail(n - x, lot, lot - wrong, n)


def clopper_pearson_interval(
    errors: ArrayLike, n: ArrayLike, confidence: float
) -> tuple[Floats, Floats]:
    """Return the exact interval for a share, `n` >= 1; it holds at every share. Source: Clopper and Pearson (1934)."""
    errors, n = np.broadcast_arrays(np.asarray(errors, np.float64), np.asarray(n, np.float64))
    side = 0.5 * (1.0 - confidence)
    low = _bisect(errors.shape, lambda p: _stats.binomial_tail(errors, n, p) <= side)
    high = _bisect(errors.shape, lambda p: at_most(errors, n, p) > side)
    return np.where(errors == 0.0, 0.0, low), np.where(errors == n, 1.0, high)


def chernoff_interval(mean: ArrayLike, n: ArrayLike, confidence: float) -> tuple[Floats, Floats]:
    """Return an interval for the mean of `n` independent numbers in [0, 1]; it holds at every size.

    All means m with n kl(mean, m) <= log(2 / (1 - confidence)), kl the relative entropy of two shares. Source: Hoeffding
    (1963), theorem 1, which is Chernoff's bound where the numbers are 0 and 1.
    """
    mean, n = np.broadcast_arrays(np.asarray(mean, np.float64), np.asarray(n, np.float64))
    most = math.log(2.0 / (1.0 - confidence)) / n
    low = _bisect(mean.shape, lambda m: (m < mean) & (_relative_entropy(mean, m) > most))
    high = _bisect(mean.shape, lambda m: (m < mean) | (_relative_entropy(mean, m) <= most))
    return np.where(mean <= 0.0, 0.0, low), np.where(mean >= 1.0, 1.0, high)


def hoeffding_interval(mean: float, n: float, confidence: float) -> tuple[float, float]:
    """Return the same for scores of unequal weights, `n` being 1 over the sum of their squared shares.

    Source: Hoeffding (1963), theorem 2.
    """
    half = math.sqrt(math.log(2.0 / (1.0 - confidence)) / (2.0 * n))
    return max(0.0, mean - half), min(1.0, mean + half)


def _relative_entropy(mean: Floats, m: Floats) -> Floats:
    """Return mean log(mean / m) + (1 - mean) log((1 - mean) / (1 - m)) for m in (0, 1)."""
    a = np.where(mean > 0.0, mean, 1.0)
    b = np.where(mean < 1.0, 1.0 - mean, 1.0)
    first = np.where(mean > 0.0, mean * (np.log(a) - np.log(m)), 0.0)
    second = np.where(mean < 1.0, (1.0 - mean) * (np.log(b) - np.log1p(-m)), 0.0)
    return first + second


def _bisect(shape: tuple[int, ...], below: Callable[[Floats], NDArray[np.bool_]]) -> Floats:
    """Return for each entry where in (0, 1) `below` turns from True to False."""
    low, high = np.zeros(shape), np.ones(shape)
    for _ in range(_HALVINGS):
        middle = np.clip(0.5 * (low + high), _LEAST, 1.0 - _LEAST)
        still = below(middle)
        low, high = np.where(still, middle, low), np.where(still, high, middle)
    return 0.5 * (low + high)
