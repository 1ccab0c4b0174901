"""Slices: rows and errors in each category of each column, and in each crossing of columns; the worst of them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
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
    weight: NDArray[np.float64]  # sum of the weights; rows where there are none
    weight_squares: NDArray[np.float64]
    total_weight: float
    total_weight_squares: float


class FoundSlices(NamedTuple):
    """The best slices, best first; error sums and deviations are weighted."""

    counts: SliceCounts
    score: NDArray[np.float64]
    redundant: NDArray[np.uint8]  # 1 where a slice has the same rows as one of its parents
    stop: int  # 0 complete, 1 out of time, 2 out of candidates
    bound: float  # no slice outside the result scores above it
    levels: NDArray[np.int64]  # (levels, 5) candidates, bounded, evaluated, settled, kept


class _Sums(NamedTuple):
    """Whole numbers of units: exact in any order."""

    size: int
    error: int
    squares: int
    weight: int
    weight_squares: int
    largest: float


class _Rows:
    """Errors and weights as whole numbers of units, and what their sums stand for."""

    def __init__(
        self,
        errors: NDArray[Any],
        weights: NDArray[np.float64] | None,
        error_exponent: int,
        weight_exponent: int,
    ) -> None:
        self.weighted = weights is not None
        self.errors = errors.astype(np.float64) + 0.0  # a zero without a sign
        if weights is None:
            self.exponents = (error_exponent, 2 * error_exponent, ERROR_BITS, ERROR_BITS)
            units = quantised(errors, error_exponent).astype(object)  # Python integers: exact
            ones = np.ones(len(errors), object)
            self.units: tuple[NDArray[Any], ...] = (units, units * units, ones, ones)
        else:
            w, x = weight_exponent, error_exponent
            self.exponents = (x + w, 2 * x + w, w, 2 * w)
            product = self.errors * weights
            self.units = tuple(
                quantised(values, exponent).astype(object)
                for values, exponent in zip(
                    (product, product * self.errors, weights, weights * weights),
                    self.exponents,
                    strict=True,
                )
            )

    def total(self) -> _Sums:
        error, squares, weight, weight_squares = (int(unit.sum()) for unit in self.units)
        largest = float(self.errors.max(initial=0.0))
        return _Sums(len(self.errors), error, squares, weight, weight_squares, largest)

    def by_group(self, inside: NDArray[np.bool_], group: NDArray[Any], n: int) -> list[_Sums]:
        size = np.bincount(group, minlength=n)
        sums = []
        for unit in self.units:
            total = np.zeros(n, object)
            np.add.at(total, group, unit[inside])
            sums.append(total)
        largest = np.zeros(n)
        np.maximum.at(largest, group, self.errors[inside])
        return [_Sums(*row) for row in zip(size.tolist(), *sums, largest.tolist(), strict=True)]

    def error_sum(self, sums: _Sums) -> float:
        return float(sums.error) * _unit(self.exponents[0])

    def weight_sum(self, sums: _Sums) -> float:
        return float(sums.weight) * _unit(self.exponents[2])

    def weight_squares(self, sums: _Sums) -> float:
        return float(sums.weight_squares) * _unit(self.exponents[3])

    def deviation(self, sums: _Sums) -> float:
        """Return the weighted sum of squared distances from the weighted mean."""
        if not self.weighted:
            unit = _unit(self.exponents[0])
            return deviation(sums.size, sums.error, sums.squares) * unit * unit
        weight, total = self.weight_sum(sums), self.error_sum(sums)
        if not weight > 0.0:
            return 0.0
        around = float(sums.squares) * _unit(self.exponents[1]) - total * total / weight
        return max(0.0, around)


class _Slice(NamedTuple):
    columns: tuple[int, ...]
    codes: tuple[int, ...]
    sums: _Sums


def _unit(exponent: int) -> float:
    return 2.0 ** (exponent - ERROR_BITS)


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


def _every_slice(rows: _Rows, codes: Sequence[NDArray[np.integer]], width: int) -> Iterator[_Slice]:
    for level in range(1, width + 1):
        for columns in itertools.combinations(range(len(codes)), level):
            table = np.stack([codes[c] for c in columns], axis=1).astype(np.int64)
            inside = np.asarray((table >= 0).all(axis=1))
            cells, group = np.unique(table[inside], axis=0, return_inverse=True)
            sums = rows.by_group(inside, group.reshape(-1), len(cells))
            for cell, sums_of_cell in zip(cells.tolist(), sums, strict=True):
                yield _Slice(columns, tuple(cell), sums_of_cell)


def _less(a: _Sums, b: _Sums) -> _Sums:
    return _Sums(
        a.size - b.size,
        a.error - b.error,
        a.squares - b.squares,
        a.weight - b.weight,
        a.weight_squares - b.weight_squares,
        0.0,
    )


def _counts(rows: _Rows, slices: Sequence[_Slice], width: int) -> SliceCounts:
    total = rows.total()
    others = [_less(total, s.sums) for s in slices]

    def padded(field: int) -> NDArray[np.int32]:
        filled = [s[field] + (-1,) * (width - len(s.columns)) for s in slices]
        return np.array(filled, np.int32).reshape(-1, width)

    return SliceCounts(
        predicate_columns=padded(0),
        predicate_codes=padded(1),
        size=np.array([s.sums.size for s in slices], np.int64),
        error_sum=np.array([rows.error_sum(s.sums) for s in slices], np.float64),
        rest_error_sum=np.array([rows.error_sum(o) for o in others], np.float64),
        max_error=np.array([s.sums.largest for s in slices], np.float64),
        deviation=np.array([rows.deviation(s.sums) for s in slices], np.float64),
        rest_deviation=np.array([rows.deviation(o) for o in others], np.float64),
        n_rows=total.size,
        total_error_sum=rows.error_sum(total),
        binary=bool(np.isin(rows.errors, (0, 1)).all()),
        weight=np.array([rows.weight_sum(s.sums) for s in slices], np.float64),
        weight_squares=np.array([rows.weight_squares(s.sums) for s in slices], np.float64),
        total_weight=rows.weight_sum(total),
        total_weight_squares=rows.weight_squares(total),
    )


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
    width = min(max_level, len(codes))
    rows = _Rows(errors, None, error_exponent, 0)
    slices = [s for s in _every_slice(rows, codes, width) if s.sums.size >= min_support]
    return _counts(rows, slices, width)


def slice_line_score(
    error_sum: float, weight: float, total_error_sum: float, total_weight: float, alpha: float
) -> float:
    """Return SliceLine's score of a slice, with n = rows (or their weight).

    Source: Sagadeeva and Boehm (2021), definition 1.
    """
    lift = error_sum / weight / (total_error_sum / total_weight)
    return alpha * (lift - 1.0) - (1.0 - alpha) * (total_weight / weight - 1.0)


def find_slices(
    errors: NDArray[Any],
    codes: Sequence[NDArray[np.integer]],
    n_categories: Sequence[int],
    *,
    weights: NDArray[np.float64] | None,
    k: int,
    alpha: float,
    max_level: int,
    min_support: int,
    error_exponent: int,
    weight_exponent: int,
    max_candidates: int,
    time_limit: float,
    most_bytes: int,
    **run: object,
) -> FoundSlices:
    """Score every slice and return the `k` best: by score, then by columns and codes.

    A slice counts where it has `min_support` rows, an error, and a score above 0, which is that of
    the whole set. All of the lattice is looked at, whatever the limits.
    """
    width = min(max_level, len(codes))
    rows = _Rows(errors, weights, error_exponent, weight_exponent)
    total = rows.total()
    overall = rows.error_sum(total), rows.weight_sum(total)
    every = list(_every_slice(rows, codes, width))
    scored = []
    for s in every:
        if s.sums.size >= min_support and s.sums.error > 0 and s.sums.weight > 0:
            own = rows.error_sum(s.sums), rows.weight_sum(s.sums)
            score = slice_line_score(*own, *overall, alpha)
            if score > 0.0:
                predicate = tuple(zip(s.columns, s.codes, strict=True))
                scored.append((-score, predicate, s))
    scored.sort(key=lambda entry: entry[:2])
    best = [s for _, _, s in scored[:k]]

    size = {(s.columns, s.codes): s.sums.size for s in every}

    def redundant(s: _Slice) -> bool:
        level = len(s.columns)
        if level == 1:
            return s.sums.size == total.size
        parents = itertools.combinations(range(level), level - 1)
        return any(
            size[tuple(s.columns[i] for i in kept), tuple(s.codes[i] for i in kept)] == s.sums.size
            for kept in parents
        )

    return FoundSlices(
        counts=_counts(rows, best, width),
        score=np.array([-negative for negative, _, _ in scored[:k]], np.float64),
        redundant=np.array([redundant(s) for s in best], np.uint8),
        stop=0,
        bound=-scored[k - 1][0] if len(scored) >= k else 0.0,
        levels=np.zeros((0, 5), np.int64),
    )
