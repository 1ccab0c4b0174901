"""Scores of label quality, as `cleanlab.rank` gives them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .. import _check
from ..reference import ensemble as definition
from ..reference._exact import log
from ._inputs import Anything, Array, check_range, inputs, module, one_class_allowed

Floats = NDArray[np.float64]

METHODS = ("self_confidence", "normalized_margin", "confidence_weighted_entropy")
_TEMPERATURES = list(definition.TEMPERATURES)
_BLOCK = 1 << 16  # rows whose logarithms are held at once


def get_label_quality_scores(
    labels: Anything,
    pred_probs: Array,
    *,
    method: str = "self_confidence",
    adjust_pred_probs: bool = False,
    corrected: bool = False,
) -> Floats:
    """Score each label; higher is better. See `dqcore.label_quality`.

    With `corrected` the entropy score of a sure and right label is 1, its limit; cleanlab's is 0, the worst.
    """
    y, p = inputs(labels, pred_probs)
    return scores(y, p, method, adjust_pred_probs, corrected)


def scores(
    y: NDArray[np.int32],
    p: Array,
    method: str,
    adjust: bool = False,
    corrected: bool = False,
    threads: int = 0,
) -> Floats:
    """Return the scores of checked labels and probabilities."""
    if method not in METHODS:
        raise ValueError(f"{_check.shown(method)} is not a valid scoring method, want {METHODS}")
    if adjust and method == "confidence_weighted_entropy":
        raise ValueError(f"adjust_pred_probs is not currently supported for {method}.")
    if method == "self_confidence":
        check_range(p)
    if method == "confidence_weighted_entropy":
        check_range(p, 0.0, 1.0)
    result: Floats = module().label_quality(
        y, p, method=method, adjust=bool(adjust), threads=threads, progress=None
    )
    if method == "confidence_weighted_entropy" and not corrected and p.shape[1] > 1:
        _forget_the_limit(result, y, p)
    return result


def _forget_the_limit(result: Floats, y: NDArray[np.int32], p: Array) -> None:
    """Give rows near the limit 1 what cleanlab does: ln(q + 1) over q, but over 1e-6 where q is less."""
    near = np.flatnonzero(result > 1.0 - 1e-6)
    for begin in range(0, len(near), _BLOCK):
        rows = near[begin : begin + _BLOCK]
        values = p[rows].astype(np.float64)
        positive = values > 0.0
        terms = np.where(positive, values * log(np.where(positive, values, 1.0)), 0.0)
        entropy = -terms.sum(axis=1) / log(np.array(p.shape[1]))
        q = entropy / np.maximum(values[np.arange(len(rows)), y[rows]], 1e-6)
        result[rows] = log(q + 1.0) / np.maximum(q, 1e-6)


def get_self_confidence_for_each_label(labels: Array, pred_probs: Array) -> Floats:
    """Return the probability of each given label."""
    return scores(*inputs(labels, pred_probs), "self_confidence")


def get_normalized_margin_for_each_label(labels: Array, pred_probs: Array) -> Floats:
    """Return (probability of the label - greatest other probability + 1) / 2."""
    return scores(*inputs(labels, pred_probs), "normalized_margin")


def get_confidence_weighted_entropy_for_each_label(
    labels: Array, pred_probs: Array, *, corrected: bool = False
) -> Floats:
    """Return ln(q + 1) / q with q the normalised entropy over the probability of the label."""
    return scores(*inputs(labels, pred_probs), "confidence_weighted_entropy", corrected=corrected)


def find_top_issues(quality_scores: Array, *, top: int = 10) -> NDArray[np.int64]:
    """Return the rows of the `top` lowest scores, lowest first."""
    return np.argsort(quality_scores, kind="stable")[:top]


def order_label_issues(
    label_issues_mask: Array,
    labels: Anything,
    pred_probs: Array,
    *,
    rank_by: str = "self_confidence",
    rank_by_kwargs: dict[str, Anything] = {},  # noqa: B006 - cleanlab's default; never written to
    corrected: bool = False,
) -> NDArray[np.int64]:
    """Return the rows of the mask, lowest score first."""
    y, p = inputs(labels, pred_probs, allow_one_class=one_class_allowed(labels))
    quality = scores(y, p, rank_by, **_adjust(rank_by_kwargs), corrected=corrected)
    rows = np.arange(len(y))[label_issues_mask]
    result: NDArray[np.int64] = rows[np.argsort(quality[rows], kind="stable")]
    return result


def _adjust(rank_by_kwargs: dict[str, Anything]) -> dict[str, bool]:
    unknown = set(rank_by_kwargs) - {"adjust_pred_probs"}
    if unknown:
        raise TypeError(f"rank_by_kwargs must hold adjust_pred_probs only, got {sorted(unknown)}")
    return {"adjust": bool(rank_by_kwargs.get("adjust_pred_probs", False))}


def get_label_quality_ensemble_scores(
    labels: Anything,
    pred_probs_list: list[Array],
    *,
    method: str = "self_confidence",
    adjust_pred_probs: bool = False,
    weight_ensemble_members_by: str = "accuracy",
    custom_weights: Array | None = None,
    log_loss_search_T_values: list[float] = _TEMPERATURES,
    verbose: bool = True,
    corrected: bool = False,
) -> Floats:
    """Score each label by several models; see `dqcore.label_quality_ensemble`."""
    if not isinstance(pred_probs_list, list):
        raise AssertionError(  # noqa: TRY004 - cleanlab's
            f"pred_probs_list needs to be a list, got {type(pred_probs_list)}"
        )
    if not pred_probs_list:
        raise AssertionError("pred_probs_list is empty.")
    if len(pred_probs_list) == 1:
        warnings.warn(
            "pred_probs_list only has one element; get_label_quality_scores() takes a single array",
            stacklevel=2,
        )
    checked = [inputs(labels, p, allow_one_class=False) for p in pred_probs_list]
    y, models = checked[0][0], [p for _, p in checked]
    by = weight_ensemble_members_by
    if custom_weights is not None and by != "custom":
        raise ValueError("custom_weights provided but weight_ensemble_members_by is not 'custom'")
    all_scores = [scores(y, p, method, adjust_pred_probs, corrected) for p in models]
    weights = _weights(by, y, models, custom_weights, log_loss_search_T_values)
    if verbose:
        print(f"Weighting scheme for ensemble: {by}")
        for i, weight in enumerate(weights):
            print(f"  Model {i} weight   : {weight}")
    return definition.weighted_mean(all_scores, weights)


def _weights(
    by: str,
    y: NDArray[np.int32],
    models: Sequence[Array],
    custom: Array | None,
    temperatures: Sequence[float],
) -> Floats:
    if by == "uniform":
        return np.full(len(models), 1.0 / len(models))
    if by == "accuracy":
        return definition.share([float((p.argmax(axis=1) == y).mean()) for p in models])
    if by == "log_loss_search":
        return definition.search_weights(y, models, temperatures)
    if by == "custom":
        if custom is None:
            raise AssertionError("custom_weights is None! Please pass a valid custom_weights.")
        if len(custom) != len(models):
            raise AssertionError("custom_weights must have an entry for each model")
        return np.asarray(custom, np.float64)
    raise ValueError(
        f"{_check.shown(by)} is not valid for weight_ensemble_members_by: want uniform, accuracy, "
        "log_loss_search or custom"
    )
