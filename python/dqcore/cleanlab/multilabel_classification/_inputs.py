"""Lists of classes as columns of zeros and ones, and each class as a problem of two."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ...reference.multilabel import two_classes
from .._inputs import Anything, Array, probabilities

_WANTED = "labels should be a list of lists of class indices, one of each row"


def one_hot_of(labels: Anything, n_classes: int | None) -> NDArray[np.int32]:
    """Return (n, n_classes) zeros and ones; without `n_classes`, of as many as there are different classes."""
    if not isinstance(labels, list) or not all(isinstance(row, list) for row in labels):
        raise ValueError(_WANTED)
    sizes = [len(row) for row in labels]
    flat = [c for row in labels for c in row]
    classes = np.asarray(flat if flat else np.zeros(0, int))
    if classes.ndim != 1 or classes.dtype.kind not in "iu":
        raise ValueError(_WANTED)
    k = len(set(flat)) if n_classes is None else n_classes
    if classes.size and not 0 <= int(classes.min()) <= int(classes.max()) < k:
        raise ValueError(f"{_WANTED}, each in [0, {k - 1}]")
    given = np.zeros((len(labels), k), np.int32)
    given[np.repeat(np.arange(len(labels)), sizes), classes] = 1
    return given


def one_hot(labels: Anything, pred_probs: Array) -> tuple[NDArray[np.int32], Array]:
    """Return labels as zeros and ones, and the probabilities."""
    p = probabilities(pred_probs)
    given = one_hot_of(labels, p.shape[1])
    if len(given) != len(p):
        raise ValueError(
            f"pred_probs and labels must have same length, got {len(p)} and {len(given)}"
        )
    return given, p


def binary_problems(
    labels: Anything, pred_probs: Array
) -> Iterator[tuple[NDArray[np.int32], Array]]:
    """Yield the labels and the (n, 2) probabilities of each class."""
    given, p = one_hot(labels, pred_probs)
    for c in range(p.shape[1]):
        yield np.ascontiguousarray(given[:, c]), two_classes(p, c)
