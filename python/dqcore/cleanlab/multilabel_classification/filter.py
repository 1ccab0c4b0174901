"""Which rows are likely wrong about some class, as `cleanlab.multilabel_classification.filter` tells."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

from .._inputs import Anything, Array
from . import rank
from ._inputs import binary_problems, one_hot

Mask = NDArray[np.bool_]


def find_label_issues(
    labels: list[list[int]],
    pred_probs: Array,
    return_indices_ranked_by: str | None = None,
    rank_by_kwargs: dict[str, Anything] = {},  # noqa: B006 - cleanlab's default; never written to
    filter_by: str = "prune_by_noise_rate",
    frac_noise: float = 1.0,
    num_to_remove_per_class: list[int] | None = None,
    min_examples_per_class: int = 1,
    confident_joint: Array | None = None,
    n_jobs: int | None = None,
    verbose: bool = False,
    low_memory: bool = False,
    *,
    corrected: bool = False,
) -> Array:
    """Return a mask of the rows that are likely wrong about some class, or those rows, worst first.

    With `low_memory` the result is the same, which cleanlab's is not. `corrected` as for `filter.find_label_issues`;
    ranked rows of the "low_" filters are then in order of their own scores.
    """
    per_class: dict[str, Anything] = {
        "frac_noise": frac_noise,
        "num_to_remove_per_class": num_to_remove_per_class,
        "min_examples_per_class": min_examples_per_class,
        "confident_joint": confident_joint,
        "n_jobs": n_jobs,
        "verbose": verbose,
        "corrected": corrected,
    }
    by = return_indices_ranked_by
    given, p = one_hot(labels, pred_probs)
    if filter_by in ("low_normalized_margin", "low_self_confidence"):
        return _lowest(labels, given, p, by, rank_by_kwargs, confident_joint, corrected)
    found = find_multilabel_issues_per_class(labels, pred_probs, filter_by=filter_by, **per_class)
    mask: Mask = found.any(axis=1)
    if by is None:
        return mask
    rows = np.flatnonzero(mask)
    quality = _row_quality(given, p, by, rank_by_kwargs, corrected)[rows]
    return rows[np.argsort(quality, kind="stable")]


def _row_quality(
    given: NDArray[np.int32], p: Array, by: str, kwargs: dict[str, Anything], corrected: bool
) -> Array:
    adjust = bool((kwargs or {}).get("adjust_pred_probs", False))
    return rank.row_scores(given, p, by, adjust, corrected)


def _lowest(
    labels: list[list[int]],
    given: NDArray[np.int32],
    p: Array,
    by: str | None,
    kwargs: dict[str, Anything],
    confident_joint: Array | None,
    corrected: bool,
) -> Array:
    """Return as many rows of the lowest scores as the filter "confident_learning" finds."""
    sure = find_label_issues(
        labels,
        p,
        filter_by="confident_learning",
        confident_joint=confident_joint,
        corrected=corrected,
    )
    quality = rank.row_scores(given, p, "self_confidence")
    rows = np.argsort(quality, kind="stable")[: int(sure.sum())]
    mask = np.zeros(len(p), bool)
    mask[rows] = True
    if by is None:
        return mask
    ordered = np.flatnonzero(mask)
    order = np.argsort(_row_quality(given[mask], p[mask], by, kwargs, corrected), kind="stable")
    # cleanlab takes places among the ascending rows for places among the rows by score.
    return ordered[order] if corrected else rows[order]


def find_multilabel_issues_per_class(
    labels: list[list[int]],
    pred_probs: Array,
    return_indices_ranked_by: str | None = None,
    rank_by_kwargs: dict[str, Anything] = {},  # noqa: B006
    filter_by: str = "prune_by_noise_rate",
    frac_noise: float = 1.0,
    num_to_remove_per_class: list[int] | None = None,
    min_examples_per_class: int = 1,
    confident_joint: Array | None = None,
    n_jobs: int | None = None,
    verbose: bool = False,
    low_memory: bool = False,
    *,
    corrected: bool = False,
) -> Anything:
    """Return an (n, n_classes) mask of the rows that are likely wrong about each class.

    With `return_indices_ranked_by` three lists instead, an entry for each class: its rows, worst first, its labels, and its
    (n, 2) probabilities. `low_memory` and `corrected` as for `find_label_issues`.
    """
    from ..filter import find_label_issues as of_class

    problems = list(binary_problems(labels, pred_probs))
    n_classes = len(problems)
    joints: Anything = [None] * n_classes
    if confident_joint is not None:
        joints = _joints(np.asarray(confident_joint), n_classes, corrected)
    found = []
    for c, (y, p) in enumerate(problems):
        remove = None if num_to_remove_per_class is None else [num_to_remove_per_class[c], 0]
        found.append(
            of_class(
                y,
                p,
                return_indices_ranked_by=return_indices_ranked_by,
                rank_by_kwargs=rank_by_kwargs,
                filter_by=filter_by,
                frac_noise=frac_noise,
                num_to_remove_per_class=remove,
                min_examples_per_class=min_examples_per_class,
                confident_joint=joints[c],
                n_jobs=n_jobs,
                verbose=verbose,
                corrected=corrected,
            )
        )
    if return_indices_ranked_by is None:
        return np.stack(found, axis=1)
    return found, [y for y, _ in problems], [p for _, p in problems]


def _joints(joint: Array, n_classes: int, corrected: bool) -> Anything:
    if joint.shape == (n_classes, n_classes):
        warnings.warn(
            "confident_joint must be (num_classes, 2, 2), as compute_confident_joint(..., multi_label=True) gives "
            "it; a K x K joint is ignored",
            stacklevel=3,
        )
        return [None] * n_classes
    if joint.shape != (n_classes, 2, 2):
        raise ValueError("confident_joint should be of shape (num_classes, 2, 2)")
    return joint[:, ::-1, ::-1] if corrected else joint
