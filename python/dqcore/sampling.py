"""How many rows to review, and what a review says: acceptance plans, sequential tests, stratified estimates."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _check, _proportions, _stats
from ._slice_counts import confidence_level

_MOST_ERRORS = (
    1 << 16
)  # that a plan may accept: beyond, the two rates are too near to be told apart
_MOST_ROWS = 1 << 40
_NEAR = 16
_LEAST_SHARE = 1e-12  # one less this keeps four of its digits

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class SamplingPlan(NamedTuple):
    """Review `n` rows drawn at random; accept the batch where at most `max_errors` of them are wrong.

    Attributes
    ----------
    n, max_errors : int
    p_bad : float
        Share of wrong rows that must be found out.
    p_good : float or None
        Share that must be let pass; None for a plan that accepts no error.
    beta : float
        Probability of accepting a batch with `p_bad` wrong, as it turns out; at most what was asked.
    alpha : float or None
        Probability of refusing one with `p_good` wrong.
    lot_size : int or None
        Rows of the batch; None where it is many times the rows reviewed.
    """

    n: int
    max_errors: int
    p_bad: float
    p_good: float | None
    beta: float
    alpha: float | None
    lot_size: int | None

    def decide(self, n_errors: int) -> str:
        """Return "accept" or "reject" for a review that found `n_errors`."""
        found = _check.integer("n_errors", n_errors, 0, self.n)
        return "accept" if found <= self.max_errors else "reject"

    def acceptance(self, rate: float) -> float:
        """Return the probability that a batch with this share of wrong rows is accepted.

        Of a lot, the share is taken to the nearest whole row.
        """
        share = _check.number("rate", rate, 0.0, 1.0)
        if self.lot_size is not None:
            return _accepted_of_lot(self.max_errors, self.n, self.lot_size)(
                round(share * self.lot_size)
            )
        if not _LEAST_SHARE <= share <= 1.0 - _LEAST_SHARE:
            return float(share < 0.5 or self.max_errors >= self.n)
        return float(_proportions.at_most(self.max_errors, self.n, share))


class SequentialPlan(NamedTuple):
    """Wald's sequential test: review rows one by one until the errors found decide.

    Attributes
    ----------
    p_good, p_bad : float
        Shares of wrong rows to accept and to reject.
    alpha, beta : float
        Bounds, nearly, for the probabilities of rejecting a batch with `p_good` wrong and accepting one with `p_bad`.
    """

    p_good: float
    p_bad: float
    alpha: float
    beta: float

    def log_ratio(self, n_errors: int, n_reviewed: int) -> float:
        """Return the log of how much likelier the errors found are at `p_bad` than at `p_good`."""
        x = _check.integer("n_errors", n_errors, 0, _MOST_ROWS)
        n = _check.integer("n_reviewed", n_reviewed, 0, _MOST_ROWS)
        if x > n:
            raise ValueError(f"n_errors must be at most n_reviewed = {n}, got {x}")
        return x * math.log(self.p_bad / self.p_good) + (n - x) * (
            math.log1p(-self.p_bad) - math.log1p(-self.p_good)
        )

    def decide(self, n_errors: int, n_reviewed: int) -> str:
        """Return "accept", "reject", or "continue" to review more."""
        ratio = self.log_ratio(n_errors, n_reviewed)
        if ratio <= math.log(self.beta / (1.0 - self.alpha)):
            return "accept"
        return "reject" if ratio >= math.log((1.0 - self.beta) / self.alpha) else "continue"


class StratifiedEstimate(NamedTuple):
    """The share of wrong rows, from reviews of some rows of each stratum.

    Attributes
    ----------
    rate, low, high : float
        Share over all strata, and its interval.
    variance : float
        Of the rate, estimated: sum of W^2 p (1 - p) / (n - 1) (1 - n / N), W = N / sum of N; NaN where a stratum that
        is not reviewed whole has one row reviewed.
    rates : (n_strata,) float64
        Share of each stratum.
    confidence : float
    """

    rate: float
    low: float
    high: float
    variance: float
    rates: Floats
    confidence: float


def sampling_plan(
    p_bad: float,
    *,
    p_good: float | None = None,
    beta: float = 0.05,
    alpha: float = 0.05,
    lot_size: int | None = None,
) -> SamplingPlan:
    """Return the smallest review that tells a bad batch from a good one.

    Parameters
    ----------
    p_bad : float in [1e-12, 1 - 1e-12]
        Share of wrong rows of a batch that must be refused.
    p_good : float in [1e-12, p_bad), optional
        Share of wrong rows of a batch that must be accepted. Default: none is wanted, and the plan accepts no error.
    beta : float in (0, 1)
        Most probability of accepting a bad batch.
    alpha : float in (0, 1)
        Most probability of refusing a good batch.
    lot_size : int, optional
        Rows of the batch, where they are not many times those reviewed: draws are then without replacement
        (hypergeometric), else binomial.

    Returns
    -------
    SamplingPlan

    Raises
    ------
    TypeError
        A number is of another type.
    ValueError
        A number is out of range, or `p_good` and `p_bad` are too near to be told apart.

    References
    ----------
    Dodge and Romig (1929), "A method of sampling inspection". Guenther (1969), "Use of the binomial, hypergeometric and
    Poisson tables to obtain sampling plans".

    Examples
    --------
    >>> import dqcore as dq
    >>> dq.sampling_plan(0.05).n, dq.sampling_plan(0.01).n
    (59, 299)
    >>> plan = dq.sampling_plan(0.05, p_good=0.01)
    >>> plan.n, plan.max_errors
    (181, 4)
    """
    bad = _share("p_bad", p_bad)
    good = None if p_good is None else _share("p_good", p_good)
    consumer, producer = _rate("beta", beta), _rate("alpha", alpha)
    lot = None if lot_size is None else _check.integer("lot_size", lot_size, 1, 2**53)
    if good is not None and good >= bad:
        raise ValueError(f"p_good must be below p_bad = {bad}, got {good}")
    chance = _Chances.of(bad, good, lot)

    def found(c: Ints) -> tuple[Ints, NDArray[np.bool_]]:
        rows = chance.least_rows(c, consumer)
        return rows, (chance.bad(c, rows) <= consumer) & (1.0 - chance.good(c, rows) <= producer)

    c = _least_errors(lambda c: found(np.array([c]))[1][0], chance.most_errors)
    if c is None:
        raise ValueError(
            f"p_bad must be larger: a plan for it reviews more than {_MOST_ROWS} rows"
            if good is None
            else "p_good must be farther from p_bad: a plan that tells them apart accepts more than "
            f"{_MOST_ERRORS} errors"
        )
    # By steps of one row a plan of a few errors less may do as well.
    few = np.arange(max(0, c - _NEAR), c + 1)
    rows, works = found(few)
    i = int(np.argmax(works))
    at = few[i : i + 1], rows[i : i + 1]
    return SamplingPlan(
        int(rows[i]),
        int(few[i]),
        bad,
        good,
        float(chance.bad(*at)[0]),
        None if good is None else max(0.0, float(1.0 - chance.good(*at)[0])),
        lot,
    )


def sequential_plan(
    p_good: float, p_bad: float, *, alpha: float = 0.05, beta: float = 0.05
) -> SequentialPlan:
    """Return Wald's sequential probability ratio test of two shares of wrong rows.

    Parameters
    ----------
    p_good, p_bad : float in [1e-12, 1 - 1e-12]
        Shares of wrong rows to accept and to reject, p_good < p_bad.
    alpha : float in (0, 1)
        Probability of rejecting a good batch.
    beta : float in (0, 1)
        Probability of accepting a bad one, alpha + beta < 1.

    Returns
    -------
    SequentialPlan
        Its `decide` says after each row whether to go on.

    Raises
    ------
    TypeError
        A number is of another type.
    ValueError
        A number is out of range.

    References
    ----------
    Wald (1945), "Sequential tests of statistical hypotheses", Annals of Mathematical Statistics 16.

    Examples
    --------
    >>> import dqcore as dq
    >>> plan = dq.sequential_plan(0.01, 0.05)
    >>> plan.decide(0, 20), plan.decide(0, 72), plan.decide(4, 40)
    ('continue', 'accept', 'reject')
    """
    good, bad = _share("p_good", p_good), _share("p_bad", p_bad)
    if good >= bad:
        raise ValueError(f"p_good must be below p_bad = {bad}, got {good}")
    producer, consumer = _rate("alpha", alpha), _rate("beta", beta)
    if producer + consumer >= 1.0:
        raise ValueError(f"alpha and beta must be below 1 together, got {producer} and {consumer}")
    return SequentialPlan(good, bad, producer, consumer)


def neyman_allocation(n: int, sizes: ArrayLike, rates: ArrayLike) -> Ints:
    """Share out a review among strata so that the estimate of the whole varies least.

    Parameters
    ----------
    n : int
        Rows to review in all, from twice the strata (or all of the smaller ones) to all rows.
    sizes : (n_strata,) array_like of int
        Rows of each stratum.
    rates : (n_strata,) array_like of float
        Expected share of wrong rows of each, such as what a model flags. Where none is between 0 and 1 strata get rows
        by their size.

    Returns
    -------
    (n_strata,) int64
        Rows to review of each: they sum to n, are at least 2 (or all) of a stratum with rows, at most its size, and
        otherwise nearly N sqrt(p (1 - p)); the sum of N^2 p (1 - p) / n is the least of all whole numbers.

    Raises
    ------
    TypeError
        Numbers of another type.
    ValueError
        Lengths differ, or a number is out of range.

    References
    ----------
    Neyman (1934). Wright (2012), "The equivalence of Neyman optimum allocation for sampling and equal proportions for
    apportioning the U.S. House of Representatives", The American Statistician 66.

    Examples
    --------
    >>> import dqcore as dq
    >>> dq.neyman_allocation(100, [9000, 1000], [0.01, 0.5])
    array([64, 36])
    """
    rows = _strata("sizes", sizes)
    share = _shares("rates", rates)
    _check.same_length("sizes", len(rows), "rates", len(share))
    least = np.minimum(rows, 2)
    total = int(rows.sum())
    count = _check.integer("n", n, int(least.sum()), total)
    spread = np.sqrt(share * (1.0 - share))
    weight = rows * (spread if (spread * rows).any() else np.ones(len(rows)))

    def given(bar: float) -> Ints:
        # The k-th row of a stratum, k > 2, is worth weight / sqrt(k (k - 1)).
        many = np.floor(0.5 + np.sqrt(0.25 + (weight / bar) ** 2))
        return np.clip(np.minimum(many, 2.0**53).astype(np.int64), least, rows)

    high = float(weight.max(initial=1.0)) + 1.0  # at this bar none gets more than the least
    low = high * 2.0**-100
    for _ in range(160):
        bar = math.sqrt(low * high)
        low, high = (bar, high) if int(given(bar).sum()) > count else (low, bar)
    found = given(high)
    left = count - int(found.sum())
    while left > 0:  # ties at the bar, and strata that no bar reaches
        open_ = np.flatnonzero(found < rows)
        worth = weight[open_] / np.sqrt(found[open_] * (found[open_] + 1.0))
        best = open_[np.argsort(-worth, kind="stable")[:left]]
        if not weight[best].any():  # of no worth: fill up from the first
            room = rows[open_] - found[open_]
            found[open_] += np.clip(left - (np.cumsum(room) - room), 0, room)
            break
        found[best] += 1
        left -= len(best)
    return found


def stratified_estimate(
    n_errors: ArrayLike, n_reviewed: ArrayLike, sizes: ArrayLike, *, confidence: float = 0.95
) -> StratifiedEstimate:
    """Estimate the share of wrong rows from reviews of each stratum.

    Parameters
    ----------
    n_errors : (n_strata,) array_like of int
        Wrong rows among those reviewed.
    n_reviewed : (n_strata,) array_like of int
        Rows reviewed, drawn at random from the stratum: at least 1 where it has rows.
    sizes : (n_strata,) array_like of int
        Rows of each stratum.
    confidence : float in (0, 1)
        Of the interval: Wilson's for as many rows as would vary alike. That variance is taken with one more right and
        one more wrong row in each stratum, so that strata where nothing was found say no more than they can.

    Returns
    -------
    StratifiedEstimate

    Raises
    ------
    TypeError
        Numbers of another type.
    ValueError
        Lengths differ; n_errors are more than the rows reviewed, or those more than the stratum's; a stratum with rows
        has none reviewed; there are no rows.

    References
    ----------
    Cochran (1977), "Sampling techniques", chapter 5. Korn and Graubard (1998), "Confidence intervals for proportions with
    small expected number of positive counts estimated from survey data".

    Examples
    --------
    >>> import dqcore as dq
    >>> found = dq.stratified_estimate([1, 18], [64, 36], [9000, 1000])
    >>> round(found.rate, 4), round(found.low, 4), round(found.high, 4)
    (0.0641, 0.0356, 0.1125)
    """
    wrong, seen = _strata("n_errors", n_errors), _strata("n_reviewed", n_reviewed)
    rows = _strata("sizes", sizes)
    for name, values in (("n_errors", wrong), ("n_reviewed", seen)):
        _check.same_length("sizes", len(rows), name, len(values))
    for name, values, bad, want in (
        ("n_errors", wrong, wrong > seen, "at most n_reviewed"),
        ("n_reviewed", seen, seen > rows, "at most sizes"),
        ("n_reviewed", seen, (seen == 0) & (rows > 0), "at least 1 in a stratum with rows"),
    ):
        if bad.any():
            raise _check.first_bad(name, values, bad, f"(n_strata,) whole numbers, {want}")
    total = int(rows.sum())
    if not total:
        raise ValueError("sizes must have a stratum with rows, got none")
    confidence = confidence_level(confidence)
    share = rows / total
    reviewed = np.maximum(seen, 1)
    rates = np.where(seen > 0, wrong / reviewed, np.nan)
    known = np.where(seen > 0, wrong / reviewed, 0.0)
    left = 1.0 - np.where(rows > 0, seen / np.maximum(rows, 1), 1.0)  # of the stratum, not reviewed
    rate = math.fsum((share * known).tolist())
    with np.errstate(divide="ignore", invalid="ignore"):
        each = np.where(left > 0.0, share**2 * known * (1.0 - known) / (seen - 1) * left, 0.0)
    variance = math.fsum(each.tolist()) if np.isfinite(each).all() else math.nan
    smooth = (wrong + 1.0) / (seen + 2.0)
    spread = math.fsum((share**2 * smooth * (1.0 - smooth) / reviewed * left).tolist())
    middle = math.fsum((share * np.where(left > 0.0, smooth, known)).tolist())
    low = high = rate
    if spread > 0.0:
        effective = max(1.0, middle * (1.0 - middle) / spread)
        low, high = (
            float(end) for end in _stats.wilson_interval(rate * effective, effective, confidence)
        )
    # Rows that were seen are known whatever the others are.
    least = float(wrong.sum()) / total
    most = 1.0 - float((seen - wrong).sum()) / total
    return StratifiedEstimate(
        rate,
        min(max(low, least), rate),
        max(min(high, most), rate),
        variance,
        rates,
        confidence,
    )


# ---- checks ------------------------------------------------------------------------------------------


def _rate(name: str, value: object) -> float:
    result = _check.number(name, value, 0.0, 1.0)
    if result in (0.0, 1.0):
        raise ValueError(f"{name} must be above 0 and below 1, got {result}")
    return result


def _share(name: str, value: object) -> float:
    return _check.number(name, value, _LEAST_SHARE, 1.0 - _LEAST_SHARE)


def _strata(name: str, value: object) -> Ints:
    want = "(n_strata,) whole numbers of at least 0, below 2^53 together"
    values = _check.integers(name, value, want)
    bad = (values < 0) | (values >= 2**53)
    if bad.any():
        raise _check.first_bad(name, values, bad, want)
    if float(values.sum(dtype=np.float64)) >= 2.0**53:
        raise ValueError(f"{name} must be {want}")
    return values


def _shares(name: str, value: object) -> Floats:
    want = "(n_strata,) numbers in [0, 1]"
    values = _check.array(name, value, 1, want)
    if values.dtype.kind not in "iuf":
        if values.size:
            raise _check.other_dtype(name, values, want)
        values = values.astype(np.float64)
    bad = ~((values >= 0) & (values <= 1))
    if bad.any():
        raise _check.first_bad(name, values, bad, want)
    return values.astype(np.float64)


# ---- plans -------------------------------------------------------------------------------------------

_ROUNDING = 1e-12  # 0.07 * 100 is a little more than 7


def _ceil(x: float) -> int:
    return math.ceil(x * (1.0 - _ROUNDING))


def _floor(x: float) -> int:
    return math.floor(x * (1.0 + _ROUNDING))


def _accepted_of_lot(max_errors: int, n: int, lot: int) -> Callable[[int], float]:
    return lambda wrong: float(_proportions.at_most_in_lot(max_errors, lot, wrong, n))


@dataclass(frozen=True)
class _Chances:
    """Probabilities that a bad and a good batch are accepted, by the errors accepted and the rows reviewed."""

    bad: Callable[[Ints, Ints], Floats]
    good: Callable[[Ints, Ints], Floats]
    p_bad: float
    most_rows: int
    most_errors: int  # a plan accepts fewer

    @classmethod
    def of(cls, bad: float, good: float | None, lot: int | None) -> _Chances:
        at_most, in_lot = _proportions.at_most, _proportions.at_most_in_lot

        def always(c: Ints, _: Ints) -> Floats:
            return np.ones(len(c))

        if lot is None:
            return cls(
                lambda c, n: at_most(c, n, bad),
                always if good is None else lambda c, n: at_most(c, n, good),
                bad,
                _MOST_ROWS,
                _MOST_ERRORS,
            )
        wrong, let = max(1, _ceil(bad * lot)), _floor((good or 0.0) * lot)
        if let >= wrong:
            raise ValueError(
                f"lot_size must be larger to tell p_good from p_bad: of {lot} rows {let} are wrong"
            )
        return cls(
            lambda c, n: in_lot(c, lot, wrong, n),
            always if good is None else lambda c, n: in_lot(c, lot, let, n),
            wrong / lot,
            lot,
            min(_MOST_ERRORS, wrong),  # who accepts all that are wrong accepts always
        )

    def least_rows(self, c: Ints, beta: float) -> Ints:
        """Return for each number of errors the least rows at which a bad batch is accepted with at most beta.

        More rows never make that likelier. Above by Chernoff's bound, P(X <= m - t) <= exp(-t^2 / 2m) for X of mean m.
        """
        bits = -math.log(beta)
        above = np.ceil((c + bits + np.sqrt(bits * bits + 2.0 * c * bits)) / self.p_bad) + 1.0
        high: Ints = np.clip(above, c + 1.0, self.most_rows).astype(np.int64)
        low = np.minimum(c, high - 1)  # as many errors as rows: always accepted
        while (high - low > 1).any():
            middle = np.maximum((low + high) // 2, low + 1)
            enough = self.bad(c, middle) <= beta
            high, low = np.where(enough, middle, high), np.where(enough, low, middle)
        return high


def _least_errors(works: Callable[[int], bool], most: int) -> int | None:
    """Return a number of errors below `most` at which a plan works though one of one less does not; None for none."""
    if works(0):
        return 0
    low, high = 0, 1
    while high >= most or not works(high):
        if low >= most - 1:
            return None
        low, high = (high, 2 * high) if high < most else (low, most - 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if works(middle) else (middle, high)
    return high
