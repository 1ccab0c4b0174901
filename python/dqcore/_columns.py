"""Columns of metadata become integer codes and their category values, or an error that names column and row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import _check, _foreign

# Whole numbers below this are codes as they are; above, only those that occur get a code.
PLAIN_CODES = 1 << 16
# Up to this many a table of all numbers is quicker than a sort of those that occur.
_TABLE_CODES = 1 << 26

WANT = "(n,) whole numbers from 0, strings, bools or categories, -1 or None for missing"
WANT_COLUMNS = "a mapping of name to (n,) column, a data frame, or an (n, m) integer array"

Category = int | str | bool
Foreign = _foreign.Foreign


class Column(NamedTuple):
    """One encoded column: codes in [0, n_categories), -1 for missing."""

    name: str
    codes: NDArray[np.integer]
    n_categories: int
    values: tuple[Category | None, ...] | None  # sorted; None where a code is its own value


def encode(columns: object, name: str = "columns") -> list[Column]:
    """Return every column of `columns` encoded, in order; at least one, all of one length."""
    pairs = list(named(columns, name))
    if not pairs:
        raise ValueError(f"{name} must be {WANT_COLUMNS} with at least one column, got none")
    seen: set[str] = set()
    for key, _ in pairs:
        if not isinstance(key, str):
            raise TypeError(f"{name} must have strings for names, got {_check.shown(key)}")
        if key in seen:
            raise ValueError(f"{name} has two columns named {_check.shown(key)}")
        seen.add(key)
    encoded = [encode_column(key, raw, f"{name}[{_check.shown(key)}]") for key, raw in pairs]
    first = encoded[0]
    for column in encoded[1:]:
        _check.same_length(
            f"{name}[{_check.shown(column.name)}]",
            len(column.codes),
            f"{name}[{_check.shown(first.name)}]",
            len(first.codes),
        )
    return encoded


def named(columns: Foreign, name: str) -> Iterable[tuple[Any, Any]]:
    """Yield the name and the raw column of each, in order."""
    try:
        pairs = _foreign.frame_columns(columns)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name} must be {WANT_COLUMNS}: {error}") from error
    if pairs is not None:
        return pairs
    table = _check.array(name, columns, 2, WANT_COLUMNS)
    if table.dtype.kind not in "iu":
        raise TypeError(f"{name} must be {WANT_COLUMNS}, got an array of dtype {table.dtype}")
    return ((str(j), table[:, j]) for j in range(table.shape[1]))


def encode_column(key: str, raw: Foreign, name: str) -> Column:
    """Return one column encoded; `name` is how errors call it."""
    if hasattr(getattr(raw, "dtype", None), "categories") and not hasattr(raw, "null_count"):
        return _encode_categorical(key, raw, name)
    if hasattr(raw, "dictionary_encode") and _is_arrow_text(raw.type):
        return _encode_arrow_text(key, raw)
    values = _as_array(raw, name)
    kind = values.dtype.kind
    if kind == "b":
        return Column(key, values.view(np.uint8), 2, (False, True))
    if kind in "iu":
        return _encode_integers(key, values, name)
    if kind == "f":
        missing = np.isnan(values)
        bad = ~missing & ((np.floor(values) != values) | ~(np.abs(values) < 2.0**63))
        if bad.any():
            raise _check.first_bad(name, values, bad, WANT)
        return _encode_integers(key, np.where(missing, -1, values).astype(np.int64), name)
    if kind in "UOT":
        return _encode_objects(key, values.tolist(), name)
    advice = f"; pass {name}.astype(str)" if kind in "SMm" else ""
    raise TypeError(f"{name} must be {WANT}, got dtype {values.dtype}{advice}")


def _as_array(raw: Foreign, name: str) -> NDArray[Any]:
    nulls = getattr(raw, "null_count", None)  # polars (a method) and pyarrow
    if nulls is not None and (nulls() if callable(nulls) else nulls):
        raw = raw.to_list() if hasattr(raw, "to_list") else raw.to_pylist()  # keeps whole numbers
    if isinstance(raw, list | tuple):  # NumPy would turn a mixed one into one type in silence
        return np.fromiter(raw, object, len(raw))
    return _check.array(name, raw, 1, WANT)


def _is_arrow_text(kind: Foreign) -> bool:
    return str(getattr(kind, "value_type", kind)) in ("string", "large_string", "string_view")


def _encode_arrow_text(key: str, raw: Foreign) -> Column:
    if not hasattr(raw.type, "index_type"):
        raw = raw.dictionary_encode()
    if hasattr(raw, "chunks"):
        raw = raw.unify_dictionaries().combine_chunks()
    if hasattr(raw, "chunks"):  # of no chunks
        return Column(key, np.zeros(0, np.int32), 0, ())
    names = raw.dictionary.to_pylist()
    distinct = sorted({name for name in names if name is not None})
    rank = {name: code for code, name in enumerate(distinct)}
    # The last entry is for the missing code -1.
    table = np.array([rank.get(name, -1) for name in names] + [-1], np.int32)
    codes = raw.indices.cast("int64").fill_null(-1).to_numpy()
    return Column(key, table[codes], len(distinct), tuple(distinct))


def _encode_categorical(key: str, raw: Foreign, name: str) -> Column:
    codes = np.asarray(raw.cat.codes if hasattr(raw, "cat") else raw.codes)
    categories = np.asarray(raw.dtype.categories)
    each = encode_column(key, categories, f"categories of {name}")
    # What the categories' own codes stand for; the last entry is for the missing code -1.
    table = np.append(each.codes.astype(np.int32), np.int32(-1))
    return each._replace(codes=table[codes])


def _encode_integers(key: str, values: NDArray[np.integer], name: str) -> Column:
    if values.size == 0:
        return Column(key, values, 0, None)
    low, high = int(values.min()), int(values.max())
    if low < -1:
        raise _check.first_bad(name, values, values < -1, WANT)
    if high < PLAIN_CODES:
        return Column(key, values, high + 1, None)
    present = values[values >= 0]
    codes = np.full(values.shape, -1, np.int32)
    if high < _TABLE_CODES:
        occurs = np.zeros(high + 1, bool)
        occurs[present] = True
        found = np.flatnonzero(occurs)
        codes[values >= 0] = (np.cumsum(occurs, dtype=np.int32) - 1)[present]
    else:
        found = np.unique(present)
        codes[values >= 0] = np.searchsorted(found, present)
    return Column(key, codes, len(found), tuple(found.tolist()))


def _family(kind: type) -> type | None:
    for family in (bool, np.bool_, str, int, np.integer):
        if issubclass(kind, family):
            return {np.bool_: bool, np.integer: int}.get(family, family)
    return None


def _encode_objects(key: str, items: list[Any], name: str) -> Column:
    kinds = set(map(type, items))
    families = {_family(kind) for kind in kinds} - {None}
    family = next(iter(families)) if len(families) == 1 else None
    doubtful = {kind for kind in kinds if _family(kind) is not family or family is None}
    first: tuple[int, Any] | None = None  # of a family; one of another family is then wrong
    for row, item in enumerate(items if doubtful else ()):
        if type(item) not in doubtful or _check.is_missing(item):
            continue
        of = _family(type(item))
        if of is None or (first is not None and of is not _family(type(first[1]))):
            said = f"row {row} is {_check.shown(item)} ({type(item).__name__})"
            if of is not None and first is not None:
                said += f" but row {first[0]} {_check.shown(first[1])}, mixed types"
            raise TypeError(f"{name} must be {WANT}: {said}")
        first = first or (row, item)
    if family is int:
        plain = (-1 if _check.is_missing(item) else int(item) for item in items)
        try:
            return _encode_integers(key, np.fromiter(plain, np.int64, len(items)), name)
        except OverflowError:
            raise ValueError(f"{name} must be {WANT}: a number is 2^63 or more") from None
    distinct = dict.fromkeys(items)
    found = sorted(item for item in distinct if not _check.is_missing(item))
    codes = dict.fromkeys(distinct, -1)
    codes.update((item, code) for code, item in enumerate(found))
    return Column(
        key,
        np.fromiter(map(codes.__getitem__, items), np.int32, len(items)),
        len(found),
        tuple(map(bool if family is bool else str, found)),
    )


def recode(column: Column, values: Sequence[Category] | None, n: int, name: str) -> NDArray[Any]:
    """Return the column's codes in a fixed set of categories: `values`, or the numbers below `n`."""
    want = f"whole numbers in [0, {n - 1}]" if values is None else f"one of {n} known categories"
    want += ", or missing"
    if values is None and column.values is None:
        if column.n_categories > n:
            raise _check.first_bad(name, column.codes, column.codes >= n, want)
        return column.codes
    own = range(column.n_categories) if column.values is None else column.values
    known: Mapping[tuple[type, Category | None], int] = (
        {(int, i): i for i in range(n)}
        if values is None
        else {(type(value), value): code for code, value in enumerate(values)}
    )
    unknown = -2
    table = np.array([known.get((type(v), v), unknown) for v in own] + [-1], np.int32)
    signed = column.codes.astype(np.int64, copy=False)
    codes = table[signed]
    bad = codes == unknown
    if bad.any():
        row = int(np.argmax(bad))
        count = int(np.count_nonzero(bad))
        value = list(own)[int(signed[row])]
        raise ValueError(
            f"{name} must be {want}: row {row} is {_check.shown(value)} ({_check.such_entries(count)})"
        )
    return codes
