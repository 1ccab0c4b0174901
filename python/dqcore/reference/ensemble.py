"""Quality of labels by several models, defined: how much each model counts, and the mean of their scores.

Source: Kuan and Mueller, "Model-agnostic label quality scoring to detect real-world label errors", ICML DataPerf workshop
(2022); cleanlab 2.9.0, rank.get_label_quality_ensemble_scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._exact import exp, fixed_sums, from_fixed, log

Floats = NDArray[np.float64]
Labels = NDArray[np.int32]

TEMPERATURES = (1e-4, 1e-3, 1e-2, 1e-1, 1e0, 1e1, 1e2, 2e2)
LEAST_PROBABILITY = 1e-6  # of a model, before its logarithm
LEAST_MIXED = 2.0**-52  # of the mixture of models
BLOCK = 1 << 16  # rows that are clipped at once


def share(values: Sequence[float]) -> Floats:
    """Return each value as a share of all; equal shares where all are 0."""
    total = sum(values)
    if not total > 0.0:
        return np.full(len(values), 1.0 / len(values))
    return np.array([value / total for value in values])


def _mean(values: Floats) -> float:
    if len(values) == 0:
        return 0.0
    total = fixed_sums(values, np.zeros(len(values), np.int64), 1)[0]
    return from_fixed(total) / len(values)


def _given(pred_probs: NDArray[Any], labels: Labels) -> Floats:
    return pred_probs[np.arange(len(labels)), labels].astype(np.float64)


def log_loss(labels: Labels, pred_probs: NDArray[Any]) -> float:
    """Return the mean of -ln p[given], every probability raised to 1e-6 and rows rescaled to sum to 1."""
    given = np.maximum(_given(pred_probs, labels), LEAST_PROBABILITY)
    for begin in range(0, len(labels), BLOCK):
        block = pred_probs[begin : begin + BLOCK]
        total = np.zeros(len(block))
        for c in range(block.shape[1]):
            total = total + np.maximum(block[:, c].astype(np.float64), LEAST_PROBABILITY)
        given[begin : begin + BLOCK] /= total
    return _mean(-log(given))


def search_weights(
    labels: Labels, models: Sequence[NDArray[Any]], temperatures: Sequence[float] = TEMPERATURES
) -> Floats:
    """Return weights exp(-t * log loss), rescaled to sum to 1, for the t whose mixture of models has the least loss."""
    losses = np.array([log_loss(labels, p) for p in models])
    given = [_given(p, labels) for p in models]
    best, least = np.full(len(models), 1.0 / len(models)), np.inf
    for t in temperatures:
        # Less the least loss: the same shares, and never all 0.
        weights = share(exp(-t * (losses - losses.min())).tolist())
        mixed = np.zeros(len(labels))
        for weight, p in zip(weights, given, strict=True):
            mixed = mixed + weight * p
        loss = _mean(-log(np.clip(mixed, LEAST_MIXED, 1.0 - LEAST_MIXED)))
        if loss < least:
            best, least = weights, loss
    return best


def weighted_mean(scores: Sequence[Floats], weights: Floats) -> Floats:
    """Return the sum of weight * score, model by model."""
    total = np.zeros(len(scores[0]))
    for weight, score in zip(weights, scores, strict=True):
        total = total + weight * score
    return total
