"""Confident learning within a memory limit: the same passes over pieces of the rows, with the same bits.

The kernels read probabilities where they lie, so an array in memory needs no limit. Those of a memory map become resident
as they are read: between pieces its pages are given back to the system, which still has them in the file.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _check

_BASE_BYTES = 1 << 20  # what workers hold, and some
_MOST_PIECE = 1 << 28  # more gains nothing

Pass = Callable[[int, NDArray[np.int32], NDArray[Any], dict[str, Any]], None]


class Pieces:
    """Rows of probabilities in pieces that fit a limit, and how to run over them.

    Parameters
    ----------
    labels, pred_probs
        As `joint_options.inputs` returns them.
    limit : int
        Bytes that may be held besides the arguments and the result.
    weighted : bool
        Whether rows have weights: their tables hold 16 bytes more.
    run : dict
        threads and progress.
    """

    def __init__(
        self,
        labels: NDArray[np.int32],
        pred_probs: NDArray[Any],
        limit: int,
        run: dict[str, Any],
        *,
        weighted: bool = False,
    ) -> None:
        """Refuse a limit that the tables of classes alone would break."""
        n_classes = pred_probs.shape[1]
        row = max(n_classes * pred_probs.itemsize, 1)
        # The counts of all rows, those of a piece, and calibrated ones.
        tables = (3 * 8 + (2 * 16 if weighted else 0)) * n_classes**2 + _BASE_BYTES
        if limit < tables + row:
            raise ValueError(
                f"memory_limit must be at least {tables + row} bytes for {n_classes} classes, got {limit}"
            )
        self.labels, self.pred_probs, self.run = labels, pred_probs, run
        self._rows = max(min(limit - tables, _MOST_PIECE) // row, 1)
        self._map = _shared_map(pred_probs)

    def over(self, each: Pass) -> None:
        """Call each(first row, labels, probabilities, run) for one piece after the other."""
        n = len(self.labels)
        for begin in range(0, n, self._rows):
            end = min(begin + self._rows, n)
            run = {**self.run, "progress": self._progress(begin, end - begin, n)}
            each(begin, self.labels[begin:end], self.pred_probs[begin:end], run)
            if self._map is not None:
                self._map.madvise(mmap.MADV_DONTNEED)

    def _progress(self, begin: int, rows: int, n: int) -> _check.Progress:
        tell = self.run["progress"]
        if tell is None:
            return None
        return lambda stage, done, total: tell(stage, begin + rows * done // max(total, 1), n)


def _shared_map(array: NDArray[Any]) -> mmap.mmap | None:
    """Return the map that `array` views, where its pages can be dropped: a file's own, not a private copy."""
    if not hasattr(mmap, "MADV_DONTNEED"):
        return None
    shared = False  # a map of its own does not tell; dropping the pages of a private one would lose what they hold
    for owner in _owners(array):
        if isinstance(owner, np.memmap):
            shared = owner.mode in ("r", "r+", "w+")
        if isinstance(owner, mmap.mmap):
            return owner if shared else None
    return None


def _owners(array: object) -> Iterator[object]:
    while array is not None:
        yield array
        array = array.obj if isinstance(array, memoryview) else getattr(array, "base", None)


def class_thresholds(
    module: ModuleType, pieces: Pieces, weights: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Return the thresholds that `module.confident_joint` would find."""
    state = module.ThresholdState(pieces.pred_probs.shape[1], weighted=weights is not None)
    pieces.over(
        lambda begin, y, p, run: state.update(
            y, p, weights=None if weights is None else weights[begin : begin + len(y)], **run
        )
    )
    found: NDArray[np.float64] = state.finish()
    return found


def confident_joint(
    module: ModuleType,
    pieces: Pieces,
    *,
    thresholds: NDArray[np.float64] | None,
    collision: str,
    weights: NDArray[np.float64] | None,
) -> tuple[Any, ...]:
    """Return what `module.confident_joint` returns."""
    options: dict[str, Any] = {"collision": collision, "weights": weights}
    sums: tuple[int, int, float] = (0, -1, 1.0)

    def count(begin: int, y: NDArray[np.int32], p: NDArray[Any], run: dict[str, Any]) -> None:
        nonlocal sums
        part = None if weights is None else weights[begin : begin + len(y)]
        sums = _together(sums, begin, state.update(y, p, weights=part, **run))

    try:
        used = class_thresholds(module, pieces, weights) if thresholds is None else thresholds
        state = module.JointState(used, collision=collision, weighted=weights is not None)
        pieces.over(count)
    except ValueError:  # of one piece; that of all rows is told
        y, p = pieces.labels, pieces.pred_probs
        whole: tuple[Any, ...] = module.confident_joint(
            y, p, thresholds=thresholds, **options, **pieces.run
        )
        return whole
    counts, class_counts, class_weights = state.finish()
    return counts, used, class_counts, class_weights, sums


def _together(
    sums: tuple[int, int, float], begin: int, more: tuple[int, int, float]
) -> tuple[int, int, float]:
    """Add the row sums of a piece that starts at row `begin`: the first of the worst stays."""
    off, worst, total = more
    if off == 0:
        return sums
    if abs(total - 1.0) > abs(sums[2] - 1.0):
        return sums[0] + off, begin + worst, total
    return sums[0] + off, sums[1], sums[2]


def label_issues(
    module: ModuleType,
    pieces: Pieces,
    *,
    joint: NDArray[np.int64] | None,
    options: dict[str, Any],
    prunes: bool,
) -> tuple[Any, ...]:
    """Return what `module.label_issues` returns."""
    y, p = pieces.labels, pieces.pred_probs
    n_classes = p.shape[1]
    try:
        thresholds = class_thresholds(module, pieces)
        class_counts = np.bincount(y, minlength=n_classes)
        if not prunes:
            calibrated = np.zeros((n_classes, n_classes), np.int64)  # which nobody looks at
        elif joint is None:
            found = confident_joint(
                module,
                pieces,
                thresholds=thresholds,
                collision=options["collision"],
                weights=None,
            )
            calibrated = module.calibrate(found[0], class_counts)
        else:
            calibrated = joint
        state = module.IssueState(
            thresholds, joint=calibrated, class_counts=class_counts, **options
        )
        pieces.over(lambda begin, y, p, run: state.update(y, p, row_start=begin, **run))
    except ValueError:  # of one piece; that of all rows is told
        whole: tuple[Any, ...] = module.label_issues(y, p, joint=joint, **options, **pieces.run)
        return whole
    issues: tuple[Any, ...] = state.finish()
    return issues
