"""What confident learning finds: the joint with what follows from it, and label issues."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _backend, _check, _html
from .joint_tables import ClassQuality, OverlappingClasses
from .reference import latent as definition
from .reference.latent import LatentEstimates

PRIORS = ("cnt", "eqn", "marginal", "marginal_ps")

# Rows that a float64 still counts one by one; and as many of the greatest weight.
_MOST_COUNTED = 2**53
_MOST_WEIGHT = 2.0**84


@dataclass(frozen=True, eq=False)
class ConfidentJoint:
    """Counts of rows by given and confident true class, and what follows from them.

    Source: Northcutt, Jiang and Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels", JAIR 70 (2021);
    estimates as in cleanlab 2.9.0, of which every method gives the numbers.

    Attributes
    ----------
    counts : (n_classes, n_classes) int64, or float64 with weights
        Rows (their weights) of each given class, by the class they confidently belong to: [given, true], before any
        floor. Rows that no class is confident of are not in it.
    thresholds : (n_classes,) float64
        From which probability on (less 1e-6) a row confidently belongs to a class; 2.0 for a class without rows.
    class_counts : (n_classes,) int64
        Rows of each given class.
    class_weights : (n_classes,) float64 or None
        Their weights, where there are any.
    class_names : tuple of str or None
        Names of the classes, where they are known.
    """

    counts: NDArray[Any]
    thresholds: NDArray[np.float64]
    class_counts: NDArray[np.int64]
    class_weights: NDArray[np.float64] | None = None
    class_names: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        """Refuse arrays that do not fit together: whoever takes a joint relies on it."""
        kind = np.int64 if self.class_weights is None else np.float64
        k = len(_check.fitting("class_counts", self.class_counts, np.int64, (None,)))
        totals = [("class_counts", self.class_counts), ("counts", self.counts)]
        if self.class_weights is not None:
            _check.fitting("class_weights", self.class_weights, np.float64, (k,), "class_counts")
            totals.append(("class_weights", self.class_weights))
        _check.fitting("counts", self.counts, kind, (k, k), "class_counts")
        _check.fitting("thresholds", self.thresholds, np.float64, (k,), "class_counts")
        for name, values in totals:
            most = _MOST_WEIGHT if values.dtype == np.float64 else _MOST_COUNTED
            if values.size and values.min() >= 0 and float(values.max()) * values.size <= most:
                continue  # two quick looks, and no table as large again
            bad = ~((values >= 0) & (values <= most))
            if bad.any():
                raise _check.first_bad(name, values, bad, f"in [0, {most}]")
            if not values.sum(dtype=np.float64) <= most:
                raise ValueError(f"{name} must have a sum of at most {most}")
        if self.class_names is not None:
            _check.class_names("class_names", self.class_names, k, "class_counts")
        bad = ~np.isfinite(self.thresholds)
        if bad.any():
            raise _check.first_bad("thresholds", self.thresholds, bad, "finite")

    @property
    def n(self) -> int:
        """Rows seen."""
        return int(self.class_counts.sum())

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return len(self.thresholds)

    def __repr__(self) -> str:
        """Return the sizes, not the arrays."""
        return f"ConfidentJoint({self.n} rows, {self.n_classes} classes)"

    def _repr_html_(self) -> str:
        """Return the counts as a table, for notebooks."""
        return _html.joint(self.counts, self.class_names, f"Confident joint of {self.n:,} rows")

    def calibrated(self) -> NDArray[Any]:
        """Return (n_classes, n_classes) counts scaled to all rows, not only the confident ones.

        Every diagonal entry is first raised to 1, then each row scaled to its class's total. Counts are rounded so
        that each row keeps its total, by largest remainder and then lower class; weighted counts are not rounded.
        """
        result: NDArray[Any] = _backend.load("cpu").calibrate(self.counts, self._totals())
        return result

    def joint(self) -> NDArray[np.float64]:
        """Return P(given, true), (n_classes, n_classes) float64 that sums to 1 (0 where there are no rows)."""
        return definition.joint_of(self.calibrated())

    def noise_rate(self) -> float:
        """Return the estimated share of wrong labels, in [0, 1]: one less the trace of `joint()`."""
        return float(1.0 - np.trace(self.joint())) if self.n else 0.0

    def noise_matrix(self) -> NDArray[np.float64]:
        """Return P(given | true), [given, true]: columns sum to 1, or to 0 for a class that no row belongs to."""
        return definition.clip_noise(definition.raw_noise(self.calibrated()))

    def inverse_noise_matrix(self) -> NDArray[np.float64]:
        """Return P(true | given), [true, given]: columns sum to 1, or to 0 for a class without rows."""
        return definition.clip_noise(definition.raw_inverse(self.calibrated()))

    def prior(self, method: str = "cnt") -> NDArray[np.float64]:
        """Return P(true), (n_classes,) float64, each at least some 1e-6, that sum to 1.

        Parameters
        ----------
        method : {"cnt", "eqn", "marginal", "marginal_ps"}
            "cnt": from the diagonals of the noise matrices and the given classes' shares; "eqn": by solving
            noise_matrix · prior = shares; "marginal": the column sums of the calibrated counts; "marginal_ps": the
            inverse noise matrix times the shares.

        Raises
        ------
        ValueError
            Where `method` is unknown, or "eqn" meets a singular noise matrix.
        """
        return self.latent_estimates(method).prior

    def latent_estimates(self, method: str = "cnt", *, converge: bool = False) -> LatentEstimates:
        """Return prior, noise matrix and inverse noise matrix at once.

        Parameters
        ----------
        method : {"cnt", "eqn", "marginal", "marginal_ps"}
            As for `prior`.
        converge : bool
            Make the three agree: each is counted on its own, though two of them give the third. Recomputes the inverse
            from the noise matrix and the prior, and the prior from both, 5 times, then the noise matrix from the
            inverse, all 3 times. Priors are then at least some 1e-5.

        Raises
        ------
        TypeError, ValueError
            Where an argument does not fit, or "eqn" meets a singular noise matrix.
        """
        _check.choice("method", method, PRIORS)
        try:
            return definition.latent_estimates(
                self.calibrated(),
                self._totals(),
                method=method,
                converge=_check.flag("converge", converge),
            )
        except np.linalg.LinAlgError as error:
            raise ValueError("method 'eqn' needs a noise matrix that can be inverted") from error

    def num_label_issues(self) -> int:
        """Return the estimated number of wrong labels: what lies off the diagonal of the calibrated counts.

        Calibrated once more, as cleanlab does: that raises to 1 the diagonal of a class with rows but no right ones.
        """
        twice = _backend.load("cpu").calibrate(self.calibrated(), self._totals())
        total = float(self._totals().sum())
        return int(np.rint((1.0 - np.trace(definition.joint_of(twice))) * total)) if total else 0

    def health(self) -> float:
        """Return the estimated share of right labels, in [0, 1]: the trace of `joint()`; 1 without rows."""
        return 1.0 - self.noise_rate()

    def class_quality(self) -> ClassQuality:
        """Return for each class how many of its labels are wrong, worst class first."""
        table = definition.class_quality(self.joint(), float(self._totals().sum()))
        return ClassQuality(*table, self.class_names)

    def overlapping_classes(self, *, ordered: bool = False) -> OverlappingClasses:
        """Return how often labels of two classes are confused, for each pair of classes, the most often first.

        Parameters
        ----------
        ordered : bool
            Tell (given a, true b) and (given b, true a) apart, instead of adding them up.
        """
        ordered = _check.flag("ordered", ordered)
        table = definition.overlapping_classes(
            self.joint(), float(self._totals().sum()), ordered=ordered
        )
        return OverlappingClasses(*table, ordered, self.class_names)

    def _totals(self) -> NDArray[Any]:
        return self.class_counts if self.class_weights is None else self.class_weights


@dataclass(frozen=True, eq=False)
class LabelIssues:
    """Rows whose given label is likely wrong.

    Attributes
    ----------
    mask : (n,) bool
        Whether the label is likely wrong.
    indices : (n_issues,) int64
        The rows in `mask`, worst quality first, ties to the lower row.
    quality : (n,) float64
        The score that ranks, of every row; lower is worse.
    suggested : (n,) int32
        The most probable class of every row, ties to the lower class.
    class_names : tuple of str or None
        Names of the classes, where they are known.
    """

    mask: NDArray[np.bool_]
    indices: NDArray[np.int64]
    quality: NDArray[np.float64]
    suggested: NDArray[np.int32]
    class_names: tuple[str, ...] | None = None

    def __len__(self) -> int:
        """Return the number of issues."""
        return len(self.indices)

    def __repr__(self) -> str:
        """Return the sizes, not the arrays."""
        return f"LabelIssues({len(self)} of {len(self.mask)} rows)"
