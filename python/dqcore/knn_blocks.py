"""The exact neighbours of some rows, block by block against blocks of the base: within a limit, and on other machines.

A row's list takes whatever of the base it meets, by (float64 key, index): no split changes a bit of it. Each pair of rows is
looked at from its own side alone, so where rows are sought among themselves this is twice the work of `knn_files`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _backend, _check, knn_files
from .passes import Passes, results, spans
from .sources import ArrayRows, Source

_READ_BYTES = 1 << 21
_FEWEST = 64  # rows of a block

Part = tuple[NDArray[np.int32], NDArray[np.float32]]  # indices, distances


@dataclass
class Search:
    """What is sought where, and how.

    Attributes
    ----------
    base : Source
        Rows that the neighbours are among.
    queries : Source or None
        Rows whose neighbours are sought; None for those of the base, which are not their own neighbours.
    k, metric, limit, threads, progress
        As the callers of `knn_graph` give them, checked.
    """

    base: Source
    queries: Source | None
    k: int
    metric: str
    limit: int | None
    threads: int
    progress: _check.Progress = None

    @property
    def rows(self) -> Source:
        """The rows whose neighbours are sought."""
        return self.base if self.queries is None else self.queries


def graph(module: Any, search: Search, executor: Any) -> tuple[NDArray[Any], NDArray[Any], int]:  # noqa: ANN401
    """Return indices and distances of all rows, and how many times blocks met."""
    m = len(search.rows)
    result = np.empty((m, search.k), np.int32), np.empty((m, search.k), np.float32)
    if executor is None:
        return *result, _fill(module, search, (0, m), result)
    if isinstance(search.base, ArrayRows):
        raise ValueError(  # noqa: TRY004
            "features must be a path or a source where there is an executor: others cannot see an array"
        )
    ranges = list(spans(m, search.rows._row_bytes))
    work = ((b - a, task, _sent(search, a, b)) for a, b in ranges)
    met = 0
    for (a, b), part in zip(
        ranges, results(executor, "neighbours", m, work, search.progress), strict=True
    ):
        result[0][a:b], result[1][a:b] = part[:2]
        met += part[2]
    return *result, met


def _sent(search: Search, begin: int, end: int) -> tuple[Search, int, int]:
    """Return what a task is given: of queries in memory, its own alone."""
    search = replace(search, progress=None, threads=search.threads or 1)
    if isinstance(search.queries, ArrayRows):
        rows = ArrayRows(search.queries.array[begin:end])
        return replace(search, queries=rows), 0, end - begin
    return search, begin, end


def task(search: Search, begin: int, end: int) -> tuple[NDArray[Any], NDArray[Any], int]:
    """Return indices and distances of rows [begin, end), and how many times blocks met."""
    part = (
        np.empty((end - begin, search.k), np.int32),
        np.empty((end - begin, search.k), np.float32),
    )
    return *part, _fill(_backend.load("cpu"), search, (begin, end), part)


def _fill(module: Any, search: Search, span: tuple[int, int], result: Part) -> int:  # noqa: ANN401
    n = len(search.base)
    row_step, base_step = sizes(module, search, span[1] - span[0])
    whole = _block(search, "features", 0, n) if base_step >= n else None
    met = 0
    total = (span[1] - span[0]) * n
    for begin in range(*span, row_step):
        end = min(begin + row_step, span[1])
        rows = _block(search, "queries" if search.queries is not None else "features", begin, end)
        lists = module.KnnRows(end - begin, search.k, search.metric)
        for start in range(0, n, base_step):
            stop = min(start + base_step, n)
            base = _block(search, "features", start, stop) if whole is None else whole
            done = (begin - span[0]) * n + (end - begin) * start
            own = begin if search.queries is None else -1
            lists.update(rows, base, own, start, search.threads, _told(search, done, total))
            met += 1
            del base
        at = slice(begin - span[0], end - span[0])
        lists.finish(result[0][at], result[1][at])
    if search.progress is not None:
        search.progress("neighbours", total, total)
    return met


def _told(search: Search, done: int, total: int) -> _check.Progress:
    tell = search.progress
    return None if tell is None else lambda *_: tell("neighbours", done, total)


def sizes(module: Any, search: Search, m: int) -> tuple[int, int]:  # noqa: ANN401
    """Return the rows of a block of `m` rows, and of one of the base, that the limit has room for."""
    n, d = search.base.shape
    m = max(m, 1)
    held = search.base._held_bytes() + search.rows._held_bytes()

    def needs(rows: int, base: int) -> int:
        given = (rows * _as_is(search.rows) + base * _as_is(search.base)) * 4 * d
        return int(module.knn_block_bytes(rows, base, d, search.k)) - given + held

    def fits(rows: int, base: int) -> bool:
        return search.limit is None or needs(rows, base) <= search.limit

    least = min(_FEWEST, m), min(_FEWEST, n)
    if not fits(*least):
        raise ValueError(
            f"memory_limit must be at least {needs(*least)} bytes for {d} columns and k = {search.k}, "
            f"got {search.limit}"
        )
    both = _most(lambda size: fits(min(size, m), min(size, n)), _FEWEST, max(m, n))
    # Where one side fits as a whole, the other is read once.
    if both >= n:
        return _most(lambda size: fits(size, n), min(both, m), m), n
    if both >= m:
        return m, _most(lambda size: fits(m, size), both, n)
    return both, both


def _most(fits: Callable[[int], bool], good: int, bound: int) -> int:
    """Return the largest size up to `bound` that fits; `good` does."""
    while good < bound:
        middle = (good + bound + 1) // 2
        if fits(middle):
            good = middle
        else:
            bound = middle - 1
    return good


def _as_is(source: Source) -> bool:
    """Return whether blocks of the source are taken where they lie."""
    return (
        isinstance(source, ArrayRows)
        and source.array.dtype == np.float32
        and source.array.dtype.isnative
        and source.array.flags.c_contiguous
        and source.array.flags.aligned
    )


def _block(search: Search, name: str, begin: int, end: int) -> NDArray[np.float32]:
    """Return rows [begin, end) as float32; an error that tells of all rows, where one of these is not finite."""
    source = search.rows if name == "queries" else search.base
    source._unchanged()
    if isinstance(source, ArrayRows) and _as_is(source):
        block = source.array[begin:end]
        finite = _finite(block)
    else:
        block = np.empty((end - begin, source.shape[1]), np.float32)
        finite = _copy(source, begin, block)
    source._unchanged()
    if not finite:
        knn_files.refuse_not_finite(name, Passes(source, search.limit, 1, search.progress))
    return block


def _copy(source: Source, begin: int, block: NDArray[np.float32]) -> bool:
    """Read rows from `begin` on to `block`, a piece at a time; return whether all are finite."""
    step = max(_READ_BYTES // source._row_bytes, 1)
    buffer = source._buffer(min(step, len(block)))
    finite = True
    for at in range(0, len(block), step):
        to = block[at : at + step]
        with np.errstate(over="ignore"):
            to[...] = source._rows(begin + at, begin + at + len(to), buffer)
        finite &= _finite(to)
    source._forget()
    return finite


def _finite(rows: NDArray[np.float32]) -> bool:
    """Return whether all numbers are finite; holds little."""
    step = max(_READ_BYTES // max(rows[:1].nbytes, 1), 1)
    return all(np.isfinite(rows[at : at + step]).all() for at in range(0, len(rows), step))
