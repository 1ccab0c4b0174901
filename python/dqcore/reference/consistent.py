"""What is counted of confusions between classes, defined: by pair, on the neighbours' graph, by source.

A row's pair is (given class, class that it confidently belongs to) where the two differ. Passes over arrays, cheap beside
the joint and the graph, so that there is no compiled twin: the public function calls these.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int32]
Counts = NDArray[np.int64]


class Joins(NamedTuple):
    """Directed edges between two rows of one pair, and what the graph's edges within a class add up to."""

    joins: Counts  # by pair
    edges: Counts  # S0 by class: edges between rows of the class
    twice: Counts  # S1 by class: edges, each counted once more where its reverse is an edge too
    square: Counts  # S2 by class: sum over rows of (edges out + edges in) squared


class Sources(NamedTuple):
    """Rows by source, of each pair and of each class, only where there are any; cells ascend."""

    pair: Counts
    source: Counts
    rows: Counts  # of the pair, from the source
    class_of_cell: Counts
    class_rows: Counts  # confident rows of the class, from one source
    total: Counts  # confident rows of the pair's class, from the pair's source


def pair_of(labels: Labels, guesses: Labels, n_classes: int) -> Counts:
    """Return given * n_classes + guess for each row that confidently belongs to another class, else -1."""
    pair = labels.astype(np.int64) * n_classes + guesses
    return np.where((guesses >= 0) & (guesses != labels), pair, -1)


def join_counts(labels: Labels, pair: Counts, indices: Labels, n_classes: int) -> Joins:
    """Count what the permutation moments of joins within a class are made of."""
    n, k = indices.shape
    joins = np.zeros(n_classes * n_classes, np.int64)
    edges, twice = np.zeros(n_classes, np.int64), np.zeros(n_classes, np.int64)
    degree = np.zeros(n, np.int64)
    rows = np.arange(n)
    for j in range(k):
        other = indices[:, j]
        same = labels == labels[other]
        degree += same
        degree += np.bincount(other[same], minlength=n)
        edges += np.bincount(labels[same], minlength=n_classes)
        mutual = same & (indices[other] == rows[:, None]).any(axis=1)
        twice += np.bincount(labels[mutual], minlength=n_classes)
        joined = pair[(pair >= 0) & (pair == pair[other])]
        joins += np.bincount(joined, minlength=len(joins))
    square = np.zeros(n_classes, np.int64)
    np.add.at(square, labels, degree * degree)
    return Joins(joins, edges, edges + twice, square)


def source_counts(
    labels: Labels, guesses: Labels, pair: Counts, sources: Counts, n_classes: int
) -> Sources:
    """Count rows by source; a source of -1 is unknown, and its rows are left out."""
    n_sources = int(sources.max(initial=0)) + 1
    counted = (sources >= 0) & (guesses >= 0)
    at = labels[counted].astype(np.int64) * n_sources + sources[counted]
    cells, class_rows = np.unique(at, return_counts=True)
    wrong = (sources >= 0) & (pair >= 0)
    codes, rows = np.unique(pair[wrong] * n_sources + sources[wrong], return_counts=True)
    of_pair, source = np.divmod(codes, n_sources)
    total = class_rows[np.searchsorted(cells, of_pair // n_classes * n_sources + source)]
    return Sources(of_pair, source, rows, cells // n_sources, class_rows, total)
