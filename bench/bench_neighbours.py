"""Outliers and near-duplicates beside cleanlab's Datalab, on the same graph; and what `more_like` finds on real noise.

    python bench/bench_neighbours.py             rows made by recipe: the answers, then the times
    DQCORE_DATA=... python bench/bench_neighbours.py real

The answers are compared first, on data without copies, where the rules are the same. The second form prints, over
confirmed mistakes drawn from the known wrong labels, and from batches planted here, the share of the next rows that have the
same mistake: by the audit's own order, by that within the flagged rows of the same given and suggested label, by `more_like`.
"""

from __future__ import annotations

import contextlib
import io
import sys
from typing import Any

import dqcore as dq
import numpy as np
from data import folder
from numpy.typing import NDArray
from timing import median_seconds

CONFIRMED, DRAWS, PAIRS = 5, 3, 20
NEXT = (10, 20, 50)


def by_datalab(graph: dq.KnnGraph) -> Any:  # noqa: ANN401 - a Datalab
    """Return a Datalab that has looked for both on `graph`, which it is given: no search of its own."""
    from cleanlab import Datalab

    lab = Datalab({"row": np.arange(len(graph))})
    with contextlib.redirect_stdout(io.StringIO()):
        lab.find_issues(knn_graph=graph.to_csr(), issue_types={"outlier": {}, "near_duplicate": {}})
    return lab


def made(n: int, k: int = 10) -> dq.KnnGraph:
    """Return the graph of clustered rows, 2 % of them with a near copy."""
    rng = np.random.default_rng(0)
    x = (5 * rng.normal(size=(50, 8)))[rng.integers(0, 50, n)] + rng.normal(size=(n, 8))
    near = rng.choice(n, n // 50, replace=False)
    x[near] = x[(near + 1) % n] + 1e-3 * rng.normal(size=(len(near), 8))
    return dq.knn_graph(x, k)


def speed() -> None:
    """Compare and time both."""
    print(f"{'rows':>9} {'dqcore':>9} {'Datalab':>9} {'ratio':>7}")
    for n in (5_000, 20_000, 50_000):
        graph = made(n)
        theirs = by_datalab(graph).get_issues()
        far, near = dq.outliers(graph), dq.near_duplicates(graph)
        assert np.array_equal(far.mask, theirs["is_outlier_issue"])
        assert np.array_equal(near.mask, theirs["is_near_duplicate_issue"])
        ours = median_seconds(lambda g=graph: (dq.outliers(g), dq.near_duplicates(g)), 5)
        peer = median_seconds(lambda g=graph: by_datalab(g), 3)
        print(f"{n:9,} {ours:7.4f} s {peer:7.2f} s {peer / ours:7.0f}")
    rng = np.random.default_rng(0)
    n, k = 1_000_000, 10
    other = (np.arange(n)[:, None] + rng.integers(1, n // k, (n, k)).cumsum(axis=1)) % n
    graph = dq.KnnGraph.from_arrays(other, rng.random((n, k)))
    for name, call in {
        "outliers": lambda: dq.outliers(graph),
        "near_duplicates, every edge near": lambda: dq.near_duplicates(graph, radius=2.0),
        "find_similar, 20 rows confirmed": lambda: dq.find_similar(
            range(20), np.arange(n) % 7, graph, true_labels=(np.arange(20) + 1) % 7
        ),
    }.items():
        print(f"{name}, {n:,} rows, k = {k}: {median_seconds(call, 3):.2f} s")


def real_sets() -> dict[str, tuple[NDArray[Any], ...]]:
    """Return given labels, true labels, probabilities and features by name."""
    cifar, bank = (
        np.load(folder() / f"{name}.npz", allow_pickle=False) for name in ("cifar10n", "banking77")
    )
    return {
        "cifar10n": tuple(
            cifar[key] for key in ("random_label1", "clean_label", "pred_probs", "features_probe")
        ),
        "banking77": tuple(
            bank[key]
            for key in ("labels_injected10", "labels", "pred_probs_injected10", "features")
        ),
    }


def precision(
    found: dq.Audit, same: NDArray[np.bool_], a: int, b: int, rng: np.random.Generator
) -> list[list[float]]:
    """Return for 10, 20 and 50 rows the precision of the audit's order, of that within the pair, and of `more_like`."""
    ranked, issues = found.top(len(found))["row"], found.issues
    rows = rng.choice(np.flatnonzero(same), CONFIRMED, replace=False)
    rest = ranked[~np.isin(ranked, rows)]
    of_pair = rest[(issues["given"][rest] == a) & (issues["suggested"][rest] == b)]
    more = found.more_like(rows, max(NEXT), true_labels=int(b)).rows
    left = np.count_nonzero(same) - CONFIRMED
    # An order that ends early has found nothing in the places that it leaves empty.
    return [
        [
            np.count_nonzero(same[order[: min(n, left)]]) / min(n, left)
            for order in (rest, of_pair, more)
        ]
        for n in NEXT
    ]


def of_noise(arrays: tuple[NDArray[Any], ...]) -> list[list[list[float]]]:
    """Confirm rows of the most frequent mistakes of a set."""
    given, true, pred_probs, features = arrays
    found = dq.audit(given, pred_probs=pred_probs, features=features)
    mistakes, rows_of = np.unique(
        np.stack([given, true])[:, given != true], axis=1, return_counts=True
    )
    rng = np.random.default_rng(0)
    return [
        precision(found, (given == a) & (true == b), a, b, rng)
        for a, b in mistakes.T[np.argsort(-rows_of, kind="stable")[:PAIRS]]
        for _ in range(DRAWS)
        if np.count_nonzero((given == a) & (true == b)) >= 2 * CONFIRMED
    ]


def of_batches(arrays: tuple[NDArray[Any], ...]) -> list[list[list[float]]]:
    """Confirm rows of a batch of 40 near rows that all got one wrong label, in 8 % of other wrong ones; no probabilities."""
    _, true, _, features = arrays
    true, features = true[:15_000].astype(np.int64), features[:15_000].astype(np.float32)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    n, n_classes = len(true), int(true.max()) + 1
    rng, scores = np.random.default_rng(0), []
    for _ in range(DRAWS * 4):
        given = true.copy()
        noisy = rng.random(n) < 0.08
        given[noisy] = (given[noisy] + rng.integers(1, n_classes, noisy.sum())) % n_classes
        b, step = rng.integers(n_classes), rng.integers(1, n_classes)
        a, rows = (b + step) % n_classes, np.flatnonzero(true == b)
        middle = unit[rng.choice(rows)]
        given[rows[np.argsort(-(unit[rows] @ middle), kind="stable")[:40]]] = a
        found = dq.audit(given, features=features)
        scores.append(precision(found, (given == a) & (true == b), a, b, rng))
    return scores


def more_like() -> None:
    """Print the precision of `more_like` for the mistakes of each set."""
    print(f"{'':21} {'of the next':>12} {'audit order':>12} {'its pair':>9} {'more_like':>10}")
    for name, arrays in real_sets().items():
        for kind, measure in (("its noise", of_noise), ("a batch", of_batches)):
            for n, row in zip(NEXT, np.mean(measure(arrays), axis=0), strict=True):
                print(f"{name + ', ' + kind:21} {n:12} {row[0]:12.3f} {row[1]:9.3f} {row[2]:10.3f}")


if __name__ == "__main__":
    (more_like if "real" in sys.argv[1:] else speed)()
