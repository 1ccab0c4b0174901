"""Confident learning of a data set as a whole: how many labels are wrong, and what several models say together."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _backend, _check
from .joint import confident_joint, label_issues
from .joint_options import COLLISIONS, QUALITIES, check_adjust, inputs
from .reference import ensemble as definition

ISSUE_COUNTS = ("off_diagonal", "off_diagonal_calibrated")
ENSEMBLE_WEIGHTS = ("accuracy", "uniform", "log_loss_search")


def num_label_issues(
    labels: ArrayLike,
    pred_probs: ArrayLike,
    *,
    method: str = "off_diagonal",
    collision: str = "argmax",
    class_names: object = None,
    backend: str = "auto",
    threads: int = 0,
    progress: _check.Progress = None,
) -> int:
    """Estimate how many labels are wrong.

    Parameters
    ----------
    labels, pred_probs, collision, class_names, backend, threads, progress
        As for `confident_joint`.
    method : {"off_diagonal", "off_diagonal_calibrated"}
        The rows that `label_issues` finds with "confident_learning"; or what `ConfidentJoint.num_label_issues` tells:
        rows off the diagonal of the joint, scaled to all rows, not only the confident ones.

    Returns
    -------
    int
        In [0, n].

    Raises
    ------
    TypeError, ValueError
        As for `confident_joint`.
    BackendError
        Where the backend cannot run.

    Warns
    -----
    UserWarning
        Once, where rows of `pred_probs` do not sum to 1 within 1e-3.

    References
    ----------
    Northcutt, Jiang and Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels", JAIR 70 (2021).

    Examples
    --------
    >>> import dqcore as dq
    >>> p = [[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.2, 0.8], [0.9, 0.1]]
    >>> dq.num_label_issues([0, 0, 1, 1, 1], p)
    1
    """
    _check.choice("method", method, ISSUE_COUNTS)
    _check.choice("collision", collision, COLLISIONS)
    if method == "off_diagonal":
        issues = label_issues(
            labels,
            pred_probs,
            filter_by="confident_learning",
            collision=collision,
            class_names=class_names,
            backend=backend,
            threads=threads,
            progress=progress,
        )
        return len(issues)
    joint = confident_joint(
        labels,
        pred_probs,
        collision=collision,
        class_names=class_names,
        backend=backend,
        threads=threads,
        progress=progress,
    )
    return joint.num_label_issues()


def label_quality_ensemble(
    labels: ArrayLike,
    pred_probs_list: Sequence[ArrayLike],
    *,
    method: str = "self_confidence",
    adjust: bool = False,
    weight_by: str | ArrayLike = "accuracy",
    class_names: object = None,
    backend: str = "auto",
    threads: int = 0,
    progress: _check.Progress = None,
) -> NDArray[np.float64]:
    """Score each given label by the predictions of several models.

    Parameters
    ----------
    labels, method, adjust, class_names, backend, threads, progress
        As for `label_quality`.
    pred_probs_list : sequence of (n, n_classes) arrays
        The predicted probabilities of each model.
    weight_by : {"accuracy", "uniform", "log_loss_search"} or (n_models,) numbers, at least 0
        How much each model's score counts: as its share of right predictions; the same; exp(-t * log loss) with that
        t of 1e-4, 1e-3, ... 1e2, 2e2 whose mixture of models has the least log loss, ties to the lower t; each
        rescaled to sum to 1 (equal where all are 0). Numbers are taken as they are.

    Returns
    -------
    (n,) float64
        Higher is better.

    Raises
    ------
    TypeError, ValueError
        As for `label_quality`; the array that does not fit is named as pred_probs_list[i].
    BackendError
        Where the backend cannot run.

    References
    ----------
    Kuan and Mueller, "Model-agnostic label quality scoring to detect real-world label errors", ICML DataPerf workshop
    (2022).

    Examples
    --------
    >>> import dqcore as dq
    >>> sure, unsure = [[0.75, 0.25], [0.0, 1.0]], [[0.5, 0.5], [0.5, 0.5]]
    >>> dq.label_quality_ensemble([0, 1], [sure, unsure], weight_by="uniform")
    array([0.625, 0.75 ])
    """
    models = _models(pred_probs_list)
    module = _backend.load(backend, labels, *models)
    checked = [
        inputs(labels, p, class_names, name=f"pred_probs_list[{i}]") for i, p in enumerate(models)
    ]
    y, first, _ = checked[0]
    arrays = [p for _, p, _ in checked]
    for i, p in enumerate(arrays):
        if p.shape[1] != first.shape[1]:
            raise ValueError(
                f"pred_probs_list[{i}] has {p.shape[1]} classes but pred_probs_list[0] has {first.shape[1]}"
            )
    _check.choice("method", method, QUALITIES)
    check_adjust("method", method, _check.flag("adjust", adjust))
    given = None if isinstance(weight_by, str) else _weights(weight_by, len(arrays))
    if given is None:
        _check.choice("weight_by", weight_by, ENSEMBLE_WEIGHTS)
    threads, progress = _check.run_options(threads, progress)
    run: dict[str, Any] = {"threads": threads, "progress": progress}
    scores, right = [], []
    for i, p in enumerate(arrays):
        try:
            if given is None and weight_by != "uniform":
                right.append(_share_right(module, y, p, run))
            scores.append(module.label_quality(y, p, method=method, adjust=adjust, **run))
        except ValueError as error:
            told = str(error).replace("pred_probs", f"pred_probs_list[{i}]", 1)
            raise ValueError(told) from None
    if given is None and weight_by == "log_loss_search":
        given = definition.search_weights(y, arrays)
    elif given is None:
        given = definition.share(right or [1.0] * len(arrays))
    return definition.weighted_mean(scores, given)


def _share_right(
    module: ModuleType, labels: NDArray[np.int32], p: NDArray[Any], run: dict[str, Any]
) -> float:
    """Return the share of rows whose most probable class is the given one; checks every value of p."""
    everything = np.full(p.shape[1], -1.0)  # thresholds that every class passes: the argmax counts
    counts = module.confident_joint(
        labels, p, thresholds=everything, collision="argmax", weights=None, **run
    )[0]
    return float(np.trace(counts)) / max(len(labels), 1)


def _models(value: object) -> list[ArrayLike]:
    want = "a list or tuple of (n, n_classes) arrays of probabilities, at least one"
    if not isinstance(value, list | tuple):
        raise TypeError(f"pred_probs_list must be {want}, got {type(value).__name__}")
    if not value:
        raise ValueError(f"pred_probs_list must be {want}, got none")
    return list(value)


def _weights(value: object, n_models: int) -> NDArray[np.float64]:
    want = f"one of {list(ENSEMBLE_WEIGHTS)} or (n_models,) finite numbers, at least 0"
    values = _check.array("weight_by", value, 1, want)
    if values.dtype.kind not in "iuf":
        raise TypeError(f"weight_by must be {want}, got dtype {values.dtype}")
    _check.same_length("weight_by", len(values), "pred_probs_list", n_models)
    weights: NDArray[np.float64] = values.astype(np.float64)
    bad = ~(np.isfinite(weights) & (weights >= 0))
    if bad.any():
        raise _check.first_bad("weight_by", weights, bad, want)
    return weights
