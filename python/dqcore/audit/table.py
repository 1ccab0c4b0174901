"""The findings of each row as a table for other programs: CSV that no spreadsheet runs as a formula, and Parquet.

Both hold the fields of `issues` with names instead of class numbers; what was not asked for is empty (CSV) or null.
"""

from __future__ import annotations

import csv
import importlib.util
from collections.abc import Callable, Iterator
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .findings import ISSUES_DTYPE

if TYPE_CHECKING:
    import pyarrow

    from .result import Audit

# Fields of `issues` that hold the number of a class or a part.
CLASS_FIELDS = ("given", "suggested", "label_suggested", "disagreement_suggested")
# A text that starts with one of these is a formula to a spreadsheet. Source: OWASP, "CSV injection".
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
ROWS_AT_ONCE = 1 << 14  # of CSV; some 10 MB of Python objects


def columns(audit: Audit) -> Iterator[tuple[str, NDArray[Any], tuple[str, ...] | None]]:
    """Yield each column: its name, its values, and the names that they number, where they do.

    Left out are the flags, scores and groups of what was not looked for in this audit.
    """
    known = _looked_for(audit)
    for name in ISSUES_DTYPE.names or ():
        if known(name):
            names = audit.class_names if name in CLASS_FIELDS else None
            yield name, audit.issues[name], audit.split_names if name == "split" else names


def _looked_for(audit: Audit) -> Callable[[str], bool]:
    parts, graph = audit.split_names is not None, audit.graph is not None
    evidence = {
        "row": True,
        "given": True,
        "suggested": audit.joint is not None or graph,
        "split": parts,
        "is_split_leak_issue": parts and graph,
    }
    return lambda name: evidence.get(name, audit.joint is not None if "label" in name else graph)


def safe(text: str) -> str:
    """Return `text` with a ' before it where a spreadsheet would take it for a formula."""
    return "'" + text if text.startswith(FORMULA) else text


# ---- CSV -----------------------------------------------------------------------------------------------


def write_csv(audit: Audit, file: IO[str]) -> None:
    """Write the table as CSV: a header, then a line for each row; `true` and `false`, floats that read back the same."""
    found = list(columns(audit))
    # RFC 4180's line ends: with others Python would leave a carriage return in a name unquoted.
    writer = csv.writer(file, lineterminator="\r\n")
    writer.writerow([name for name, _, _ in found])
    texts = [None if names is None else [safe(name) for name in names] for _, _, names in found]
    for start in range(0, len(audit), ROWS_AT_ONCE):
        stop = start + ROWS_AT_ONCE
        cells = (
            _cells(values[start:stop], names)
            for (_, values, _), names in zip(found, texts, strict=True)
        )
        writer.writerows(zip(*cells, strict=True))


def _cells(values: NDArray[Any], names: list[str] | None) -> list[object]:
    listed = values.tolist()
    if names is not None:
        return [names[code] if code >= 0 else "" for code in listed]
    if values.dtype.kind == "b":
        return ["true" if value else "false" for value in listed]
    if values.dtype.kind == "f":
        return ["" if value != value else value for value in listed]  # noqa: PLR0124 - NaN
    return ["" if value < 0 else value for value in listed]


# ---- Parquet -------------------------------------------------------------------------------------------


def missing() -> str | None:
    """Return what to do where pyarrow is not here; None where it is."""
    if importlib.util.find_spec("pyarrow") is not None:
        return None
    return (
        "a table for Arrow or Parquet needs pyarrow: pip install '.[audit]' in a checkout of dqcore"
    )


def to_arrow(audit: Audit) -> pyarrow.Table:
    """Return the table; names are dictionaries.

    Raises
    ------
    ImportError
        Where pyarrow is not installed.
    """
    if (reason := missing()) is not None:
        raise ImportError(reason, name="pyarrow")
    import pyarrow

    return pyarrow.table({name: _arrow(values, names) for name, values, names in columns(audit)})


def _arrow(values: NDArray[Any], names: tuple[str, ...] | None) -> Any:  # noqa: ANN401
    import pyarrow

    missing = np.isnan(values) if values.dtype.kind == "f" else values < 0
    mask = missing if values.dtype.kind in "if" else None
    plain = pyarrow.array(np.ascontiguousarray(values), mask=mask)
    if names is None:
        return plain
    # Arrow's strings are UTF-8, which has no lone surrogates.
    texts = [name.encode("utf-8", "backslashreplace").decode() for name in names]
    return pyarrow.DictionaryArray.from_arrays(plain, pyarrow.array(texts, pyarrow.string()))
