"""What a search for errors by slice gives: a table of slices, and one row of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from . import _check, _html
from ._columns import Category

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow

ALPHA = 0.6  # weight of the error against the size in SliceLine's score

_REPR_ROWS, _REPR_WIDTH = 10, 60

Predicate = tuple[tuple[str, Category | None], ...]


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


class LevelSearch(NamedTuple):
    """What became of the slices of one level, those of `level` conditions, in a search.

    `candidates` are those all of whose parents (the slices with a condition less) may have a
    descendant among the best. Of them `bounded` were left out by what is known of the parents, and
    `evaluated` counted. Of these `settled` were left out when their errors alone were counted, and
    `kept` may have children among the best.
    """

    level: int
    candidates: int
    bounded: int
    evaluated: int
    settled: int
    kept: int


@dataclass(frozen=True)
class SliceSearch:
    """The certificate of a search for the worst slices.

    Attributes
    ----------
    complete : bool
        Whether the table holds the best slices of all; always, unless a limit stopped the search.
    stopped_by : {None, "time_limit", "max_candidates"}
        The limit that stopped it.
    bound : float
        No slice outside the table scores above this.
    alpha : float
        Weight of the error against the size in the score.
    levels : tuple of LevelSearch
    """

    complete: bool
    stopped_by: str | None
    bound: float
    alpha: float
    levels: tuple[LevelSearch, ...]


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
        SliceLine's with n = rows: alpha (lift - 1) - (1 - alpha) (n / size - 1), alpha = 0.6 unless
        find_slices was told another one. The whole set scores 0.
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
    weight : (n_slices,) float64, or None without weights
        Sum of the weights of the rows. Error sums and rates, lift and score are then weighted;
        intervals and p-values (Welch's) are those of (sum w)^2 / sum w^2 rows (Kish, 1965).
    redundant : (n_slices,) bool, or None but from find_slices
        Whether a slice has the same rows as one with a condition less.
    search : SliceSearch, or None but from find_slices
        Whether the search was complete, and what it looked at.
    binary : bool
        Whether every error of the whole set is 0 or 1.
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
    _values: tuple[tuple[Category | None, ...] | None, ...] = field(repr=False)
    weight: NDArray[np.float64] | None = None
    redundant: NDArray[np.bool_] | None = None
    search: SliceSearch | None = None
    binary: bool = False

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
        optional = ("weight", "redundant")
        by_slice = (*Slice._fields[1:], "_predicate_columns", "_predicate_codes", *optional)
        taken = {
            name: values[index] for name in by_slice if (values := getattr(self, name)) is not None
        }
        # A part of the table is not what the search found.
        return replace(self, **taken, search=None)

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
        return _text_table(self._title(), cells, len(self) + 1 - len(cells))

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


def _text_table(title: str, cells: Sequence[Sequence[str]], more: int) -> str:
    """Return lines of cells under a title, all columns but the first to the right, and how many `more` are not shown."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in cells
    ]
    return "\n".join([title, *lines, *([f"... {more} more"] if more else [])])


def _describe(predicate: Predicate) -> str:
    return " & ".join(_printable(f"{name}={value}") for name, value in predicate)


def _shortened(text: str) -> str:
    return text if len(text) <= _REPR_WIDTH else text[: _REPR_WIDTH - 3] + "..."
