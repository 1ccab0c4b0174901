"""A flat map of the features, for the eye: a sample of the rows, near ones near each other.

An audit keeps the sample's principal components. The map is made of them when somebody looks: each row is pulled to its
neighbours in the components and pushed from others, in the manner of UMAP. A picture and no result: the last digits of
the components may differ from one machine to another; the map of given components is the same everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..knn import knn_graph
from ..sources import Source

MOST_ROWS = 4000
MOST_ENTRIES = 1 << 24  # of the sample, so that very wide features stay cheap
COMPONENTS = 24
SPARE, ROUNDS = 8, 8  # of the iteration: more directions than are kept, so that those settle fast
# Components are rounded to this many steps from 0 to the largest, finer than a picture shows.
STEPS = 1 << 14

NEIGHBOURS, OTHERS = 15, 5  # that pull and push each row
EPOCHS = 200
_SQUARED_ENTRIES = 1 << 16  # that are squared at a time
PULL, PUSH = 0.8, 5.0
FARTHEST_STEP = 4.0


@dataclass(frozen=True, eq=False)
class Projection:
    """A sample of the rows by their principal components.

    Attributes
    ----------
    rows : (m,) int64
        Which rows, ascending: all of them up to 4,000, else as many, evenly spaced.
    components : (m, p) float32
        Their first principal components, at most 24 (of unit lengths for cosine), in units of the largest.
    """

    rows: NDArray[np.int64]
    components: NDArray[np.float32]

    @cached_property
    def flat(self) -> NDArray[np.float64]:
        """Where each of the rows lies on a flat map, (m, 2)."""
        return flat(self.components)


def projection(features: ArrayLike | Source, metric: str, limit: int | None = None) -> Projection:
    """Return the sample of `features`, (n, d) and finite, within `limit` bytes."""
    array = features if isinstance(features, Source) else np.asarray(features)
    n, d = array.shape
    m = min(n, MOST_ROWS, max(1, MOST_ENTRIES // d))
    need = 12 * m * d + 64 * (COMPONENTS + SPARE) * (m + d) + 4 * _SQUARED_ENTRIES * 8
    if limit is not None and need > limit:
        raise ValueError(
            f"memory_limit must be at least {need} bytes for the map of {m} of the rows, got {limit}"
        )
    rows = np.arange(m, dtype=np.int64) * n // max(1, m)
    x = _sample(array, rows).astype(np.float64)
    x /= max(x.max(initial=0.0), -x.min(initial=0.0)) or 1.0
    if metric == "cosine":
        step = max(1, _SQUARED_ENTRIES // d)
        for begin in range(0, m, step):
            part = x[begin : begin + step]
            length = np.sqrt((part * part).sum(axis=1, keepdims=True))
            part /= np.maximum(length, np.finfo(np.float64).tiny)
    if m:
        x -= x.mean(axis=0)
    found = _components(x)
    found /= np.abs(found).max(initial=0.0) or 1.0
    return Projection(rows, (np.round(found * STEPS) / STEPS).astype(np.float32))


def _sample(array: NDArray[Any] | Source, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return these rows, each value rounded as `knn_graph` does."""
    if isinstance(array, np.ndarray):
        return array[rows].astype(np.float32, copy=False)
    found = np.empty((len(rows), array.shape[1]), np.float32)
    one = array._buffer(1)
    array._unchanged()
    for to, row in zip(found, rows.tolist(), strict=True):
        to[...] = array._rows(row, row + 1, one)[0]
    array._unchanged()
    array._forget()
    return found


def _components(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the principal components of centred rows by subspace iteration from a fixed start."""
    m, d = x.shape
    kept, block = min(COMPONENTS, d, m), min(COMPONENTS + SPARE, d, m)
    if block == 0:
        return np.zeros((m, 0))
    basis, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(d, block)))
    for _ in range(ROUNDS):
        basis, _ = np.linalg.qr(x.T @ (x @ basis))
    _, _, turn = np.linalg.svd(x @ basis, full_matrices=False)
    directions = (basis @ turn.T)[:, :kept]
    # A direction may as well point the other way: its largest entry decides.
    largest = np.take_along_axis(directions, np.abs(directions).argmax(axis=0)[None], axis=0)
    found: NDArray[np.float64] = x @ np.where(largest < 0, -directions, directions)
    return found


def flat(components: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return places on a flat map for rows with these components, (m, 2).

    Sums, products and quotients of single numbers only, so that the same components give the same map everywhere.
    """
    m, p = components.shape
    place = np.zeros((2, m))
    place[: min(2, p)] = components[:, :2].T
    if p <= 2 or m <= 3:
        return place.T
    place *= 10.0
    graph = knn_graph(components, min(NEIGHBOURS, m - 1))
    near = np.ascontiguousarray(graph.indices.T)
    shifts = np.random.default_rng(0).integers(1, m, (EPOCHS, OTHERS))
    for epoch in range(EPOCHS):
        step = np.zeros_like(place)
        for others in near:
            step += _force(place[:, others] - place, False) * (PULL / len(near))
        for shift in shifts[epoch]:
            step += _force(place - np.roll(place, shift, axis=1), True) * (PUSH / OTHERS)
        place += step * (1.0 - epoch / EPOCHS)
    return place.T


def _force(way: NDArray[np.float64], push: bool) -> NDArray[np.float64]:
    """Return the force along `way`, (2, m): that of UMAP with a = b = 1, towards or (`push`) from the other end."""
    square = way[0] * way[0] + way[1] * way[1]
    fall = 2.0 / ((1.0 + square) * (0.001 + square)) if push else 2.0 / (1.0 + square)
    result: NDArray[np.float64] = np.clip(way * fall, -FARTHEST_STEP, FARTHEST_STEP)
    return result
