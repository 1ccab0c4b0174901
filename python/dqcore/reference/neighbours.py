"""What the exact graph tells without labels: rows far from all others, and rows that are nearly the same.

Passes over the (n, k) neighbours, cheap beside the graph itself, so that there is no compiled twin: the public functions
call these. Copies, neighbours at distance 0, say nothing about how far apart rows usually lie; no scale here counts them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._exact import exp
from .knn import GraphLike

IQR_FACTOR = 1.7  # cleanlab's 1 / 0.37037 - 1
_BLOCK_ROWS = 1 << 14
NEAR = 0.13  # of the usual distance to the nearest other row; cleanlab's


class Outlying(NamedTuple):
    """Rows by their mean distance to their neighbours."""

    mask: NDArray[np.bool_]
    score: NDArray[np.float64]
    mean_distance: NDArray[np.float64]
    threshold: float


class Alike(NamedTuple):
    """Rows by their distance to the nearest."""

    mask: NDArray[np.bool_]
    score: NDArray[np.float64]
    group: NDArray[np.int64]
    radius: float


def quantile(values: NDArray[np.float64], quarters: int) -> float:
    """Return the quantile at `quarters` / 4 of at least one value, interpolated linearly."""
    ordered = np.sort(values)
    place, rest = divmod(quarters * (len(values) - 1), 4)
    low, high = float(ordered[place]), float(ordered[place + (rest > 0)])
    return low + (high - low) * (rest / 4.0)


def outliers(graph: GraphLike, *, iqr_factor: float = IQR_FACTOR) -> Outlying:
    """Flag rows whose mean distance to their neighbours is above Q3 + iqr_factor (Q3 - Q1)."""
    n, k = graph.distances.shape
    total = np.zeros(n)
    for j in range(k):  # nearest first: one order of additions
        total += graph.distances[:, j]
    mean = total / k
    usual = mean[(mean > 0.0) & np.isfinite(mean)]
    if len(usual) == 0:
        return Outlying(np.zeros(n, bool), np.where(mean == 0.0, 1.0, 0.0), mean, np.inf)
    q1, median, q3 = (quantile(usual, quarters) for quarters in (1, 2, 3))
    threshold = q3 + iqr_factor * (q3 - q1)
    return Outlying(mean > threshold, exp(-(mean / median)), mean, threshold)


def near_duplicates(
    graph: GraphLike, *, threshold: float = NEAR, radius: float | None = None
) -> Alike:
    """Join rows nearer than `radius`, by default `threshold` times the median distance to the nearest row but copies."""
    n = len(graph.distances)
    first = np.empty(n)  # NaN where all are copies
    for begin in range(0, n, _BLOCK_ROWS):
        distances = graph.distances[begin : begin + _BLOCK_ROWS].astype(np.float64)
        apart = (distances > 0.0) & np.isfinite(distances)
        nearest = np.take_along_axis(distances, np.argmax(apart, axis=1)[:, None], axis=1).ravel()
        first[begin : begin + _BLOCK_ROWS] = np.where(apart.any(axis=1), nearest, np.nan)
    usual = first[~np.isnan(first)]
    spacing = quantile(usual, 2) if len(usual) else 0.0
    del first, usual
    if radius is None:
        radius = threshold * spacing
    group = _numbered(_lowest_of_near(graph, float(radius)))
    score = np.empty(n)
    for begin in range(0, n, _BLOCK_ROWS):
        nearest = graph.distances[begin : begin + _BLOCK_ROWS, 0].astype(np.float64)
        score[begin : begin + _BLOCK_ROWS] = 1.0 - exp(-(nearest / (spacing or 1.0)))
    return Alike(group >= 0, score, group, float(radius))


def _lowest_of_near(graph: GraphLike, radius: float) -> NDArray[np.int64]:
    """Return the lowest row of each row's component where rows nearer than `radius`, and copies, are joined.

    Pairs are joined as many at a time as there are rows: a table of all pairs would be many times as large as the graph.
    """
    n = len(graph.distances)
    lowest = np.arange(n)
    some: list[tuple[NDArray[np.integer], NDArray[np.integer]]] = []
    for begin in range(0, n, _BLOCK_ROWS):
        distances = graph.distances[begin : begin + _BLOCK_ROWS].astype(np.float64)
        rows, columns = np.nonzero((distances < radius) | (distances == 0.0))
        rows += begin
        some.append((rows, graph.indices[rows, columns]))
        if sum(len(pairs[0]) for pairs in some) >= n or begin + _BLOCK_ROWS >= n:
            _join(lowest, *map(np.concatenate, zip(*some, strict=True)))
            some.clear()
    return lowest


def groups_of(n: int, a: NDArray[np.integer], b: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return for each of n rows the number of its connected component, counted by lowest row; -1 for a row alone.

    Each round hooks every component onto the lowest that it touches, and then lets every row point at its
    component's lowest row. Source: Shiloach and Vishkin (1982), "An O(log n) parallel connectivity algorithm".
    """
    lowest = np.arange(n)
    _join(lowest, a, b)
    return _numbered(lowest)


def _join(lowest: NDArray[np.int64], a: NDArray[np.integer], b: NDArray[np.integer]) -> None:
    """Join the components of these pairs of rows; every row points at its component's lowest, before and after."""
    while True:
        ends = lowest[a], lowest[b]
        between = ends[0] != ends[1]
        if not between.any():
            break
        a, b = a[between], b[between]
        one, other = ends[0][between], ends[1][between]
        np.minimum.at(lowest, np.maximum(one, other), np.minimum(one, other))
        while not np.array_equal(further := lowest[lowest], lowest):
            lowest[:] = further


def _numbered(lowest: NDArray[np.int64]) -> NDArray[np.int64]:
    members = np.bincount(lowest, minlength=len(lowest))
    heads = members > 1
    number = np.where(heads, np.cumsum(heads) - 1, -1)
    return number[lowest].astype(np.int64)
