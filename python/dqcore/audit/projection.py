"""A flat map of the features, for the eye: a sample of the rows along the two directions in which they vary most.

Plain linear algebra on a sample: a picture and no result. Unlike everything else in an audit its last digits may differ
from one machine to another.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

MOST_ROWS = 5000
MOST_ENTRIES = 1 << 24  # of the sample, so that very wide features stay cheap
# Directions kept while iterating; the first two settle faster for the company of the others.
BLOCK, ROUNDS = 10, 40
# Positions are rounded to this many steps from the middle to the edge, finer than a screen shows.
STEPS = 4096


@dataclass(frozen=True, eq=False)
class Projection:
    """Where a sample of the rows lies on a map.

    Attributes
    ----------
    rows : (m,) int64
        Which rows, ascending: all of them up to 5,000, else as many, evenly spaced.
    positions : (m, 2) float32
        Their first two principal components (of unit lengths for cosine), in units of the largest.
    explained : (2,) float64
        Share of the sample's variance along each.
    """

    rows: NDArray[np.int64]
    positions: NDArray[np.float32]
    explained: NDArray[np.float64]


def projection(features: ArrayLike, metric: str) -> Projection:
    """Return the map of `features`, (n, d) and finite."""
    array = np.asarray(features)
    n, d = array.shape
    m = min(n, MOST_ROWS, max(1, MOST_ENTRIES // d))
    rows = np.arange(m, dtype=np.int64) * n // max(1, m)
    x = array[rows].astype(np.float64)
    x /= np.abs(x).max(initial=0.0) or 1.0
    if metric == "cosine":
        x /= np.maximum(np.sqrt((x * x).sum(axis=1, keepdims=True)), np.finfo(np.float64).tiny)
    if m:
        x -= x.mean(axis=0)
    components = _components(x)
    scale = np.abs(components).max(initial=0.0) or 1.0
    total = float((x * x).sum()) or 1.0
    return Projection(
        rows,
        (np.round(components / scale * STEPS) / STEPS).astype(np.float32),
        (components * components).sum(axis=0) / total,
    )


def _components(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the first two principal components of centred rows, (m, 2), by subspace iteration."""
    m, d = x.shape
    found = np.zeros((m, 2))
    block = min(BLOCK, d, m)
    if block == 0:
        return found
    basis, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(d, block)))
    for _ in range(ROUNDS):
        basis, _ = np.linalg.qr(x.T @ (x @ basis))
    _, _, turn = np.linalg.svd(x @ basis, full_matrices=False)
    directions = basis @ turn.T
    for axis in range(min(2, block)):
        direction = directions[:, axis]
        # A direction may as well point the other way: its largest entry decides.
        sign = -1.0 if direction[np.argmax(np.abs(direction))] < 0 else 1.0
        found[:, axis] = x @ (sign * direction)
    return found
