"""The bootstrap of the confident joint, defined: replicates as data sets of repeated rows.

Replicate b is the data set in which row i occurs weight[i, b] times; weights are Poisson with mean 1, by a hash of (seed,
row, replicate). Source: Chamandy, Muralidharan, Najmi and Naidu, "Estimating Uncertainty for Massive Data Streams",
Google (2012).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .joint import Floats, Labels, _given, _guesses, _thresholds, _valid

# Of 2^16 equally likely draws, how many give at most weight k: the numbers of draws nearest to Poisson's whose mean and
# variance are 1 exactly.
POISSON_AT_MOST = (24107, 48220, 60275, 64292, 65296, 65497, 65530, 65535)
GOLDEN = np.uint64(0x9E3779B97F4A7C15)


class Replicates(NamedTuple):
    """Rows of each replicate by cell: given * (n_classes + 1) + guess + 1, where no guess is -1."""

    cells: NDArray[np.int64]
    counts: NDArray[np.int64]  # (cells, replicates)
    thresholds: Floats  # (n_classes, replicates)


def _mix(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return splitmix64's finalizer of each number."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def bootstrap_weights(seed: int, n: int, replicates: int) -> NDArray[np.int64]:
    """Return (n, replicates) weights.

    A row's key starts a stream of 64-bit words, each of which holds the draws of four replicates, lowest bits first.
    """
    rows = np.arange(1, n + 1, dtype=np.uint64)
    words = np.arange(1, (replicates + 3) // 4 + 1, dtype=np.uint64)
    keys = _mix(np.full(n, seed, np.uint64) + GOLDEN * rows)
    stream = _mix(keys[:, None] + GOLDEN * words[None, :])
    lanes = [(stream >> np.uint64(16 * lane)) & np.uint64(0xFFFF) for lane in range(4)]
    draws = np.stack(lanes, axis=2).reshape(n, 4 * len(words))[:, :replicates]
    # Draws are signed numbers there: the upper half of the unsigned ones comes first.
    ordered = (draws.astype(np.int64) + 2**15) % 2**16
    return np.searchsorted(POISSON_AT_MOST, ordered, side="right").astype(np.int64)


def bootstrap_joint(
    labels: Labels,
    pred_probs: NDArray[Any],
    *,
    thresholds: Floats | None = None,
    collision: str = "argmax",
    replicates: int = 200,
    seed: int = 0,
    **run: object,
) -> Replicates:
    """Count each replicate's rows by given class and guess, under `thresholds` or under its own."""
    n, n_classes = pred_probs.shape
    p = _valid(pred_probs)
    given = _given(pred_probs, labels)
    weights = bootstrap_weights(seed, n, replicates)
    table = np.zeros((n_classes * (n_classes + 1), replicates), np.int64)
    found = np.empty((n_classes, replicates))
    for b in range(replicates):
        rows = np.repeat(np.arange(n), weights[:, b])
        own = thresholds
        if own is None:
            own = _thresholds(given[rows], labels[rows], None, n_classes)
        cell_of_row = labels.astype(np.int64) * (n_classes + 1) + _guesses(p, own, collision) + 1
        table[:, b] = np.bincount(cell_of_row[rows], minlength=len(table))
        found[:, b] = own
    cells = np.flatnonzero(table.any(axis=1))
    return Replicates(cells, table[cells], found)


def confident_classes(
    labels: Labels,
    pred_probs: NDArray[Any],
    *,
    thresholds: Floats | None = None,
    collision: str = "argmax",
    **run: object,
) -> NDArray[np.int32]:
    """Return the class that each row confidently belongs to, or -1."""
    p = _valid(pred_probs)
    if thresholds is None:
        thresholds = _thresholds(_given(pred_probs, labels), labels, None, p.shape[1])
    return _guesses(p, thresholds, collision).astype(np.int32)
