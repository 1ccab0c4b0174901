"""What the doors of the joint room make of their arguments: checked arrays and options for the compiled functions."""

from __future__ import annotations

import sys
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _check, _device, sources
from .joint_results import ConfidentJoint

COLLISIONS = ("argmax", "confident")
QUALITIES = ("self_confidence", "normalized_margin", "confidence_weighted_entropy")
PRUNE_FILTERS = ("prune_by_noise_rate", "prune_by_class", "both")
FILTERS = (
    *PRUNE_FILTERS,
    "confident_learning",
    "predicted_neq_given",
    "low_self_confidence",
    "low_normalized_margin",
)


def inputs(
    labels: object, pred_probs: object, class_names: object = None, name: str = "pred_probs"
) -> tuple[NDArray[np.int32], NDArray[Any], tuple[str, ...] | None]:
    """Return codes, probabilities and names of the classes; `name` is what the caller calls the probabilities."""
    if _device.is_read(pred_probs):
        p = _device.pred_probs(name, pred_probs)
    else:
        p = _check.pred_probs(name, pred_probs)
    class_names = _check.named_classes(pred_probs, labels, class_names)
    codes, names = _check.encode_labels("labels", labels, class_names, p.shape[1], counted_by=name)
    _check.same_length("labels", len(codes), name, len(p))
    return codes, p, names


def rows_inputs(
    labels: object, pred_probs: object, class_names: object = None
) -> tuple[NDArray[np.int32], NDArray[Any] | sources.Source, tuple[str, ...] | None]:
    """Return what `inputs` does, but probabilities that are a path or a source as a source."""
    labels = sources.loaded("labels", labels)
    source = sources.found("pred_probs", pred_probs)
    if source is None:
        return inputs(labels, pred_probs, class_names)
    want = "(n, n_classes) float16, float32 or float64"
    if len(source.shape) != 2 or source.shape[1] == 0:
        raise ValueError(f"pred_probs must be {want}, got shape {source.shape} in {source.name}")
    if source.dtype not in (np.float16, np.float32, np.float64):
        raise TypeError(f"pred_probs must be {want}, got {source.dtype} in {source.name}")
    codes, names = _check.encode_labels(
        "labels", labels, class_names, source.shape[1], counted_by="pred_probs"
    )
    _check.same_length("labels", len(codes), "pred_probs", len(source))
    return codes, source, names


def threshold_values(name: str, value: object, n_classes: int | None) -> NDArray[np.float64]:
    """Return `value` as float64, one finite number a class."""
    want = "(n_classes,) finite numbers"
    values = _check.array(name, value, 1, want)
    if values.dtype.kind not in "iuf":
        raise TypeError(f"{name} must be {want}, got dtype {values.dtype}")
    if n_classes is not None and len(values) != n_classes:
        raise _check.another_number_of_classes(name, len(values), n_classes, "pred_probs")
    if len(values) == 0:
        raise ValueError(f"{name} must be {want}, got none")
    bad = ~np.isfinite(values)
    if bad.any():
        raise _check.first_bad(name, values, bad, want)
    return _check.contiguous(values, np.float64)


RowSums = tuple[int, int, float]


def _callers_level() -> int:
    """Return the `stacklevel`, for who asks, of the nearest caller outside this package."""
    level, frame = 1, sys._getframe(1)
    package = __name__.partition(".")[0]
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] == package:
        level, frame = level + 1, frame.f_back
    return level


def warn_row_sums(row_sums: RowSums) -> None:
    """Warn about rows of pred_probs that do not sum to 1: how many, the worst, its sum."""
    off, worst, total = row_sums
    if off:
        warnings.warn(
            f"pred_probs: {off} row{'' if off == 1 else 's'} not summing to 1 within 1e-3; "
            f"the worst is row {worst} with {total!r}; are these probabilities?",
            UserWarning,
            stacklevel=_callers_level(),
        )


def check_adjust(name: str, method: str, adjust: bool) -> None:
    """Refuse to adjust the one score that is not made for it."""
    if adjust and method == "confidence_weighted_entropy":
        raise ValueError(f"adjust must be False with {name}='confidence_weighted_entropy'")


def calibrated_counts(joint: object, n_classes: int) -> NDArray[np.int64]:
    """Return the calibrated counts that `joint` stands for."""
    want = "a ConfidentJoint or (n_classes, n_classes) calibrated counts"
    if isinstance(joint, ConfidentJoint):
        if joint.class_weights is not None:
            raise ValueError("joint must be without weights: pruning counts rows")
        values = joint.calibrated()
    else:
        values = _check.integers("joint", joint, f"{want}, whole numbers", 2)
        if (values < 0).any():
            raise _check.first_bad("joint", values, values < 0, f"{want}, not negative")
    if values.shape != (n_classes, n_classes):
        raise ValueError(
            f"joint has shape {values.shape} but pred_probs has {n_classes} classes; "
            f"want ({n_classes}, {n_classes})"
        )
    return _check.contiguous(values, np.int64)


def issue_options(
    n_classes: int,
    counted_by: str,
    filter_by: object = "prune_by_noise_rate",
    rank_by: object = "self_confidence",
    collision: object = "argmax",
    frac_noise: object = 1.0,
    num_to_remove_per_class: object = None,
    min_examples_per_class: object = 1,
    adjust: object = False,
) -> dict[str, Any]:
    """Return checked keyword arguments of the compiled function and of the state."""
    chosen = _check.choice("filter_by", filter_by, FILTERS)
    remove = None
    if num_to_remove_per_class is not None:
        if chosen not in PRUNE_FILTERS:
            raise ValueError(
                f"num_to_remove_per_class must be None with filter_by={chosen!r}: only the filters "
                f"{list(PRUNE_FILTERS)} remove by class"
            )
        want = "(n_classes,) whole numbers, at least 0"
        remove = _check.integers("num_to_remove_per_class", num_to_remove_per_class, want)
        if len(remove) != n_classes:
            raise _check.another_number_of_classes(
                "num_to_remove_per_class", len(remove), n_classes, counted_by
            )
        if (remove < 0).any():
            raise _check.first_bad("num_to_remove_per_class", remove, remove < 0, want)
        remove = _check.contiguous(np.minimum(remove, _check.MOST_CLASSES), np.int64)
    ranked = _check.choice("rank_by", rank_by, QUALITIES)
    adjusted = _check.flag("adjust", adjust)
    check_adjust("rank_by", ranked, adjusted)
    return {
        "filter_by": chosen,
        "rank_by": ranked,
        "collision": _check.choice("collision", collision, COLLISIONS),
        "frac_noise": _check.number("frac_noise", frac_noise, 0.0, 1.0),
        "num_to_remove_per_class": remove,
        "min_examples_per_class": _check.integer(
            "min_examples_per_class", min_examples_per_class, 0, 2**53
        ),
        "adjust": adjusted,
    }
