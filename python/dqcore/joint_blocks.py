"""A backend's functions of labels and probabilities, over probabilities that are read in blocks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import joint_passes
from .joint_options import PRUNE_FILTERS
from .passes import Passes

_BASE_BYTES = 1 << 20
_LEAST_ROWS = 64  # of a block of the bootstrap
_ENTRY_BYTES = 4 * 8  # of a cell's replicate, in tables of what follows from the counts
_MATRIX_BYTES = 8 * 8  # of a pair of classes, in those of one replicate


_UNLIMITED = 1 << 62


class _NoRoom(ValueError):
    """What is counted has grown beyond what there is for it."""


def _padded(replicates: int) -> int:
    return -(-replicates // 8) * 8


class Blocks:
    """Stands for the module that has the functions; the rows it is made with are those of every call.

    Within the rows' limit, with the bits of the module's own functions. A ValueError names what does not fit.
    """

    def __init__(self, rows: joint_passes.Rows) -> None:
        self._rows = rows

    def confident_joint(
        self,
        _: object,
        __: object,
        *,
        thresholds: NDArray[np.float64] | None,
        collision: str,
        **___: object,
    ) -> tuple[Any, ...]:
        """As the module's."""
        return joint_passes.confident_joint(self._rows, thresholds=thresholds, collision=collision)

    def label_issues(
        self,
        _: object,
        __: object,
        *,
        joint: NDArray[np.int64],
        threads: object,  # noqa: ARG002
        progress: object,  # noqa: ARG002
        **options: Any,  # noqa: ANN401
    ) -> tuple[Any, ...]:
        """As the module's."""
        prunes = options["filter_by"] in PRUNE_FILTERS
        return joint_passes.label_issues(self._rows, joint=joint, options=options, prunes=prunes)

    def confident_classes(
        self,
        labels: NDArray[np.int32],
        _: object,
        *,
        thresholds: NDArray[np.float64],
        collision: str,
        **__: object,
    ) -> NDArray[np.int32]:
        """As the module's."""
        rows, found = self._rows, np.empty(len(labels), np.int32)

        def look(_: None, begin: int, end: int, p: NDArray[Any]) -> None:
            found[begin:end] = rows.module.confident_classes(
                labels[begin:end],
                p,
                thresholds=thresholds,
                collision=collision,
                threads=1,
                progress=None,
            )

        rows.passes.over("confident classes", lambda: None, look)
        return found

    def bootstrap_joint(
        self,
        labels: NDArray[np.int32],
        _: object,
        *,
        thresholds: NDArray[np.float64] | None,
        collision: str,
        replicates: int,
        seed: int,
        **__: object,
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """As the module's."""
        rows, k = self._rows, self._rows.n_classes
        if thresholds is None:
            by_replicate = self._thresholds(labels, replicates, seed)
        else:
            by_replicate = np.repeat(thresholds[:, None], replicates, axis=1)
        for most in (rows.passes.most, 1):
            try:
                total = self._counts(labels, by_replicate, collision, seed, most)
                break
            except _NoRoom as full:
                full.__traceback__ = None  # whose frames would hold the states
                if most == 1:  # to which all of the room was left
                    raise
        result: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]] = total.finish()
        del total
        if rows.limit is not None:
            need = len(result[0]) * replicates * _ENTRY_BYTES + k * k * _MATRIX_BYTES
            self._watch(need, rows.limit - _BASE_BYTES, replicates)
        return result

    def _thresholds(
        self, labels: NDArray[np.int32], replicates: int, seed: int
    ) -> NDArray[np.float64]:
        rows, k = self._rows, self._rows.n_classes
        # The sums with what adds to them, which has two more limbs.
        each = k * _padded(replicates) * 64
        passes = self._passes(each, k * replicates * 16, replicates, rows.passes.most)

        def make() -> Any:  # noqa: ANN401
            return rows.module.ReplicateSums(k, replicates=replicates, seed=seed)

        def add(state: Any, begin: int, end: int, p: NDArray[Any]) -> None:  # noqa: ANN401
            state.add(labels[begin:end], p, begin)

        states = passes.over("bootstrap thresholds", make, add)
        found: NDArray[np.float64] = joint_passes._merged(states).finish()
        return found

    def _counts(
        self,
        labels: NDArray[np.int32],
        thresholds: NDArray[np.float64],
        collision: str,
        seed: int,
        most: int,
    ) -> Any:  # noqa: ANN401
        """Return the state of all rows, by at most so many workers."""
        rows = self._rows
        k, replicates = thresholds.shape
        # Thresholds in the state, in what adds to it and as its bounds. Half of the rest is for the cells of a block and
        # half for those so far, either of which may grow to three times what they are.
        each, cell = k * replicates * 24, 8 * _padded(replicates)
        fixed = k * replicates * 16
        passes = self._passes(each + 12 * _LEAST_ROWS * cell, fixed, replicates, most)
        room = _UNLIMITED
        if rows.limit is not None:
            left = rows.limit - self._fixed(fixed) - rows.source._held_bytes()
            room = 3 * left // 4 // passes.workers - each
            passes.block_rows = max(1, min(passes.block_rows, room // (12 * cell)))

        def make() -> Any:  # noqa: ANN401
            return rows.module.ReplicateCounts(thresholds, collision=collision, seed=seed)

        def add(state: Any, begin: int, end: int, p: NDArray[Any]) -> None:  # noqa: ANN401
            state.add(labels[begin:end], p, begin)
            self._watch(3 * state.held_bytes, room // 2, replicates)

        return joint_passes._merged(passes.over("bootstrap", make, add))

    def _fixed(self, tables: int) -> int:
        return _BASE_BYTES + tables

    def _passes(self, each: int, fixed: int, replicates: int, most: int) -> Passes:
        rows = self._rows
        if rows.limit is not None:
            need = self._fixed(fixed) + rows.source._held_bytes() + 4 * each // 3
            need += _LEAST_ROWS * rows.source._row_bytes
            self._watch(need, rows.limit, replicates)
        return Passes(
            rows.source,
            rows.limit,
            most,
            rows.progress,
            fixed=self._fixed(fixed),
            each=each,
        )

    def _watch(self, need: int, room: int, replicates: int) -> None:
        if need > room:
            raise _NoRoom(
                f"memory_limit has no room for the intervals of {replicates} replicates of {self._rows.n_classes} "
                f"classes: {need} bytes where there are {room}; give more than {self._rows.limit}, or replicates=0"
            )
