"""The joint room, defined: confident learning in NumPy.

Source: Northcutt, Jiang and Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels", JAIR 70 (2021). Where
the paper is silent the rules are cleanlab 2.9.0's, with ties going to the lower index.

Every comparison and every score is in float64; probabilities of lower precision are widened, which is exact.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._exact import fixed_sums, log

Floats = NDArray[np.float64]
Labels = NDArray[np.int32]

TOLERANCE = 1e-6  # of a probability's range, of "confident", of "the given label is as probable"
LEAST_THRESHOLD = 2e-6
NEVER_CONFIDENT = 2.0  # the threshold of a class that no row is labelled with
ROW_SUM_TOLERANCE = 1e-3
TINY = 1e-100  # keeps divisions by an empty row's total defined


class RowSums(NamedTuple):
    """Rows whose probabilities do not sum to 1 within 1e-3: how many, the worst (first such) and its sum."""

    off: int
    worst_row: int
    worst_sum: float


class JointCounts(NamedTuple):
    """What `confident_joint` counts; `class_weights` is None where there are no weights."""

    counts: NDArray[Any]
    thresholds: Floats
    class_counts: NDArray[np.int64]
    class_weights: Floats | None
    row_sums: RowSums


class Issues(NamedTuple):
    """What `label_issues` finds."""

    mask: NDArray[np.bool_]
    indices: NDArray[np.int64]
    quality: Floats
    suggested: NDArray[np.int32]
    row_sums: RowSums


# ---- values --------------------------------------------------------------------------------------------------------


def _bad_value(
    values: NDArray[Any], rows: NDArray[np.int64], cols: NDArray[np.int64]
) -> ValueError:
    row, col = int(rows[0]), int(cols[0])
    entries = "1 such entry" if rows.size == 1 else f"{rows.size} such entries"
    return ValueError(
        "pred_probs must be probabilities in [0, 1] (within 1e-6): "
        f"row {row}, column {col} is {values[row, col]} ({entries})"
    )


def _valid(pred_probs: NDArray[Any]) -> Floats:
    """Return `pred_probs` as float64, or raise for values that are no probabilities."""
    p = pred_probs.astype(np.float64)
    bad = ~((p >= -TOLERANCE) & (p <= 1 + TOLERANCE))
    if bad.any():
        raise _bad_value(pred_probs, *np.nonzero(bad))
    return p


def _given(pred_probs: NDArray[Any], labels: Labels) -> Floats:
    """Return the probability of each row's given label; the other probabilities are not looked at."""
    p = pred_probs[np.arange(len(labels)), labels].astype(np.float64)
    bad = np.flatnonzero(~((p >= -TOLERANCE) & (p <= 1 + TOLERANCE)))
    if bad.size:
        raise _bad_value(pred_probs, bad, labels[bad].astype(np.int64))
    return p


def _row_sums(p: Floats) -> RowSums:
    if p.shape[0] == 0:
        return RowSums(0, -1, 1.0)
    sums = np.cumsum(p, axis=1)[:, -1]  # column by column: `sum` adds in another order
    distance = np.abs(sums - 1.0)
    off = int(np.count_nonzero(distance > ROW_SUM_TOLERANCE))
    if off == 0:
        return RowSums(0, -1, 1.0)
    worst = int(np.argmax(distance))
    return RowSums(off, worst, float(sums[worst]))


# ---- thresholds, counts, calibration -------------------------------------------------------------------------------


def _thresholds(given: Floats, labels: Labels, weights: Floats | None, n_classes: int) -> Floats:
    """Return each class's mean probability over the rows labelled with it."""
    if weights is None:
        sums = fixed_sums(given, labels, n_classes)
        totals = [int(n) << 64 for n in np.bincount(labels, minlength=n_classes)]
    else:
        sums = fixed_sums(weights * given, labels, n_classes)
        totals = fixed_sums(weights, labels, n_classes)
    return np.array(
        [
            max(float(s) / float(n), LEAST_THRESHOLD) if n > 0 else NEVER_CONFIDENT
            for s, n in zip(sums, totals, strict=True)
        ]
    )


