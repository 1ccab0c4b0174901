"""Errors, columns and weights side by side, read in blocks: which categories there are, and how values become codes.

In memory, `_columns` says the same of whole columns; what it finds wrong is told here in the same words.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any, NamedTuple, TypeGuard

import numpy as np
from numpy.typing import NDArray

from . import _check, _columns, sources
from ._slice_counts import LOSSES_ADVICE, MOST_ERROR, WANT_ERRORS, row_weights, wanted_losses
from .passes import Passes
from .sources import ArrayRows, Source

_BASE_BYTES = 1 << 20  # what workers hold, and some
# Of a block within the kernel, besides 4 bytes a column.
_SCRATCH_ROWS, _SCRATCH_ROW_BYTES = 1024, 40
# A row of a block, for masks and copies, of a column that is not of plain codes.
_CONVERTED_BYTES = 40
# Distinct values that are not worth a sort.
_FEW_VALUES = 1 << 12

# What it takes to encode a row of a column in memory that is no array of numbers, at most.
_TEXT_BYTES, _CODED_BYTES = 250, 40

Blocks = list[NDArray[Any]]


class _Together(Source):
    """Sources side by side, read block by block; a row of them is held with what is made of it."""

    def __init__(self, parts: Sequence[Source], made_bytes: int) -> None:
        self.name, self.shape, self.dtype = parts[0].name, (len(parts[0]),), np.dtype(np.int64)
        self._parts, self._made_bytes = parts, made_bytes

    @property
    def _row_bytes(self) -> int:
        return sum(part._row_bytes for part in self._parts) + self._made_bytes

    def _buffer(self, rows: int) -> Any:  # noqa: ANN401
        return [part._buffer(rows) for part in self._parts]

    def _rows(self, begin: int, end: int, into: Any) -> Any:  # noqa: ANN401
        return [part._rows(begin, end, one) for part, one in zip(self._parts, into, strict=True)]

    @property
    def _any_order(self) -> bool:
        return all(part._any_order for part in self._parts)

    def _unchanged(self) -> None:
        for part in self._parts:
            part._unchanged()

    def _held_bytes(self) -> int:
        return sum(part._held_bytes() for part in self._parts)

    def _forget(self) -> None:
        for part in self._parts:
            part._forget()


class Given(NamedTuple):
    """A column, and where its rows are: entry `part` of a block, and of a matrix there the column `place`."""

    name: str
    called: str
    part: int
    place: int | None
    known: _columns.Column | None = None  # where it has been encoded

    def of(self, blocks: Blocks) -> NDArray[Any]:
        """Return its rows of a block."""
        found = blocks[self.part]
        return native(found if self.place is None else found[:, self.place])


def native(values: NDArray[Any]) -> NDArray[Any]:
    """Return values in native byte order."""
    return values if values.dtype.isnative else values.astype(values.dtype.newbyteorder("="))


class _Bad(NamedTuple):
    """The first bad entry of some blocks, and how many there are."""

    row: int
    value: Any
    entries: int

    def error(self, name: str, want: str) -> ValueError:
        entries = _check.such_entries(self.entries)
        shown = _check.shown(self.value)
        return ValueError(f"{name} must be {want}: row {self.row} is {shown} ({entries})")


class _Seen:
    """What the rows of a column, so far, hold: how low and high, whether any is missing, what is bad."""

    def __init__(self) -> None:
        self.low, self.high, self.missing = 0, -1, False
        self.bad: _Bad | None = None

    def reject(self, begin: int, values: NDArray[Any], mask: NDArray[np.bool_]) -> None:
        row, count = int(np.argmax(mask)), int(np.count_nonzero(mask))
        if count:
            self._add_bad(_Bad(begin + row, values[row], count))

    def _add_bad(self, bad: _Bad | None) -> None:
        if self.bad is None or bad is None:
            self.bad = bad or self.bad
        else:
            first = min(self.bad, bad, key=lambda one: one.row)
            self.bad = first._replace(entries=self.bad.entries + bad.entries)

    def merge(self, other: _Seen) -> None:
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)
        self.missing = self.missing or other.missing
        self._add_bad(other.bad)


class _Distinct:
    """Distinct values so far: parts wait until there is as much of them as of what they are sorted into."""

    def __init__(self) -> None:
        self._parts: list[NDArray[Any]] = []

    def add(self, part: NDArray[Any]) -> None:
        """Take over distinct values."""
        self._parts.append(part)
        if sum(map(len, self._parts[1:])) > max(len(self._parts[0]), _FEW_VALUES):
            self.all()

    def all(self) -> NDArray[Any]:
        """Return them all, ascending."""
        self._parts = [np.unique(np.concatenate(self._parts))]
        return self._parts[0]

    @property
    def held_bytes(self) -> int:
        """Bytes of the parts."""
        return sum(part.nbytes for part in self._parts)


class Category(NamedTuple):
    """How a column's values become codes: they are, or have a place among `found`; missing is -1, or a code too."""

    column: _columns.Column  # without codes
    found: NDArray[Any] | None
    missing: int

    def codes(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return the codes of some rows."""
        if values.dtype.kind == "b":
            return values.view(np.uint8)
        whole = _whole(values)
        if self.found is None and self.missing == -1:
            return whole
        absent = whole < 0
        coded = whole if self.found is None else np.searchsorted(self.found, whole)
        return np.where(absent, self.missing, coded.astype(np.int64, copy=False))


def _whole(values: NDArray[Any]) -> NDArray[Any]:
    """Return whole numbers of values that are such, -1 for NaN."""
    if values.dtype.kind != "f":
        return values
    return np.where(np.isnan(values), -1, values).astype(np.int64)


class Rows:
    """Errors, columns and weights as sources side by side."""

    def __init__(
        self,
        module: ModuleType,
        errors: object,
        columns: object,
        weights: object,
        limit: int,
        threads: int,
        progress: _check.Progress,
    ) -> None:
        self.module, self.limit, self.threads, self.progress = module, limit, threads, progress
        self.fixed = _BASE_BYTES
        self.parts: list[Source] = [_numbers("errors", errors, WANT_ERRORS)]
        self.columns: list[Given] = []
        for name, raw in _named(columns):
            self._add(name, raw)
        for one in self.columns:
            _check.same_length("errors", len(self.parts[0]), one.called, len(self.parts[one.part]))
        self.weights: int | None = None
        if weights is not None:
            w = row_weights(weights, len(self.parts[0]))
            assert w is not None
            self.fixed += 0 if w is weights else w.nbytes
            self.weights = len(self.parts)
            self.parts.append(ArrayRows(w))
        # Errors as float64 and what weights make of them; columns that become codes.
        made = 24 + sum(_CONVERTED_BYTES for one in self.columns if one.known is None)
        self.rows = _Together(self.parts, made)
        least = self.fixed + self.rows._held_bytes() + 4 * (self.scratch + self.block_bytes)
        if limit < least:
            raise ValueError(
                f"memory_limit must be at least {least} bytes for {len(self.columns)} columns of {len(self.rows)} rows, "
                f"got {limit}"
            )

    @property
    def scratch(self) -> int:
        """Bytes of a kernel's own block."""
        return _SCRATCH_ROWS * (4 * len(self.columns) + _SCRATCH_ROW_BYTES)

    @property
    def block_bytes(self) -> int:
        """Bytes of the fewest rows that are worth a block."""
        return _SCRATCH_ROWS * self.rows._row_bytes

    def _add(self, name: object, raw: Any) -> None:  # noqa: ANN401
        called = f"columns[{_check.shown(name)}]"
        if not isinstance(name, str):
            raise TypeError(f"columns must have strings for names, got {_check.shown(name)}")
        if any(name == one.name for one in self.columns):
            raise ValueError(f"columns has two columns named {_check.shown(name)}")
        part, known = len(self.parts), None
        if isinstance(raw, _Column):
            if raw.place == 0:
                self.parts.append(raw.source)
            at = len(self.parts) - 1
            self.columns.append(Given(name, called, at, raw.place))
            return
        source = sources.found(called, raw)
        if not isinstance(raw, np.ndarray) and isinstance(getattr(raw, "dtype", None), np.dtype):
            raw = raw if source is not None else _check.array(called, raw, 1, _columns.WANT)
        if source is None and _is_plain(raw):
            source = ArrayRows(raw)
        if source is None or source.dtype.kind not in "biuf" or len(source.shape) != 1:
            known = self._encoded(name, called, raw if source is None else source)
            source = ArrayRows(known.codes)
        self.parts.append(source)
        self.columns.append(Given(name, called, part, None, known))

    def _encoded(self, name: str, called: str, raw: Any) -> _columns.Column:  # noqa: ANN401
        """Return a column that is not of plain numbers encoded in memory, where the limit has room for it."""
        coded = hasattr(getattr(raw, "dtype", None), "categories")
        try:
            rows = len(raw.codes if coded and hasattr(raw, "codes") else raw)
        except Exception:  # noqa: BLE001 - it has no length: encoding it says what it lacks
            rows = 0
        need = self.fixed + rows * (_CODED_BYTES if coded else _TEXT_BYTES)
        if need > self.limit:
            raise ValueError(
                f"memory_limit must be at least {need} bytes to encode {called}, {rows} entries that are not numbers, in "
                f"memory, got {self.limit}"
            )
        column = _columns.encode_column(
            name, raw._load() if isinstance(raw, Source) else raw, called
        )
        self.fixed += int(column.codes.nbytes)
        return column

    # ---- which categories there are -----------------------------------------------------------------

    def survey(
        self, most: float | None, as_category: bool
    ) -> tuple[list[Category], float, float | None]:
        """Return how each column becomes codes, the largest error, and the largest weight if there are any."""
        passes = Passes(self.rows, self.limit, self.threads, self.progress, fixed=self.fixed)

        def make() -> list[Any]:
            return [_Seen() for _ in self.columns] + [_Seen(), [0.0]]

        def look(seen: list[Any], begin: int, _: int, blocks: Any) -> None:  # noqa: ANN401
            for one, column in zip(seen, self.columns, strict=False):
                if column.known is None:
                    _look_at_column(one, begin, column.of(blocks))
            seen[-1][0] = max(
                seen[-1][0], _look_at_errors(seen[-2], begin, native(blocks[0]), most)
            )

        first, *others = passes.over("categories", make, look)
        for other in others:
            for one, more in zip(first[:-1], other[:-1], strict=True):
                one.merge(more)
            first[-1][0] = max(first[-1][0], other[-1][0])
        for column, seen in zip(self.columns, first, strict=False):
            if seen.bad is not None:
                raise seen.bad.error(column.called, _columns.WANT)
        if first[-2].bad is not None:
            raise first[-2].bad.error("errors", self._wanted_errors(first[-2].bad, most))
        wide = [
            column
            for column, seen in zip(self.columns, first, strict=False)
            if column.known is None and seen.high >= _columns.PLAIN_CODES
        ]
        found = self._distinct(wide) if wide else {}
        categories = [
            _category(column, self._kind(column), seen, found.get(column.name), as_category)
            for column, seen in zip(self.columns, first, strict=False)
        ]
        largest = first[-1][0] if self.parts[0].dtype.kind == "f" else 1.0
        heaviest = None
        if self.weights is not None:
            w = self.parts[self.weights]
            assert isinstance(w, ArrayRows)
            heaviest = float(w.array.max(initial=0.0))
        return categories, largest, heaviest

    def _kind(self, column: Given) -> str:
        return self.parts[column.part].dtype.kind

    def _wanted_errors(self, bad: _Bad, most: float | None) -> str:
        if self.parts[0].dtype.kind == "f" or bad.value in (0, 1):
            return wanted_losses(most)
        return WANT_ERRORS + LOSSES_ADVICE

    def _distinct(self, wide: list[Given]) -> dict[str, NDArray[Any]]:
        """Return the distinct values of columns of large numbers, ascending; one worker looks, for they may be many."""
        room = (self.limit - self.fixed - self.rows._held_bytes()) // 2
        passes = Passes(self.rows, self.limit, 1, self.progress, fixed=self.fixed + room)

        def look(found: dict[str, _Distinct], _: int, __: int, blocks: Any) -> None:  # noqa: ANN401
            for column in wide:
                values = _whole(column.of(blocks))
                found.setdefault(column.name, _Distinct()).add(np.unique(values[values >= 0]))
            held = [values.held_bytes for values in found.values()]
            # The next is made of twice as many, sorted.
            if sum(held) + 4 * max(held) > room:
                names = ", ".join(column.called for column in wide)
                raise ValueError(
                    f"memory_limit has no room for the distinct values of {names}: more than {sum(held)} bytes of "
                    f"{room}; give more than {self.limit}"
                )

        (found,) = passes.over("categories", dict, look)
        values = {name: one.all() for name, one in found.items()}
        self.fixed += sum(one.nbytes for one in values.values())
        return values


# ---- what may be handed in --------------------------------------------------------------------------


class _Column(NamedTuple):
    """A column of a matrix."""

    source: Source
    place: int


def _named(columns: Any) -> list[tuple[Any, Any]]:  # noqa: ANN401
    """Return names and columns: what each is, or of a matrix what tells where it is."""
    source = sources.found("columns", columns)
    if source is None and isinstance(columns, np.ndarray) and _is_plain(columns, 2):
        source = ArrayRows(columns)
    if source is None:
        pairs = list(_columns.named(columns, "columns"))
    else:
        kind = source.dtype.kind
        if len(source.shape) != 2 or kind not in "iu":
            found = f"{source.dtype} of shape {source.shape} in {source.name}"
            fault = ValueError if kind in "iu" else TypeError
            raise fault(f"columns must be {_columns.WANT_COLUMNS}, got {found}")
        pairs = [(str(j), _Column(source, j)) for j in range(source.shape[1])]
    if not pairs:
        raise ValueError(
            f"columns must be {_columns.WANT_COLUMNS} with at least one column, got none"
        )
    return pairs


def _is_plain(value: object, ndim: int = 1) -> TypeGuard[NDArray[Any]]:
    """Return whether `value` is an array of numbers that needs nothing done to it."""
    return (
        isinstance(value, np.ndarray)
        and not isinstance(value, np.ma.MaskedArray | np.matrix)
        and value.ndim == ndim
        and value.dtype.kind in "biuf"
        and value.dtype.itemsize <= 8
    )


def _numbers(name: str, value: object, want: str) -> Source:
    source = sources.found(name, value)
    if source is None:
        source = ArrayRows(value if _is_plain(value) else _check.array(name, value, 1, want))
    if len(source.shape) != 1:
        raise ValueError(f"{name} must be {want}, got shape {source.shape} in {source.name}")
    if source.dtype.kind not in "biuf" or source.dtype.itemsize > 8:
        raise TypeError(f"{name} must be {want}, got dtype {source.dtype}")
    return source


def _look_at_column(seen: _Seen, begin: int, values: NDArray[Any]) -> None:
    if values.dtype.kind == "b" or values.size == 0:
        return
    if values.dtype.kind == "f":
        absent = np.isnan(values)
        bad = ~absent & ((np.floor(values) != values) | ~(np.abs(values) < 2.0**63))
        if bad.any():
            seen.reject(begin, values, bad)
            return
        values = _whole(values)
    low, high = int(values.min()), int(values.max())
    if low < -1:
        seen.reject(begin, values, values < -1)
    seen.low, seen.high = min(seen.low, low), max(seen.high, high)
    seen.missing = seen.missing or low < 0


def _look_at_errors(seen: _Seen, begin: int, values: NDArray[Any], most: float | None) -> float:
    """Return the largest."""
    if values.dtype.kind == "f":
        bound = MOST_ERROR if most is None else min(most, MOST_ERROR)
        least, largest = float(values.min(initial=0.0)), float(values.max(initial=0.0))
        if not (least >= 0.0 and largest <= bound):
            wide = values.astype(np.float64)
            seen.reject(begin, wide, ~((wide >= 0.0) & (wide <= bound)))
        return largest
    if values.dtype.kind != "b":
        bad = (values != 0) & (values != 1)
        if bad.any():
            seen.reject(begin, values, bad)
            return 1.0
    if most is not None and most < 1.0:
        seen.reject(begin, values, values != 0)
    return 1.0


def _category(
    given: Given, kind: str, seen: _Seen, found: NDArray[Any] | None, as_category: bool
) -> Category:
    """Return how the rows of a column become codes, as `_columns.encode_column` would have it."""
    none = np.zeros(0, np.int64)
    if given.known is not None:
        column = given.known._replace(codes=none)
        absent = bool((given.known.codes < 0).any())
    elif kind == "b":
        column, absent = _columns.Column(given.name, none, 2, (False, True)), False
    elif found is None:
        column, absent = _columns.Column(given.name, none, seen.high + 1, None), seen.missing
    else:
        values = tuple(found.tolist())
        column, absent = _columns.Column(given.name, none, len(values), values), seen.missing
    if not (as_category and absent):
        return Category(column, found, -1)
    n = column.n_categories
    known = tuple(range(n)) if column.values is None else column.values
    return Category(column._replace(n_categories=n + 1, values=(*known, None)), found, n)
