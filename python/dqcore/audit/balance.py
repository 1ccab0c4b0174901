"""How evenly the rows are divided among the classes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import _stats

# A class is small below this part of what it would have if all classes had the same number of rows.
SMALL_CLASS = 0.1


class ClassBalance(NamedTuple):
    """How evenly the rows are divided among the classes, by their given labels.

    `imbalance_ratio` is the rows of the largest class over those of the smallest that has any. `entropy` is that of
    the shares over ln(n_classes), in [0, 1], 1 where all classes have the same number; NaN without rows, and 1 for a
    single class. `effective_classes`, e to the entropy before that division, is how many classes of equal size are as
    diverse. `small` are the classes with fewer than a tenth of an even share, the `absent` ones, without rows, among them.
    """

    imbalance_ratio: float
    entropy: float
    effective_classes: float
    small: tuple[int, ...]
    absent: tuple[int, ...]


def class_balance(counts: NDArray[np.int64]) -> ClassBalance:
    """Return the balance of classes with these numbers of rows."""
    present = counts[counts > 0]
    if len(present) == 0:
        return ClassBalance(np.nan, np.nan, np.nan, (), tuple(range(len(counts))))
    entropy = _stats.entropy(present)
    most = _stats.entropy(np.ones(len(counts)))
    small = counts * len(counts) < SMALL_CLASS * int(counts.sum())
    return ClassBalance(
        float(present.max() / present.min()),
        min(1.0, entropy / most) if most > 0.0 else 1.0,
        _stats.effective_number(entropy),
        tuple(np.flatnonzero(small).tolist()),
        tuple(np.flatnonzero(counts == 0).tolist()),
    )
