"""The confident joint and what follows from it, as `cleanlab.count` gives them."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

from .. import _check
from ..joint_results import PRIORS
from ..reference import latent as definition
from ..reference.joint import _round_preserving_sum
from ._crossval import (
    estimate_confident_joint_and_cv_pred_proba,
    estimate_cv_predicted_probabilities,
    estimate_noise_matrices,
    estimate_py_noise_matrices_and_cv_pred_proba,
)
from ._inputs import COLLISION, Anything, Array, as_array, inputs, labels_array, module
from .filter import issues

__all__ = [
    "calibrate_confident_joint",
    "compute_confident_joint",
    "estimate_confident_joint_and_cv_pred_proba",
    "estimate_cv_predicted_probabilities",
    "estimate_joint",
    "estimate_latent",
    "estimate_noise_matrices",
    "estimate_py_and_noise_matrices_from_probabilities",
    "estimate_py_noise_matrices_and_cv_pred_proba",
    "get_confident_thresholds",
    "num_label_issues",
]

Floats = NDArray[np.float64]

ISSUE_COUNTS = ("off_diagonal", "off_diagonal_calibrated", "off_diagonal_custom")


def get_confident_thresholds(
    labels: Anything, pred_probs: Array, multi_label: bool = False
) -> Floats:
    """Return each class's mean probability over the rows labelled with it; 2 for a class without rows.

    With `multi_label` (n_classes, 2): of not having, and of having, each class.
    """
    if multi_label:
        from .multilabel_classification._inputs import binary_problems

        if not isinstance(labels, list):
            raise AssertionError("labels must be a list when multi_label=True")
        return np.array(
            [get_confident_thresholds(y, p) for y, p in binary_problems(labels, pred_probs)]
        )
    y, p = inputs(labels, pred_probs)
    return _counts(y, p, None)[1]


def _counts(
    y: NDArray[np.int32], p: Array, thresholds: Floats | None, corrected: bool = False
) -> tuple[NDArray[np.int64], Floats, NDArray[np.int64]]:
    """Return counts before any floor, thresholds and rows of each given class."""
    counts, found, class_counts, _, _ = module().confident_joint(
        y,
        p,
        thresholds=thresholds,
        collision=COLLISION[corrected],
        weights=None,
        threads=0,
        progress=None,
    )
    return counts, found, class_counts


def _thresholds(value: Anything, n_classes: int) -> Floats | None:
    if value is None:
        return None
    values = np.asarray(value, np.float64)
    if values.ndim == 2 and 1 in values.shape:
        values = values.ravel()
    if values.ndim > 1 or values.size not in (1, n_classes) or not np.isfinite(values).all():
        raise ValueError(f"thresholds must be {n_classes} finite numbers, got shape {values.shape}")
    return np.ascontiguousarray(np.broadcast_to(values, (n_classes,)))


def compute_confident_joint(
    labels: Anything,
    pred_probs: Array,
    *,
    thresholds: Anything = None,
    calibrate: bool = True,
    multi_label: bool = False,
    return_indices_of_off_diagonals: bool = False,
    corrected: bool = False,
) -> Anything:
    """Count rows by [given, confident class], every diagonal entry at least 1; scaled to all rows by `calibrate`.

    With `return_indices_of_off_diagonals` also the rows off the diagonal. With `multi_label` (n_classes, 2, 2), index 1
    standing for having the class (and a list of rows for each class). With `corrected` a row that is confident of
    several classes counts as the most probable of those, and index 0 of a multi-label joint stands for having it.
    """
    if multi_label:
        from .multilabel_classification._inputs import binary_problems

        if not isinstance(labels, list):
            raise TypeError("`labels` must be list when `multi_label=True`.")
        options = {"thresholds": thresholds, "calibrate": calibrate, "corrected": corrected}
        found = [
            compute_confident_joint(y, p, return_indices_of_off_diagonals=True, **options)
            for y, p in binary_problems(labels, pred_probs)
        ]
        joints = np.array([joint for joint, _ in found], np.int64).reshape(-1, 2, 2)
        joints = joints[:, ::-1, ::-1].copy() if corrected else joints
        return (joints, [rows for _, rows in found]) if return_indices_of_off_diagonals else joints
    y, p = inputs(labels, pred_probs)
    t = _thresholds(thresholds, p.shape[1])
    off = None
    if return_indices_of_off_diagonals:
        guess = module().confident_classes(
            y, p, thresholds=t, collision=COLLISION[bool(corrected)], threads=0, progress=None
        )
        sure = guess >= 0
        off = np.flatnonzero(sure & (guess != y))
        k = p.shape[1]
        counts = np.bincount(y[sure].astype(np.int64) * k + guess[sure], minlength=k * k)
        counts = counts.reshape(k, k)
        class_counts = np.bincount(y, minlength=k)
    else:
        counts, _, class_counts = _counts(y, p, t, bool(corrected))
    if calibrate:
        joint = module().calibrate(counts, class_counts)
    else:
        joint = counts.copy()
        np.fill_diagonal(joint, np.maximum(counts.diagonal(), 1))
    return joint if off is None else (joint, off)


def calibrate_confident_joint(
    confident_joint: Array, labels: Anything, *, multi_label: bool = False
) -> NDArray[np.int64]:
    """Scale the joint so that each given class has as many rows as in `labels`, and round, keeping these totals."""
    joint = np.asarray(confident_joint)
    if multi_label:
        from .multilabel_classification._inputs import one_hot_of

        if not isinstance(labels, list):
            raise TypeError("`labels` must be list when `multi_label=True`.")
        given = one_hot_of(labels, None)
        of_each = [calibrate_confident_joint(j, y) for j, y in zip(joint, given.T, strict=False)]
        return np.array(of_each, np.int64).reshape(-1, 2, 2)
    if joint.ndim != 2 or joint.shape[0] != joint.shape[1]:
        raise ValueError(f"confident_joint must be (n_classes, n_classes), got {joint.shape}")
    class_counts = _class_counts(labels, len(joint))
    totals = np.maximum(joint.sum(axis=1), definition.TINY)
    scaled = (joint.T / totals * class_counts).T
    scaled = scaled / max(float(np.sum(scaled)), definition.TINY) * class_counts.sum()
    return np.array([_round_preserving_sum(row) for row in scaled], np.int64).reshape(joint.shape)


def _class_counts(labels: Anything, n_classes: int) -> NDArray[np.int64]:
    y = labels_array(labels)
    if int(y.max()) >= n_classes:
        raise ValueError(f"Required: num_classes > max(x), but {n_classes} <= {int(y.max())}.")
    return np.bincount(y, minlength=n_classes)


def estimate_joint(
    labels: Anything,
    pred_probs: Anything,
    *,
    confident_joint: Array | None = None,
    multi_label: bool = False,
) -> Floats:
    """Return P(given, true), summing to 1; with `multi_label` one 2 x 2 of each class."""
    if multi_label:
        from .multilabel_classification._inputs import binary_problems

        if not isinstance(labels, list):
            raise TypeError("`labels` must be list when `multi_label=True`.")
        joints = confident_joint
        if joints is None:
            joints = compute_confident_joint(labels, pred_probs, multi_label=True)
        problems = binary_problems(labels, pred_probs)
        return np.array(
            [
                estimate_joint(y, p, confident_joint=j)
                for (y, p), j in zip(problems, joints, strict=False)
            ]
        )
    if confident_joint is None:
        calibrated = compute_confident_joint(labels, pred_probs)
    elif labels is not None:
        calibrated = calibrate_confident_joint(confident_joint, labels)
    else:
        calibrated = np.asarray(confident_joint)
    return definition.joint_of(calibrated)


def num_label_issues(
    labels: Anything,
    pred_probs: Array,
    *,
    confident_joint: Array | None = None,
    estimation_method: str = "off_diagonal",
    multi_label: bool = False,
    corrected: bool = False,
) -> int:
    """Estimate how many labels are wrong; see `dqcore.num_label_issues`.

    "off_diagonal_custom" goes by the `confident_joint` that is given, which the other methods ignore.
    """
    if isinstance(confident_joint, np.ndarray) and estimation_method != "off_diagonal_custom":
        warnings.warn(
            "The supplied `confident_joint` is ignored: it is recomputed from `labels` and `pred_probs`; "
            "use estimation_method='off_diagonal_custom' to go by it",
            stacklevel=2,
        )
    if multi_label:
        from .multilabel_classification.filter import find_label_issues

        mask = find_label_issues(
            labels,
            pred_probs,
            confident_joint=confident_joint,
            filter_by="confident_learning",
            corrected=corrected,
        )
        return int(mask.sum())
    y, p = inputs(as_array(labels), pred_probs, allow_one_class=False)
    if estimation_method == "off_diagonal":
        mask, _ = issues(y, p, filter_by="confident_learning", corrected=corrected)
        return int(mask.sum())
    if estimation_method == "off_diagonal_calibrated":
        confident_joint = compute_confident_joint(y, p, corrected=corrected)
    elif estimation_method == "off_diagonal_custom":
        if not isinstance(confident_joint, np.ndarray):
            raise ValueError(f"estimation_method {estimation_method!r} needs a `confident_joint`")
    else:
        raise ValueError(
            f"{_check.shown(estimation_method)} is not a valid estimation method, want {ISSUE_COUNTS}"
        )
    joint = estimate_joint(y, p, confident_joint=confident_joint)
    return int(np.rint((1.0 - joint.trace()) * len(y)))


def estimate_latent(
    confident_joint: Array,
    labels: Anything,
    *,
    py_method: str = "cnt",
    converge_latent_estimates: bool = False,
) -> tuple[Floats, Floats, Floats]:
    """Return the prior P(true), the noise matrix P(given | true) and the inverse noise matrix P(true | given)."""
    if py_method not in PRIORS:
        raise ValueError(f"py_method {_check.shown(py_method)} should be in {list(PRIORS)}")
    joint = np.asarray(confident_joint)
    class_counts = _class_counts(labels, len(joint))
    found = definition.latent_estimates(
        joint, class_counts, method=py_method, converge=bool(converge_latent_estimates)
    )
    return found.prior, found.noise_matrix, found.inverse_noise_matrix


def estimate_py_and_noise_matrices_from_probabilities(
    labels: Anything,
    pred_probs: Array,
    *,
    thresholds: Anything = None,
    converge_latent_estimates: bool = True,
    py_method: str = "cnt",
    calibrate: bool = True,
    corrected: bool = False,
) -> tuple[Floats, Floats, Floats, NDArray[np.int64]]:
    """Return prior, noise matrix, inverse noise matrix and confident joint."""
    joint = compute_confident_joint(
        labels, pred_probs, thresholds=thresholds, calibrate=calibrate, corrected=corrected
    )
    latent = estimate_latent(
        joint, labels, py_method=py_method, converge_latent_estimates=converge_latent_estimates
    )
    return (*latent, joint)
