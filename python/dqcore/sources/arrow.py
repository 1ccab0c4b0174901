"""Columns of Parquet and Arrow files, a row group or record batch at a time, by pyarrow over our own reader."""

from __future__ import annotations

import bisect
import itertools
import threading
from collections import OrderedDict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import _check, _foreign
from .errors import CorruptFileError
from .files import File
from .source import Source

_KEPT = 2  # decoded chunks: workers are at most about one apart


class _Column(Source):
    """Numbers, or lists of one length, in chunks that are decoded whole."""

    def __init__(self, file: File, key: str) -> None:
        self._file, self._key = file, key
        self.name = f"{file.path}:{key}"
        self._start()
        schema, lengths = self._described()
        if key not in schema.names:
            names = ", ".join(map(_check.shown, schema.names[:20]))
            raise ValueError(
                f"{file.path} has no column {_check.shown(key)}; it has {names}; write {file.path}:COLUMN"
            )
        self._ends = list(itertools.accumulate(lengths))
        kind: Any = schema.field(key).type
        kind = getattr(kind, "storage_type", kind)
        value: Any = getattr(kind, "value_type", None)
        self.listed = value is not None and str(kind).partition("<")[0].endswith("list")
        try:
            self.dtype = np.dtype((value if self.listed else kind).to_pandas_dtype())
        except NotImplementedError:
            self.dtype = np.dtype(object)
        n = self._ends[-1] if self._ends else 0
        self.shape = (n,)
        if self.listed:
            width = getattr(kind, "list_size", None)
            first = next((i for i, size in enumerate(lengths) if size), None)
            if width is None:
                width = 0 if first is None else self._chunk(first).shape[1]
            self.shape = (n, width)

    def _start(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[int, NDArray[Any]] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        for own in ("_lock", "_kept", "_reader"):
            state.pop(own, None)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._start()
        self._described()

    def _described(self) -> tuple[Any, list[int]]:
        try:
            return self._open()
        except (ValueError, OSError) as error:
            if isinstance(error, OSError) and error.filename is not None:
                raise
            raise CorruptFileError(f"{self._file.path} cannot be read: {error}") from error

    def _open(self) -> tuple[Any, list[int]]:
        raise NotImplementedError

    def _decoded(self, chunk: int) -> Any:  # noqa: ANN401
        raise NotImplementedError

    def _chunk(self, chunk: int) -> NDArray[Any]:
        """Return a decoded chunk; the caller holds the lock, or has no rival."""
        if chunk in self._kept:
            self._kept.move_to_end(chunk)
            return self._kept[chunk]
        try:
            column = self._decoded(chunk)
        except (ValueError, OSError) as error:
            if isinstance(error, OSError) and error.filename is not None:
                raise
            raise CorruptFileError(f"{self._file.path} cannot be read: {error}") from error
        if self.listed:
            found = _check.array(self.name, column, 2, "lists of one length")
        elif column.null_count:
            raise ValueError(
                f"{self.name} must have no missing entries: there are {column.null_count}"
            )
        else:
            found = np.asarray(
                column.combine_chunks() if hasattr(column, "combine_chunks") else column
            )
        while len(self._kept) >= _KEPT:
            self._kept.popitem(last=False)
        self._kept[chunk] = found
        return found

    def _rows(self, begin: int, end: int, into: NDArray[Any]) -> NDArray[Any]:
        part = into[: end - begin]
        with self._lock:
            while begin < end:
                chunk = bisect.bisect_right(self._ends, begin)
                first = self._ends[chunk - 1] if chunk else 0
                values = self._chunk(chunk)
                if values.shape[1:] != self.shape[1:]:
                    raise ValueError(
                        f"{self.name} must have lists of one length: those from row {first} on have {values.shape[1]} entries, not {self.shape[1]}"
                    )
                stop = min(end, self._ends[chunk])
                part[len(part) - (end - begin) : len(part) - (end - stop)] = values[
                    begin - first : stop - first
                ]
                begin = stop
        return part

    def _held_bytes(self) -> int:
        starts = [0, *self._ends]
        most = max((b - a for a, b in itertools.pairwise(starts)), default=0)
        return (_KEPT + 1) * most * self._row_bytes

    def _stamp(self) -> dict[str, Any]:
        return {"shape": list(self.shape), "column": self._key, **self._file.stamp()}

    def _unchanged(self) -> None:
        self._file.unchanged()

    def _load(self) -> Any:  # noqa: ANN401
        if self.listed or self.dtype.kind in "biuf":
            return super()._load()
        pyarrow = _foreign.arrow()
        self._file.unchanged()
        chunks = [self._decoded(i) for i in range(len(self._ends))]
        return pyarrow.chunked_array(
            [piece for column in chunks for piece in getattr(column, "chunks", [column])]
        )


class ParquetColumn(_Column):
    """A column of a Parquet file, a row group at a time."""

    def _open(self) -> tuple[Any, list[int]]:
        pyarrow = _foreign.arrow()
        from pyarrow import parquet

        self._reader = parquet.ParquetFile(pyarrow.PythonFile(self._file.stream(), mode="r"))
        groups = self._reader.metadata
        return self._reader.schema_arrow, [
            groups.row_group(i).num_rows for i in range(groups.num_row_groups)
        ]

    def _decoded(self, chunk: int) -> Any:  # noqa: ANN401
        return self._reader.read_row_group(chunk, columns=[self._key], use_threads=False).column(0)


class ArrowColumn(_Column):
    """A column of an Arrow IPC file, a record batch at a time."""

    def _open(self) -> tuple[Any, list[int]]:
        pyarrow = _foreign.arrow()
        from pyarrow import ipc

        opened = ipc.open_file(pyarrow.PythonFile(self._file.stream(), mode="r"))
        index = opened.schema.get_field_index(self._key)
        if index < 0:
            return opened.schema, []
        options = ipc.IpcReadOptions(included_fields=[index], use_threads=False)
        self._reader = ipc.open_file(
            pyarrow.PythonFile(self._file.stream(), mode="r"), options=options
        )
        # How many rows a batch has is told with the batch alone: each is read once.
        count = self._reader.num_record_batches
        return opened.schema, [self._reader.get_batch(i).num_rows for i in range(count)]

    def _decoded(self, chunk: int) -> Any:  # noqa: ANN401
        return self._reader.get_batch(chunk).column(0)
