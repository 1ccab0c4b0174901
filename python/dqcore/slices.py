"""Slices: where the errors are, by category of each column and by crossing of columns."""

from __future__ import annotations

import math
import os
from dataclasses import replace

import numpy as np

from . import _backend, _check, _device, slice_passes, sources
from ._slice_counts import (
    Counting,
    check_weighted,
    confidence_level,
    encoded,
    error_unit,
    error_values,
    least_rows,
    loss_bound,
    most_level,
    row_weights,
    table,
    weight_exponent,
    weighted_counts,
)
from .reference.slices import FoundSlices, SliceCounts
from .slice_states import SliceState
from .slice_table import LevelSearch, Slice, SliceSearch, SliceTable

__all__ = [
    "LevelSearch",
    "Slice",
    "SliceSearch",
    "SliceState",
    "SliceTable",
    "find_slices",
    "slice_errors",
]

_STOPS = (None, "time_limit", "max_candidates")
_MOST_BYTES = 1 << 29  # of bits, one for each row and category; above, they are made for each pass


def slice_errors(
    errors: object,
    columns: object,
    *,
    max_level: int = 1,
    min_support: int | None = 1,
    confidence: float = 0.95,
    max_abs_error: float | None = None,
    weights: object = None,
    missing: str = "leave_out",
    backend: str = "auto",
    threads: int = 0,
    progress: _check.Progress = None,
    memory_limit: int | str | None = None,
) -> SliceTable:
    """Count the errors in every slice of every column, and of every crossing of columns.

    Parameters
    ----------
    errors : (n,) bool, 0/1 integers, or finite floats of at least 0
        Whether each row is wrong, how severe that is (from 0 to 1), or its loss.
    columns : mapping of name to (n,) column, data frame, or (n, m) integer array
        Categories of each row: whole numbers from 0, strings, bools or categoricals; -1, None or
        NaN for missing. A row takes no part in the slices of a column where it is missing. The
        columns of an array are named "0", "1", ... Each, like `errors`, may be a path or a `Source`, read into memory
        but for what `memory_limit` says. With backend "cuda" (or "auto" and `errors` on a CUDA device) what is
        on a device is brought to the host to be encoded.
    max_level : int
        Most columns in one crossing.
    min_support : int or None
        Least rows of a slice in the table; None is max(32, ceil(n / 1000)).
    confidence : float in (0, 1)
        Of the intervals.
    max_abs_error : float, optional
        Upper bound of the losses, for their interval and for the unit of their sums: 2^-48 of it,
        rounded up to a power of two. Default: the largest loss, for the unit at least 1. Infinity
        for losses without a bound: Student's interval, which holds for groups of many rows.
    weights : (n,) numbers in [0, 2^31), optional
        Of the rows, in errors, sizes, intervals and tests; see `SliceTable.weight`. A slice without
        weight is left out. `min_support` counts rows.
    missing : {"leave_out", "category"}
        Whether a row takes no part in the slices of a column where it is missing, or those rows are
        a category of their own, named None.
    backend : {"auto", "cpu", "cuda", "reference"}
    threads : int
        0 for all that the process may use. No result depends on it.
    progress : callable, optional
        Called with (stage, rows done, rows in all).
    memory_limit : int or str, optional
        Bytes, or such as "512MB", that may be held at once besides arguments in memory and the result: errors and
        columns of numbers are read in blocks, once to see which categories there are and once to count. Other columns
        (text, categoricals) are encoded in memory, within the limit. The result is the same to the bit. On the CPU.

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
        -1; a name comes twice; there are no columns; `max_level` asks for too many crossings;
        `memory_limit` is too low (says of what, and what would do where that is known).
    OSError
        A file cannot be read, or changed meanwhile.
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
    limit = _check.memory("memory_limit", memory_limit)
    module = _backend.load(backend, errors)
    if limit is not None:
        return slice_passes.slice_errors(
            module,
            errors,
            columns,
            limit,
            max_level=max_level,
            min_support=min_support,
            confidence=confidence,
            max_abs_error=max_abs_error,
            weights=weights,
            missing=missing,
            threads=threads,
            progress=progress,
        )
    errors = _device.column(module, "errors", sources.loaded("errors", errors))
    checked = encoded(_device.columns(module, "columns", _loaded(columns)), missing)
    most = loss_bound(max_abs_error)
    values, largest = error_values(errors, most)
    _check.same_length(
        "errors", len(values), f"columns[{_check.shown(checked[0].name)}]", len(checked[0].codes)
    )
    level = most_level(max_level, [c.name for c in checked], [c.n_categories for c in checked])
    support = least_rows(min_support, len(values))
    row_weight = row_weights(_device.column(module, "weights", weights), len(values))
    if row_weight is not None:
        check_weighted(largest, most)
    level_of_confidence = confidence_level(confidence)
    count, report = _check.run_options(threads, progress)
    counting = Counting(
        module.slice_errors,
        [column.codes for column in checked],
        [column.n_categories for column in checked],
        {"max_level": level, "min_support": support, "threads": count, "progress": report},
    )
    exponent = error_unit(largest, most)
    if row_weight is None:
        counts = counting.of(values, exponent)
    else:
        w = row_weight
        counts = weighted_counts(
            lambda product, unit: counting.of(product(values, w), unit),
            exponent,
            weight_exponent(w),
        )
    return table(
        counts,
        checked,
        level_of_confidence,
        largest if most is None else most,
        row_weight is not None,
    )


def _loaded(columns: object) -> object:
    """Return columns in memory, where they or some of them are paths or sources."""
    if not isinstance(columns, dict):
        return sources.loaded("columns", columns)
    held = (str, os.PathLike, sources.Source)
    return {
        name: sources.loaded(f"columns[{_check.shown(name)}]", column)
        if isinstance(column, held)
        else column
        for name, column in columns.items()
    }


def find_slices(
    errors: object,
    columns: object,
    *,
    k: int = 10,
    alpha: float = 0.6,
    max_level: int = 3,
    min_support: int | None = None,
    weights: object = None,
    missing: str = "leave_out",
    confidence: float = 0.95,
    max_abs_error: float | None = None,
    time_limit: float | None = None,
    max_candidates: int | None = None,
    backend: str = "auto",
    threads: int = 0,
    progress: _check.Progress = None,
) -> SliceTable:
    """Find the worst slices of all crossings of columns, exactly: the `k` of highest score.

    The score is SliceLine's, alpha (lift - 1) - (1 - alpha) (n / size - 1): how much more a slice
    errs than the whole, against how small it is. Only slices that score above 0, which is what the
    whole set scores, and hold an error are found. Slices are looked at level by level, and left out
    only where a bound proves that neither they nor any slice within them is among the best.

    Parameters
    ----------
    errors : (n,) bool, 0/1 integers, or finite floats of at least 0
        Whether each row is wrong, how severe that is, or its loss.
    columns : mapping of name to (n,) column, data frame, or (n, m) integer array
        Categories of each row, as in `slice_errors`.
    k : int
        Most slices found.
    alpha : float in (0, 1]
        Weight of the error against the size. Near 1, small slices that err much; lower, large ones.
    max_level : int
        Most conditions of a slice.
    min_support : int or None
        Least rows of a slice; None is max(32, ceil(n / 1000)).
    weights : (n,) numbers in [0, 2^31), optional
        Of the rows, in the errors and in the sizes of the score. `min_support` counts rows.
    missing : {"leave_out", "category"}
        Whether a row takes no part in the slices of a column where it is missing, or those rows are
        a category of their own, named None.
    confidence : float in (0, 1)
        Of the intervals. They are each slice's own: none allows for its having been searched for.
    max_abs_error : float, optional
        Upper bound of the losses; as in `slice_errors`.
    time_limit : float, optional
        Seconds after which the search stops with the best slices so far.
    max_candidates : int, optional
        Most slices counted before the search stops with the best so far.
    backend : {"auto", "cpu", "cuda", "reference"}
        The reference scores every slice there is and keeps no limit.
    threads : int
        0 for all that the process may use. No result depends on it.
    progress : callable, optional
        Called with (stage, done, total) for each step of each level.

    Returns
    -------
    SliceTable
        By score, then by predicate. `redundant` tells which slices have the same rows as one with a
        condition less, `search` whether the search was complete.

    Raises
    ------
    TypeError, ValueError
        As `slice_errors`; weights are negative, NaN, infinite or too large; a limit is negative.
    BackendError
        The backend named cannot run here.

    References
    ----------
    Sagadeeva and Boehm (2021), "SliceLine: fast, linear-algebra-based slice finding for ML model
    debugging", SIGMOD; its bound is taken with n = rows.

    Examples
    --------
    >>> import dqcore as dq
    >>> kind = ["car", "car", "motorcycle", "motorcycle"] * 50
    >>> light = ["day", "night"] * 100
    >>> errors = [0, 0, 0, 1] * 50
    >>> table = dq.find_slices(errors, {"kind": kind, "light": light}, k=1)
    >>> table[0].predicate, table[0].error_rate
    ((('kind', 'motorcycle'), ('light', 'night')), 1.0)
    >>> table.search.complete
    True
    """
    checked = encoded(columns, missing)
    most = loss_bound(max_abs_error)
    values, largest = error_values(errors, most)
    _check.same_length(
        "errors", len(values), f"columns[{_check.shown(checked[0].name)}]", len(checked[0].codes)
    )
    n_best = _check.integer("k", k, 1, 2**31 - 1)
    share = _check.number("alpha", alpha, 0.0, 1.0)
    if share == 0.0:
        raise ValueError("alpha must be above 0 and at most 1, got 0.0")
    level = min(_check.integer("max_level", max_level, 1), len(checked))
    support = least_rows(min_support, len(values))
    row_weight = row_weights(weights, len(values))
    if row_weight is not None:
        check_weighted(largest, most)
    level_of_confidence = confidence_level(confidence)
    limit = math.inf
    if time_limit is not None:
        limit = _check.number("time_limit", time_limit, 0.0, 1e9)
    most_candidates = 2**62
    if max_candidates is not None:
        most_candidates = _check.integer("max_candidates", max_candidates, 0, 2**62)
    count, report = _check.run_options(threads, progress)
    module = _backend.load(backend, errors)
    found = FoundSlices(
        *module.find_slices(
            values,
            [column.codes for column in checked],
            [column.n_categories for column in checked],
            weights=row_weight,
            k=n_best,
            alpha=share,
            max_level=level,
            min_support=support,
            error_exponent=error_unit(largest, most),
            weight_exponent=weight_exponent(row_weight),
            max_candidates=most_candidates,
            time_limit=limit,
            most_bytes=_MOST_BYTES,
            threads=count,
            progress=report,
        )
    )
    counted = table(
        SliceCounts(*found.counts),
        checked,
        level_of_confidence,
        largest if most is None else most,
        row_weight is not None,
        found.score,
    )
    levels = (LevelSearch(i, *row) for i, row in enumerate(found.levels.tolist(), 1))
    search = SliceSearch(found.stop == 0, _STOPS[found.stop], found.bound, share, tuple(levels))
    # Sorted already: the table has the same order.
    return replace(counted, redundant=found.redundant.astype(np.bool_), search=search)
