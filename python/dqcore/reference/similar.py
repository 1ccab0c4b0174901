"""More like this mistake: rows labelled as confirmed wrong ones were, near them, among rows of what those truly are."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._exact import exp
from .knn import GraphLike
from .neighbours import quantile

HOPS = 4  # along the graph from a confirmed row; farther rows have nothing in common with it


class Similar(NamedTuple):
    """Rows that may have the same mistake as confirmed ones, the most similar first."""

    rows: NDArray[np.int64]
    score: NDArray[np.float64]
    true_labels: NDArray[np.int32]
    distance: NDArray[np.float64]


def find_similar(
    rows: ArrayLike,
    labels: ArrayLike,
    graph: GraphLike,
    *,
    true_labels: ArrayLike,
    suggested: ArrayLike | None = None,
    quality: ArrayLike | None = None,
    n: int = 20,
) -> Similar:
    """Score rows with a confirmed row's given label: neighbours of its true one, nearness, and what is suggested."""
    confirmed, y = np.asarray(rows, np.int64), np.asarray(labels, np.int32)
    truth = np.broadcast_to(np.asarray(true_labels, np.int32), confirmed.shape)
    corrected = y.copy()
    corrected[confirmed] = truth
    last = graph.distances[:, -1].astype(np.float64)
    usual = last[(last > 0.0) & np.isfinite(last)]
    scale = quantile(usual, 2) if len(usual) else 1.0
    score, distance = np.full(len(y), -1.0), np.full(len(y), np.inf)
    best = np.full(len(y), -1, np.int32)
    for given, true in sorted(set(zip(y[confirmed].tolist(), truth.tolist(), strict=True))):
        like = confirmed[(y[confirmed] == given) & (truth == true)]
        path = _path_lengths(graph, like)
        candidates = np.flatnonzero(y == given)
        candidates = candidates[~np.isin(candidates, confirmed)]
        votes = np.count_nonzero(corrected[graph.indices[candidates]] == true, axis=1)
        total = votes / graph.indices.shape[1] + exp(-(path[candidates] / scale))
        if suggested is not None:
            doubt = 1.0 if quality is None else 1.0 - np.asarray(quality, np.float64)[candidates]
            total += np.where(np.asarray(suggested)[candidates] == true, doubt, 0.0)
        of_pair = total / (2.0 if suggested is None else 3.0)
        better = of_pair > score[candidates]
        chosen = candidates[better]
        score[chosen], distance[chosen] = of_pair[better], path[chosen]
        best[chosen] = true
    found = np.flatnonzero(score >= 0.0)
    order = found[np.argsort(-score[found], kind="stable")][:n]
    return Similar(order, score[order], best[order], distance[order])


def _path_lengths(graph: GraphLike, sources: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return each row's distance to the nearest source along at most HOPS edges, taken in either direction."""
    n, k = graph.indices.shape
    ends, steps = graph.indices.ravel(), graph.distances.ravel()
    length = np.full(n, np.inf)
    length[sources] = 0.0
    changed = np.zeros(n, bool)
    changed[sources] = True
    for _ in range(HOPS):
        old = length.copy()
        out = (np.flatnonzero(changed)[:, None] * k + np.arange(k)).ravel()
        into = np.flatnonzero(changed[ends])
        here, there = np.append(out // k, ends[into]), np.append(ends[out], into // k)
        step = steps[np.append(out, into)].astype(np.float64)
        np.minimum.at(length, there, old[here] + step)
        changed = length < old
    return length
