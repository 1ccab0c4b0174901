"""What the exact graph tells without labels: rows far from all others, and rows that are nearly the same."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from . import _check
from .knn import KnnGraph
from .reference import neighbours as definition

MOST_FACTOR = 1e6  # far above any use; keeps products finite


@dataclass(frozen=True, eq=False)
class Outliers:
    """Rows by how far they lie from their neighbours.

    Attributes
    ----------
    mask : (n,) bool
        Whether a row is an outlier: its mean distance is above `threshold`.
    score : (n,) float64
        exp(-mean distance / median of the mean distances), in [0, 1]; lower is farther out, 1 amid copies.
    mean_distance : (n,) float64
        Mean distance to the k neighbours, in the graph's metric.
    threshold : float
        Bound of `mean_distance`; infinity where there are no distances to take it from.
    """

    mask: NDArray[np.bool_]
    score: NDArray[np.float64]
    mean_distance: NDArray[np.float64]
    threshold: float

    @cached_property
    def indices(self) -> NDArray[np.int64]:
        """The outliers, farthest first; ties by row."""
        rows = np.flatnonzero(self.mask)
        return rows[np.argsort(-self.mean_distance[rows], kind="stable")]

    def __len__(self) -> int:
        """Return the number of rows, outliers or not."""
        return len(self.mask)

    def __repr__(self) -> str:
        """Return the sizes, not the arrays."""
        found = int(np.count_nonzero(self.mask))
        return f"Outliers({found} of {len(self)} rows, threshold={self.threshold:.4g})"


@dataclass(frozen=True, eq=False)
class NearDuplicates:
    """Rows that are nearly the same, in groups.

    Attributes
    ----------
    mask : (n,) bool
        Whether a row is in a group.
    score : (n,) float64
        1 - exp(-d / s) in [0, 1], where d is the distance to the nearest row and s the usual such distance; lower is
        nearer, 0 for a row that has a copy.
    group : (n,) int64
        Number of the row's group, counted by the groups' lowest rows; -1 where it has none.
    radius : float
        Rows nearer than this are joined, and so are copies (distance 0).
    """

    mask: NDArray[np.bool_]
    score: NDArray[np.float64]
    group: NDArray[np.int64]
    radius: float

    @property
    def n_groups(self) -> int:
        """Number of groups."""
        return int(self.group.max(initial=-1)) + 1

    @cached_property
    def groups(self) -> tuple[NDArray[np.int64], ...]:
        """The rows of each group, ascending."""
        rows = np.flatnonzero(self.mask)
        order = np.argsort(self.group[rows], kind="stable")
        sizes = np.bincount(self.group[rows], minlength=self.n_groups)
        ends = np.cumsum(sizes)
        pairs: Iterable[tuple[int, int]] = zip((ends - sizes).tolist(), ends.tolist(), strict=True)
        ordered = rows[order]
        return tuple(ordered[start:end] for start, end in pairs)

    def __len__(self) -> int:
        """Return the number of rows, near-duplicates or not."""
        return len(self.mask)

    def __repr__(self) -> str:
        """Return the sizes, not the arrays."""
        found = int(np.count_nonzero(self.mask))
        return f"NearDuplicates({found} of {len(self)} rows in {self.n_groups} groups)"


def outliers(graph: KnnGraph, *, iqr_factor: float = definition.IQR_FACTOR) -> Outliers:
    """Flag the rows that lie far from all others.

    A row is an outlier where its mean distance to its k neighbours is above Q3 + iqr_factor (Q3 - Q1), with the
    quartiles of those means, interpolated linearly; as in cleanlab's Datalab. Multiplying all features by a number
    changes nothing. Rows amid k copies of themselves (mean distance 0) have no say in the quartiles and the median:
    else, where three quarters of the rows are copies, every other row would be an outlier.

    Parameters
    ----------
    graph : KnnGraph
        Neighbours of the rows among themselves, as `knn_graph` finds them; all k are used.
    iqr_factor : float
        How many interquartile ranges above the third quartile, at least 0.

    Returns
    -------
    Outliers
        `mask`, `score`, `mean_distance` of n rows each, and `threshold`. The same bits everywhere.

    Raises
    ------
    TypeError
        Where `graph` is not a KnnGraph or `iqr_factor` not a number.
    ValueError
        Where `graph` was made from queries, or `iqr_factor` is below 0.

    References
    ----------
    Angiulli and Pizzuti (2002), "Fast outlier detection in high dimensional spaces", PKDD. Kuan and Mueller (2022),
    "Back to the basics: revisiting out-of-distribution detection baselines", ICML workshop.

    Examples
    --------
    >>> import dqcore as dq
    >>> graph = dq.knn_graph([[0.0], [1.0], [2.0], [3.0], [4.0], [50.0]], k=2)
    >>> found = dq.outliers(graph)
    >>> found.indices, found.threshold
    (array([5]), 2.35)
    """
    check_graph(graph)
    factor = _check.number("iqr_factor", iqr_factor, 0.0, MOST_FACTOR)
    return Outliers(*definition.outliers(graph, iqr_factor=factor))


def near_duplicates(
    graph: KnnGraph, *, threshold: float = definition.NEAR, radius: float | None = None
) -> NearDuplicates:
    """Find the groups of rows that are nearly the same.

    Two rows are joined where one is among the other's k neighbours at a distance of 0, or below `radius`; groups are
    what is then connected. The radius is by default `threshold` times the median, over the rows, of the distance to the
    nearest row that is not a copy (for data without copies this is cleanlab's Datalab rule), so that multiplying all
    features by a number changes nothing, nor does holding every row several times. Where most rows have a near
    copy, that median is itself the distance of near copies: pass `radius`.

    Copies stay together however many there are: a row's neighbours are taken by (distance, row), so that all copies have
    the lowest of them among their neighbours. Rows near but not equal to more than k others may fall into several
    groups; a larger k shows more.

    Parameters
    ----------
    graph : KnnGraph
        Neighbours of the rows among themselves, as `knn_graph` finds them.
    threshold : float
        What part of the usual distance to the nearest other row counts as near, at least 0; 0 joins copies alone.
    radius : float, optional
        Distance below which rows are joined, instead of `threshold`.

    Returns
    -------
    NearDuplicates
        `mask`, `score` and `group` of n rows each, `radius`, and `groups`. The same bits everywhere. In cosine distance
        0 means the same direction; rows of zeros are at distance 1 from all and never duplicates.

    Raises
    ------
    TypeError
        Where `graph` is not a KnnGraph, or `threshold` or `radius` not a number.
    ValueError
        Where `graph` was made from queries, or `threshold` or `radius` is below 0 or not finite.

    References
    ----------
    The rule: near-duplicate issues of cleanlab 2.9.0. The groups: Shiloach and Vishkin (1982), "An O(log n) parallel
    connectivity algorithm", Journal of Algorithms 3(1).

    Examples
    --------
    >>> import dqcore as dq
    >>> graph = dq.knn_graph([[0.0], [9.0], [0.0], [5.0], [9.1], [15.0]], k=2)
    >>> found = dq.near_duplicates(graph)
    >>> found.groups
    (array([0, 2]), array([1, 4]))
    """
    check_graph(graph)
    part = _check.number("threshold", threshold, 0.0, MOST_FACTOR)
    most = None if radius is None else _check.number("radius", radius, 0.0, np.finfo(float).max)
    return NearDuplicates(*definition.near_duplicates(graph, threshold=part, radius=most))


def check_graph(graph: object) -> None:
    """Raise where `graph` is not one of rows among themselves."""
    if not isinstance(graph, KnnGraph):
        raise TypeError(
            f"graph must be a KnnGraph, got {type(graph).__name__}; see KnnGraph.from_csr"
        )
    if not graph.self_join:
        raise ValueError("graph was made from queries; a graph of the rows themselves is wanted")
