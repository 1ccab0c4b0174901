"""The exact graph within a limit: what memory has no room for lies in a file of our own, which has no name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _backend, _check
from .passes import Passes
from .sources import ArrayRows, Source
from .sources import found as found_source

_WANT = "an (n, d) array of finite numbers"
_PIECE_BYTES = (
    1 << 16
)  # of a write: the file's cache then holds no larger pieces, which would be mapped whole
_MOST_READERS = 2  # whatever the threads: they only copy


def source_of(name: str, features: object) -> Source:
    """Return features as rows that can be read in blocks, their values unchecked."""
    source = found_source(name, features)
    if source is None:
        source = ArrayRows(_check.array(name, features, 2, _WANT))
    if len(source.shape) != 2:
        raise ValueError(f"{name} must be {_WANT}, got shape {source.shape} in {source.name}")
    _check.features(name, np.empty((0, source.shape[1]), source.dtype))
    return source


def fits(module: Any, source: Source, k: int, limit: int) -> bool:  # noqa: ANN401
    """Return whether the limit suffices for the graph of `source` in memory; an error where for no other either."""
    n, d = source.shape
    _, least, most = module.knn_spill_bytes(n, d, k)
    given = isinstance(source, ArrayRows) and source.dtype == np.float32
    if limit >= most - (4 * n * d if given else 0) + source._held_bytes():
        return True
    if limit < least:
        raise ValueError(
            f"memory_limit must be at least {least} bytes for {n} rows and k = {k}, and more for some features, "
            f"got {limit}"
        )
    return False


def self_graph(
    module: Any,  # noqa: ANN401
    source: Source,
    k: int,
    *,
    metric: str,
    limit: int,
    threads: int,
    progress: _check.Progress,
) -> tuple[Any, ...]:
    """Return what `module.knn_graph` does of all rows of `source`."""
    n, d = source.shape
    size = module.knn_spill_bytes(n, d, k)[0]
    with _room(size) as file:
        _fill(file, source, limit, threads, progress)
        indices, distances, metric, stats = module.knn_graph_spilled(
            file, n, d, k, metric=metric, limit=limit, threads=threads, progress=progress
        )
    return indices, distances, metric, {**stats, "spilled_bytes": size}


@contextmanager
def _room(size: int) -> Iterator[int]:
    """Give the descriptor of a file of `size` bytes that has all its blocks and no name."""
    import tempfile

    folder = tempfile.gettempdir()
    with tempfile.TemporaryFile(prefix="dqcore-", dir=folder, buffering=0) as file:
        try:
            _reserve(file.fileno(), size)
        except OSError as error:
            raise OSError(
                error.errno,
                f"there is no room for a file of {size} bytes ({error.strerror}): set TMPDIR to a folder that has it, "
                "or give a larger memory_limit",
                folder,
            ) from error
        yield file.fileno()


def _reserve(file: int, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, size)
        return
    zeros = bytes(_PIECE_BYTES)
    for at in range(0, size, _PIECE_BYTES):
        _write(file, memoryview(zeros)[: size - at], at)


def _write(file: int, data: memoryview, at: int) -> None:
    while len(data):
        done = os.pwrite(file, data[: _PIECE_BYTES - at % _PIECE_BYTES], at)
        data, at = data[done:], at + done


def _fill(file: int, source: Source, limit: int, threads: int, progress: _check.Progress) -> None:
    """Write all rows as float32 to the beginning of the file; an error where some are not finite."""
    row_bytes = 4 * source.shape[1]

    def copy(begin: int, rows: NDArray[Any]) -> NDArray[np.bool_]:
        with np.errstate(over="ignore"):
            block = _check.contiguous(rows, np.float32)
        _write(file, block.reshape(-1).view(np.uint8).data, begin * row_bytes)
        bad: NDArray[np.bool_] = ~np.isfinite(block)
        return bad

    readers = min(_backend.load("cpu").threads(threads), _MOST_READERS)
    _refuse("features", Passes(source, limit, readers, progress).first_bad("read", copy))


def refuse_not_finite(name: str, rows: Passes) -> None:
    """Raise for rows of which some are not finite, as `knn_graph` does in memory."""

    def bad(_: int, block: NDArray[Any]) -> NDArray[np.bool_]:
        with np.errstate(over="ignore"):
            found: NDArray[np.bool_] = ~np.isfinite(_check.contiguous(block, np.float32))
        return found

    _refuse(name, rows.first_bad("values", bad))
    raise ValueError(f"{name} changed during the call")


def _refuse(name: str, found: tuple[int, int, Any, str] | None) -> None:
    if found is not None:
        row, column, value, entries = found
        raise ValueError(
            f"{name} must be {_WANT} within float32's range: row {row}, column {column} is "
            f"{_check.shown(value)} ({entries})"
        )
