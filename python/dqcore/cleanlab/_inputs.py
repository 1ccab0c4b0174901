"""Labels and probabilities as cleanlab takes them, with the classes of errors that it raises."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .. import _backend, _check

Array: TypeAlias = NDArray[Any]
# What a caller may hand in; what it must be is checked.
Anything: TypeAlias = Any

TOLERANCE = 1e-6
COLLISION = {False: "argmax", True: "confident"}


def module() -> ModuleType:
    """Return the backend; data of cleanlab's callers are on the host."""
    return _backend.load("cpu")


def wanted(package: str, by: str) -> ModuleType:
    """Import a package that only some functions need."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ImportError(
            f"{by} needs {package.split('.')[0]}; pip install 'dqcore-audit[cleanlab]' from the checkout"
        ) from error


def _of_pandas(value: object, kind: str) -> bool:
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(value, getattr(pandas, kind))


def as_array(labels: Anything) -> Anything:
    """Return what is no frame as an array: some functions take any sequence."""
    return labels if _of_pandas(labels, "DataFrame") else np.asarray(labels)


def labels_array(labels: Anything) -> Array:
    """Return labels as a one-dimensional array of whole numbers, at least 0."""
    known = isinstance(labels, list | np.ndarray | np.generic)
    if not (known or _of_pandas(labels, "Series") or _of_pandas(labels, "DataFrame")):
        raise TypeError("labels should be a numpy array or pandas Series.")
    values = np.asarray(labels)
    if _of_pandas(labels, "DataFrame"):
        if values.shape[1] != 1:
            raise ValueError("labels must be one dimensional.")
        values = values.ravel()
    if values.ndim != 1:
        raise ValueError(f"labels must be 1-D, got shape {values.shape}")
    if values.dtype.kind in "UT" or any(isinstance(v, str) for v in values[:1]):
        raise ValueError("labels must be whole numbers, the classes' indices, not strings")
    if len(values) == 0:
        raise ValueError("labels must not be empty")
    return _check.labels("labels", values)


def inputs(
    labels: Anything, pred_probs: Anything, *, allow_one_class: bool = True
) -> tuple[NDArray[np.int32], Array]:
    """Return (n,) int32 labels and (n, n_classes) float16, float32 or float64 probabilities."""
    y = labels_array(labels)
    if not allow_one_class and (y == y[0]).all():
        raise ValueError("labels must contain at least 2 classes")
    p = probabilities(pred_probs)
    if len(p) != len(y):
        raise ValueError(f"pred_probs and labels must have same length, got {len(p)} and {len(y)}")
    if p.shape[1] <= int(y.max()):
        raise ValueError(
            f"pred_probs must have at least {int(y.max()) + 1} columns, by the largest class in labels, "
            f"got {p.shape[1]}"
        )
    return y, p


def probabilities(pred_probs: Anything) -> Array:
    """Return `pred_probs` as kernels read it; values are checked there."""
    if not isinstance(pred_probs, np.ndarray):
        raise TypeError("pred_probs must be a numpy array.")
    if pred_probs.ndim != 2:
        raise ValueError("pred_probs array must have shape: num_examples x num_classes.")
    if pred_probs.dtype.kind in "biu" or pred_probs.dtype == np.longdouble:
        pred_probs = pred_probs.astype(np.float64)
    return _check.pred_probs("pred_probs", pred_probs)


def check_range(p: Array, low: float = -TOLERANCE, high: float = 1.0 + TOLERANCE) -> None:
    """Raise where a probability is out of range or NaN, for passes that do not look at every one."""
    if p.size and not (p.min() >= low and p.max() <= high):
        raise ValueError("Values in pred_probs must be between 0 and 1.")


def check_list(labels: Anything) -> None:
    """Raise where multi-label data are no list; the class of error is cleanlab's, an assertion for arrays."""
    if not isinstance(labels, list):
        kind = AssertionError if isinstance(labels, np.ndarray) else TypeError
        raise kind("`labels` must be list when `multi_label=True`.")


def one_class_allowed(labels: Anything) -> bool:
    """Return whether all labels are 0: data of one class, which `filter` takes."""
    values = np.asarray(labels)
    return bool(
        values.ndim == 1 and values.size and values.dtype.kind in "iuf" and not values.any()
    )


def thread_count(n_jobs: Anything) -> int:
    """Return the threads that `n_jobs` stands for."""
    if n_jobs is None:
        return 0
    if not n_jobs >= 1:
        raise AssertionError(f"n_jobs must be at least 1, got {n_jobs!r}")
    return int(n_jobs)


def shape_of_joint(joint: Array, n_classes: int) -> Array:
    """Return a confident joint where it is one of `n_classes` classes."""
    if joint.shape != (n_classes, n_classes):
        raise ValueError(
            f"confident_joint has shape {joint.shape}, want ({n_classes}, {n_classes})"
        )
    return joint
