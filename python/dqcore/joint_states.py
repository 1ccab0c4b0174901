"""The mergeable states of confident learning: thresholds, counts and issues fed in pieces, in any split and order."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _backend, _check
from .joint_options import (
    COLLISIONS,
    calibrated_counts,
    inputs,
    issue_options,
    threshold_values,
    warn_row_sums,
)
from .joint_results import ConfidentJoint, LabelIssues


class _State:
    """What the room's states share: a compiled state and a lock, for updates from several threads."""

    _kind: str
    _state: Any

    def _start(self, *parameters: object, **named: object) -> None:
        self._state = getattr(_backend.load("cpu"), self._kind)(*parameters, **named)
        self._lock = threading.Lock()

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return int(self._state.n_classes)

    def _merge(self, other: _State) -> None:
        if not isinstance(other, type(self)):
            raise TypeError(f"other must be a {self._kind}, got {type(other).__name__}")
        if other is self:
            other = type(self).from_bytes(self.to_bytes())
        first, second = sorted((self, other), key=id)  # one order, so that merges cannot deadlock
        with first._lock, second._lock:
            self._state.merge(other._state)

    def to_bytes(self) -> bytes:
        """Return the state as versioned, checksummed bytes: the same for any split and order of its rows."""
        with self._lock:
            return bytes(self._state.to_bytes())

    @classmethod
    def from_bytes(cls, data: bytes) -> Any:  # noqa: ANN401
        """Return the state held by `data`.

        Raises
        ------
        TypeError, ValueError
            Where `data` is not bytes, or damaged, of another kind or of another version.
        """
        if not isinstance(data, bytes):
            raise TypeError(f"data must be bytes, got {type(data).__name__}")
        state = cls.__new__(cls)
        state._state = getattr(_backend.load("cpu"), cls._kind).from_bytes(data)
        state._lock = threading.Lock()
        return state

    def _weighted_inputs(
        self, labels: object, pred_probs: object, weights: object
    ) -> tuple[NDArray[np.int32], NDArray[Any], NDArray[np.float64] | None]:
        y, p, _ = inputs(labels, pred_probs)
        self._same_classes(p)
        if self._state.weighted != (weights is not None):
            need = "needs weights" if self._state.weighted else "was made without weights"
            raise ValueError(f"weights: this state {need}")
        return y, p, None if weights is None else _check.weights("weights", weights, len(y))

    def _same_classes(self, p: NDArray[Any]) -> None:
        if p.shape[1] != self.n_classes:
            raise ValueError(
                f"pred_probs has {p.shape[1]} classes but the state has {self.n_classes}"
            )


class ThresholdState(_State):
    """Class thresholds of rows that come in pieces.

    Any split of the rows, any order and any merge tree give the same bits as `confident_joint` on all rows at once.

    Parameters
    ----------
    n_classes : int
        Number of classes.
    weighted : bool
        Whether rows come with weights.

    Examples
    --------
    >>> import dqcore as dq
    >>> state = dq.ThresholdState(2)
    >>> state.update([0], [[0.75, 0.25]])
    >>> state.update([1, 1], [[0.5, 0.5], [0.0, 1.0]])
    >>> state.finish()
    array([0.75, 0.75])
    """

    _kind = "ThresholdState"

    def __init__(self, n_classes: int, *, weighted: bool = False) -> None:
        """Start without rows."""
        self._start(
            _check.integer("n_classes", n_classes, 1, _check.MOST_CLASSES),
            weighted=_check.flag("weighted", weighted),
        )

    def update(
        self,
        labels: ArrayLike,
        pred_probs: ArrayLike,
        *,
        weights: ArrayLike | None = None,
        threads: int = 0,
        progress: _check.Progress = None,
    ) -> None:
        """Add rows; reads, and checks, only the probabilities of the given labels.

        Raises
        ------
        TypeError, ValueError
            As `confident_joint`; the state is unchanged then.
        """
        y, p, w = self._weighted_inputs(labels, pred_probs, weights)
        threads, progress = _check.run_options(threads, progress)
        with self._lock:
            self._state.update(y, p, weights=w, threads=threads, progress=progress)

    def merge(self, other: ThresholdState) -> None:
        """Add the rows of `other`; ValueError names the parameter that differs."""
        self._merge(other)

    def finish(self) -> NDArray[np.float64]:
        """Return (n_classes,) thresholds; 2.0 for a class without rows (or without weight)."""
        with self._lock:
            result: NDArray[np.float64] = self._state.finish()
        return result


