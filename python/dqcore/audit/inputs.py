"""What callers of `audit` may hand in, made into codes and names."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import _check, _columns


def labels_and_names(
    labels: object, class_names: object, n_columns: int | None
) -> tuple[NDArray[np.int32], tuple[str, ...]]:
    """Return labels as codes, and the name of each class: its number where nothing names it.

    `n_columns` is the number of classes that pred_probs has, or None.
    """
    codes, names = _check.encode_labels(
        "labels", labels, class_names, n_columns, counted_by="pred_probs"
    )
    if names is not None:
        return codes, names
    count = int(codes.max(initial=-1)) + 1 if n_columns is None else n_columns
    return codes, tuple(str(c) for c in range(count))


def with_split(columns: object, split: ArrayLike | None) -> object:
    """Return `columns` with `split` among them, so that each part of the data is a slice."""
    if split is None:
        return columns
    if columns is None:
        return {"split": split}
    together: dict[Any, Any] = {}
    for name, column in _columns.named(columns, "columns"):
        if name in together:
            raise ValueError(f"columns has two columns named {_check.shown(name)}")
        together[name] = column
    if "split" in together:
        raise ValueError("columns has a column 'split' already; leave split= out or rename it")
    return together | {"split": split}
