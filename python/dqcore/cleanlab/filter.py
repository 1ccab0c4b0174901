"""Which labels are likely wrong, as `cleanlab.filter` tells."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

from ..joint_options import FILTERS, PRUNE_FILTERS, issue_options
from ..reference.joint import _round_preserving_sum
from . import rank
from ._inputs import (
    COLLISION,
    Anything,
    Array,
    check_list,
    check_range,
    inputs,
    module,
    one_class_allowed,
    shape_of_joint,
    thread_count,
)

Mask = NDArray[np.bool_]


def find_label_issues(
    labels: Anything,
    pred_probs: Array,
    *,
    return_indices_ranked_by: str | None = None,
    rank_by_kwargs: dict[str, Anything] | None = None,
    filter_by: str = "prune_by_noise_rate",
    frac_noise: float = 1.0,
    num_to_remove_per_class: list[int] | None = None,
    min_examples_per_class: int = 1,
    confident_joint: Array | None = None,
    n_jobs: int | None = None,
    verbose: bool = False,
    multi_label: bool = False,
    corrected: bool = False,
) -> Array:
    """Return a mask of the rows whose label is likely wrong, or those rows, worst first; see `dqcore.label_issues`.

    With `corrected` a row that is confident of several classes counts as the most probable of those,
    `num_to_remove_per_class` counts by given class in all prune filters, and the entropy ranks sure labels last.
    """
    if filter_by not in FILTERS:
        raise AssertionError(f"filter_by must be one of {list(FILTERS)}, got {filter_by!r}")
    threads = thread_count(n_jobs)
    if multi_label:
        check_list(labels)
        warnings.warn(
            "The multi_label argument to filter.find_label_issues() is deprecated; "
            "use multilabel_classification.filter.find_label_issues()",
            DeprecationWarning,
            stacklevel=2,
        )
        from .multilabel_classification.filter import find_label_issues as of_many

        return of_many(
            labels,
            pred_probs,
            return_indices_ranked_by,
            rank_by_kwargs or {},
            filter_by,
            frac_noise,
            num_to_remove_per_class,
            min_examples_per_class,
            confident_joint,
            n_jobs,
            verbose,
            corrected=corrected,
        )
    y, p = inputs(labels, pred_probs, allow_one_class=one_class_allowed(labels))
    _warn_of_options(filter_by, frac_noise, num_to_remove_per_class, confident_joint)
    if filter_by in PRUNE_FILTERS:
        _warn_of_few(y, p.shape[1], filter_by, min_examples_per_class)
    mask, indices = issues(
        y,
        p,
        filter_by=filter_by,
        rank_by=return_indices_ranked_by,
        rank_by_kwargs=rank_by_kwargs,
        frac_noise=frac_noise,
        num_to_remove_per_class=num_to_remove_per_class,
        min_examples_per_class=min_examples_per_class,
        confident_joint=confident_joint,
        corrected=corrected,
        threads=threads,
    )
    if verbose:
        print(f"Number of label issues found: {np.count_nonzero(mask)}")
    return mask if indices is None else indices


def issues(
    y: NDArray[np.int32],
    p: Array,
    *,
    filter_by: str,
    rank_by: str | None = None,
    rank_by_kwargs: dict[str, Anything] | None = None,
    frac_noise: float = 1.0,
    num_to_remove_per_class: Anything = None,
    min_examples_per_class: int = 1,
    confident_joint: Array | None = None,
    corrected: bool = False,
    threads: int = 0,
) -> tuple[Mask, NDArray[np.int64] | None]:
    """Return the mask, and the ranked rows where `rank_by` is a score, of checked labels and probabilities."""
    if rank_by is not None and rank_by not in rank.METHODS:
        raise ValueError(f"{rank_by!r} is not a valid scoring method, want {rank.METHODS}")
    n_classes, collision = p.shape[1], COLLISION[bool(corrected)]
    adjust = rank._adjust(rank_by_kwargs or {})["adjust"]
    by_entropy = rank_by == "confidence_weighted_entropy"
    if by_entropy:
        check_range(p, 0.0, 1.0)
        if adjust:
            raise ValueError(f"adjust_pred_probs is not currently supported for {rank_by}.")
    joint = None
    if confident_joint is not None and filter_by in PRUNE_FILTERS:
        joint = _whole(shape_of_joint(np.asarray(confident_joint), n_classes), frac_noise)
    remove = num_to_remove_per_class
    if remove is not None and corrected and filter_by != "prune_by_class":
        joint = _removed_by_given(y, p, joint, np.asarray(remove), threads)
        remove = None
    options = issue_options(
        n_classes,
        "pred_probs",
        filter_by,
        "self_confidence" if rank_by is None or by_entropy else rank_by,
        collision,
        frac_noise,
        remove,
        min_examples_per_class,
        adjust,
    )
    mask, indices, _, _, _ = module().label_issues(
        y, p, joint=joint, **options, threads=threads, progress=None
    )
    if rank_by is None:
        return mask, None
    if by_entropy:
        rows = np.flatnonzero(mask)
        quality = rank.scores(y, p, rank_by, corrected=corrected, threads=threads)
        indices = rows[np.argsort(quality[rows], kind="stable")]
    return mask, indices


def _whole(joint: Array, frac_noise: float) -> NDArray[np.int64]:
    """Return a joint of whole numbers; fractions are cut off where cleanlab cuts them off, after `frac_noise`."""
    values = np.asarray(joint, np.float64)
    if not (np.isfinite(values).all() and (values >= 0).all()):
        raise ValueError("confident_joint must hold finite numbers, none negative")
    if frac_noise != 1.0 and (values != np.floor(values)).any():
        raise ValueError("confident_joint must hold whole numbers where frac_noise is not 1")
    return np.ascontiguousarray(np.floor(values), np.int64)


def _removed_by_given(
    y: NDArray[np.int32], p: Array, joint: Array | None, remove: Array, threads: int
) -> NDArray[np.int64]:
    """Return a joint that has, of each given class, `remove` rows off its diagonal, spread as in `joint`."""
    n_classes = p.shape[1]
    if remove.shape != (n_classes,) or remove.dtype.kind not in "iu" or (remove < 0).any():
        raise ValueError("num_to_remove_per_class must hold a whole number, at least 0, a class")
    class_counts = np.bincount(y, minlength=n_classes)
    if joint is None:
        counts, _, _, _, _ = module().confident_joint(
            y,
            p,
            thresholds=None,
            collision="confident",
            weights=None,
            threads=threads,
            progress=None,
        )
        joint = module().calibrate(counts, class_counts.astype(np.int64))
    off = joint.astype(np.float64)
    np.fill_diagonal(off, 0.0)
    totals = off.sum(axis=1)
    want = np.where(totals > 0, np.minimum(remove, class_counts), 0).astype(np.float64)
    scaled = off / np.maximum(totals, 1.0)[:, None] * want[:, None]
    result = np.array([_round_preserving_sum(row) for row in scaled], np.int64)
    np.fill_diagonal(result, class_counts - result.sum(axis=1))
    return np.ascontiguousarray(result)


def _warn_of_options(
    filter_by: str, frac_noise: float, remove: Anything, confident_joint: Array | None
) -> None:
    if filter_by not in PRUNE_FILTERS:
        if frac_noise != 1.0 or remove is not None:
            warnings.warn(
                "frac_noise and num_to_remove_per_class are only supported by the filters "
                f"{list(PRUNE_FILTERS)}",
                stacklevel=3,
            )
        if remove is not None:
            raise ValueError(
                f"filter_by {filter_by!r} is not supported with num_to_remove_per_class"
            )
    if filter_by == "confident_learning" and isinstance(confident_joint, np.ndarray):
        warnings.warn(
            "The supplied `confident_joint` is ignored when `filter_by = 'confident_learning'`; it is "
            "re-estimated from the given labels",
            stacklevel=3,
        )


def _warn_of_few(y: NDArray[np.int32], n_classes: int, filter_by: str, least: int) -> None:
    told = {"prune_by_class": ["see argument: `min_examples_per_class`"]}
    told["prune_by_noise_rate"] = ["see `min_examples_per_class` argument"]
    told["both"] = told["prune_by_class"] + told["prune_by_noise_rate"]
    for k in np.flatnonzero(np.bincount(y, minlength=n_classes) <= least):
        for see in told[filter_by]:
            warnings.warn(
                f"May not flag all label issues in class: {k}, it has too few examples ({see})",
                stacklevel=3,
            )


def find_predicted_neq_given(
    labels: Anything, pred_probs: Array, *, multi_label: bool = False
) -> Mask:
    """Return a mask of the rows whose most probable class is not the given one, ties to the lower class."""
    if multi_label:
        check_list(labels)
        from .multilabel_classification._inputs import one_hot

        given, p = one_hot(labels, pred_probs)
        # 1 - p in the dtype of p, as where the two classes of each column are compared.
        return np.asarray(((p > 1 - p) != given).any(axis=1))
    y, p = inputs(labels, pred_probs, allow_one_class=False)
    check_range(p)
    return np.asarray(p.argmax(axis=1) != y)


def find_label_issues_using_argmax_confusion_matrix(
    labels: Array,
    pred_probs: Array,
    *,
    calibrate: bool = True,
    filter_by: str = "prune_by_noise_rate",
) -> Mask:
    """Return `find_label_issues` by the confusion matrix of given and most probable classes."""
    from .count import calibrate_confident_joint

    y, p = inputs(labels, pred_probs, allow_one_class=False)
    n_classes = p.shape[1]
    cells = y.astype(np.int64) * n_classes + p.argmax(axis=1)
    joint = np.bincount(cells, minlength=n_classes**2).reshape(n_classes, n_classes)
    if calibrate:
        joint = calibrate_confident_joint(joint, y)
    return find_label_issues(y, p, confident_joint=joint, filter_by=filter_by)
