"""How good the labels of a data set are as a whole, as `cleanlab.dataset` tells; wants pandas."""

from __future__ import annotations

import numpy as np

from ..reference import latent as definition
from ._inputs import Anything, Array, wanted
from .count import estimate_joint, num_label_issues

_SINGLE = "For multilabel data, please instead call: multilabel_classification.dataset."


def _refuse_many(multi_label: bool, instead: str) -> None:
    if multi_label:
        raise ValueError(f"{_SINGLE}{instead}()")


def _num_examples(labels: Anything, confident_joint: Array | None = None) -> int:
    if labels is not None:
        return len(labels)
    if confident_joint is None:
        raise ValueError(
            "num_examples is None: give labels, or confident_joint, or both num_examples and joint"
        )
    return int(np.sum(confident_joint))


def rank_classes_by_label_quality(
    labels: Anything = None,
    pred_probs: Array | None = None,
    *,
    class_names: Anything = None,
    num_examples: int | None = None,
    joint: Array | None = None,
    confident_joint: Array | None = None,
    multi_label: bool = False,
) -> Anything:
    """Return a data frame of the classes, worst labels first; see `dqcore.ConfidentJoint.class_quality`."""
    _refuse_many(multi_label, "overall_multilabel_health_score")
    pandas = wanted("pandas", "dataset.rank_classes_by_label_quality")
    if joint is None:
        joint = estimate_joint(labels, pred_probs, confident_joint=confident_joint)
    if num_examples is None:
        num_examples = _num_examples(labels)
    found = definition.class_quality(np.asarray(joint, np.float64), num_examples)
    frame = pandas.DataFrame(
        {
            "Class Index": found.classes,
            "Label Issues": found.issues,
            "Inverse Label Issues": found.inverse_issues,
            "Label Noise": found.noise,
            "Inverse Label Noise": found.inverse_noise,
            "Label Quality Score": found.quality,
        }
    )
    if class_names is not None:
        frame.insert(0, "Class Name", [class_names[c] for c in found.classes])
    return frame


def find_overlapping_classes(
    labels: Anything = None,
    pred_probs: Array | None = None,
    *,
    asymmetric: bool = False,
    class_names: Anything = None,
    num_examples: int | None = None,
    joint: Array | None = None,
    confident_joint: Array | None = None,
    multi_label: bool = False,
) -> Anything:
    """Return a data frame of pairs of classes, the most confused first; see `dqcore.ConfidentJoint.overlapping_classes`."""
    _refuse_many(multi_label, "common_multilabel_issues")
    pandas = wanted("pandas", "dataset.find_overlapping_classes")
    if joint is None:
        joint = estimate_joint(labels, pred_probs, confident_joint=confident_joint)
    if num_examples is None:
        num_examples = _num_examples(labels, confident_joint)
    found = definition.overlapping_classes(
        np.asarray(joint, np.float64), num_examples, ordered=bool(asymmetric)
    )
    frame = pandas.DataFrame(
        {
            "Class Index A": found.a,
            "Class Index B": found.b,
            "Num Overlapping Examples": found.rows,
            "Joint Probability": found.probability,
        }
    )
    if class_names is not None:
        frame.insert(0, "Class Name A", [class_names[c] for c in found.a])
        frame.insert(1, "Class Name B", [class_names[c] for c in found.b])
    return frame


def overall_label_health_score(
    labels: Anything = None,
    pred_probs: Array | None = None,
    *,
    num_examples: int | None = None,
    confident_joint: Array | None = None,
    joint: Array | None = None,
    multi_label: bool = False,
    verbose: bool = True,
) -> float:
    """Return the estimated share of right labels."""
    _refuse_many(multi_label, "overall_multilabel_health_score")
    if num_examples is None:
        num_examples = _num_examples(labels, confident_joint)
    if pred_probs is None or labels is None:
        if joint is None:
            joint = estimate_joint(labels, pred_probs, confident_joint=confident_joint)
        health = float(np.trace(joint))
        issues = round(num_examples * (1 - health))
    else:
        issues = num_label_issues(labels, pred_probs, confident_joint=confident_joint)
        health = 1 - issues / num_examples
    if verbose:
        print(
            f" * Overall, about {1 - health:.0%} ({issues:,} of the {num_examples:,}) labels in your dataset "
            f"have potential issues.\n ** The overall label health score for this dataset is: {health:.2f}."
        )
    return health


def health_summary(
    labels: Anything = None,
    pred_probs: Array | None = None,
    *,
    asymmetric: bool = False,
    class_names: Anything = None,
    num_examples: int | None = None,
    joint: Array | None = None,
    confident_joint: Array | None = None,
    multi_label: bool = False,
    verbose: bool = True,
) -> dict[str, Anything]:
    """Return the health score, the joint, the classes and the pairs of classes in one dictionary."""
    _refuse_many(multi_label, "health_summary")
    if joint is None:
        joint = estimate_joint(labels, pred_probs, confident_joint=confident_joint)
    if num_examples is None:
        num_examples = _num_examples(labels)
    shared: dict[str, Anything] = {"num_examples": num_examples, "confident_joint": confident_joint}
    classes = rank_classes_by_label_quality(
        labels, pred_probs, class_names=class_names, joint=joint, **shared
    )
    pairs = find_overlapping_classes(
        labels, pred_probs, asymmetric=asymmetric, class_names=class_names, joint=joint, **shared
    )
    if verbose:
        print(
            f"Labels of {num_examples:,} examples in {len(joint):,} classes\n\n{classes}\n\n{pairs}\n"
        )
    health = overall_label_health_score(labels, pred_probs, verbose=verbose, **shared)
    return {
        "overall_label_health_score": health,
        "joint": joint,
        "classes_by_label_quality": classes,
        "overlapping_classes": pairs,
    }
