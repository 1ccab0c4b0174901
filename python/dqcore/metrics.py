"""Metrics of groups: how well predictions do in each value of each column, and in each crossing of columns."""

from __future__ import annotations

import itertools
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _backend, _check, _columns, _stats
from ._groups import Floats, GroupMetrics, rate_intervals
from ._slice_counts import confidence_level, encoded, least_rows, most_level
from .reference.slices import SliceCounts

RATES = ("error", "accuracy")
POSITIVE_RATES = (
    "precision",
    "recall",
    "false_positive_rate",
    "false_negative_rate",
    "selection_rate",
)
CALIBRATION = ("ece", "brier")
_MOST_BINS = 1000
_MOST_BRIER = 2.0  # all on one wrong class
# Exponents of the units of confidences and of Brier's scores: a probability may be 1e-6 above 1.
_CONFIDENCE_EXPONENT, _BRIER_EXPONENT = 1, 2


def group_metrics(
    labels: ArrayLike,
    predictions: ArrayLike | None,
    columns: object,
    *,
    pred_probs: ArrayLike | None = None,
    positive: int | str | None = None,
    max_level: int = 1,
    min_support: int | None = 1,
    confidence: float = 0.95,
    missing: str = "leave_out",
    n_bins: int = 15,
    class_names: object = None,
    backend: str = "auto",
    threads: int = 0,
    progress: _check.Progress = None,
) -> GroupMetrics:
    """Measure predictions in every value of every column, and in every crossing of columns, with intervals.

    Of n rows, with L of the positive class, P predicted so and B both: error and accuracy are the shares of wrong and
    right predictions, precision is B / P, recall B / L, false positive rate (P - B) / (n - L), false negative rate
    (L - B) / L and selection rate P / n. Their intervals are Wilson's.

    With `pred_probs`: ece is the expected calibration error, the mean over rows of the distance, in each of `n_bins`
    equal bins (l, r] of the largest probability, between its mean and the share of rows where the class that has it is
    the label. Its interval follows from Wilson's intervals of those shares at a confidence shared among the bins that
    have rows. brier is the mean over rows of the sum over classes of (p - [label])^2; its interval is the empirical
    Bernstein bound for numbers in [0, 2], valid at every size.

    Parameters
    ----------
    labels : (n,) array_like of int or str
        True classes in [0, n_classes), or names.
    predictions : (n,) array_like of int or str, or None
        Predicted classes; None takes the most probable ones (the first of equals) from `pred_probs`.
    columns : mapping of name to (n,) column, data frame, or (n, m) integer array
        Categories of each row, as in `slice_errors`.
    pred_probs : (n, n_classes) array_like of float, optional
        Probability of each class, for calibration.
    positive : int or str, optional
        The class that counts as positive. Default: of two classes the second; of more, none, and only error and
        accuracy are told.
    max_level : int
        Most columns in one crossing.
    min_support : int or None
        Least rows of a group in the table; None is max(32, ceil(n / 1000)).
    confidence : float in (0, 1)
        Of the intervals.
    missing : {"leave_out", "category"}
        Whether a row takes no part in the groups of a column where it is missing, or those rows are a group of their
        own, named None.
    n_bins : int
        Bins of the calibration error, 1 to 1000.
    class_names : sequence of str, optional
        Name of each class; names that occur are sorted where it is left out.
    backend : {"auto", "cpu", "cuda", "reference"}
    threads : int
        0 for all that the process may use. No result depends on it.
    progress : callable, optional
        Called with (stage, rows done, rows in all).

    Returns
    -------
    GroupMetrics
        `overall`, `by_group`, `difference()`, `ratio()`, `parity()`, `gaps()`.

    Raises
    ------
    TypeError
        An argument has a type that is not accepted.
    ValueError
        Lengths differ; a class is out of range; `positive` is no class; `predictions` and `pred_probs` are both left
        out; as `slice_errors` for the columns.
    BackendError
        The backend named cannot run here.

    References
    ----------
    Wilson (1927). Brier (1950), "Verification of forecasts expressed in terms of probability". Naeini, Cooper and
    Hauskrecht (2015), "Obtaining well calibrated probabilities using Bayesian binning", AAAI. Maurer and Pontil (2009).
    Bird et al. (2020), "Fairlearn: a toolkit for assessing and improving fairness in AI".

    Examples
    --------
    >>> import dqcore as dq
    >>> labels, predictions = [0, 1, 1, 0, 1, 1], [0, 1, 1, 0, 0, 1]
    >>> found = dq.group_metrics(labels, predictions, {"sex": ["f", "f", "f", "m", "m", "m"]})
    >>> found.predicates
    ((('sex', 'f'),), (('sex', 'm'),))
    >>> found.by_group["recall"], found.difference()["recall"]
    (array([1. , 0.5]), 0.5)
    >>> found.low["recall"].round(2), found.high["recall"].round(2)
    (array([0.34, 0.09]), array([1.  , 0.91]))
    """
    checked = encoded(columns, missing)
    probs = None if pred_probs is None else _check.pred_probs("pred_probs", pred_probs)
    class_names = _check.named_classes(pred_probs, labels, class_names)
    given, predicted, names, n_classes = _classes(labels, predictions, class_names, probs)
    n = len(given)
    _check.same_length(
        "labels", n, f"columns[{_check.shown(checked[0].name)}]", len(checked[0].codes)
    )
    if probs is not None:
        _check.same_length("labels", n, "pred_probs", len(probs))
    positive_class = _positive(positive, names, n_classes)
    level = most_level(max_level, [c.name for c in checked], [c.n_categories for c in checked])
    support = least_rows(min_support, n)
    level_of_confidence = confidence_level(confidence)
    bins = _check.integer("n_bins", n_bins, 1, _MOST_BINS)
    count, report = _check.run_options(threads, progress)
    module = _backend.load(backend, labels, predictions, pred_probs)
    groups = _Groups(module, checked, level, {"threads": count, "progress": report})

    sure = brier = None
    if probs is not None:
        sure, likely, brier = module.confidences(given, probs, threads=count, progress=report)
        right = likely == given
        predicted = likely if predicted is None else predicted
    assert predicted is not None
    wrong = given != predicted
    outcomes = groups.count(wrong.view(np.uint8), *_outcome(given, predicted, positive_class))
    keep = outcomes.size >= support
    keep[0] = True
    hits, sizes = _rates(outcomes, positive_class is not None)
    values = [rate_intervals(hits, sizes, level_of_confidence)]
    metrics: tuple[str, ...] = RATES if positive_class is None else RATES + POSITIVE_RATES
    if sure is not None and brier is not None:
        metrics += CALIBRATION
        sizes = np.vstack([sizes, outcomes.size, outcomes.size])
        values.append(_ece(groups, sure, right, bins, level_of_confidence))
        values.append(_brier(groups, brier, level_of_confidence))
    value, low, high = (np.vstack(parts)[:, keep] for parts in zip(*values, strict=True))
    kept = keep[1:]
    return GroupMetrics(
        metrics=metrics,
        size=outcomes.size[1:][kept],
        n=n,
        positive=positive_class
        if names is None or positive_class is None
        else names[positive_class],
        column_names=tuple(column.name for column in checked),
        confidence=level_of_confidence,
        _hits=hits[:, keep],
        _support=sizes[:, keep],
        _values=value,
        _low=low,
        _high=high,
        _predicate_columns=outcomes.columns[1:, :level][kept],
        _predicate_codes=outcomes.codes[1:, :level][kept],
        _categories=tuple(column.values for column in checked),
    )


