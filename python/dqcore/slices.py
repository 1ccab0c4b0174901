"""Slices: where the errors are, by category of each column and by crossing of columns."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from . import _backend, _check, _columns, _html, _stats
from ._columns import Category
from .reference.slices import SliceCounts

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow

ALPHA = 0.6  # weight of the error against the size in SliceLine's score

_MOST_ERROR = 2.0**400  # the kernels' own limit: squares of sums stay finite
_MOST_CROSSINGS = 1 << 20
_REPR_ROWS, _REPR_WIDTH = 10, 60

Predicate = tuple[tuple[str, Category], ...]


class Slice(NamedTuple):
    """One row of a SliceTable."""

    predicate: Predicate
    size: int
    error_sum: float
    error_rate: float
    low: float
    high: float
    lift: float
    max_error: float
    score: float
    p_value: float
    q_value: float


@dataclass(frozen=True, eq=False, repr=False)
class SliceTable:
    """Slices, worst first: by `score`, then by predicate (column position, then category).

    Attributes
    ----------
    size : (n_slices,) int64
        Rows in the slice.
    error_sum : (n_slices,) float64
        Sum of their errors, rounded once from a whole number of units.
    error_rate : (n_slices,) float64
        Mean error: error_sum / size.
    low, high : (n_slices,) float64
        Interval for the mean error at `confidence`, each slice by itself. Wilson's where every error
        of the whole set is 0 or 1; else the empirical Bernstein bound for losses between 0 and
        `max_abs_error`, valid at every size.
    lift : (n_slices,) float64
        error_rate over that of the whole set; 1 where nothing errs.
    max_error : (n_slices,) float64
        Largest error in the slice.
    score : (n_slices,) float64
        SliceLine's with alpha = 0.6 and n = rows: 0.6 (lift - 1) - 0.4 (n / size - 1). The whole
        set scores 0.
    p_value : (n_slices,) float64
        Of a mean error as high by chance, against all other rows, one-sided: hypergeometric where
        every error is 0 or 1, else Welch's test. 1 for a slice that is the whole set.
    q_value : (n_slices,) float64
        By Benjamini and Hochberg over the table.
    n : int
        Rows of the whole set.
    overall_error_rate : float
        Its mean error; 0 without rows.
    column_names : tuple of str
    confidence : float
    """

    size: NDArray[np.int64]
    error_sum: NDArray[np.float64]
    error_rate: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    lift: NDArray[np.float64]
    max_error: NDArray[np.float64]
    score: NDArray[np.float64]
    p_value: NDArray[np.float64]
    q_value: NDArray[np.float64]
    n: int
    overall_error_rate: float
    column_names: tuple[str, ...]
    confidence: float
    _predicate_columns: NDArray[np.int32] = field(repr=False)
    _predicate_codes: NDArray[np.int32] = field(repr=False)
    _values: tuple[tuple[Category, ...] | None, ...] = field(repr=False)

    @cached_property
    def predicates(self) -> tuple[Predicate, ...]:
        """For each slice its (column, value) pairs, in the order of the columns."""
        rows = zip(self._predicate_columns.tolist(), self._predicate_codes.tolist(), strict=True)
        names, values = self.column_names, self._values
        return tuple(
            tuple(
                (names[c], code if (known := values[c]) is None else known[code])
                for c, code in zip(columns, codes, strict=True)
                if c >= 0
            )
            for columns, codes in rows
        )

    def __len__(self) -> int:
        """Return the number of slices."""
        return len(self.size)

    def __iter__(self) -> Iterator[Slice]:
        """Go over the slices, worst first."""
        numbers = (getattr(self, name).tolist() for name in Slice._fields[1:])
        return map(Slice._make, zip(self.predicates, *numbers, strict=True))

    @overload
    def __getitem__(self, index: int) -> Slice: ...
    @overload
    def __getitem__(self, index: slice | NDArray[Any]) -> SliceTable: ...
    def __getitem__(self, index: Any) -> Slice | SliceTable:
        """Return one slice, or the table of those that a slice, mask or index array selects."""
        if isinstance(index, slice | np.ndarray | list):
            return self._take(self._places(index))
        at = _check.integer("index", index, -(2**63), 2**63 - 1)
        if not -len(self) <= at < len(self):
            raise IndexError(f"index {at} is out of range for a table of {len(self)} slices")
        at %= len(self)
        return next(iter(self._take(slice(at, at + 1))))

    def _places(self, index: slice | NDArray[Any] | list[Any]) -> slice | NDArray[Any]:
        """Return `index` where it is a slice, a mask of the table, or places in it."""
        if isinstance(index, slice):
            try:
                range(0)[index]
            except (TypeError, ValueError) as error:
                raise type(error)(f"index: {error}") from None
            return index
        want = "a mask or places in the table"
        places = _check.array("index", index, 1, want)
        if places.size == 0 and isinstance(index, list):
            places = places.astype(np.int64)
        n = len(self)
        if places.dtype.kind == "b":
            _check.same_length("index", len(places), "the table", n)
        elif places.dtype.kind not in "iu":
            raise TypeError(f"index must be {want}, got dtype {places.dtype}")
        elif places.size and not -n <= int(places.min()) <= int(places.max()) < n:
            at = int(places.min()) if int(places.min()) < -n else int(places.max())
            raise IndexError(f"index {at} is out of range for a table of {n} slices")
        return places

    def _take(self, index: slice | NDArray[Any]) -> SliceTable:
        arrays = (*Slice._fields[1:], "_predicate_columns", "_predicate_codes")
        return SliceTable(
            **{name: getattr(self, name)[index] for name in arrays},
            n=self.n,
            overall_error_rate=self.overall_error_rate,
            column_names=self.column_names,
            confidence=self.confidence,
            _values=self._values,
        )

    def _cells(self) -> list[tuple[str, ...]]:
        """Return the header and the first slices as text."""
        header = ("slice", "size", "error", "low", "high", "lift", "score", "q")
        return [
            header,
            *(
                (
                    _shortened(_describe(row.predicate)),
                    str(row.size),
                    *(f"{x:.4g}" for x in (row.error_rate, row.low, row.high, row.lift, row.score)),
                    f"{row.q_value:.2g}",
                )
                for row in self[:_REPR_ROWS]
            ),
        ]

    def _title(self) -> str:
        return (
            f"SliceTable of {len(self)} slices, {self.n} rows, "
            f"overall error {self.overall_error_rate:.4g}"
        )

    def __repr__(self) -> str:
        """Return the worst slices as a text table."""
        cells = self._cells()
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = [
            "  ".join(
                cell.ljust(width) if i == 0 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(line, widths, strict=True))
            )
            for line in cells
        ]
        more = len(self) + 1 - len(cells)
        return "\n".join([self._title(), *lines, *([f"... {more} more"] if more else [])])

    def _repr_html_(self) -> str:
        """Return the worst slices as a table, for notebooks."""
        header, *rows = self._cells()
        return _html.table(header, rows, self._title())

    def _frame(self) -> dict[str, Any]:
        text = [" & ".join(f"{name}={value}" for name, value in p) for p in self.predicates]
        return {"slice": text, **{name: getattr(self, name) for name in Slice._fields[1:]}}

    def to_pandas(self) -> pandas.DataFrame:
        """Return a data frame: `slice` as text, `predicates` as tuples, and every number."""
        import pandas

        frame = pandas.DataFrame(self._frame())
        frame.insert(1, "predicates", pandas.Series(list(self.predicates), dtype=object))
        return frame

    def to_arrow(self) -> pyarrow.Table:
        """Return an Arrow table; `predicates` is list<struct<column, value>>, values as text."""
        import pyarrow

        pair = pyarrow.struct([("column", pyarrow.string()), ("value", pyarrow.string())])
        predicates = pyarrow.array(
            [[{"column": c, "value": str(v)} for c, v in p] for p in self.predicates],
            pyarrow.list_(pair),
        )
        frame = self._frame()
        text = pyarrow.array(frame.pop("slice"), pyarrow.string())
        return pyarrow.table({"slice": text, "predicates": predicates, **frame})

    def to_polars(self) -> polars.DataFrame:
        """Return a polars data frame with the columns of `to_arrow`."""
        import polars

        pair = polars.Struct({"column": polars.String, "value": polars.String})
        predicates = polars.Series(
            [[{"column": c, "value": str(v)} for c, v in p] for p in self.predicates],
            dtype=polars.List(pair),
        )
        frame = self._frame()
        text = polars.Series(frame.pop("slice"), dtype=polars.String)
        return polars.DataFrame({"slice": text, "predicates": predicates, **frame})


def _printable(text: str) -> str:
    """Escape control characters, line ends and marks that reorder text."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text
    )