def _guesses(p: Floats, thresholds: Floats, collision: str) -> NDArray[np.int64]:
    """Return the class that each row confidently belongs to, or -1."""
    confident = p >= thresholds - 1e-6
    n_confident = confident.sum(axis=1)
    among = p if collision == "argmax" else np.where(confident, p, -np.inf)
    guess = np.where(n_confident == 1, confident.argmax(axis=1), among.argmax(axis=1))
    return np.where(n_confident == 0, -1, guess)


def confident_joint(
    labels: Labels,
    pred_probs: NDArray[Any],
    *,
    thresholds: Floats | None = None,
    collision: str = "argmax",
    weights: Floats | None = None,
    **run: object,
) -> JointCounts:
    """Count the rows of each given class that confidently belong to each true class."""
    n_classes = pred_probs.shape[1]
    p = _valid(pred_probs)
    if thresholds is None:
        thresholds = _thresholds(_given(pred_probs, labels), labels, weights, n_classes)
    guess = _guesses(p, thresholds, collision)
    sure = guess >= 0
    cells = labels[sure].astype(np.int64) * n_classes + guess[sure]
    counts: NDArray[Any]
    class_weights = None
    if weights is None:
        counts = np.bincount(cells, minlength=n_classes**2)
    else:
        counts = _from_fixed(fixed_sums(weights[sure], cells, n_classes**2))
        class_weights = _from_fixed(fixed_sums(weights, labels, n_classes))
    return JointCounts(
        counts.reshape(n_classes, n_classes),
        thresholds,
        np.bincount(labels, minlength=n_classes),
        class_weights,
        _row_sums(p),
    )


def _from_fixed(sums: list[int]) -> Floats:
    return np.array([float(s) * 2.0**-64 for s in sums], np.float64)


def calibrate(counts: NDArray[Any], class_totals: NDArray[Any]) -> NDArray[Any]:
    """Scale each given class's row of `counts` to the number of rows of that class.

    Every diagonal entry is first raised to 1. Whole counts stay whole and keep each row's total; weighted ones stay as
    they come out.
    """
    n_classes = len(counts)
    floored = counts.astype(np.float64)
    np.fill_diagonal(floored, np.maximum(floored.diagonal(), 1.0))
    totals = np.maximum([_pairwise_sum(row) for row in floored], TINY)
    scaled = floored / totals[:, None] * class_totals[:, None]
    # Column by column: cleanlab holds the matrix that way, and the order decides the last bit of the sum.
    total = max(_pairwise_sum(scaled.T.ravel()), TINY)
    scaled = scaled / total * class_totals.sum()
    if counts.dtype.kind == "f":
        weighted: Floats = scaled
        return weighted
    whole = [_round_preserving_sum(row) for row in scaled]
    return np.array(whole, np.int64).reshape(n_classes, n_classes)


def _pairwise_sum(values: Floats) -> float:
    """Add contiguous values in NumPy's pairwise order, which NumPy below 2 leaves for more than 8192 of them."""
    if len(values) <= 8192:
        return float(np.sum(values))
    half = len(values) // 2 // 8 * 8
    return _pairwise_sum(values[:half]) + _pairwise_sum(values[half:])


def _round_preserving_sum(values: Floats) -> NDArray[np.int64]:
    """Round each value so that the sum is the rounded sum, moving those whose remainder is largest."""
    rounded = np.rint(values)
    missing = int(np.rint(_pairwise_sum(values)) - rounded.sum())
    step = 1 if missing > 0 else -1
    order = np.argsort(-step * (values - rounded), kind="stable")
    rounded[order[: abs(missing)]] += step
    return rounded.astype(np.int64)


