"""Metrics of groups: counts by given crossings of columns, and what calibration needs of each row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .joint import _valid
from .slices import SliceCounts, slice_errors


def group_counts(
    errors: NDArray[Any],
    codes: Sequence[NDArray[np.integer]],
    n_categories: Sequence[int],
    *,
    crossings: Sequence[Sequence[int]],
    error_exponent: int,
    **run: object,
) -> SliceCounts:
    """Count the slices of these crossings of columns alone, in their order; else as `slice_errors`."""
    width = len(codes)
    parts = []
    for columns in crossings:
        counts = slice_errors(
            errors,
            [codes[c] for c in columns],
            [n_categories[c] for c in columns],
            max_level=len(columns),
            error_exponent=error_exponent,
            min_support=1,
        )
        whole = (counts.predicate_columns >= 0).all(axis=1)  # not those of fewer columns
        padding = np.full((np.count_nonzero(whole), width - len(columns)), -1, np.int32)
        names = np.broadcast_to(np.array(columns, np.int32), (len(padding), len(columns)))
        parts.append(
            (
                np.hstack([names, padding]),
                np.hstack([counts.predicate_codes[whole], padding]),
                *(entry[whole] if isinstance(entry, np.ndarray) else entry for entry in counts[2:]),
            )
        )
    joined: list[Any] = [
        np.concatenate(entries) if isinstance(entries[0], np.ndarray) else entries[0]
        for entries in zip(*parts, strict=True)
    ]
    return SliceCounts(*joined)


def confidences(
    labels: NDArray[np.int32], pred_probs: NDArray[Any], **run: object
) -> tuple[NDArray[np.float64], NDArray[np.int32], NDArray[np.float64]]:
    """Return for each row the largest probability, its class (the first), and Brier's score.

    The score is the sum over classes, in order, of (p - [label])^2. Source: Brier (1950).
    """
    p = _valid(pred_probs)
    predicted = p.argmax(axis=1)
    brier = np.zeros(len(p))
    for c in range(p.shape[1]):
        off = p[:, c] - (labels == c)
        brier += off * off
    most = np.maximum(p[np.arange(len(p)), predicted], 0.0)
    return most, predicted.astype(np.int32), brier