class JointState(_State):
    """A confident joint of rows that come in pieces.

    Any split of the rows, any order and any merge tree give the same bits as `confident_joint` on all rows at once.

    Parameters
    ----------
    thresholds : (n_classes,) numbers
        What `ThresholdState.finish` gives.
    collision : {"argmax", "confident"}
        As for `confident_joint`.
    weighted : bool
        Whether rows come with weights.

    Examples
    --------
    >>> import dqcore as dq
    >>> state = dq.JointState([0.5, 0.5])
    >>> state.update([0, 1], [[0.75, 0.25], [0.75, 0.25]])
    >>> state.finish().counts
    array([[1, 0],
           [1, 0]])
    """

    _kind = "JointState"

    def __init__(
        self, thresholds: ArrayLike, *, collision: str = "argmax", weighted: bool = False
    ) -> None:
        """Start without rows."""
        self._start(
            threshold_values("thresholds", thresholds, None),
            collision=_check.choice("collision", collision, COLLISIONS),
            weighted=_check.flag("weighted", weighted),
        )

    def update(
        self,
        labels: ArrayLike,
        pred_probs: ArrayLike,
        *,
        weights: ArrayLike | None = None,
        threads: int = 0,
        progress: _check.Progress = None,
    ) -> None:
        """Count rows. A warning about row sums numbers rows from the start of this piece.

        Raises
        ------
        TypeError, ValueError
            As `confident_joint`; the state is unchanged then.
        """
        y, p, w = self._weighted_inputs(labels, pred_probs, weights)
        threads, progress = _check.run_options(threads, progress)
        with self._lock:
            row_sums = self._state.update(y, p, weights=w, threads=threads, progress=progress)
        warn_row_sums(row_sums)

    def merge(self, other: JointState) -> None:
        """Add the rows of `other`; ValueError names the parameter that differs."""
        self._merge(other)

    def finish(self) -> ConfidentJoint:
        """Return the joint."""
        with self._lock:
            counts, class_counts, class_weights = self._state.finish()
            thresholds = self._state.thresholds
        return ConfidentJoint(counts, thresholds, class_counts, class_weights)


class IssueState(_State):
    """Label issues of rows that come in pieces, with their place in the data set.

    Any split of the rows, any order and any merge tree give the same bits as `label_issues` on all rows at once. Holds
    some 16 bytes a row and, for each pair of classes, as many candidates as the joint says.

    Parameters
    ----------
    joint : ConfidentJoint
        Of all rows: the prune filters go by its calibrated counts, the others by its thresholds.
    filter_by, rank_by, collision, frac_noise, num_to_remove_per_class, min_examples_per_class, adjust
        As for `label_issues`.

    Examples
    --------
    >>> import dqcore as dq
    >>> p = [[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.2, 0.8], [0.9, 0.1]]
    >>> state = dq.IssueState(dq.confident_joint([0, 0, 1, 1, 1], p))
    >>> state.update([1, 1, 1], p[2:], row_start=2)
    >>> state.update([0, 0], p[:2], row_start=0)
    >>> state.finish().indices
    array([4])
    """

    _kind = "IssueState"

    def __init__(
        self,
        joint: ConfidentJoint,
        filter_by: str = "prune_by_noise_rate",
        *,
        rank_by: str = "self_confidence",
        collision: str = "argmax",
        frac_noise: float = 1.0,
        num_to_remove_per_class: ArrayLike | None = None,
        min_examples_per_class: int = 1,
        adjust: bool = False,
    ) -> None:
        """Start without rows."""
        if not isinstance(joint, ConfidentJoint):
            raise TypeError(f"joint must be a ConfidentJoint, got {type(joint).__name__}")
        options = issue_options(
            joint.n_classes,
            "joint",
            filter_by,
            rank_by,
            collision,
            frac_noise,
            num_to_remove_per_class,
            min_examples_per_class,
            adjust,
        )
        self._start(
            _check.contiguous(joint.thresholds, np.float64),
            joint=calibrated_counts(joint, joint.n_classes),
            class_counts=_check.contiguous(joint.class_counts, np.int64),
            **options,
        )

    def update(
        self,
        labels: ArrayLike,
        pred_probs: ArrayLike,
        *,
        row_start: int,
        threads: int = 0,
        progress: _check.Progress = None,
    ) -> None:
        """Add rows row_start, row_start + 1, ... of the data set.

        Raises
        ------
        TypeError, ValueError
            As `label_issues`, and where a row has been seen already; the state is unchanged then.
        """
        y, p, _ = inputs(labels, pred_probs)
        self._same_classes(p)
        row_start = _check.integer("row_start", row_start, 0, 2**53)
        threads, progress = _check.run_options(threads, progress)
        with self._lock:
            self._state.update(y, p, row_start=row_start, threads=threads, progress=progress)

    def merge(self, other: IssueState) -> None:
        """Add the rows of `other`; ValueError names the parameter that differs or a row seen twice."""
        self._merge(other)

    def finish(self) -> LabelIssues:
        """Return the issues of rows 0 to n - 1, once all have been seen, and warn about row sums.

        Raises
        ------
        ValueError
            Where rows are missing; names the first.
        """
        with self._lock:
            mask, indices, quality, suggested, row_sums = self._state.finish()
        warn_row_sums(row_sums)
        return LabelIssues(mask, indices, quality, suggested)