def _describe(predicate: Predicate) -> str:
    return " & ".join(_printable(f"{name}={value}") for name, value in predicate)


def _shortened(text: str) -> str:
    return text if len(text) <= _REPR_WIDTH else text[: _REPR_WIDTH - 3] + "..."


def slice_errors(
    errors: object,
    columns: object,
    *,
    max_level: int = 1,
    min_support: int | None = 1,
    confidence: float = 0.95,
    max_abs_error: float | None = None,
    backend: str = "auto",
    threads: int = 0,
    progress: _check.Progress = None,
) -> SliceTable:
    """Count the errors in every slice of every column, and of every crossing of columns.

    Parameters
    ----------
    errors : (n,) bool, 0/1 integers, or finite floats of at least 0
        Whether each row is wrong, or its loss.
    columns : mapping of name to (n,) column, data frame, or (n, m) integer array
        Categories of each row: whole numbers from 0, strings, bools or categoricals; -1, None or
        NaN for missing. A row takes no part in the slices of a column where it is missing. The
        columns of an array are named "0", "1", ...
    max_level : int
        Most columns in one crossing.
    min_support : int or None
        Least rows of a slice in the table; None is max(32, ceil(n / 1000)).
    confidence : float in (0, 1)
        Of the intervals.
    max_abs_error : float, optional
        Upper bound of the losses, for their interval and for the unit of their sums: 2^-48 of it,
        rounded up to a power of two. Default: the largest loss, for the unit at least 1.
    backend : {"auto", "cpu", "cuda", "reference"}
    threads : int
        0 for all that the process may use. No result depends on it.
    progress : callable, optional
        Called with (stage, rows done, rows in all).

    Returns
    -------
    SliceTable
        Worst first. The same bits for any number of threads.

    Raises
    ------
    TypeError
        A column or the errors are of a type that is not accepted; a column name is not a string.
    ValueError
        Lengths differ; a loss is negative, NaN, infinite or above `max_abs_error`; a code is below
        -1; a name comes twice; there are no columns; `max_level` asks for too many crossings.
    BackendError
        The backend named cannot run here.

    References
    ----------
    Sagadeeva and Boehm (2021), "SliceLine: fast, linear-algebra-based slice finding for ML model
    debugging", SIGMOD. Wilson (1927). Maurer and Pontil (2009). Benjamini and Hochberg (1995).

    Examples
    --------
    >>> import dqcore as dq
    >>> kind = ["car"] * 6 + ["motorcycle"] * 2
    >>> table = dq.slice_errors([0, 0, 0, 0, 0, 1, 1, 1], {"kind": kind})
    >>> table.predicates
    ((('kind', 'motorcycle'),), (('kind', 'car'),))
    >>> table[0].error_rate
    1.0
    """
    checked = _columns.encode(columns)
    most = None if max_abs_error is None else _max_abs_error(max_abs_error)
    values, largest = _error_values(errors, most)
    _check.same_length(
        "errors", len(values), f"columns[{_check.shown(checked[0].name)}]", len(checked[0].codes)
    )
    level = _max_level(max_level, [c.name for c in checked], [c.n_categories for c in checked])
    support = _min_support(min_support, len(values))
    level_of_confidence = _confidence(confidence)
    count, report = _check.run_options(threads, progress)
    module = _backend.load(backend, errors)
    counts = module.slice_errors(
        values,
        [column.codes for column in checked],
        [column.n_categories for column in checked],
        max_level=level,
        error_exponent=_exponent(max(largest, 1.0) if most is None else most),
        min_support=support,
        threads=count,
        progress=report,
    )
    return _table(
        SliceCounts(*counts),
        tuple(column.name for column in checked),
        tuple(column.values for column in checked),
        level_of_confidence,
        largest if most is None else most,
    )


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
        most = _max_abs_error(max_abs_error)
        sizes = [_n_categories(known) for known in spec.values()]
        self._start(
            spec,
            most,
            _backend.load("cpu").SliceState(
                sizes,
                max_level=_max_level(max_level, list(spec), sizes),
                error_exponent=_exponent(most),
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
        values, _ = _error_values(errors, self._most)
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
            support = _min_support(min_support, self.n)
            counts = self._native.finish(support)
        values = tuple(None if isinstance(k, int) else k for k in self._spec.values())
        return _table(
            SliceCounts(*counts), tuple(self._spec), values, _confidence(confidence), self._most
        )

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
            most = _max_abs_error(float.fromhex(described["most"]))
            fits = [
                _n_categories(known) for known in spec.values()
            ] == native.n_categories and _exponent(most) == native.error_exponent
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


# ---- checks ------------------------------------------------------------------------------------------


def _error_values(errors: object, most: float | None) -> tuple[NDArray[Any], float]:
    """Return errors as uint8 0/1 or float64 losses, and the largest (0 without rows)."""
    want = "(n,) bools, 0/1 integers, or finite losses of at least 0"
    values = _check.array("errors", errors, 1, want)
    kind = values.dtype.kind
    if kind == "f" and values.dtype.itemsize <= 8:
        values = values.astype(np.float64, copy=False)
        bound = _MOST_ERROR if most is None else most
        if most is not None:
            want += f" and at most max_abs_error = {most!r}"
        largest = float(values.max(initial=0.0))
        if not (values.min(initial=0.0) >= 0.0 and largest <= bound):
            bad = ~((values >= 0.0) & (values <= bound))
            raise _check.first_bad("errors", values, bad, want)
        return values, largest
    if kind == "b":
        flags = values.view(np.uint8)
    elif kind in "iu":
        bad = (values != 0) & (values != 1)
        if bad.any():
            advice = "; pass errors.astype(float) for losses"
            raise _check.first_bad("errors", values, bad, want + advice)
        flags = values.astype(np.uint8, copy=False)
    else:
        raise TypeError(f"errors must be {want}, got dtype {values.dtype}")
    if most is not None and most < 1.0 and flags.any():
        want += f" and at most max_abs_error = {most!r}"
        raise _check.first_bad("errors", values, flags != 0, want)
    return flags, 1.0


def _max_abs_error(value: object) -> float:
    return _check.number("max_abs_error", value, 1.0 / _MOST_ERROR, _MOST_ERROR)


def _confidence(value: object) -> float:
    result = _check.number("confidence", value, 0.0, 1.0)
    if result in (0.0, 1.0):
        raise ValueError(f"confidence must be above 0 and below 1, got {result}")
    return result


def _min_support(value: object, n: int) -> int:
    if value is None:
        return max(32, -(-n // 1000))
    return _check.integer("min_support", value, 1, 2**63 - 1)


def _max_level(value: object, names: list[str], sizes: list[int]) -> int:
    """Return the level that can occur, checked against what the kernels can number."""
    level = min(_check.integer("max_level", value, 1), len(names))
    crossings = sum(math.comb(len(names), each) for each in range(1, level + 1))
    if crossings > _MOST_CROSSINGS:
        raise ValueError(
            f"max_level={level} of {len(names)} columns makes {crossings} crossings of columns; "
            f"at most {_MOST_CROSSINGS} are counted"
        )
    widest = sorted(range(len(names)), key=lambda j: -sizes[j])[:level]
    if math.prod(sizes[j] + 1 for j in widest) >= 2**128:
        raise ValueError(
            f"the crossing of columns {[names[j] for j in sorted(widest)]} has 2^128 cells or more; "
            "lower max_level"
        )
    return level


def _exponent(most: float) -> int:
    """Return the least e with most <= 2^e."""
    mantissa, exponent = math.frexp(most)
    return exponent - (mantissa == 0.5)


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
    values = [int(c) if own is None else own[c] for c in encoded.codes.tolist()]
    if -1 in encoded.codes:
        raise ValueError(f"{called} must not name a missing category")
    if len(set(values)) != len(values):
        twice = next(v for i, v in enumerate(values) if v in values[:i])
        raise ValueError(f"{called} names category {_check.shown(twice)} twice")
    return tuple(values)


def _n_categories(known: int | tuple[Category, ...]) -> int:
    return known if isinstance(known, int) else len(known)


# ---- results -----------------------------------------------------------------------------------------


def _table(
    counts: SliceCounts,
    names: tuple[str, ...],
    values: tuple[tuple[Category, ...] | None, ...],
    confidence: float,
    most: float,
) -> SliceTable:
    """Add what follows from the counts, and sort. `most` bounds losses."""
    n, total = counts.n_rows, counts.total_error_sum
    size, errors = counts.size, counts.error_sum
    rate = errors / size
    overall = total / n if n else 0.0
    lift = rate / overall if overall > 0.0 else np.ones_like(rate)
    score = ALPHA * (lift - 1.0) - (1.0 - ALPHA) * (n / size - 1.0)
    if counts.binary:
        low, high = _stats.wilson_interval(errors, size, confidence)
        p_value = _stats.hypergeometric_tail(errors, n, total, size)
    else:
        low, high = _stats.bounded_interval(rate, counts.deviation, size, most, confidence)
        rest = n - size
        rest_rate = counts.rest_error_sum / np.maximum(rest, 1)
        p_value = _stats.welch_tail(
            rate, counts.deviation, size, rest_rate, counts.rest_deviation, rest
        )
    # Last key first: score, then the columns and codes of the predicate; -1 sorts prefixes first.
    pairs = zip(counts.predicate_columns.T, counts.predicate_codes.T, strict=True)
    keys = [key for pair in pairs for key in pair]
    order = np.lexsort((*reversed(keys), -score))
    unsorted = SliceTable(
        size=size,
        error_sum=errors,
        error_rate=rate,
        low=low,
        high=high,
        lift=lift,
        max_error=counts.max_error,
        score=score,
        p_value=p_value,
        q_value=_stats.benjamini_hochberg(p_value),
        n=n,
        overall_error_rate=overall,
        column_names=names,
        confidence=confidence,
        _predicate_columns=counts.predicate_columns,
        _predicate_codes=counts.predicate_codes,
        _values=values,
    )
    return unsorted[order]