# ---- quality -------------------------------------------------------------------------------------------------------


def _rival(p: Floats, labels: Labels) -> Floats:
    """Return the largest probability among the classes not given; 0 where there is no other class."""
    if p.shape[1] == 1:
        return np.zeros(len(p))
    others = p.copy()
    others[np.arange(len(p)), labels] = -np.inf
    rival: Floats = others.max(axis=1)
    return rival


def _adjusted(p: Floats, thresholds: Floats) -> Floats:
    """Return p less its class's threshold, shifted and rescaled to row sums of 1; 0 where a row has no mass left."""
    shifted = (p - thresholds) + thresholds.max()
    total = np.zeros(len(p))
    for c in range(p.shape[1]):
        total = total + shifted[:, c]
    positive = total > 0.0
    return np.where(positive[:, None], shifted / np.where(positive, total, 1.0)[:, None], 0.0)


def _weighted_entropy(p: Floats, labels: Labels) -> Floats:
    """Return ln(1 + q) / q with q = normalised entropy / self-confidence, and its limit 1 at q = 0."""
    entropy = np.zeros(len(p))
    for c in range(p.shape[1]):
        positive = p[:, c] > 0.0
        entropy = entropy - np.where(positive, p[:, c] * log(np.where(positive, p[:, c], 1.0)), 0.0)
    if p.shape[1] > 1:
        entropy = entropy / log(np.array(p.shape[1]))
    q = entropy / np.maximum(p[np.arange(len(p)), labels], TOLERANCE)
    small = q < TOLERANCE
    q = np.where(small, 1.0, q)
    return np.where(small, 1.0, log(q + 1.0) / q)


def _quality(p: Floats, labels: Labels, method: str, thresholds: Floats | None) -> Floats:
    if method == "confidence_weighted_entropy":
        return _weighted_entropy(p, labels)
    if thresholds is not None:
        p = _adjusted(p, thresholds)
    given = p[np.arange(len(p)), labels]
    if method == "self_confidence":
        return given
    return (given - _rival(p, labels) + 1.0) / 2.0


def label_quality(
    labels: Labels,
    pred_probs: NDArray[Any],
    *,
    method: str = "self_confidence",
    adjust: bool = False,
    **run: object,
) -> Floats:
    """Score each row's given label; a score reads, and checks, only the probabilities that it needs."""
    if method == "self_confidence" and not adjust:
        return _given(pred_probs, labels)
    p = _valid(pred_probs)
    thresholds = _thresholds(_given(p, labels), labels, None, p.shape[1]) if adjust else None
    return _quality(p, labels, method, thresholds)


# ---- issues --------------------------------------------------------------------------------------------------------


def _prune_counts(
    calibrated: NDArray[np.int64], least: int, frac_noise: float
) -> NDArray[np.int64]:
    """Return how many rows of given class k to leave (diagonal) and to take for true class j: entry [k, j]."""
    result = calibrated.astype(np.float64)
    diagonal = calibrated.diagonal()
    raised = np.maximum(diagonal, least)
    others = np.maximum(np.count_nonzero(calibrated, axis=1) - 1.0, 1.0)
    result = np.maximum(result - ((raised - diagonal) / others)[:, None], 0.0)
    np.fill_diagonal(result, raised)
    reduced: Floats = result * frac_noise
    np.fill_diagonal(reduced, raised)
    np.fill_diagonal(reduced, raised + np.sum(result - reduced, axis=1))
    return reduced.astype(np.int64)


