"""The embedded demo: real digits, wrong labels planted at run time, and what the audit finds of them.

The clean labels are used to plant the errors and to score the result, nowhere else: the probabilities that the
audit is given are votes of each image's neighbours with the labels as they stand after planting.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import _check
from ..knn import KnnGraph, knn_graph
from .audit import audit
from .load import Archive
from .result import Audit
from .text import printable, report, share, table

ANNOTATORS = ("ada", "ben", "chloe", "dan")
SCANNERS = ("scanner 1", "scanner 2", "scanner 3", "scanner 4", "scanner 5", "scanner 6")
UNIFORM_SHARE, CONFUSED_SHARE, NOISY_SHARE = 0.05, 0.70, 0.40
N_CLASSES = 10
K, METRIC = 10, "cosine"


class Planted(NamedTuple):
    """The data set after planting, and what was planted."""

    features: NDArray[np.uint8]
    labels: NDArray[np.int32]
    columns: dict[str, NDArray[np.str_]]
    wrong: NDArray[np.bool_]
    true_class: int
    given_class: int
    annotator: str
    scanner: str
    confused_rows: int


@dataclass(frozen=True, eq=False)
class Demo:
    """What was planted, what was found, and how well the two agree.

    The ranks count from 1: of the planted confusion among all pairs of different classes, by rows found; of the planted
    annotator and scanner among the values of their columns, by share of rows found.
    """

    seed: int
    planted: Planted
    found: Audit
    n_found: int
    precision: float
    recall: float
    pair_rank: int
    annotator_rank: int
    scanner_rank: int


def plant(seed: int) -> Planted:
    """Return the digits with wrong labels planted from `seed`.

    Annotators and scanners are dealt to the images evenly at random. 5 % of all labels become another digit; 40 % of those
    from one scanner do; one annotator labels 70 % of one digit as one other.
    """
    data = Archive(Path(__file__).parent / "data" / "digits.npz")
    features, clean = data.read("features"), data.read("labels").astype(np.int32)
    rng = np.random.default_rng(seed)
    n = len(clean)
    labels = clean.copy()
    annotator, scanner = rng.permutation(n) % len(ANNOTATORS), rng.permutation(n) % len(SCANNERS)
    true_class, given_class = (int(c) for c in rng.choice(N_CLASSES, 2, replace=False))
    confused, noisy = rng.integers(len(ANNOTATORS)), rng.integers(len(SCANNERS))

    def pick(mask: NDArray[np.bool_], part: float) -> NDArray[np.int64]:
        rows = np.flatnonzero(mask)
        return rng.choice(rows, round(part * len(rows)), replace=False)

    for rows in (pick(np.ones(n, bool), UNIFORM_SHARE), pick(scanner == noisy, NOISY_SHARE)):
        labels[rows] = (clean[rows] + rng.integers(1, N_CLASSES, len(rows))) % N_CLASSES
    rows = pick((annotator == confused) & (clean == true_class), CONFUSED_SHARE)
    labels[rows] = given_class
    columns = {"annotator": np.array(ANNOTATORS)[annotator], "scanner": np.array(SCANNERS)[scanner]}
    return Planted(
        features,
        labels,
        columns,
        labels != clean,
        true_class,
        given_class,
        ANNOTATORS[confused],
        SCANNERS[noisy],
        len(rows),
    )


def vote_probabilities(graph: KnnGraph, labels: NDArray[np.int32]) -> NDArray[np.float32]:
    """Return each row's class probabilities: its neighbours' votes, each weighing 1 - cosine distance.

    A row is not among its own neighbours, so its label has no part in its probabilities.
    """
    similarity = np.maximum(1.0 - graph.distances.astype(np.float64), 0.0)
    votes = np.zeros((len(labels), N_CLASSES))
    rows = np.repeat(np.arange(len(labels)), graph.k)
    np.add.at(votes, (rows, labels[graph.indices.ravel()]), similarity.ravel())
    shares: NDArray[np.float64] = votes / votes.sum(axis=1, keepdims=True)
    return shares.astype(np.float32)


def run(
    seed: int = 0,
    *,
    backend: str = "auto",
    threads: int = 0,
    progress: _check.Progress = None,
) -> Demo:
    """Plant errors from `seed`, audit, and score what is found."""
    options: dict[str, Any] = {"backend": backend, "threads": threads, "progress": progress}
    planted = plant(seed)
    graph = knn_graph(planted.features, K, metric=METRIC, **options)
    found = audit(
        planted.labels,
        features=planted.features,
        pred_probs=vote_probabilities(graph, planted.labels),
        columns=planted.columns,
        k=K,
        metric=METRIC,
        **options,
    )
    flagged = found.issues["is_label_issue"]
    hits = int(np.count_nonzero(flagged & planted.wrong))
    return Demo(
        seed,
        planted,
        found,
        int(np.count_nonzero(flagged)),
        hits / max(1, int(np.count_nonzero(flagged))),
        hits / max(1, int(np.count_nonzero(planted.wrong))),
        _pair_rank(found, planted.given_class, planted.true_class),
        _value_rank(found, "annotator", planted.annotator),
        _value_rank(found, "scanner", planted.scanner),
    )


def _pair_rank(found: Audit, given: int, true: int) -> int:
    """Return 1 + the number of other pairs found as often or more often; behind all where never found."""
    rows = {(c.given, c.suggested): c.rows for c in found.confusions}
    own = rows.pop((given, true), 0)
    return 1 + sum(count >= own for count in rows.values()) if own else N_CLASSES * (N_CLASSES - 1)


def _value_rank(found: Audit, column: str, value: str) -> int:
    """Return 1 + the number of other values of `column` with the same share of rows found, or more."""
    rates = value_rates(found, column)
    own = rates.pop(value)
    return 1 + sum(rate >= own for rate in rates.values())


def value_rates(found: Audit, column: str) -> dict[str, float]:
    """Return the share of rows found in each value of `column`."""
    assert found.slices is not None
    return {
        str(predicate[0][1]): float(rate)
        for predicate, rate in zip(found.slices.predicates, found.slices.error_rate, strict=True)
        if len(predicate) == 1 and predicate[0][0] == column
    }


# ---- what the command prints -----------------------------------------------------------------------


def text(demo: Demo) -> str:
    """Return planted and found side by side, then the audit's own report."""
    p, found = demo.planted, demo.found
    n_wrong = int(np.count_nonzero(p.wrong))
    hits = round(demo.recall * n_wrong)
    pairs = {(c.given, c.suggested): c.rows for c in found.confusions}
    pair_rows = pairs.get((p.given_class, p.true_class), 0)
    rates = {column: value_rates(found, column) for column in p.columns}
    rows = [
        (
            f"{n_wrong} wrong labels",
            (
                f"{hits} of them, {demo.n_found - hits} false alarms: "
                f"recall {demo.recall:.2f}, precision {demo.precision:.2f}"
            ),
        ),
        (
            f"{p.confused_rows} times digit {p.true_class} labelled {p.given_class}, all by {p.annotator}",
            (
                f"{pair_rows} rows labelled {p.given_class} that look like {p.true_class}: "
                f"rank {demo.pair_rank} of {N_CLASSES * (N_CLASSES - 1)} pairs"
            ),
        ),
        (
            f"annotator {p.annotator} confuses {p.true_class} with {p.given_class}",
            _slice_text(p.annotator, rates["annotator"], demo.annotator_rank),
        ),
        (
            f"{p.scanner}: {100 * NOISY_SHARE:.0f} % of its labels wrong",
            _slice_text(p.scanner, rates["scanner"], demo.scanner_rank),
        ),
    ]
    head = f"{len(p.labels):,} hand-written digits with errors planted from seed {demo.seed}"
    return f"{head}\n\n{table(('planted', 'found'), rows)}\n\nthe audit: {report(found, 5)}"


def _slice_text(value: str, rates: dict[str, float], rank: int) -> str:
    others = max(rate for name, rate in rates.items() if name != value)
    return (
        f"{printable(value)} {share(rates[value])} flagged, the next {share(others)}: "
        f"rank {rank} of {len(rates)}"
    )


def plain(demo: Demo) -> dict[str, Any]:
    """Return the scores as plain values for JSON."""
    p = demo.planted
    return {
        "seed": demo.seed,
        "planted": {
            "rows": int(np.count_nonzero(p.wrong)),
            "pair": {"given": p.given_class, "true": p.true_class, "rows": p.confused_rows},
            "annotator": p.annotator,
            "scanner": p.scanner,
        },
        "found": {
            "rows": demo.n_found,
            "precision": demo.precision,
            "recall": demo.recall,
            "pair_rank": demo.pair_rank,
            "annotator_rank": demo.annotator_rank,
            "scanner_rank": demo.scanner_rank,
        },
    }
