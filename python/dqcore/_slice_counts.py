"""What the doors of the slices share: checks of their arguments, and the table of what was counted."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import _check, _columns, _stats
from .reference.slices import SliceCounts
from .slice_table import ALPHA, SliceTable

_LEAST_DOUBT = 2.0**-50  # 1 - confidence: quantiles need some of it left
MOST_ERROR = 2.0**400  # the kernels' own limit: squares of sums stay finite
_MOST_WEIGHTED = 99  # the same with weights, as a power of two
_MOST_CROSSINGS = 1 << 20


WANT_ERRORS = "(n,) bools, 0/1 integers, or finite losses of at least 0"
LOSSES_ADVICE = "; pass errors.astype(float) for losses"


def wanted_losses(most: float | None) -> str:
    """Return what errors must be where none may be above `most`."""
    return WANT_ERRORS if most is None else f"{WANT_ERRORS} and at most max_abs_error = {most!r}"


def error_values(errors: object, most: float | None) -> tuple[NDArray[Any], float]:
    """Return errors as uint8 0/1 or float64 losses, and the largest (0 without rows)."""
    want = WANT_ERRORS
    values = _check.array("errors", errors, 1, want)
    kind = values.dtype.kind
    if kind == "f" and values.dtype.itemsize <= 8:
        values = values.astype(np.float64, copy=False)
        bound = MOST_ERROR if most is None else min(most, MOST_ERROR)
        want = wanted_losses(most)
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
            raise _check.first_bad("errors", values, bad, want + LOSSES_ADVICE)
        flags = values.astype(np.uint8, copy=False)
    else:
        raise TypeError(f"errors must be {want}, got dtype {values.dtype}")
    if most is not None and most < 1.0 and flags.any():
        raise _check.first_bad("errors", values, flags != 0, wanted_losses(most))
    return flags, 1.0


def most_error(value: object) -> float:
    return _check.number("max_abs_error", value, 1.0 / MOST_ERROR, MOST_ERROR)


def confidence_level(value: object) -> float:
    result = _check.number("confidence", value, 0.0, 1.0)
    if result == 0.0 or 1.0 - result < _LEAST_DOUBT:
        raise ValueError(f"confidence must be above 0 and below 1, got {result!r}")
    return result


def least_rows(value: object, n: int) -> int:
    if value is None:
        return max(32, -(-n // 1000))
    return _check.integer("min_support", value, 1, 2**63 - 1)


def most_level(value: object, names: list[str], sizes: list[int]) -> int:
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


def error_exponent(most: float) -> int:
    """Return the least e with most <= 2^e."""
    mantissa, exponent = math.frexp(most)
    return exponent - (mantissa == 0.5)


def loss_bound(value: object) -> float | None:
    """Return max_abs_error where it is given; infinity where losses are told to have no bound."""
    if value is None:
        return None
    if isinstance(value, float | np.floating) and value == math.inf:
        return math.inf
    return most_error(value)


def error_unit(largest: float, most: float | None) -> int:
    """Return the exponent of the unit of error sums."""
    known = most is not None and most < math.inf
    return error_exponent(most if most is not None and known else max(largest, 1.0))


class Counting(NamedTuple):
    """How a backend counts: its function and everything but the errors."""

    function: Callable[..., tuple[Any, ...]]
    codes: list[NDArray[np.integer]]
    n_categories: list[int]
    options: dict[str, Any]

    def of(self, errors: NDArray[Any], exponent: int) -> SliceCounts:
        """Return the counts of these errors."""
        counts = self.function(
            errors, self.codes, self.n_categories, error_exponent=exponent, **self.options
        )
        return SliceCounts(*counts)


Product = Callable[[NDArray[Any], NDArray[np.float64]], NDArray[Any]]  # of errors and weights


def weighted_counts(
    count: Callable[[Product, int], SliceCounts], exponent: int, unit: int
) -> SliceCounts:
    """Return the counts with weighted sums: those of w e, w, w^2 and w e^2, each a count of losses.

    `count` is given what to count of each row and the exponent of its bound. The slices are the same ones in the same
    order each time.
    """
    own = count(lambda errors, _: errors, exponent)
    product = count(lambda e, w: e.astype(np.float64) * w, exponent + unit)
    weight = count(lambda _, w: w, unit)
    weight_squares = count(lambda _, w: w * w, 2 * unit)
    squares = count(lambda e, w: (losses := e.astype(np.float64)) * w * losses, 2 * exponent + unit)
    return own._replace(
        error_sum=product.error_sum,
        rest_error_sum=product.rest_error_sum,
        deviation=_deviation(squares.error_sum, product.error_sum, weight.error_sum),
        rest_deviation=_deviation(
            squares.rest_error_sum, product.rest_error_sum, weight.rest_error_sum
        ),
        total_error_sum=product.total_error_sum,
        weight=weight.error_sum,
        weight_squares=weight_squares.error_sum,
        total_weight=weight.total_error_sum,
        total_weight_squares=weight_squares.total_error_sum,
    )


def _deviation(
    squares: NDArray[np.float64], total: NDArray[np.float64], weight: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the weighted sum of squared distances from the weighted mean."""
    around = squares - total * total / np.where(weight > 0.0, weight, 1.0)
    return np.where(weight > 0.0, np.maximum(around, 0.0), 0.0)


