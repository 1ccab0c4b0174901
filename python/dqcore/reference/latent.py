"""What follows from a calibrated confident joint, defined: true classes, noise matrices, classes that are confused.

Everything is (n_classes, n_classes) at most and computed once, on the host, from counts. Sources: Northcutt, Jiang and
Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels", JAIR 70 (2021); cleanlab 2.9.0, count.py,
dataset.py and internal/latent_algebra.py.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

TINY = 1e-100  # keeps divisions by an empty total defined
LEAST_PRIOR = 1e-6
LEAST_CONVERGED_PRIOR = 1e-5
LEAST_SHARE = 1e-6  # of a class, where its noise is told
MOST_NOISE = 0.9999  # a noise rate of 1 would say that a class does not exist
ROUNDS, ROUNDS_OF_INVERSE = 3, 5


class LatentEstimates(NamedTuple):
    """The prior of the true classes and both noise matrices.

    Attributes
    ----------
    prior : (n_classes,) float64
        P(true).
    noise_matrix : (n_classes, n_classes) float64
        P(given | true), [given, true].
    inverse_noise_matrix : (n_classes, n_classes) float64
        P(true | given), [true, given].
    """

    prior: Floats
    noise_matrix: Floats
    inverse_noise_matrix: Floats


def joint_of(calibrated: NDArray[Any]) -> Floats:
    """Return P(given, true); 0 where there are no rows."""
    counts = calibrated.astype(np.float64)
    result: Floats = counts / max(float(counts.sum()), TINY)
    return result


def raw_noise(calibrated: NDArray[Any]) -> Floats:
    """Return P(given | true), before clipping."""
    counts = calibrated.astype(np.float64)
    result: Floats = counts / np.maximum(counts.sum(axis=0), TINY)
    return result


def raw_inverse(calibrated: NDArray[Any]) -> Floats:
    """Return P(true | given), before clipping."""
    counts = calibrated.astype(np.float64)
    result: Floats = counts.T / np.maximum(counts.sum(axis=1), TINY)
    return result


def clip_noise(matrix: Floats) -> Floats:
    """Keep noise rates below 1, then rescale columns to sum to 1."""
    clipped = np.clip(matrix, 0.0, MOST_NOISE)
    np.fill_diagonal(clipped, matrix.diagonal())
    result: Floats = clipped / np.maximum(clipped.sum(axis=0), TINY)
    return result


def _clip_prior(prior: Floats, least: float = LEAST_PRIOR) -> Floats:
    clipped = np.clip(prior, least, 1.0)
    result: Floats = clipped / clipped.sum()
    return result


def prior(calibrated: NDArray[Any], totals: NDArray[Any], method: str = "cnt") -> Floats:
    """Return P(true); raises numpy.linalg.LinAlgError where "eqn" meets a singular noise matrix."""
    shares = totals / max(float(totals.sum()), TINY)
    noise, inverse = raw_noise(calibrated), raw_inverse(calibrated)
    found: Floats
    if method == "cnt":
        found = inverse.diagonal() / np.maximum(noise.diagonal(), TINY) * shares
    elif method == "eqn":
        found = np.asarray(np.linalg.solve(noise, shares), np.float64)
    elif method == "marginal":
        found = joint_of(calibrated).sum(axis=0)
    else:
        found = (inverse * shares).sum(axis=1)
    return _clip_prior(found)


def _converged(
    shares: Floats, prior: Floats, noise: Floats, inverse: Floats
) -> tuple[Floats, Floats, Floats]:
    """Compute each from the others, in turn, so that they agree."""
    for _ in range(ROUNDS):
        for _ in range(ROUNDS_OF_INVERSE):
            inverse = clip_noise((noise * prior).T / np.maximum(shares, TINY))
            prior = _clip_prior(inverse.diagonal() / np.maximum(noise.diagonal(), TINY) * shares)
        noise = clip_noise((inverse * shares).T / np.maximum(prior, TINY))
    return _clip_prior(prior, LEAST_CONVERGED_PRIOR), clip_noise(noise), clip_noise(inverse)


def latent_estimates(
    calibrated: NDArray[Any],
    totals: NDArray[Any],
    *,
    method: str = "cnt",
    converge: bool = False,
) -> LatentEstimates:
    """Return prior and noise matrices of a calibrated joint of classes with `totals` rows (or weights)."""
    first = prior(calibrated, totals, method)
    noise, inverse = clip_noise(raw_noise(calibrated)), clip_noise(raw_inverse(calibrated))
    if not converge:
        return LatentEstimates(first, noise, inverse)
    shares = totals / max(float(totals.sum()), TINY)
    return LatentEstimates(*_converged(shares, first, noise, inverse))


class ClassTable(NamedTuple):
    """Classes, worst quality first, ties to the lower class; see `dqcore.ClassQuality`."""

    classes: NDArray[np.int64]
    issues: NDArray[np.int64]
    inverse_issues: NDArray[np.int64]
    noise: Floats
    inverse_noise: Floats
    quality: Floats


def class_quality(joint: Floats, n: float) -> ClassTable:
    """Tell for each class how many of the `n` labels are wrong that are, or should be, that class."""
    given, true, right = joint.sum(axis=1), joint.sum(axis=0), joint.diagonal()
    noise = (given - right) / np.maximum(given, LEAST_SHARE)
    inverse_noise = (true - right) / np.maximum(true, LEAST_SHARE)
    quality = 1.0 - noise
    order = np.argsort(quality, kind="stable")
    return ClassTable(
        order.astype(np.int64),
        np.rint(n * (given - right)).astype(np.int64)[order],
        np.rint(n * (true - right)).astype(np.int64)[order],
        noise[order],
        inverse_noise[order],
        quality[order],
    )


class PairTable(NamedTuple):
    """Pairs of classes, the most confused first, ties to the lower pair; see `dqcore.OverlappingClasses`."""

    a: NDArray[np.int64]
    b: NDArray[np.int64]
    rows: NDArray[np.int64]
    probability: Floats


def overlapping_classes(joint: Floats, n: float, *, ordered: bool = False) -> PairTable:
    """Tell for each pair of classes how many of the `n` rows are given one and belong to the other.

    Unordered pairs a < b take both directions together; ordered ones are (given, true).
    """
    n_classes = len(joint)
    if ordered:
        a, b = np.nonzero(~np.eye(n_classes, dtype=bool))
        probability = joint[a, b]
    else:
        a, b = np.triu_indices(n_classes, 1)
        probability = joint[a, b] + joint[b, a]
    order = np.argsort(-probability, kind="stable")
    probability = probability[order]
    rows = np.rint(probability * n).astype(np.int64)
    return PairTable(a[order].astype(np.int64), b[order].astype(np.int64), rows, probability)
