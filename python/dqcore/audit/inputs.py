"""What callers of `audit` may hand in, made into codes and names."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import _check


def labels_and_names(
    labels: object, class_names: object, n_columns: int | None
) -> tuple[NDArray[np.int32], tuple[str, ...]]:
    """Return labels as codes, and the name of each class: its number where nothing names it.

    `n_columns` is the number of classes that pred_probs has, or None.
    """
    codes, names = _check.encode_labels("labels", labels, class_names, n_columns)
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
    if not isinstance(columns, Mapping) and not hasattr(columns, "keys"):
        raise TypeError(
            "with split=, columns must be a mapping or a data frame, so that it has names"
        )
    together = {name: columns[name] for name in columns.keys()}  # type: ignore[index]  # noqa: SIM118
    if "split" in together:
        raise ValueError("columns has a column 'split' already; leave split= out or rename it")
    return together | {"split": split}
