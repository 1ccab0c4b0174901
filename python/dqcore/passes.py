"""Passes over rows that need not fit in memory: blocks read and counted side by side, the same bits for any split.

Each worker reads a block to memory that its processor's cache holds, and counts it there in a state of its own; while one
waits for the file the others count. Ranges of rows may go to other processes and machines too: `executor`.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _check
from .sources import Source

Block = Callable[[Any, int, int, NDArray[Any]], None]  # (state, first row, end, rows)

_BLOCK_BYTES = (
    1 << 21
)  # with what is counted of them, blocks stay in the second and third level of cache
_FORGET_BYTES = 1 << 26  # of a memory map, before its pages are given back
_TICK_SECONDS = 0.02
# A task is small enough to be lost, and large enough to be worth a message.
_TASK_BYTES, _TASK_ROWS = 1 << 28, 250_000
_FEWEST_TASKS = 8
_IN_FLIGHT = 64


class Passes:
    """How to go over the rows of a source within a limit.

    Parameters
    ----------
    rows : Source
    limit : int or None
        Bytes that may be held besides arguments and results.
    threads : int
        Workers, at least 1.
    progress : callable or None
    fixed, each : int
        Bytes of tables that are held once, and by each worker.
    """

    def __init__(
        self,
        rows: Source,
        limit: int | None,
        threads: int,
        progress: _check.Progress,
        *,
        fixed: int = 0,
        each: int = 0,
    ) -> None:
        self.rows, self.progress, self.most = rows, progress, threads
        self.workers, block = threads, _BLOCK_BYTES
        if limit is not None:
            held = rows._held_bytes()
            if held and limit < fixed + each + held + rows._row_bytes:
                raise ValueError(
                    f"memory_limit must be at least {fixed + each + held + rows._row_bytes} bytes for {rows.name}, "
                    f"whose row groups are read whole, got {limit}"
                )
            left = limit - fixed - held
            # Fewer workers with a block each, rather than more without.
            self.workers = max(1, min(threads, left // (each + rows._row_bytes)))
            block = min(block, left // self.workers - each)
        self.block_rows = max(block // rows._row_bytes, 1)

    def blocks(self) -> int:
        """Return the number of blocks that all rows are read in."""
        return -(-len(self.rows) // self.block_rows)

    def order(self, span: tuple[int, int] | None = None, scattered: bool = False) -> Order:
        """Return the blocks of a pass as `over` has them counted."""
        first, last = (0, len(self.rows)) if span is None else span
        return Order(first, last, self.block_rows, scattered)

    def over(
        self,
        stage: str,
        make: Callable[[], Any],
        count: Block,
        span: tuple[int, int] | None = None,
        *,
        scattered: bool = False,
        places: tuple[int, int] | None = None,
    ) -> list[Any]:
        """Return what `make` gave to each worker, once count(state, begin, end, rows) has had every block.

        Where `scattered`, the blocks of any part of the pass lie evenly over all rows. `places` is the part of the pass.
        """
        order = self.order(span, scattered)
        first, last = order.first, order.last
        begin, end = (0, order.blocks) if places is None else places
        states = [make() for _ in range(max(1, min(self.workers, end - begin)))]
        shared = _Shared(order, begin, end, len(states))
        self.rows._unchanged()
        workers = [
            threading.Thread(target=self._work, args=(shared, state, count)) for state in states
        ]
        try:
            for worker in workers:
                worker.start()
            while not shared.finished.wait(_TICK_SECONDS):
                self._tell(stage, shared.done, last - first)
        finally:
            shared.stop = True
            for worker in workers:
                if worker.ident is not None:
                    worker.join()
            self.rows._forget()
        self.rows._unchanged()
        if shared.error is not None:
            raise shared.error
        self._tell(stage, shared.done, last - first)
        return states

    def first_bad(
        self, stage: str, bad: Callable[[int, NDArray[Any]], NDArray[np.bool_]]
    ) -> tuple[int, int, Any, str] | None:
        """Return row, column and value of the first bad entry and in words how many there are; None where there is none.

        `bad(begin, rows)` tells which entries of a block are.
        """

        def look(found: list[tuple[int, int, Any, int]], begin: int, _: int, rows: Any) -> None:  # noqa: ANN401
            mask = bad(begin, rows)
            if not mask.any():
                return
            row, column = np.unravel_index(int(np.argmax(mask)), mask.shape)
            count = int(np.count_nonzero(mask))
            found.append((begin + int(row), int(column), rows[row, column], count))

        of_blocks = [entry for state in self.over(stage, list, look) for entry in state]
        if not of_blocks:
            return None
        row, column, value, _ = min(of_blocks, key=lambda entry: entry[0])
        count = sum(entry[3] for entry in of_blocks)
        return row, column, value, _check.such_entries(count)

    def _tell(self, stage: str, done: int, total: int) -> None:
        if self.progress is not None:
            self.progress(stage, done, total)

    def _work(self, shared: _Shared, state: Any, count: Block) -> None:  # noqa: ANN401
        try:
            buffer = self.rows._buffer(min(self.block_rows, shared.total))
            since = 0
            while (block := shared.claim()) is not None:
                begin, end = block
                count(state, begin, end, self.rows._rows(begin, end, buffer))
                shared.counted(end - begin)
                since += (end - begin) * self.rows._row_bytes
                if since >= _FORGET_BYTES:
                    since = 0
                    self.rows._forget()
        except BaseException as error:  # noqa: BLE001 - it is the caller's, who gets it
            shared.failed(error)
        finally:
            shared.leave()


class Order:
    """The blocks of a pass, by their place in it."""

    def __init__(self, first: int, last: int, block_rows: int, scattered: bool) -> None:
        self.first, self.last, self.block_rows = first, last, block_rows
        self.blocks = -(-(last - first) // block_rows)
        self._step = 1
        if scattered:  # the golden ratio's multiples, modulo 1, are the most even at every length
            self._step = max(int(self.blocks * 0.6180339887498949), 1)
            while math.gcd(self._step, self.blocks) > 1:
                self._step += 1

    def block(self, place: int) -> tuple[int, int]:
        """Return the rows of the block at `place`, from 0 up."""
        begin = self.first + place * self._step % self.blocks * self.block_rows
        return begin, min(begin + self.block_rows, self.last)


class _Shared:
    """What the workers of one pass share: who takes which block, and how far they are."""

    def __init__(self, order: Order, begin: int, end: int, workers: int) -> None:
        self.total = order.last - order.first
        self._working = workers
        self._order, self._next, self._end = order, begin, end
        self._lock = threading.Lock()
        self.finished = threading.Event()
        self.done = min(begin * order.block_rows, self.total)
        self.stop = False
        self.error: BaseException | None = None

    def claim(self) -> tuple[int, int] | None:
        with self._lock:
            if self.stop or self._next >= self._end:
                return None
            self._next += 1
            return self._order.block(self._next - 1)

    def counted(self, rows: int) -> None:
        with self._lock:
            self.done += rows

    def failed(self, error: BaseException) -> None:
        with self._lock:
            self.stop = True
            self.error = self.error or error

    def leave(self) -> None:
        with self._lock:
            self._working -= 1
            if self._working == 0:
                self.finished.set()


# ---- other processes and machines -------------------------------------------------------------------


def check_executor(executor: object) -> Any:  # noqa: ANN401
    """Return `executor` where it is None or takes tasks."""
    if executor is not None and not callable(getattr(executor, "submit", None)):
        raise TypeError(f"executor must have a method submit, got {type(executor).__name__}")
    return executor


def spans(n: int, row_bytes: int) -> Iterator[tuple[int, int]]:
    """Return ranges of rows that are worth a task each; they do not depend on who works."""
    rows = min(_TASK_ROWS, _TASK_BYTES // row_bytes, -(-n // _FEWEST_TASKS))
    rows = max(rows, 1)
    return ((begin, min(begin + rows, n)) for begin in range(0, n, rows))


def results(
    executor: Any,  # noqa: ANN401
    stage: str,
    n: int,
    tasks: Iterable[tuple[int, Callable[..., Any], tuple[Any, ...]]],
    progress: _check.Progress,
) -> Iterator[Any]:
    """Submit each task (its rows, function, arguments), some ahead; give their results in the order of the tasks."""
    waiting: deque[tuple[int, Any]] = deque()
    done = 0
    todo = iter(tasks)
    try:
        while True:
            while len(waiting) < _IN_FLIGHT and (task := next(todo, None)) is not None:
                rows, function, arguments = task
                waiting.append((rows, executor.submit(function, *arguments)))
            if not waiting:
                return
            rows, future = waiting.popleft()
            result = future.result()
            done += rows
            if progress is not None:
                progress(stage, done, n)
            yield result
    finally:
        for _, future in waiting:
            if hasattr(future, "cancel"):
                future.cancel()