# ---- checks ------------------------------------------------------------------------------------------


def _classes(
    labels: object, predictions: object, class_names: object, probs: NDArray[Any] | None
) -> tuple[NDArray[np.int32], NDArray[np.int32] | None, tuple[str, ...] | None, int]:
    """Return labels and predictions as numbers of the same classes, their names, and how many there are."""
    n_classes = None if probs is None else probs.shape[1]
    by = "" if probs is None else "pred_probs"
    given, names = _check.encode_labels("labels", labels, class_names, n_classes, counted_by=by)
    if predictions is None:
        if n_classes is None:
            raise ValueError("predictions must be given where pred_probs are not")
        return given, None, names, n_classes
    known = class_names if names is None or class_names is not None or probs is None else names
    predicted, other = _check.encode_labels(
        "predictions", predictions, known, n_classes, counted_by=by
    )
    if (names is None) != (other is None):
        kinds = ("whole numbers", "strings")
        raise TypeError(
            f"predictions must be {kinds[names is not None]} as labels are, "
            f"got {kinds[other is not None]}"
        )
    if names is not None and other is not None and names != other:
        union = tuple(sorted({*names, *other}))
        given = np.array([union.index(name) for name in names], np.int32)[given]
        predicted = np.array([union.index(name) for name in other], np.int32)[predicted]
        names = union
    _check.same_length("labels", len(given), "predictions", len(predicted))
    if n_classes is None:
        largest = max(int(given.max(initial=1)), int(predicted.max(initial=1)))
        n_classes = largest + 1 if names is None else len(names)
    return given, predicted, names, n_classes


