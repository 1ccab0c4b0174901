"""Multi-label data, defined: each class against the rest, and rows by what their classes' scores are together.

Class c is the problem of two classes, 0 "has it not" and 1 "has it", with probabilities 1 - p[c] and p[c], the former
rounded to the dtype of the latter. Source: Thyagarajan, Snorrason, Northcutt and Mueller, "Identifying Incorrect Annotations
in Multi-Label Classification Data", ICLR workshop (2023); cleanlab 2.9.0.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._exact import exp

Floats = NDArray[np.float64]


def two_classes(pred_probs: NDArray[Any], c: int) -> NDArray[Any]:
    """Return the (n, 2) probabilities of not having, and of having, class c."""
    p = pred_probs[:, c]
    return np.stack([1 - p, p], axis=1)


def moving_average(scores: Floats, alpha: float) -> Floats:
    """Return alpha * score + (1 - alpha) * what came before, from the greatest of a row's scores to the least."""
    ordered = np.sort(scores, axis=1)
    result: Floats = ordered[:, -1].copy()
    for j in range(scores.shape[1] - 2, -1, -1):
        result = alpha * ordered[:, j] + (1.0 - alpha) * result
    return result


def softmin(scores: Floats, temperature: float) -> Floats:
    """Return the mean of a row's scores with weights exp((1 - score) / temperature)."""
    heat = (1.0 - scores) / temperature
    weights = exp(heat - heat.max(axis=1, keepdims=True))
    total, mixed = np.zeros(len(scores)), np.zeros(len(scores))
    for j in range(scores.shape[1]):
        total = total + weights[:, j]
    for j in range(scores.shape[1]):
        mixed = mixed + scores[:, j] * (weights[:, j] / total)
    return mixed
