"""Intervals of what confident learning estimates: how much noise there is, give or take what the draw of rows does."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _backend, _check, _html
from .joint_options import COLLISIONS, inputs, threshold_values, warn_row_sums
from .joint_results import ConfidentJoint
from .reference import latent as definition

Floats = NDArray[np.float64]

SAMPLING_ONLY = (
    "sampling error only: what the model gets wrong the same way on every row is not covered"
)
MOST_REPLICATES = 10_000  # milliseconds for a row, at most, between two looks whether to go on
_TINY = 1e-100


class Interval(NamedTuple):
    """An estimate and the bounds of its interval; numbers, or arrays of one shape."""

    estimate: Any
    low: Any
    high: Any


@dataclass(frozen=True, eq=False)
class JointIntervals:
    """Estimates of a confident joint with percentile intervals.

    They cover sampling error only: how far the estimates would be off for other rows from the same source. What the model
    gets wrong in the same way on every row is not in them.

    Attributes
    ----------
    joint : ConfidentJoint
        The joint of the data, whose estimates these are.
    noise_rate : Interval of float
        Share of wrong labels, `joint.noise_rate()`.
    class_noise : Interval of (n_classes,) float64
        Share of wrong labels among the rows of each given class; 0 for a class without rows.
    noise_matrix : Interval of (n_classes, n_classes) float64
        P(given | true), `joint.noise_matrix()`.
    prior : Interval of (n_classes,) float64
        P(true), `joint.prior()`.
    confidence : float
        What share of such intervals holds the estimate's expectation, nearly.
    replicates : int
        Data sets that were drawn.
    seed : int
        What their weights are a hash of.
    fixed_thresholds : bool
        Whether all replicates went by the thresholds of the joint, rather than each by its own.
    """

    joint: ConfidentJoint
    noise_rate: Interval
    class_noise: Interval
    noise_matrix: Interval
    prior: Interval
    confidence: float
    replicates: int
    seed: int
    fixed_thresholds: bool

    def __repr__(self) -> str:
        """Return the noise rate with its interval, and what it does not cover."""
        rate = self.noise_rate
        return (
            f"JointIntervals(noise rate {rate.estimate:.4f}, {self.confidence:.0%} interval "
            f"[{rate.low:.4f}, {rate.high:.4f}], {SAMPLING_ONLY})"
        )

    def _repr_html_(self) -> str:
        """Return the noise rate and that of each class as a table, for notebooks."""
        names = self.joint.class_names or [str(c) for c in range(self.joint.n_classes)]
        rows = [("all", *(f"{x:.4f}" for x in self.noise_rate))]
        noise = zip(*(np.asarray(x).tolist() for x in self.class_noise), strict=True)
        rows += [
            (name, *(f"{x:.4f}" for x in each)) for name, each in zip(names, noise, strict=True)
        ]
        caption = f"Share of wrong labels, {self.confidence:.0%} intervals ({SAMPLING_ONLY})"
        return _html.table(("given class", "estimate", "low", "high"), rows, caption)


class _Replicate(ConfidentJoint):
    """A joint that is calibrated once, for all that is estimated from it; its arrays are our own and not checked."""

    def __post_init__(self) -> None:
        pass

    def calibrated(self) -> NDArray[Any]:
        known: NDArray[Any] | None = self.__dict__.get("_known")
        if known is None:
            known = super().calibrated()
            object.__setattr__(self, "_known", known)
        return known

    def prior(self, method: str = "cnt") -> Floats:
        return definition.prior(self.calibrated(), self.class_counts, method)

    def class_noise(self) -> Floats:
        calibrated = self.calibrated()
        totals = calibrated.sum(axis=1)
        result: Floats = (totals - calibrated.diagonal()) / np.maximum(totals, _TINY)
        return result


def _percentiles(values: list[Any], estimate: Any, confidence: float) -> Interval:  # noqa: ANN401
    """Return the k-th least and the k-th greatest of the replicates' values, with k the tail of (B + 1) values.

    Source: Davison and Hinkley (1997), "Bootstrap Methods and their Application", 5.2.
    """
    ordered = np.sort(np.asarray(values, np.float64), axis=0)
    k = _tail(len(values), confidence)
    low, high = ordered[k - 1], ordered[len(values) - k]
    if np.ndim(estimate) == 0:
        return Interval(float(estimate), float(low), float(high))
    return Interval(estimate, low, high)


def _tail(replicates: int, confidence: float) -> int:
    return math.floor((replicates + 1) * (1.0 - confidence) / 2.0 + 1e-9)


def enough_replicates(value: object, confidence: float) -> int:
    """Return `value` as an int where so many replicates have one beyond each bound, else raise."""
    replicates = _check.integer("replicates", value, 1, MOST_REPLICATES)
    if _tail(replicates, confidence) < 1:
        least = math.ceil(2.0 / (1.0 - confidence) - 1.0 - 1e-9)
        raise ValueError(
            f"replicates must be at least {least} for confidence {confidence}, got {replicates}"
        )
    return replicates


def _intervals(
    joint: ConfidentJoint,
    drawn: tuple[NDArray[np.int64], NDArray[np.int64], Floats],
    confidence: float,
) -> dict[str, Interval]:
    """Return the intervals of each estimate, from the rows of each replicate by cell."""
    cells, counts, thresholds = drawn
    k, replicates = thresholds.shape
    given, guess = np.divmod(cells, k + 1)
    # Entries of the noise matrix that are not 0 in every replicate: those of a cell, and the floored diagonal.
    occupied = given[guess > 0] * k + guess[guess > 0] - 1
    entries = np.union1d(occupied, np.arange(k) * (k + 1))
    estimates: dict[str, Callable[[_Replicate], Any]] = {
        "noise_rate": _Replicate.noise_rate,
        "class_noise": _Replicate.class_noise,
        "noise_matrix": lambda one: one.noise_matrix().ravel()[entries],
        "prior": _Replicate.prior,
    }
    found: dict[str, list[Any]] = {name: [] for name in estimates}
    by_replicate = np.ascontiguousarray(thresholds.T)
    for b in range(replicates):
        table = np.zeros(k * (k + 1), np.int64)
        table[cells] = counts[:, b]
        table = table.reshape(k, k + 1)
        one = _Replicate(
            np.ascontiguousarray(table[:, 1:]), by_replicate[b], table.sum(axis=1), None
        )
        for name, estimate in estimates.items():
            found[name].append(estimate(one))
    whole = _Replicate(joint.counts, joint.thresholds, joint.class_counts)
    result = {
        name: _percentiles(found[name], estimate(whole), confidence)
        for name, estimate in estimates.items()
    }

    def dense(values: Floats) -> Floats:
        matrix = np.zeros(k * k)
        matrix[entries] = values
        return matrix.reshape(k, k)

    result["noise_matrix"] = Interval(*map(dense, result["noise_matrix"]))
    return result


def bootstrap_joint(
    labels: ArrayLike,
    pred_probs: ArrayLike,
    *,
    thresholds: ArrayLike | None = None,
    fixed_thresholds: bool = False,
    collision: str = "argmax",
    replicates: int = 200,
    confidence: float = 0.95,
    seed: int = 0,
    class_names: object = None,
    backend: str = "auto",
    threads: int = 0,
    progress: _check.Progress = None,
) -> JointIntervals:
    """Estimate the noise rate, that of each class, the noise matrix and the prior, with intervals.

    Each of `replicates` data sets holds every row a number of times that is Poisson with mean 1, by a hash of (seed, row,
    replicate); an interval goes from the k-th least to the k-th greatest of what they give. The same bits for any number
    of threads. Intervals cover sampling error only: what the model gets wrong in the same way on every row is not in them.

    Parameters
    ----------
    labels, pred_probs, collision, class_names, backend, threads, progress
        As for `confident_joint`.
    thresholds : (n_classes,) numbers, optional
        Thresholds that hold for the data and for every replicate.
    fixed_thresholds : bool
        Let the data's own thresholds hold for every replicate, rather than each find its own; twice as fast, and
        intervals are too narrow by what the thresholds would vary.
    replicates : int
        At least so many that a replicate lies beyond each bound: 39 for 0.95.
    confidence : float in [0, 1)
        Share of the replicates within the bounds, nearly.
    seed : int in [0, 2^64)
        Another seed draws other replicates.

    Returns
    -------
    JointIntervals

    Raises
    ------
    TypeError, ValueError
        As for `confident_joint`, and where there are too few replicates for the confidence.
    BackendError
        Where the backend cannot run.

    Warns
    -----
    UserWarning
        Once, where rows of `pred_probs` do not sum to 1 within 1e-3.

    References
    ----------
    Chamandy, Muralidharan, Najmi and Naidu, "Estimating Uncertainty for Massive Data Streams", Google (2012); Davison
    and Hinkley, "Bootstrap Methods and their Application", 5.2 (1997).

    Examples
    --------
    >>> import dqcore as dq
    >>> p = [[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.1, 0.9], [0.2, 0.8], [0.8, 0.2]] * 20
    >>> found = dq.bootstrap_joint([0, 0, 0, 1, 1, 1] * 20, p)
    >>> found.noise_rate.low < found.noise_rate.estimate < found.noise_rate.high
    True
    """
    module = _backend.load(backend, labels, pred_probs)
    y, p, names = inputs(labels, pred_probs, class_names)
    t = None if thresholds is None else threshold_values("thresholds", thresholds, p.shape[1])
    fixed = _check.flag("fixed_thresholds", fixed_thresholds) or t is not None
    _check.choice("collision", collision, COLLISIONS)
    confidence = _check.number("confidence", confidence, 0.0, math.nextafter(1.0, 0.0))
    replicates = enough_replicates(replicates, confidence)
    seed = _check.integer("seed", seed, 0, 2**64 - 1)
    threads, progress = _check.run_options(threads, progress)
    run: dict[str, Any] = {"collision": collision, "threads": threads, "progress": progress}
    counts, found, class_counts, _, row_sums = module.confident_joint(
        y, p, thresholds=t, weights=None, **run
    )
    joint = ConfidentJoint(counts, found, class_counts, None, names)
    warn_row_sums(row_sums)
    return intervals_of(
        joint,
        module,
        y,
        p,
        replicates=replicates,
        confidence=confidence,
        seed=seed,
        fixed_thresholds=fixed,
        **run,
    )


def intervals_of(
    joint: ConfidentJoint,
    module: ModuleType,
    y: NDArray[np.int32],
    p: NDArray[Any],
    *,
    replicates: int,
    confidence: float,
    seed: int = 0,
    fixed_thresholds: bool = False,
    **run: Any,  # noqa: ANN401
) -> JointIntervals:
    """Return the intervals of `joint`, which `module` has made of labels and probabilities checked before."""
    thresholds = joint.thresholds if fixed_thresholds else None
    drawn = module.bootstrap_joint(
        y, p, thresholds=thresholds, replicates=replicates, seed=seed, **run
    )
    return JointIntervals(
        joint,
        **_intervals(joint, drawn, confidence),
        confidence=confidence,
        replicates=replicates,
        seed=seed,
        fixed_thresholds=fixed_thresholds,
    )


def confident_classes(
    labels: ArrayLike,
    pred_probs: ArrayLike,
    *,
    thresholds: ArrayLike | None = None,
    collision: str = "argmax",
    class_names: object = None,
    backend: str = "auto",
    threads: int = 0,
    progress: _check.Progress = None,
) -> NDArray[np.int32]:
    """Tell which class each row confidently belongs to: what `confident_joint` counts it as.

    Parameters
    ----------
    labels, pred_probs, thresholds, collision, class_names, backend, threads, progress
        As for `confident_joint`.

    Returns
    -------
    (n,) int32
        The class, or -1 where no class is confident.

    Raises
    ------
    TypeError, ValueError
        As for `confident_joint`.
    BackendError
        Where the backend cannot run.

    Examples
    --------
    >>> import dqcore as dq
    >>> dq.confident_classes([0, 0, 1], [[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]])
    array([ 0, -1,  1], dtype=int32)
    """
    module = _backend.load(backend, labels, pred_probs)
    y, p, _ = inputs(labels, pred_probs, class_names)
    t = None if thresholds is None else threshold_values("thresholds", thresholds, p.shape[1])
    _check.choice("collision", collision, COLLISIONS)
    threads, progress = _check.run_options(threads, progress)
    result: NDArray[np.int32] = module.confident_classes(
        y, p, thresholds=t, collision=collision, threads=threads, progress=progress
    )
    return result
