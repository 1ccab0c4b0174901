"""How good multi-label data are as a whole, as `cleanlab.multilabel_classification.dataset` tells; wants pandas."""

from __future__ import annotations

import numpy as np

from .._inputs import Anything, Array, wanted
from ._inputs import one_hot
from .filter import find_label_issues, find_multilabel_issues_per_class


def _num_examples(labels: Anything, confident_joint: Array | None = None) -> int:
    if labels is not None:
        return len(labels)
    if confident_joint is None:
        raise ValueError("num_examples is None: give labels or confident_joint")
    return int(np.sum(confident_joint[0]))


def common_multilabel_issues(
    labels: Anything = list,
    pred_probs: Array | None = None,
    *,
    class_names: Anything = None,
    confident_joint: Array | None = None,
) -> Anything:
    """Return a data frame: for each class, how many rows have it that should not, and have it not that should."""
    pandas = wanted("pandas", "multilabel_classification.dataset.common_multilabel_issues")
    given, p = one_hot(labels, pred_probs)  # type: ignore[arg-type]
    n = _num_examples(labels, confident_joint)
    found = find_multilabel_issues_per_class(labels, p, confident_joint=confident_joint)
    columns: dict[str, list[Anything]] = {} if class_names is None else {"Class Name": []}
    for c in range(p.shape[1]):
        for has in (True, False):
            rows = int(np.count_nonzero(found[:, c] & (given[:, c] == has)))
            if class_names is not None:
                columns["Class Name"].append(class_names[c])
            line = {
                "Class Index": c,
                "In Given Label": has,
                "In Suggested Label": not has,
                "Num Examples": rows,
                "Issue Probability": rows / n,
            }
            for name, value in line.items():
                columns.setdefault(name, []).append(value)
    frame = pandas.DataFrame(columns)
    return frame.sort_values("Issue Probability", ascending=False, kind="stable", ignore_index=True)


def rank_classes_by_multilabel_quality(
    labels: Anything = None,
    pred_probs: Array | None = None,
    *,
    class_names: Anything = None,
    joint: Array | None = None,
    confident_joint: Array | None = None,
) -> Anything:
    """Return a data frame of the classes, worst first."""
    pandas = wanted(
        "pandas", "multilabel_classification.dataset.rank_classes_by_multilabel_quality"
    )
    issues = common_multilabel_issues(
        labels, pred_probs, class_names=class_names, confident_joint=joint
    )
    n = _num_examples(labels, confident_joint)
    lines = []
    for c in dict.fromkeys(issues["Class Index"].tolist()):
        of_class = issues[issues["Class Index"] == c]
        has = float(of_class["Issue Probability"][of_class["In Given Label"]].iloc[0])
        has_not = float(of_class["Issue Probability"][~of_class["In Given Label"]].iloc[0])
        line = {} if class_names is None else {"Class Name": class_names[c]}
        lines.append(
            line
            | {
                "Class Index": c,
                "Label Issues": int(has * n),
                "Inverse Label Issues": int(has_not * n),
                "Label Noise": has,
                "Inverse Label Noise": has_not,
                "Label Quality Score": 1 - has,
            }
        )
    return pandas.DataFrame(lines).sort_values(
        "Label Quality Score", kind="stable", ignore_index=True
    )


def overall_multilabel_health_score(
    labels: Anything = None,
    pred_probs: Array | None = None,
    *,
    confident_joint: Array | None = None,
) -> float:
    """Return the estimated share of rows that are right about every class."""
    n = _num_examples(labels)
    found = find_label_issues(labels, pred_probs, confident_joint=confident_joint)  # type: ignore[arg-type]
    return float(1.0 - np.count_nonzero(found) / n)


def multilabel_health_summary(
    labels: Anything = None,
    pred_probs: Array | None = None,
    *,
    class_names: Anything = None,
    num_examples: int | None = None,
    confident_joint: Array | None = None,
    verbose: bool = True,
) -> dict[str, Anything]:
    """Return the health score, the classes and their common issues in one dictionary."""
    n = _num_examples(labels) if num_examples is None else num_examples
    classes = rank_classes_by_multilabel_quality(
        labels, pred_probs, class_names=class_names, confident_joint=confident_joint
    )
    common = common_multilabel_issues(
        labels, pred_probs, class_names=class_names, confident_joint=confident_joint
    )
    health = overall_multilabel_health_score(labels, pred_probs, confident_joint=confident_joint)
    if verbose:
        print(f"Labels of {n:,} examples\n\n{classes}\n\n{common}\n\nhealth score {health:.2f}")
    return {
        "overall_multilabel_health_score": health,
        "classes_by_multilabel_quality": classes,
        "common_multilabel_issues": common,
    }
