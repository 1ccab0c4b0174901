"""Scores of rows that may have several classes, as `cleanlab.multilabel_classification.rank` gives them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ...reference import multilabel as definition
from .. import rank
from .._inputs import Anything, Array
from ._inputs import one_hot

Floats = NDArray[np.float64]


def get_label_quality_scores(
    labels: list[list[int]],
    pred_probs: Array,
    *,
    method: str = "self_confidence",
    adjust_pred_probs: bool = False,
    aggregator_kwargs: dict[str, Anything] = {  # noqa: B006 - cleanlab's default; never written to
        "method": "exponential_moving_average",
        "alpha": 0.8,
    },
    corrected: bool = False,
) -> Floats:
    """Score each row by its classes; see `dqcore.multilabel_quality`. `corrected` as for `rank`."""
    given, p = one_hot(labels, pred_probs)
    return row_scores(given, p, method, adjust_pred_probs, corrected, aggregator_kwargs)


def get_label_quality_scores_per_class(
    labels: list[list[int]],
    pred_probs: Array,
    *,
    method: str = "self_confidence",
    adjust_pred_probs: bool = False,
    corrected: bool = False,
) -> Floats:
    """Return (n, n_classes) scores, each of having or not having the class. `corrected` as for `rank`."""
    return class_scores(*one_hot(labels, pred_probs), method, adjust_pred_probs, corrected)


def class_scores(
    given: NDArray[np.int32], p: Array, method: str, adjust: bool = False, corrected: bool = False
) -> Floats:
    """Return the scores of each class of checked labels and probabilities."""
    if not isinstance(method, str) or method.lower() not in rank.METHODS:
        raise ValueError(f"Invalid method name: {method}")
    result = np.empty(p.shape)
    for c in range(p.shape[1]):
        y = np.ascontiguousarray(given[:, c])
        result[:, c] = rank.scores(
            y, definition.two_classes(p, c), method.lower(), adjust is True, corrected
        )
    return result


def row_scores(
    given: NDArray[np.int32],
    p: Array,
    method: str,
    adjust: bool = False,
    corrected: bool = False,
    aggregator_kwargs: dict[str, Anything] | None = None,
) -> Floats:
    """Return the scores of each row of checked labels and probabilities."""
    if p.shape[1] < 2 or not (given.any() and not given.all()):
        raise ValueError("Labels must be in multi-label format.")
    scores = class_scores(given, p, method, adjust, corrected)
    return _aggregate(scores, **(aggregator_kwargs or {"alpha": 0.8}))


def _aggregate(
    scores: Floats,
    method: str | Callable[..., Floats] = "exponential_moving_average",
    **options: Anything,
) -> Floats:
    if callable(method):
        return method(scores, **{**options, "axis": 1})
    if method == "exponential_moving_average":
        alpha = options.get("alpha")
        alpha = 2 / (scores.shape[1] + 1) if alpha is None else float(alpha)
        if not 0 <= alpha <= 1:
            raise ValueError(f"alpha must be in the interval [0, 1], got {alpha}")
        return definition.moving_average(scores, alpha)
    if method == "softmin":
        return definition.softmin(scores, float(options.get("temperature", 0.1)))
    raise ValueError(
        f"Invalid aggregation method specified: {method!r}, want exponential_moving_average or softmin"
    )