def _positive(value: object, names: tuple[str, ...] | None, n_classes: int) -> int | None:
    if value is None:
        return 1 if n_classes == 2 else None
    if isinstance(value, str):
        if names is None or value not in names:
            known = "the numbers of classes" if names is None else _check.shown(list(names))
            raise ValueError(f"positive must be one of {known}, got {_check.shown(value)}")
        return names.index(value)
    return _check.integer("positive", value, 0, n_classes - 1)


# ---- counts ------------------------------------------------------------------------------------------


class _Counted(NamedTuple):
    """Cells of a last column within groups; group 0 is the whole set."""

    counts: SliceCounts
    group: NDArray[np.int64]  # of each cell
    inner: NDArray[np.int32]  # category of the last column, of each cell
    size: NDArray[np.int64]  # of each group
    columns: NDArray[np.int32]  # (groups, width), -1 beyond a group's own columns
    codes: NDArray[np.int32]

    def total(self, values: NDArray[Any]) -> Floats:
        """Return the sum over each group's cells."""
        return np.bincount(self.group, values.astype(np.float64), len(self.size)).astype(np.float64)


class _Groups:
    """Counts rows by group: by each crossing of up to `level` of the columns, and over all rows."""

    def __init__(
        self, module: ModuleType, columns: list[_columns.Column], level: int, run: dict[str, Any]
    ) -> None:
        self.module, self.columns, self.run = module, columns, run
        m = len(columns)
        self.crossings = [
            [*crossing, m]
            for size in range(level + 1)
            for crossing in itertools.combinations(range(m), size)
        ]

    def count(
        self, errors: NDArray[Any], inner: NDArray[Any], n_inner: int, exponent: int = 0
    ) -> _Counted:
        """Count each group's rows by the categories of one more column, and sum their errors."""
        m = len(self.columns)
        counts = SliceCounts(
            *self.module.group_counts(
                errors,
                [*(column.codes for column in self.columns), inner],
                [*(column.n_categories for column in self.columns), n_inner],
                crossings=self.crossings,
                error_exponent=exponent,
                **self.run,
            )
        )
        last = counts.predicate_columns == m
        columns = np.where(last, -1, counts.predicate_columns)
        codes = np.where(last, -1, counts.predicate_codes)
        if not len(last):  # without rows there is the whole set all the same
            none = np.zeros(0, np.int64)
            whole = np.full((1, m), -1, np.int32)
            return _Counted(
                counts, none, none.astype(np.int32), np.zeros(1, np.int64), whole, whole
            )
        # Cells of a group follow one another.
        new = (np.diff(columns, axis=0) != 0).any(axis=1) | (np.diff(codes, axis=0) != 0).any(
            axis=1
        )
        starts = np.concatenate(([0], np.flatnonzero(new) + 1))
        return _Counted(
            counts,
            np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(last)))),
            counts.predicate_codes[last],
            np.add.reduceat(counts.size, starts),
            columns[starts],
            codes[starts],
        )


