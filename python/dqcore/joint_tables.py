"""Tables by class and by pair of classes that follow from a confident joint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _html

_MOST_ROWS = 20  # of a table that a notebook shows


@dataclass(frozen=True, eq=False)
class _Table:
    """Columns of equal length, and names of classes for those that hold classes."""

    def _columns(self) -> dict[str, NDArray[Any]]:
        raise NotImplementedError

    def to_pandas(self) -> Any:  # noqa: ANN401
        """Return the table as a pandas data frame; ImportError where pandas is not installed."""
        import pandas as pd

        return pd.DataFrame(self._columns())

    def _repr_html_(self) -> str:
        columns = self._columns()
        shown = list(
            zip(*(values[:_MOST_ROWS].tolist() for values in columns.values()), strict=True)
        )
        rows = [[f"{x:.4g}" if isinstance(x, float) else str(x) for x in row] for row in shown]
        return _html.table(list(columns), rows, repr(self))


def _named(classes: NDArray[np.int64], names: tuple[str, ...] | None) -> NDArray[Any]:
    return classes if names is None else np.array(names, object)[classes]


@dataclass(frozen=True, eq=False)
class ClassQuality(_Table):
    """How good the labels of each class are, worst class first, ties to the lower class.

    Attributes
    ----------
    classes : (n_classes,) int64
        The classes.
    issues : (n_classes,) int64
        Estimated rows given this class that belong to another.
    inverse_issues : (n_classes,) int64
        Estimated rows of this class that are given another.
    noise : (n_classes,) float64
        `issues` as a share of the rows given this class, before rounding; 0 for a class without rows.
    inverse_noise : (n_classes,) float64
        `inverse_issues` as a share of the rows of this class, before rounding.
    quality : (n_classes,) float64
        One less `noise`.
    class_names : tuple of str or None
        Names of the classes, by class, where they are known.
    """

    classes: NDArray[np.int64]
    issues: NDArray[np.int64]
    inverse_issues: NDArray[np.int64]
    noise: NDArray[np.float64]
    inverse_noise: NDArray[np.float64]
    quality: NDArray[np.float64]
    class_names: tuple[str, ...] | None = None

    def __len__(self) -> int:
        """Return the number of classes."""
        return len(self.classes)

    def __repr__(self) -> str:
        """Return the size, not the columns."""
        return f"ClassQuality({len(self)} classes)"

    def _columns(self) -> dict[str, NDArray[Any]]:
        return {
            "class": _named(self.classes, self.class_names),
            "issues": self.issues,
            "inverse_issues": self.inverse_issues,
            "noise": self.noise,
            "inverse_noise": self.inverse_noise,
            "quality": self.quality,
        }


@dataclass(frozen=True, eq=False)
class OverlappingClasses(_Table):
    """How often labels of two classes are confused, the most often first, ties to the lower pair.

    Attributes
    ----------
    a, b : (n_pairs,) int64
        The classes: a < b, or with `ordered` the given and the true class.
    rows : (n_pairs,) int64
        Estimated rows given one of the two that belong to the other; with `ordered`, given a and of b.
    probability : (n_pairs,) float64
        The same as a share of all rows, before rounding.
    ordered : bool
        Whether the directions are told apart.
    class_names : tuple of str or None
        Names of the classes, by class, where they are known.
    """

    a: NDArray[np.int64]
    b: NDArray[np.int64]
    rows: NDArray[np.int64]
    probability: NDArray[np.float64]
    ordered: bool = False
    class_names: tuple[str, ...] | None = None

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.a)

    def __repr__(self) -> str:
        """Return the size, not the columns."""
        return f"OverlappingClasses({len(self)} pairs)"

    def _columns(self) -> dict[str, NDArray[Any]]:
        return {
            "a": _named(self.a, self.class_names),
            "b": _named(self.b, self.class_names),
            "rows": self.rows,
            "probability": self.probability,
        }