def _remove_counts(
    prune: NDArray[np.int64], class_counts: NDArray[np.int64], to_remove: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return `prune` rescaled to `to_remove` by cleanlab's arithmetic: it scales by true, not by given, class."""
    by_true = prune.T.astype(np.float64, order="C")
    totals = by_true.sum(axis=1)
    share = np.divide(by_true, totals, out=np.zeros_like(by_true), where=totals > 0)
    noise = share.sum(axis=1) - share.diagonal()
    scaled = share * to_remove[:, None]
    scaled = np.divide(scaled, noise[:, None], out=np.zeros_like(scaled), where=noise[:, None] > 0)
    np.fill_diagonal(scaled, class_counts - to_remove)
    rounded = np.array([_round_preserving_sum(row) for row in scaled], np.int64)
    result: NDArray[np.int64] = rounded.reshape(prune.shape).T
    return result


def _pruned(
    p: Floats,
    labels: Labels,
    filter_by: str,
    keep: NDArray[np.int64],
    take: NDArray[np.int64],
    least: int,
) -> NDArray[np.bool_]:
    by_class = np.zeros(len(p), bool)
    by_rate = np.zeros(len(p), bool)
    for k in range(p.shape[1]):
        rows = np.flatnonzero(labels == k)
        if rows.size <= max(least, 1):  # cleanlab never prunes a class of one row
            continue
        order = np.argsort(p[rows, k], kind="stable")
        by_class[rows[order[: max(rows.size - int(keep[k]), 0)]]] = True
        for j in np.flatnonzero(take[k] > 0):
            if j != k:
                order = np.argsort(-(p[rows, j] - p[rows, k]), kind="stable")
                by_rate[rows[order[: take[k, j]]]] = True
    return {"prune_by_class": by_class, "prune_by_noise_rate": by_rate, "both": by_class & by_rate}[
        filter_by
    ]


def label_issues(
    labels: Labels,
    pred_probs: NDArray[Any],
    *,
    filter_by: str = "prune_by_noise_rate",
    rank_by: str = "self_confidence",
    joint: NDArray[np.int64] | None = None,
    collision: str = "argmax",
    frac_noise: float = 1.0,
    num_to_remove_per_class: NDArray[np.int64] | None = None,
    min_examples_per_class: int = 1,
    adjust: bool = False,
    **run: object,
) -> Issues:
    """Find the rows whose label is likely wrong. `joint` is a calibrated joint of counts."""
    n, n_classes = pred_probs.shape
    p = _valid(pred_probs)
    rows = np.arange(n)
    given = p[rows, labels]
    thresholds = _thresholds(given, labels, None, n_classes)
    suggested = p.argmax(axis=1)
    raised = p.copy()
    raised[rows, labels] += TOLERANCE
    as_given = raised.argmax(axis=1) == labels  # the given label is as probable as any: no issue
    guess = _guesses(p, thresholds, collision)
    off_diagonal = (guess >= 0) & (guess != labels) & ~as_given
    if filter_by.startswith("low_"):
        order = np.argsort(_quality(p, labels, filter_by[4:], None), kind="stable")
        mask = np.zeros(n, bool)
        mask[order[: np.count_nonzero(off_diagonal)]] = True
    elif filter_by == "confident_learning":
        mask = off_diagonal
    elif filter_by == "predicted_neq_given":
        mask = (suggested != labels) & ~as_given
    else:
        class_counts = np.bincount(labels, minlength=n_classes)
        if joint is None:
            counts = confident_joint(
                labels, pred_probs, thresholds=thresholds, collision=collision
            ).counts
            joint = calibrate(counts, class_counts)
        take = _prune_counts(joint, min_examples_per_class, frac_noise)
        keep = take.diagonal()
        if num_to_remove_per_class is not None:
            take = _remove_counts(take, class_counts, num_to_remove_per_class)
            keep = class_counts - num_to_remove_per_class
        mask = _pruned(p, labels, filter_by, keep, take, min_examples_per_class) & ~as_given
    quality = _quality(p, labels, rank_by, thresholds if adjust else None)
    flagged = np.flatnonzero(mask)
    return Issues(
        mask,
        flagged[np.argsort(quality[flagged], kind="stable")],
        quality,
        suggested.astype(np.int32),
        _row_sums(p),
    )
