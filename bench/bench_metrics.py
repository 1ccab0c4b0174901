"""Speed of group_metrics, with intervals, against fairlearn's MetricFrame, without any, in one run.

python bench/bench_metrics.py [rows]

Four columns of 10, 50, 5 and 100 values, two classes, seven metrics. The answers are compared first: every rate of
every group, differences and ratios of both kinds. "share" is of the bytes of codes, labels and predictions that one
thread can sum in the same time: the pass can never take less.
"""

from __future__ import annotations

import sys
import warnings

import dqcore as dq
import numpy as np
from timing import median_seconds

CARDINALITIES = (10, 50, 5, 100)
FAIRLEARN = ("false_positive_rate", "false_negative_rate", "selection_rate")


def peers() -> dict[str, object]:
    """Return the metric functions that MetricFrame calls, by our names."""
    from fairlearn import metrics as fairlearn
    from sklearn import metrics as sklearn

    return {
        "error": sklearn.zero_one_loss,
        "accuracy": sklearn.accuracy_score,
        "precision": sklearn.precision_score,
        "recall": sklearn.recall_score,
        **{name: getattr(fairlearn, name) for name in FAIRLEARN},
    }


def main(rows: int) -> None:
    """Compare and time."""
    from fairlearn.metrics import MetricFrame

    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, rows)
    predictions = np.where(rng.random(rows) < 0.9, labels, 1 - labels)
    columns = {f"c{j}": rng.integers(0, k, rows) for j, k in enumerate(CARDINALITIES)}
    functions = peers()

    def frames() -> dict[str, MetricFrame]:
        # One frame for each column: several columns in one would be crossed.
        return {
            name: MetricFrame(
                metrics=functions,
                y_true=labels,
                y_pred=predictions,
                sensitive_features={name: codes},
            )
            for name, codes in columns.items()
        }

    ours, theirs = dq.group_metrics(labels, predictions, columns), frames()
    group = {predicate: i for i, predicate in enumerate(ours.predicates)}
    for column, frame in theirs.items():
        for metric in functions:
            assert np.isclose(frame.overall[metric], ours.overall[metric], rtol=1e-12)
            for value, expected in frame.by_group[metric].items():
                got = ours.by_group[metric][group[((column, value),)]]
                assert np.isclose(got, expected, rtol=1e-12, atol=1e-15), (column, metric, value)
            for method in ("between_groups", "to_overall"):
                apart = ours.difference(column, method=method)[metric]
                assert np.isclose(apart, frame.difference(method=method)[metric], atol=1e-12)
                ratio = ours.ratio(column, method=method)[metric]
                assert np.isclose(ratio, frame.ratio(method=method)[metric], rtol=1e-12)
    print(
        f"{rows:,} rows, {len(columns)} columns, {len(ours)} groups, {len(functions)} metrics: equal"
    )

    peer = median_seconds(frames, 1)  # minutes
    arrays = [*columns.values(), labels, predictions]
    ceiling = sum(median_seconds(lambda a=a: np.sum(a), 7) for a in arrays)
    print(f"fairlearn, without intervals: {peer * 1e3:8.1f} ms")
    for threads in (1, 0):
        t = median_seconds(
            lambda k=threads: dq.group_metrics(labels, predictions, columns, threads=k),
            7,
            warm_up=True,
        )
        label = "all" if threads == 0 else threads
        print(
            f"dqcore, threads {label:>3}: {t * 1e3:8.1f} ms  {peer / t:.0f}x  share {ceiling / t:.2f}"
        )


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fairlearn's and pandas' own
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
