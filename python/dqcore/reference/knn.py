"""knn: the graph of nearest neighbours, and how far their labels disagree with a row's own."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._exact import exp, log

LANES = 32  # of the canonical sum; part of the definition

UNLABELLED, NO_VOTERS, SINGLETON, ZERO_WEIGHTS = 1, 2, 4, 8


class Graph(NamedTuple):
    """Neighbours of each row, nearest first."""

    indices: NDArray[np.int32]
    distances: NDArray[np.float32]
    metric: str


class GraphLike(Protocol):
    """What `knn_disagreement` reads of a graph."""

    @property
    def indices(self) -> NDArray[np.int32]:
        """(n, k) neighbours, nearest first."""

    @property
    def distances(self) -> NDArray[np.float32]:
        """(n, k) distances."""

    @property
    def metric(self) -> str:
        """What the distances measure: euclidean or cosine."""


class Disagreement(NamedTuple):
    """How far the labels of each row's neighbours disagree with its own."""

    score: NDArray[np.float64]
    suggested: NDArray[np.int32]
    margin: NDArray[np.float64]
    entropy: NDArray[np.float64]
    flags: NDArray[np.uint8]
    confusion: NDArray[np.int64]


def fold(lanes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Add the 32 lanes along the first axis in the canonical order: 16, 8, 4, 2, 1."""
    width = LANES // 2
    while width:
        lanes = lanes[:width] + lanes[width : 2 * width]
        width //= 2
    total: NDArray[np.float64] = lanes[0]
    return total


def dot(x: NDArray[np.float32], y: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return sum over c of x[i, c] * y[j, c] for every pair, by the canonical lanes."""
    lanes = np.zeros((LANES, len(x), len(y)))
    for c in range(x.shape[1]):
        lanes[c % LANES] += x[:, c, None].astype(np.float64) * y[None, :, c].astype(np.float64)
    return fold(lanes)


def squared_l2(x: NDArray[np.float32], y: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return sum over c of (x[i, c] - y[j, c])^2 for every pair, by the canonical lanes."""
    lanes = np.zeros((LANES, len(x), len(y)))
    for c in range(x.shape[1]):
        difference = x[:, c, None].astype(np.float64) - y[None, :, c].astype(np.float64)
        lanes[c % LANES] += difference * difference
    return fold(lanes)


def squared_norms(x: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return sum over c of x[i, c]^2 for every row, by the canonical lanes."""
    lanes = np.zeros((LANES, len(x)))
    for c in range(x.shape[1]):
        lanes[c % LANES] += x[:, c].astype(np.float64) * x[:, c].astype(np.float64)
    return fold(lanes)


def keys(x: NDArray[np.float32], y: NDArray[np.float32], metric: str) -> NDArray[np.float64]:
    """Return the canonical key of every pair: what neighbours are ordered by."""
    if metric == "euclidean":
        return squared_l2(x, y)
    norms = squared_norms(x)[:, None] * squared_norms(y)[None, :]
    safe = np.where(norms > 0.0, norms, 1.0)
    cosine = np.minimum(2.0, np.maximum(0.0, 1.0 - dot(x, y) / np.sqrt(safe)))
    return np.where(norms > 0.0, cosine, 1.0)


def knn_graph(
    features: ArrayLike,
    k: int = 10,
    *,
    metric: str = "euclidean",
    queries: ArrayLike | None = None,
    **run: object,
) -> Graph:
    """Return the k nearest rows by (key, index); a row of a self-join is not its own neighbour."""
    base = np.asarray(features, np.float32)
    rows = base if queries is None else np.asarray(queries, np.float32)
    n, m = len(base), len(rows)
    indices = np.empty((m, k), np.int32)
    distances = np.empty((m, k), np.float32)
    block = max(1, 2**20 // (LANES * max(n, 1)))
    for start in range(0, m, block):
        stop = min(m, start + block)
        key = keys(rows[start:stop], base, metric)
        for i in range(start, stop):
            order = np.lexsort((np.arange(n), key[i - start]))
            if queries is None:
                order = order[order != i]
            indices[i] = order[:k]
            nearest = key[i - start, order[:k]]
            distances[i] = np.sqrt(nearest) if metric == "euclidean" else nearest
    return Graph(indices, distances, metric)


def vote_weights(distances: NDArray[np.float64], weights: str, sigma: float) -> NDArray[np.float64]:
    """Return the weight of each voter from its distance."""
    if weights == "uniform":
        return np.ones(len(distances))
    if weights == "distance":
        return 1.0 / (distances + 1e-12)
    if weights == "similarity":
        return 1.0 - distances
    if sigma == 0.0:
        return np.ones(len(distances))
    return exp(-(distances * distances) / (2.0 * (sigma * sigma)))


def knn_disagreement(
    labels: ArrayLike,
    graph: GraphLike,
    *,
    weights: str = "uniform",
    class_balanced: bool = False,
    labelled_only: bool = False,
    n_classes: int | None = None,
    **run: object,
) -> Disagreement:
    """Score each row by the share of its neighbours' votes that go to other classes than its own."""
    y = np.asarray(labels, np.int32)
    n, K = (
        len(y),
        n_classes if n_classes is not None else max(1, int(np.max(labels, initial=0)) + 1),
    )
    class_counts = np.bincount(y[y >= 0], minlength=K)
    score, margin, entropy = np.full(n, np.nan), np.full(n, np.nan), np.full(n, np.nan)
    suggested = np.full(n, -1, np.int32)
    flags = np.zeros(n, np.uint8)
    confusion = np.zeros((K, K), np.int64)
    for i in range(n):
        given = int(y[i])
        if given < 0:
            flags[i] |= UNLABELLED
        elif class_counts[given] == 1:
            flags[i] |= SINGLETON
        voters = y[graph.indices[i]] >= 0
        voter_labels = y[graph.indices[i]][voters]
        if given >= 0:
            np.add.at(confusion[given], voter_labels, 1)
        if len(voter_labels) == 0:
            flags[i] |= NO_VOTERS
            continue
        distances = graph.distances[i].astype(np.float64)
        sigma = distances[voters][-1] if labelled_only else distances[-1]
        w = vote_weights(distances[voters], weights, sigma)
        if not (w > 0.0).any():
            flags[i] |= ZERO_WEIGHTS
            w = np.ones(len(w))
        votes = np.zeros(K)
        for label, weight in zip(voter_labels, w, strict=True):  # in neighbour order
            if weight > 0.0:
                votes[label] += weight
        if class_balanced:
            for c in np.unique(voter_labels):
                votes[c] /= class_counts[c] - (c == given)
        total = 0.0
        for v in votes:  # classes ascending
            total += v
        best = votes.max()
        ties_with_given = given >= 0 and votes[given] == best
        suggested[i] = given if ties_with_given else int(np.argmax(votes))
        sum_p_log_p = 0.0
        for p in votes[votes > 0.0] / total:
            sum_p_log_p += p * float(log(np.asarray(p)))
        entropy[i] = (
            min(1.0, max(0.0, -sum_p_log_p / float(log(np.asarray(float(K)))))) if K > 1 else 0.0
        )
        if given >= 0:
            score[i] = (total - votes[given]) / total
            others = np.delete(votes, given)
            margin[i] = (others.max(initial=0.0) - votes[given]) / total
    return Disagreement(score, suggested, margin, entropy, flags, confusion)
