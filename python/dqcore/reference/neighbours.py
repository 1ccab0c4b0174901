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
    distances = graph.distances.astype(np.float64)
    apart = (distances > 0.0) & np.isfinite(distances)
    first = np.take_along_axis(distances, np.argmax(apart, axis=1)[:, None], axis=1).ravel()
    usual = first[apart.any(axis=1)]
    spacing = quantile(usual, 2) if len(usual) else 0.0
    if radius is None:
        radius = threshold * spacing
    rows, columns = np.nonzero((distances < radius) | (distances == 0.0))
    group = groups_of(n, rows, graph.indices[rows, columns])
    score = 1.0 - exp(-(distances[:, 0] / (spacing or 1.0)))
    return Alike(group >= 0, score, group, float(radius))


def groups_of(n: int, a: NDArray[np.integer], b: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return for each of n rows the number of its connected component, counted by lowest row; -1 for a row alone.

    Each round hooks every component onto the lowest that it touches, and then lets every row point at its
    component's lowest row. Source: Shiloach and Vishkin (1982), "An O(log n) parallel connectivity algorithm".
    """
    lowest = np.arange(n)
    while True:
        ends = lowest[a], lowest[b]
        between = ends[0] != ends[1]
        if not between.any():
            break
        a, b = a[between], b[between]
        one, other = ends[0][between], ends[1][between]
        np.minimum.at(lowest, np.maximum(one, other), np.minimum(one, other))
        while not np.array_equal(further := lowest[lowest], lowest):
            lowest = further
    members = np.bincount(lowest, minlength=n)
    heads = members > 1
    number = np.where(heads, np.cumsum(heads) - 1, -1)
    return number[lowest].astype(np.int64)