def row_weights(value: object, n: int) -> NDArray[np.float64] | None:
    """Return (n,) float64 weights, finite and at least 0; None as it is."""
    if value is None:
        return None
    want = "(n,) numbers in [0, 2^31)"
    weights = _check.array("weights", value, 1, want)
    if weights.dtype.kind not in "iuf":
        raise TypeError(f"weights must be {want}, got dtype {weights.dtype}")
    _check.same_length("weights", len(weights), "errors", n)
    bad = ~((weights >= 0) & (weights < 2.0**31))
    if bad.any():
        raise _check.first_bad("weights", weights, bad, want)
    return weights.astype(np.float64, copy=False)


def weight_exponent(weights: NDArray[np.float64] | None) -> int:
    """Return the least e, but at least -99, with no weight above 2^e."""
    if weights is None:
        return 0
    return unit_of_weights(float(weights.max(initial=0.0)))


def unit_of_weights(largest: float) -> int:
    """Return what `weight_exponent` does, of the largest weight."""
    return error_exponent(max(largest, 2.0**-_MOST_WEIGHTED))


def check_weighted(largest: float, most: float | None) -> None:
    """Refuse losses whose weighted squares would leave the range of floats."""
    if most is not None and most < math.inf:
        largest = most
    if largest > 2.0**_MOST_WEIGHTED:
        raise ValueError(f"errors must be at most 2^{_MOST_WEIGHTED} with weights, got {largest}")


def encoded(columns: object, missing: object) -> list[_columns.Column]:
    """Return the columns encoded; a missing code is left as -1, or is a category named None."""
    option = _check.choice("missing", missing, ("leave_out", "category"))
    found = _columns.encode(columns)
    if option == "leave_out":
        return found
    return [_with_missing(column) for column in found]


def _with_missing(column: _columns.Column) -> _columns.Column:
    absent = column.codes < 0
    if not absent.any():
        return column
    n = column.n_categories
    known = tuple(range(n)) if column.values is None else column.values
    codes = np.where(absent, n, column.codes.astype(np.int64, copy=False))
    return column._replace(codes=codes, n_categories=n + 1, values=(*known, None))


