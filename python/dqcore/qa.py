"""Quality of annotated batches: scores of tasks, and whether a batch or each of its slices keeps an agreed level."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _check, _proportions, _stats
from ._slice_counts import confidence_level
from .slice_table import Slice, SliceTable

INTERVALS = ("bounded", "t")
CORRECTIONS = ("bonferroni", "none")
# An error that spoils its item whole, and one that spoils a fifth of it.
SEVERITIES = {"critical": 1.0, "minor": 0.2}
_MOST_NEEDED = 1 << 40  # a batch that would take more is not decided by more of the same

Floats = NDArray[np.float64]


class BatchVerdict(NamedTuple):
    """Whether a batch keeps an agreed level.

    Attributes
    ----------
    score : float
        Mean of the tasks' scores, or by weight; NaN without tasks.
    low, high : float
        Its interval.
    sla : float
        The level agreed.
    passes : bool
        The point rule: score >= sla.
    verdict : str
        By the interval: "pass" where low >= sla, "fail" where high < sla, else "undecided".
    n_tasks, n_skipped : int
        Tasks with a score, and tasks without items.
    n_needed : int or None
        Tasks after which the same mean and spread would decide; None where none would do, as where the score is the
        level itself.
    confidence : float
    """

    score: float
    low: float
    high: float
    sla: float
    passes: bool
    verdict: str
    n_tasks: int
    n_skipped: int
    n_needed: int | None
    confidence: float


def task_scores(
    n_items: ArrayLike,
    errors: Mapping[str, ArrayLike],
    *,
    weights: Mapping[str, float] | None = None,
) -> Floats:
    """Score each task by its errors: 1 less the weighted errors for each item, at least 0.

    Parameters
    ----------
    n_items : (n_tasks,) array_like of int
        Items in each task, such as the shapes drawn in an image.
    errors : mapping of str to (n_tasks,) array_like of int
        Errors found in each task, by severity.
    weights : mapping of str to float, optional
        How much of an item an error of each severity spoils, in [0, 1]. Default: critical 1, minor 0.2.

    Returns
    -------
    (n_tasks,) float64
        In [0, 1]; NaN for a task without items, which `batch_verdict` skips and counts.

    Raises
    ------
    TypeError
        Numbers of another type; `errors` or `weights` is no mapping.
    ValueError
        Lengths differ; a number is out of range; a severity has no weight; errors in a task without items.

    Examples
    --------
    >>> import dqcore as dq
    >>> dq.task_scores([10, 10, 20, 10], {"critical": [1, 0, 0, 0], "minor": [0, 0, 1, 1]})
    array([0.9 , 1.  , 0.99, 0.98])
    """
    items = _counts("n_items", n_items)
    known = _severities(weights)
    if not isinstance(errors, Mapping):
        raise TypeError(
            f"errors must map severities to (n_tasks,) counts, got {_check.shown(errors)}"
        )
    penalty = np.zeros(len(items))
    for severity, found in errors.items():
        if not isinstance(severity, str) or severity not in known:
            raise ValueError(
                f"errors must have severities among those of weights, {list(known)}, "
                f"got {_check.shown(severity)}"
            )
        name = f"errors[{_check.shown(severity)}]"
        count = _counts(name, found)
        _check.same_length("n_items", len(items), name, len(count))
        nothing = (items == 0) & (count > 0)
        if nothing.any():
            raise _check.first_bad(name, count, nothing, "0 in a task without items")
        penalty += known[severity] * count
    scores = np.maximum(0.0, 1.0 - penalty / np.maximum(items, 1))
    return np.where(items > 0, scores, np.nan)


def batch_verdict(
    scores: ArrayLike,
    sla: float,
    *,
    weights: ArrayLike | None = None,
    interval: str = "bounded",
    confidence: float = 0.95,
) -> BatchVerdict:
    """Decide whether a batch of tasks keeps an agreed level: by its mean score, and by the interval of that.

    Parameters
    ----------
    scores : (n_tasks,) array_like of float or bool
        Score of each reviewed task in [0, 1], such as those of `task_scores`; NaN for a task without items. Whether a
        task was right does as well.
    sla : float
        The level agreed, in [0, 1].
    weights : (n_tasks,) array_like of float, optional
        Weight of each task, such as its items: the score is then that of all items together. Default: all alike.
    interval : {"bounded", "t"}
        "bounded" is valid at every number of tasks and for every spread of scores: Clopper and Pearson's where every
        score is 0 or 1 and tasks weigh alike, else what the bounds of Chernoff (Hoeffding's with weights) and of Maurer
        and Pontil, each at half of the error, leave together. "t" is Student's: narrower, right for many tasks whose
        scores vary; where they do not vary it says nothing and the other is taken.
    confidence : float in (0, 1)
        Of the interval.

    Returns
    -------
    BatchVerdict

    Raises
    ------
    TypeError
        Numbers of another type.
    ValueError
        A score or `sla` is outside [0, 1]; lengths differ; weights are negative or all 0.

    References
    ----------
    Clopper and Pearson (1934). Hoeffding (1963), "Probability inequalities for sums of bounded random variables".
    Maurer and Pontil (2009), "Empirical Bernstein bounds".

    Examples
    --------
    >>> import dqcore as dq
    >>> found = dq.batch_verdict([0.90, 1.00, 0.99, 0.98], sla=0.95)
    >>> round(found.score, 4), found.passes, found.verdict
    (0.9675, True, 'undecided')
    """
    given = _scores(scores)
    level = _check.number("sla", sla, 0.0, 1.0)
    kind = _check.choice("interval", interval, INTERVALS)
    confidence = confidence_level(confidence)
    weight = None if weights is None else _weights(weights, len(given))
    scored = ~np.isnan(given)
    values = given[scored]
    n, skipped = len(values), len(given) - len(values)
    if not n:
        return BatchVerdict(
            math.nan, 0.0, 1.0, level, False, "undecided", 0, skipped, None, confidence
        )
    share = np.full(n, 1.0 / n)
    if weight is not None:
        weight = weight[scored]
        if not weight.sum() > 0.0:
            raise ValueError("weights must be above 0 in a task with a score, got none such")
        share = weight / weight.sum()
    batch = _Batch.of(values, share)
    low, high = batch.interval(kind, confidence)
    verdict = decide(low, high, level)
    needed = n if verdict != "undecided" else batch.needed(kind, confidence, level)
    # A mean of scores that are all the level itself must not fail by a rounding.
    passes = batch.mean >= level or math.isclose(batch.mean, level, rel_tol=1e-12)
    return BatchVerdict(
        batch.mean, low, high, level, passes, verdict, n, skipped, needed, confidence
    )


def decide(low: float, high: float, sla: float) -> str:
    """Return "pass" where an interval of a score is at or above the level, "fail" where below, else "undecided"."""
    return "pass" if low >= sla else "fail" if high < sla else "undecided"


@dataclass(frozen=True)
class _Batch:
    """What an interval needs of scores."""

    n: int
    effective: float  # tasks of one weight that vary as much: 1 / sum of squared shares
    mean: float
    variance: float  # of one score, unbiased
    binary: bool  # scores of 0 and 1 that weigh alike
    alike: bool

    @classmethod
    def of(cls, values: Floats, share: Floats) -> _Batch:
        n = len(values)
        alike = bool((share == share[0]).all())
        mean = math.fsum(values.tolist()) / n if alike else math.fsum((values * share).tolist())
        effective = n if alike else 1.0 / math.fsum((share * share).tolist())
        off = (values - mean) ** 2
        spread = math.fsum((off if alike else off * share).tolist()) / (n if alike else 1.0)
        free = 1.0 - 1.0 / effective
        binary = alike and bool(np.isin(values, (0.0, 1.0)).all())
        return cls(n, effective, mean, spread / free if free > 1e-12 else 0.0, binary, alike)

    def interval(self, kind: str, confidence: float, times: float = 1.0) -> tuple[float, float]:
        """Return the interval of the mean, were there `times` as many tasks of the same kind."""
        n = self.effective * times
        if kind == "t" and self.variance > 0.0 and n > 1.0:
            t = float(_stats.student_quantile(0.5 + 0.5 * confidence, n - 1.0))
            half = t * math.sqrt(self.variance / n)
            return max(0.0, self.mean - half), min(1.0, self.mean + half)
        if self.binary:
            tasks = round(n)  # n / self.n * self.n may miss a whole number by a rounding
            low, high = _proportions.clopper_pearson_interval(
                round(self.mean * tasks), tasks, confidence
            )
            return float(low), float(high)
        if not self.alike:  # the other two are for scores that weigh alike
            return _proportions.hoeffding_interval(self.mean, n, confidence)
        half_each = 0.5 + 0.5 * confidence
        one = _proportions.chernoff_interval(self.mean, n, half_each)
        deviation = self.variance * (n - 1.0)
        other = _stats.bounded_interval(self.mean, deviation, n, 1.0, half_each)
        return max(float(one[0]), float(other[0])), min(float(one[1]), float(other[1]))

    def needed(self, kind: str, confidence: float, sla: float) -> int | None:
        """Return the least number of tasks after which this mean and spread decide, found by halving."""

        def decided(n: int) -> bool:
            return decide(*self.interval(kind, confidence, n / self.n), sla) != "undecided"

        most = self.n
        while not decided(most):
            most *= 2
            if most > _MOST_NEEDED:
                return None
        least = most // 2
        while most - least > max(1, most >> 6):  # to two digits: it is an estimate
            middle = (least + most) // 2
            least, most = (least, middle) if decided(middle) else (middle, most)
        return most


# ---- slices ------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False, repr=False)
class SliceVerdict:
    """Whether a data set keeps an agreed level as a whole, and in each of its slices.

    Attributes
    ----------
    whole : str
        Verdict of the whole set at the confidence: "pass", "fail" or "undecided".
    verdict : str
        That of the worst slice: "fail" where any slice fails, "pass" where all pass, else "undecided".
    passes : bool
        The point rule: no slice's accuracy is below the level.
    verdicts : (n_slices,) str array
        Of each slice of the table, in its order.
    low, high : (n_slices,) float64
        Interval of each slice's accuracy, 1 - error_rate, that `verdicts` are by.
    worst : Slice or None
        The slice whose accuracy may be least by its interval's lower end: the first of the lowest; None without slices.
    failing : SliceTable
        The slices that fail, in the table's order.
    sla, confidence : float
    """

    whole: str
    verdict: str
    passes: bool
    verdicts: NDArray[np.str_]
    low: Floats
    high: Floats
    worst: Slice | None
    failing: SliceTable
    sla: float
    confidence: float

    def __repr__(self) -> str:
        """Return the verdicts, and how many slices have each."""
        kinds = ("fail", "undecided", "pass")
        counts = ", ".join(f"{np.count_nonzero(self.verdicts == kind)} {kind}" for kind in kinds)
        return (
            f"SliceVerdict at {self.sla:.4g}: whole set {self.whole}, worst slice {self.verdict} "
            f"({counts})"
        )


def slice_verdict(
    table: SliceTable,
    sla: float,
    *,
    correction: str = "bonferroni",
    confidence: float = 0.95,
) -> SliceVerdict:
    """Decide for each slice of a table whether it keeps an agreed accuracy; a whole that passes may hide some that fail.

    Parameters
    ----------
    table : SliceTable
        Of errors, or of losses in [0, 1] such as weighted severities, from `slice_errors`.
    sla : float
        The accuracy agreed, in [0, 1]: that of a slice is 1 - error_rate.
    correction : {"bonferroni", "none"}
        Whether `confidence` is that of all slices' intervals together, so that a slice may be picked for failing, or of
        each.
    confidence : float in (0, 1)
        Of the intervals: Clopper and Pearson's for errors of 0 and 1, else Chernoff's. Both are valid at every size.

    Returns
    -------
    SliceVerdict

    Raises
    ------
    TypeError
        `table` is no SliceTable, or a number is of another type.
    ValueError
        A number is out of range, losses are above 1, the table has weights, or it is of `find_slices` and `correction`
        is to cover the choice of its slices, which the table does not tell.

    Examples
    --------
    >>> import dqcore as dq
    >>> kind = ["car"] * 9_900 + ["motorcycle"] * 100
    >>> wrong = [0] * 9_900 + [0, 1] * 50
    >>> found = dq.slice_verdict(dq.slice_errors(wrong, {"kind": kind}), sla=0.95)
    >>> found.whole, found.verdict, found.failing.predicates
    ('pass', 'fail', ((('kind', 'motorcycle'),),))
    """
    if not isinstance(table, SliceTable):
        raise TypeError(f"table must be a SliceTable, got {_check.shown(table)}")
    level = _check.number("sla", sla, 0.0, 1.0)
    shared = _check.choice("correction", correction, CORRECTIONS) == "bonferroni"
    confidence = confidence_level(confidence)
    if table.weight is not None:
        raise ValueError("table must be without weights: verdicts count rows")
    if shared and table.search is not None:
        raise ValueError(
            'table must be of slice_errors for correction="bonferroni": a search has picked its slices from more than '
            "the table tells; hold the level against other rows, or take slice_errors"
        )
    if float(table.max_error.max(initial=0.0)) > 1.0:
        raise ValueError("table must be of errors, or of losses in [0, 1]; some are above 1")
    each = 1.0 - (1.0 - confidence) / max(1, len(table) if shared else 1)
    low, high = _accuracy(table.error_rate, table.size, each, table.binary)
    verdicts = np.where(low >= level, "pass", np.where(high < level, "fail", "undecided"))
    whole_low, whole_high = _accuracy(
        np.array([table.overall_error_rate]), np.array([max(1, table.n)]), confidence, table.binary
    )
    failing = verdicts == "fail"
    all_pass = len(table) > 0 and bool((verdicts == "pass").all())
    worst_verdict = "fail" if failing.any() else "pass" if all_pass else "undecided"
    return SliceVerdict(
        whole=decide(float(whole_low[0]), float(whole_high[0]), level),
        verdict=worst_verdict,
        passes=len(table) > 0 and bool(_reaches(1.0 - table.error_rate, level).all()),
        verdicts=verdicts,
        low=low,
        high=high,
        worst=table[int(np.argmin(low))] if len(table) else None,
        failing=table[failing],
        sla=level,
        confidence=confidence,
    )


def _reaches(score: Floats, level: float) -> NDArray[np.bool_]:
    """Return whether scores are at least the level; they must not fail by a rounding."""
    return (score >= level) | np.isclose(score, level, rtol=1e-12, atol=0.0)


def _accuracy(
    rate: Floats, size: NDArray[Any], confidence: float, counted: bool
) -> tuple[Floats, Floats]:
    """Return intervals of accuracies; `counted` where errors are 0 or 1."""
    low, high = (
        _proportions.clopper_pearson_interval(np.round(rate * size), size, confidence)
        if counted
        else _proportions.chernoff_interval(rate, size, confidence)
    )
    return 1.0 - high, 1.0 - low


# ---- checks ------------------------------------------------------------------------------------------


def _counts(name: str, value: object) -> NDArray[np.int64]:
    want = "(n_tasks,) whole numbers of at least 0"
    values = _check.integers(name, value, want)
    if (values < 0).any():
        raise _check.first_bad(name, values, values < 0, want)
    return values


def _severities(weights: object) -> dict[str, float]:
    if weights is None:
        return SEVERITIES
    if not isinstance(weights, Mapping) or not all(isinstance(key, str) for key in weights):
        raise TypeError(f"weights must map severities to numbers, got {_check.shown(weights)}")
    return {
        key: _check.number(f"weights[{_check.shown(key)}]", value, 0.0, 1.0)
        for key, value in weights.items()
    }


def _scores(value: object) -> Floats:
    want = "(n_tasks,) numbers in [0, 1], NaN for a task without items"
    values = _check.array("scores", value, 1, want)
    if values.dtype.kind not in "biuf":
        if values.size:
            raise _check.other_dtype("scores", values, want)
        values = values.astype(np.float64)
    bad = (values < 0) | (values > 1)
    if bad.any():
        raise _check.first_bad("scores", values, bad, want)
    return values.astype(np.float64)


def _weights(value: object, n: int) -> Floats:
    want = "(n_tasks,) finite numbers of at least 0"
    values = _check.array("weights", value, 1, want)
    if values.dtype.kind not in "iuf":
        raise _check.other_dtype("weights", values, want)
    _check.same_length("weights", len(values), "scores", n)
    bad = ~((values >= 0) & (values < 2.0**31))
    if bad.any():
        raise _check.first_bad("weights", values, bad, want + ", below 2^31")
    return values.astype(np.float64)
