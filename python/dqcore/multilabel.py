"""Multi-label data: rows that may have several classes, each of which may be there, or missing, by mistake."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _backend, _check
from .joint_options import COLLISIONS, QUALITIES, check_adjust, issue_options
from .joint_results import ConfidentJoint
from .reference import multilabel as definition

Floats = NDArray[np.float64]

AGGREGATES = ("moving_average", "softmin")
LEAST_TEMPERATURE = 1e-3  # below, weights of scores that differ by a few percent are 0


@dataclass(frozen=True, eq=False)
class MultilabelJoint:
    """A confident joint of each class against the rest.

    Attributes
    ----------
    counts : (n_classes, 2, 2) int64
        Rows by [class, given, true]; index 1 stands for having the class, 0 for not having it. Before any floor.
    thresholds : (n_classes, 2) float64
        From which probability on (less 1e-6) a row is confidently without, and with, the class.
    class_counts : (n_classes, 2) int64
        Rows without, and with, each class as given.
    """

    counts: NDArray[np.int64]
    thresholds: Floats
    class_counts: NDArray[np.int64]

    def __len__(self) -> int:
        """Return the number of classes."""
        return len(self.counts)

    def __repr__(self) -> str:
        """Return the sizes, not the arrays."""
        n = int(self.class_counts[0].sum()) if len(self) else 0
        return f"MultilabelJoint({n} rows, {len(self)} classes)"

    def of_class(self, c: int) -> ConfidentJoint:
        """Return the confident joint of one class: all that `ConfidentJoint` tells, of this class.

        Parameters
        ----------
        c : int
            The class, in [0, n_classes).

        Raises
        ------
        TypeError, ValueError
            Where c is no class.
        """
        c = _check.integer("c", c, 0, len(self) - 1)
        return ConfidentJoint(self.counts[c], self.thresholds[c], self.class_counts[c])

    def calibrated(self) -> NDArray[np.int64]:
        """Return (n_classes, 2, 2) counts scaled to all rows; see `ConfidentJoint.calibrated`."""
        found = [self.of_class(c).calibrated() for c in range(len(self))]
        return np.array(found, np.int64).reshape(-1, 2, 2)

    def noise_rate(self) -> Floats:
        """Return (n_classes,) estimated shares of rows that are wrong about each class."""
        return np.array([self.of_class(c).noise_rate() for c in range(len(self))], np.float64)


@dataclass(frozen=True, eq=False)
class MultilabelIssues:
    """Rows that are likely wrong about some class.

    Attributes
    ----------
    mask : (n,) bool
        Whether the row is likely wrong about any class.
    indices : (n_issues,) int64
        The rows in `mask`, worst quality first, ties to the lower row.
    quality : (n,) float64
        The score that ranks; lower is worse.
    by_class : (n, n_classes) bool
        Which classes the row is likely wrong about.
    """

    mask: NDArray[np.bool_]
    indices: NDArray[np.int64]
    quality: Floats
    by_class: NDArray[np.bool_]

    def __len__(self) -> int:
        """Return the number of rows with an issue."""
        return len(self.indices)

    def __repr__(self) -> str:
        """Return the sizes, not the arrays."""
        return f"MultilabelIssues({len(self)} of {len(self.mask)} rows)"


def _inputs(labels: object, pred_probs: object) -> tuple[NDArray[np.int32], NDArray[Any]]:
    p = _check.pred_probs("pred_probs", pred_probs)
    want = "(n, n_classes) zeros and ones"
    values = _check.array("labels", labels, 2, want)
    if values.dtype.kind == "b":
        values = values.astype(np.int32)
    values = _check.integers("labels", values, want, 2)
    bad = (values != 0) & (values != 1)
    if bad.any():
        raise _check.first_bad("labels", values, bad, want)
    _check.same_length("labels", len(values), "pred_probs", len(p))
    if values.shape[1] != p.shape[1]:
        raise _check.another_number_of_classes("labels", values.shape[1], p.shape[1], "pred_probs")
    # 1 - p has to be a probability too.
    bad = ~((p >= -1e-6) & (p <= 1.0 + 1e-6))
    if bad.any():
        raise _check.first_bad("pred_probs", p, bad, "probabilities in [0, 1] (within 1e-6)")
    return np.asfortranarray(values, np.int32), p


def _of_class(
    y: NDArray[np.int32], p: NDArray[Any], c: int
) -> tuple[NDArray[np.int32], NDArray[Any]]:
    return _check.contiguous(y[:, c], np.int32), definition.two_classes(p, c)


def multilabel_joint(
    labels: ArrayLike,
    pred_probs: ArrayLike,
    *,
    collision: str = "argmax",
    backend: str = "auto",
    threads: int = 0,
    progress: _check.Progress = None,
) -> MultilabelJoint:
    """Count, for each class, the rows with and without it that confidently belong to it or not.

    Parameters
    ----------
    labels : (n, n_classes) zeros and ones
        1 where the row is given the class.
    pred_probs : (n, n_classes) float16, float32 or float64
        Out-of-sample probability of each class; rows need not sum to 1.
    collision, backend, threads, progress
        As for `confident_joint`.

    Returns
    -------
    MultilabelJoint

    Raises
    ------
    TypeError, ValueError
        Where an argument does not fit, naming it with the first bad row, its value and how many there are.
    BackendError
        Where the backend cannot run.

    References
    ----------
    Thyagarajan, Snorrason, Northcutt and Mueller, "Identifying Incorrect Annotations in Multi-Label Classification Data",
    ICLR workshop (2023).

    Examples
    --------
    >>> import dqcore as dq
    >>> labels = [[1, 0], [1, 1], [0, 1], [0, 1]]
    >>> joint = dq.multilabel_joint(labels, [[0.9, 0.2], [0.8, 0.9], [0.1, 0.8], [0.9, 0.9]])
    >>> joint.counts[0]
    array([[1, 1],
           [0, 1]])
    """
    module = _backend.load(backend, labels, pred_probs)
    y, p = _inputs(labels, pred_probs)
    _check.choice("collision", collision, COLLISIONS)
    threads, progress = _check.run_options(threads, progress)
    run: dict[str, Any] = {"collision": collision, "threads": threads, "progress": progress}
    found = [
        module.confident_joint(*_of_class(y, p, c), thresholds=None, weights=None, **run)
        for c in range(p.shape[1])
    ]
    counts, thresholds, class_counts = (np.array([one[i] for one in found]) for i in range(3))
    return MultilabelJoint(counts, thresholds, class_counts)


def _class_scores(
    module: ModuleType,
    y: NDArray[np.int32],
    p: NDArray[Any],
    method: str,
    adjust: bool,
    run: dict[str, Any],
) -> Floats:
    scores = np.empty(p.shape)
    for c in range(p.shape[1]):
        scores[:, c] = module.label_quality(
            *_of_class(y, p, c), method=method, adjust=adjust, **run
        )
    return scores


def _together(scores: Floats, aggregate: str, alpha: float, temperature: float) -> Floats:
    if aggregate == "softmin":
        return definition.softmin(scores, temperature)
    return definition.moving_average(scores, alpha)


def _aggregate_options(
    aggregate: object, alpha: object, temperature: object
) -> tuple[str, float, float]:
    return (
        _check.choice("aggregate", aggregate, AGGREGATES),
        _check.number("alpha", alpha, 0.0, 1.0),
        _check.number("temperature", temperature, LEAST_TEMPERATURE, 1e6),
    )


def multilabel_quality(
    labels: ArrayLike,
    pred_probs: ArrayLike,
    *,
    method: str = "self_confidence",
    adjust: bool = False,
    aggregate: str = "moving_average",
    alpha: float = 0.8,
    temperature: float = 0.1,
    backend: str = "auto",
    threads: int = 0,
    progress: _check.Progress = None,
) -> NDArray[np.float64]:
    """Score how much the predictions agree with each row's classes, those it has and those it has not.

    Parameters
    ----------
    labels, pred_probs, backend, threads, progress
        As for `multilabel_joint`.
    method, adjust
        The score of each class, as for `label_quality`.
    aggregate : {"moving_average", "softmin"}
        From the greatest of a row's scores to the least, `alpha` times the score and the rest of what came before; or
        the mean with weights exp((1 - score) / temperature).
    alpha : float in [0, 1]
        Weight of the least score in the moving average.
    temperature : float in [1e-3, 1e6]
        Of the softmin; the lower, the more the least score counts.

    Returns
    -------
    (n,) float64
        Higher is better.

    Raises
    ------
    TypeError, ValueError
        As for `multilabel_joint`, and where `adjust` is asked for with the entropy.
    BackendError
        Where the backend cannot run.

    References
    ----------
    Thyagarajan, Snorrason, Northcutt and Mueller, "Identifying Incorrect Annotations in Multi-Label Classification Data",
    ICLR workshop (2023).

    Examples
    --------
    >>> import dqcore as dq
    >>> dq.multilabel_quality([[1, 0], [1, 0]], [[0.75, 0.25], [0.75, 1.0]], alpha=0.75)
    array([0.75  , 0.1875])
    """
    module = _backend.load(backend, labels, pred_probs)
    y, p = _inputs(labels, pred_probs)
    _check.choice("method", method, QUALITIES)
    check_adjust("method", method, _check.flag("adjust", adjust))
    options = _aggregate_options(aggregate, alpha, temperature)
    threads, progress = _check.run_options(threads, progress)
    run: dict[str, Any] = {"threads": threads, "progress": progress}
    return _together(_class_scores(module, y, p, method, adjust, run), *options)


def multilabel_issues(
    labels: ArrayLike,
    pred_probs: ArrayLike,
    *,
    filter_by: str = "prune_by_noise_rate",
    rank_by: str = "self_confidence",
    collision: str = "argmax",
    frac_noise: float = 1.0,
    min_examples_per_class: int = 1,
    adjust: bool = False,
    aggregate: str = "moving_average",
    alpha: float = 0.8,
    temperature: float = 0.1,
    backend: str = "auto",
    threads: int = 0,
    progress: _check.Progress = None,
) -> MultilabelIssues:
    """Find the rows that are likely wrong about some class, worst first.

    Parameters
    ----------
    labels, pred_probs, backend, threads, progress
        As for `multilabel_joint`.
    filter_by, collision, frac_noise, min_examples_per_class
        How the rows of each class are chosen, as for `label_issues`.
    rank_by, adjust, aggregate, alpha, temperature
        The score that orders `indices`, as for `multilabel_quality`.

    Returns
    -------
    MultilabelIssues

    Raises
    ------
    TypeError, ValueError
        As for `multilabel_joint`, and where options do not go together.
    BackendError
        Where the backend cannot run.

    References
    ----------
    Thyagarajan, Snorrason, Northcutt and Mueller, "Identifying Incorrect Annotations in Multi-Label Classification Data",
    ICLR workshop (2023).

    Examples
    --------
    >>> import dqcore as dq
    >>> labels = [[1, 0], [1, 1], [0, 1], [0, 1]]
    >>> p = [[0.9, 0.2], [0.8, 0.9], [0.1, 0.8], [0.9, 0.9]]
    >>> found = dq.multilabel_issues(labels, p)
    >>> found.indices
    array([3])
    >>> found.by_class[3]
    array([ True, False])
    """
    module = _backend.load(backend, labels, pred_probs)
    y, p = _inputs(labels, pred_probs)
    options = issue_options(
        2,
        "pred_probs",
        filter_by,
        rank_by,
        collision,
        frac_noise,
        None,
        min_examples_per_class,
        adjust,
    )
    together = _aggregate_options(aggregate, alpha, temperature)
    threads, progress = _check.run_options(threads, progress)
    run: dict[str, Any] = {"threads": threads, "progress": progress}
    by_class = np.zeros(p.shape, bool)
    scores = np.empty(p.shape)
    for c in range(p.shape[1]):
        by_class[:, c], _, scores[:, c], _, _ = module.label_issues(
            *_of_class(y, p, c), joint=None, **options, **run
        )
    quality = _together(scores, *together)
    mask = np.asarray(by_class.any(axis=1), bool)
    rows = np.flatnonzero(mask)
    return MultilabelIssues(mask, rows[np.argsort(quality[rows], kind="stable")], quality, by_class)