def table(
    counts: SliceCounts,
    columns: Sequence[_columns.Column],
    confidence: float,
    most: float,
    weighted: bool = False,
    score: NDArray[np.float64] | None = None,
) -> SliceTable:
    """Add what follows from the counts, and sort; `most` bounds losses, `score` is given if known."""
    if weighted:
        counts = _with_weight(counts)
    n, size, weight = counts.n_rows, counts.size, counts.weight
    rate = counts.error_sum / weight
    overall = counts.total_error_sum / counts.total_weight if counts.total_weight > 0.0 else 0.0
    lift = rate / overall if overall > 0.0 else np.ones_like(rate)
    if score is None:
        score = ALPHA * (lift - 1.0) - (1.0 - ALPHA) * (counts.total_weight / weight - 1.0)
    if weighted:
        low, high, p_value = _weighted_inference(counts, rate, confidence, most)
    elif counts.binary:
        low, high = _stats.wilson_interval(counts.error_sum, size, confidence)
        p_value = _stats.hypergeometric_tail(counts.error_sum, n, counts.total_error_sum, size)
    else:
        rest = n - size
        low, high = _interval(
            rate, counts.deviation, size, counts.rest_deviation, rest, most, confidence
        )
        rest_rate = counts.rest_error_sum / np.maximum(rest, 1)
        p_value = _stats.welch_tail(
            rate, counts.deviation, size, rest_rate, counts.rest_deviation, rest
        )
    unsorted = SliceTable(
        size=size,
        error_sum=counts.error_sum,
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
        column_names=tuple(column.name for column in columns),
        confidence=confidence,
        _predicate_columns=counts.predicate_columns,
        _predicate_codes=counts.predicate_codes,
        _values=tuple(column.values for column in columns),
        weight=weight if weighted else None,
        binary=counts.binary,
    )
    # Last key first: score, then the columns and codes of the predicate; -1 sorts prefixes first.
    pairs = zip(counts.predicate_columns.T, counts.predicate_codes.T, strict=True)
    keys = [key for pair in pairs for key in pair]
    return unsorted[np.lexsort((*reversed(keys), -score))]


def _interval(
    rate: NDArray[np.float64],
    deviation: NDArray[np.float64],
    size: NDArray[Any],
    rest_deviation: NDArray[np.float64],
    rest: NDArray[Any],
    most: float,
    confidence: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if math.isinf(most):
        return _stats.unbounded_interval(rate, deviation, size, rest_deviation, rest, confidence)
    return _stats.bounded_interval(rate, deviation, size, most, confidence)


def _with_weight(counts: SliceCounts) -> SliceCounts:
    """Return the slices that weigh anything: without weight there is no weighted mean."""
    kept = counts.weight > 0.0
    fields: dict[str, Any] = counts._asdict()
    for name, values in fields.items():
        if isinstance(values, np.ndarray):
            fields[name] = values[kept]
    return SliceCounts(**fields)


def _weighted_inference(
    counts: SliceCounts, rate: NDArray[np.float64], confidence: float, most: float
) -> tuple[NDArray[np.float64], ...]:
    """Return low, high and p-value as of as many rows as the weights are worth.

    Rows of unequal weight tell less of a mean than as many equal ones: as much as
    (sum w)^2 / sum w^2 of them. Source: Kish (1965), "Survey sampling", 11.7.
    """
    rest_weight = np.maximum(counts.total_weight - counts.weight, 0.0)
    rest_squares = np.maximum(counts.total_weight_squares - counts.weight_squares, 0.0)
    size, rest = (
        np.minimum(
            np.where(squares > 0.0, weight * weight / np.where(squares > 0.0, squares, 1.0), 0.0),
            rows,
        )
        for weight, squares, rows in (
            (counts.weight, counts.weight_squares, counts.size),
            (rest_weight, rest_squares, counts.n_rows - counts.size),
        )
    )
    size = np.maximum(size, 1.0)
    spread = counts.deviation / counts.weight * size
    rest_spread = counts.rest_deviation / np.where(rest_weight > 0.0, rest_weight, 1.0) * rest
    if counts.binary:
        share = np.clip(rate, 0.0, 1.0)
        low, high = _stats.wilson_interval(share * size, size, confidence)
    else:
        low, high = _interval(rate, spread, size, rest_spread, rest, most, confidence)
    rest_rate = counts.rest_error_sum / np.where(rest_weight > 0.0, rest_weight, 1.0)
    p_value = _stats.welch_tail(rate, spread, size, rest_rate, rest_spread, rest)
    return low, high, p_value