def _outcome(
    given: NDArray[np.int32], predicted: NDArray[np.int32], positive: int | None
) -> tuple[NDArray[np.uint8], int]:
    """Return what came of each row, labelled positive + 2 predicted positive, and how many such there are."""
    if positive is None:
        return np.zeros(len(given), np.uint8), 1
    labelled, chosen = (values == positive for values in (given, predicted))
    return labelled.view(np.uint8) + (chosen.view(np.uint8) << 1), 4


def _rates(outcomes: _Counted, with_positive: bool) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return numerators and denominators, (rates, groups), in the order of RATES and POSITIVE_RATES."""
    n, size = outcomes.size, outcomes.counts.size
    wrong = outcomes.total(outcomes.counts.error_sum).astype(np.int64)
    pairs = [(wrong, n), (n - wrong, n)]
    if with_positive:
        labelled, chosen = (outcomes.inner & bit != 0 for bit in (1, 2))
        positive, selected, both = (
            outcomes.total(np.where(where, size, 0)).astype(np.int64)
            for where in (labelled, chosen, labelled & chosen)
        )
        pairs += [
            (both, selected),
            (both, positive),
            (selected - both, n - positive),
            (positive - both, positive),
            (selected, n),
        ]
    hits, support = zip(*pairs, strict=True)
    return np.array(hits), np.array(support)


# ---- calibration -------------------------------------------------------------------------------------


def _ece(
    groups: _Groups,
    sure: Floats,
    right: NDArray[np.bool_],
    n_bins: int,
    confidence: float,
) -> tuple[Floats, Floats, Floats]:
    """Return the expected calibration error of each group, and its interval."""
    bins = np.clip(np.ceil(sure * n_bins) - 1.0, 0.0, n_bins - 1.0).astype(np.int16)
    sums = groups.count(sure, bins, n_bins, _CONFIDENCE_EXPONENT)
    hits = groups.count(right.view(np.uint8), bins, n_bins).counts.error_sum
    size, group = sums.counts.size, sums.group
    said = sums.counts.error_sum / np.maximum(size, 1)
    occupied = np.bincount(group, minlength=len(sums.size))
    low, high = np.zeros(len(size)), np.ones(len(size))
    for shared in np.unique(occupied[occupied > 0]):
        mine = occupied[group] == shared
        each = 1.0 - (1.0 - confidence) / shared
        low[mine], high[mine] = _stats.wilson_interval(hits[mine], size[mine], each)
    off = np.abs(hits / np.maximum(size, 1) - said)
    least = np.maximum(0.0, np.maximum(said - high, low - said))
    most = np.maximum(np.abs(said - low), np.abs(high - said))
    rows = np.maximum(sums.size, 1)
    value, least, most = (sums.total(each * size) / rows for each in (off, least, most))
    none = sums.size == 0
    return np.where(none, np.nan, value), least, np.where(none, 1.0, np.minimum(most, 1.0))


def _brier(groups: _Groups, brier: Floats, confidence: float) -> tuple[Floats, Floats, Floats]:
    """Return the mean of Brier's score in each group, and its interval."""
    sums = groups.count(brier, np.zeros(len(brier), np.uint8), 1, _BRIER_EXPONENT)
    if not len(sums.counts.size):
        return np.array([np.nan]), np.zeros(1), np.array([_MOST_BRIER])
    mean = sums.counts.error_sum / sums.size
    low, high = _stats.bounded_interval(
        mean, sums.counts.deviation, sums.size, _MOST_BRIER, confidence
    )
    return mean, np.minimum(low, mean), np.maximum(high, mean)
