"""Slices: rows and errors in each category of each column, and in each crossing of columns."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

ERROR_BITS = 48


class SliceCounts(NamedTuple):
    """One entry for each slice, by number of columns, then columns, then codes."""

    predicate_columns: NDArray[np.int32]  # (slices, max_level), -1 beyond a slice's own level
    predicate_codes: NDArray[np.int32]  # the same
    size: NDArray[np.int64]
    error_sum: NDArray[np.float64]
    rest_error_sum: NDArray[np.float64]  # of the rows outside the slice
    max_error: NDArray[np.float64]
    deviation: NDArray[np.float64]  # sum of (error - mean)^2
    rest_deviation: NDArray[np.float64]
    n_rows: int
    total_error_sum: float
    binary: bool  # every error is 0 or 1


def quantised(errors: NDArray[Any], error_exponent: int) -> NDArray[np.int64]:
    """Return each error as a whole number of 2^(error_exponent - 48), rounded to the nearest."""
    scaled = errors.astype(np.float64) * 2.0 ** (ERROR_BITS - error_exponent)
    return np.floor(scaled + 0.5).astype(np.int64)


def deviation(size: int, total: int, squares: int) -> float:
    """Return the sum of squared distances from the mean, in squared units.

    Taken around the whole number below the mean, so that nothing cancels; two roundings.
    """
    if size == 0:
        return 0.0
    center = total // size
    around = squares - 2 * center * total + size * center * center
    rest = float(total - size * center)
    return float(around) - rest * rest / float(size)


def slice_errors(
    errors: NDArray[Any],
    codes: Sequence[NDArray[np.integer]],
    n_categories: Sequence[int],
    *,
    max_level: int,
    error_exponent: int,
    min_support: int,
    **run: object,
) -> SliceCounts:
    """Count every slice of at least `min_support` rows.

    `errors` (n,) are uint8 0 or 1, or float64 in [0, 2^error_exponent]; `codes` are columns of
    (n,) integers in [0, n_categories), -1 for missing.
    """
    n = len(errors)
    width = min(max_level, len(codes))
    units = quantised(errors, error_exponent).astype(object)  # Python integers: exact
    n_total, n_squares = int(units.sum()), int((units * units).sum())
    unit = 2.0 ** (error_exponent - ERROR_BITS)

    rows = []
    for level in range(1, width + 1):
        for columns in itertools.combinations(range(len(codes)), level):
            table = np.stack([codes[c] for c in columns], axis=1).astype(np.int64)
            inside = (table >= 0).all(axis=1)
            cells, group = np.unique(table[inside], axis=0, return_inverse=True)
            group = group.reshape(-1)
            size = np.bincount(group, minlength=len(cells))
            total, squares = np.zeros(len(cells), object), np.zeros(len(cells), object)
            np.add.at(total, group, units[inside])
            np.add.at(squares, group, units[inside] ** 2)
            largest = np.zeros(len(cells))
            np.maximum.at(largest, group, errors[inside].astype(np.float64))
            padding = (-1,) * (width - level)
            for i, cell in enumerate(cells):
                if size[i] < min_support:
                    continue
                s, t, q = int(size[i]), int(total[i]), int(squares[i])
                spread = deviation(s, t, q) * unit * unit
                rest = deviation(n - s, n_total - t, n_squares - q) * unit * unit
                rows.append(
                    (
                        columns + padding,
                        (*cell, *padding),
                        *(s, float(t) * unit, float(n_total - t) * unit, largest[i], spread, rest),
                    )
                )

    columns_, codes_, size_, *numbers = list(zip(*rows, strict=True)) or [()] * 8
    error_sum, rest_error_sum, max_error, spread_, rest_ = (
        np.array(field, np.float64) for field in numbers
    )
    return SliceCounts(
        predicate_columns=np.array(columns_, np.int32).reshape(-1, width),
        predicate_codes=np.array(codes_, np.int32).reshape(-1, width),
        size=np.array(size_, np.int64),
        error_sum=error_sum,
        rest_error_sum=rest_error_sum,
        max_error=max_error,
        deviation=spread_,
        rest_deviation=rest_,
        n_rows=n,
        total_error_sum=float(n_total) * unit,
        binary=bool(np.isin(errors, (0, 1)).all()),
    )
