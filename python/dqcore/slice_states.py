"""Slices counted in parts: files, threads and machines."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import numpy as np

from . import _backend, _check, _columns
from ._columns import Category
from ._slice_counts import (
    confidence_level,
    error_exponent,
    error_values,
    least_rows,
    most_error,
    most_level,
    table,
)
from .reference.slices import SliceCounts
from .slice_table import SliceTable


class SliceState:
    """Counts of slices that can be fed in parts, merged and kept.

    Any split of the rows into updates and states, in any order, gives the same bytes and the same
    table; it is that of `slice_errors` with the same `max_abs_error`.

    Parameters
    ----------
    columns_spec : mapping of name to int or sequence
        The number of categories of a column of codes, or the values of its categories (their order
        decides ties).
    max_level : int
        Most columns in one crossing.
    max_abs_error : float
        Upper bound of the errors. It fixes the unit of their sums, so states with another one do
        not merge.

    Examples
    --------
    >>> import dqcore as dq
    >>> state = dq.SliceState({"kind": ["car", "motorcycle"]})
    >>> state.update([0, 1], {"kind": ["car", "motorcycle"]})
    >>> state.update([0, 0], {"kind": ["car", None]})
    >>> [(row.predicate, row.size) for row in state.finish()]
    [((('kind', 'motorcycle'),), 1), ((('kind', 'car'),), 2)]
    """

    def __init__(
        self,
        columns_spec: Mapping[str, int | Sequence[Category]],
        *,
        max_level: int = 1,
        max_abs_error: float = 1.0,
    ) -> None:
        spec = _columns_spec(columns_spec)
        most = most_error(max_abs_error)
        sizes = [_n_categories(known) for known in spec.values()]
        self._start(
            spec,
            most,
            _backend.load("cpu").SliceState(
                sizes,
                max_level=most_level(max_level, list(spec), sizes),
                error_exponent=error_exponent(most),
                description=json.dumps({"columns": list(spec.items()), "most": most.hex()}),
            ),
        )

    def _start(
        self, spec: dict[str, int | tuple[Category, ...]], most: float, native: _columns.Foreign
    ) -> None:
        self._spec, self._most, self._native = spec, most, native
        self._lock = threading.Lock()

    @property
    def n(self) -> int:
        """Rows counted so far."""
        return int(self._native.n_rows)

    def update(
        self,
        errors: object,
        columns: object,
        *,
        threads: int = 0,
        progress: _check.Progress = None,
    ) -> None:
        """Add rows: `errors` and `columns` as in `slice_errors`, with the columns of the spec.

        Raises
        ------
        TypeError, ValueError
            As `slice_errors`; also where a column is missing or unknown, or a category is not in
            the spec. The state is then as before.
        """
        checked = {column.name: column for column in _columns.encode(columns)}
        if checked.keys() != self._spec.keys():
            raise ValueError(
                f"columns must be those of the spec, {list(self._spec)}, got {list(checked)}"
            )
        values, _ = error_values(errors, self._most)
        codes = []
        for name, known in self._spec.items():
            column = checked[name]
            called = f"columns[{_check.shown(name)}]"
            _check.same_length("errors", len(values), called, len(column.codes))
            categories = None if isinstance(known, int) else known
            codes.append(_columns.recode(column, categories, _n_categories(known), called))
        count, report = _check.run_options(threads, progress)
        with self._lock:
            self._native.update(values, codes, threads=count, progress=report)

    def merge(self, other: SliceState) -> None:
        """Add the rows of another state.

        Raises
        ------
        ValueError
            The states differ in columns_spec, max_level or max_abs_error.
        """
        if not isinstance(other, SliceState):
            raise TypeError(f"other must be a SliceState, got {type(other).__name__}")
        if other._most != self._most:
            raise ValueError(f"states differ in max_abs_error: {self._most!r} and {other._most!r}")
        if other is self:
            other = SliceState.from_bytes(self.to_bytes())
        first, second = sorted((self, other), key=id)  # one order: two merges cannot deadlock
        with first._lock, second._lock:
            self._native.merge(other._native)

    def finish(self, *, min_support: int | None = 1, confidence: float = 0.95) -> SliceTable:
        """Return the table of all rows so far; more may follow."""
        with self._lock:
            support = least_rows(min_support, self.n)
            counts = self._native.finish(support)
        none = np.zeros(0, np.int32)
        columns = [
            _columns.Column(name, none, _n_categories(k), None if isinstance(k, int) else k)
            for name, k in self._spec.items()
        ]
        return table(SliceCounts(*counts), columns, confidence_level(confidence), self._most)

    def to_bytes(self) -> bytes:
        """Return the state as bytes: versioned, with a checksum, the same for the same rows."""
        with self._lock:
            return bytes(self._native.to_bytes())

    @classmethod
    def from_bytes(cls, data: bytes) -> SliceState:
        """Return the state that `to_bytes` wrote.

        Raises
        ------
        ValueError
            The bytes are damaged or do not hold such a state.
        """
        if not isinstance(data, bytes | bytearray | memoryview):
            raise TypeError(f"data must be bytes, got {type(data).__name__}")
        native = _backend.load("cpu").SliceState.from_bytes(bytes(data))
        try:
            described = json.loads(native.description)
            spec = _columns_spec(dict(described["columns"]))
            most = most_error(float.fromhex(described["most"]))
            fits = [
                _n_categories(known) for known in spec.values()
            ] == native.n_categories and error_exponent(most) == native.error_exponent
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"data does not hold a state: {error}") from error
        if not fits:
            raise ValueError("data does not hold a state: its description contradicts its counts")
        state = cls.__new__(cls)
        state._start(spec, most, native)
        return state

    def __reduce__(self) -> tuple[Any, tuple[bytes]]:
        """Pickle as the bytes of the state, which hold no code."""
        return SliceState.from_bytes, (self.to_bytes(),)

    def __repr__(self) -> str:
        """Return rows, columns and level."""
        names = ", ".join(map(repr, self._spec))
        return f"<SliceState of {self.n} rows, columns {names}, max_level {self._native.max_level}>"


def _columns_spec(spec: object) -> dict[str, int | tuple[Category, ...]]:
    if not isinstance(spec, Mapping) or not spec:
        raise TypeError(
            "columns_spec must map at least one name to a number of categories or to their values, "
            f"got {_check.shown(spec)}"
        )
    return {name: _known_categories(name, known) for name, known in spec.items()}


def _known_categories(name: object, known: _columns.Foreign) -> int | tuple[Category, ...]:
    if not isinstance(name, str):
        raise TypeError(f"columns_spec must have strings for names, got {_check.shown(name)}")
    called = f"columns_spec[{_check.shown(name)}]"
    if isinstance(known, int | np.integer):
        return _check.integer(called, known, 0, _check.MOST_CLASSES - 1)
    if isinstance(known, str) or not isinstance(known, Iterable):
        raise TypeError(
            f"{called} must be a number of categories or their values, got {_check.shown(known)}"
        )
    encoded = _columns.encode_column(name, list(known), called)
    own = encoded.values
    values = [int(c) if own is None else cast(Category, own[c]) for c in encoded.codes.tolist()]
    if -1 in encoded.codes:
        raise ValueError(f"{called} must not name a missing category")
    if len(set(values)) != len(values):
        twice = next(v for i, v in enumerate(values) if v in values[:i])
        raise ValueError(f"{called} names category {_check.shown(twice)} twice")
    return tuple(values)


def _n_categories(known: int | tuple[Category, ...]) -> int:
    return known if isinstance(known, int) else len(known)
