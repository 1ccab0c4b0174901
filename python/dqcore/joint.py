"""Confident learning: the joint of given and true labels, the quality of labels, and which are likely wrong."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _backend, _check, _html

COLLISIONS = ("argmax", "confident")
QUALITIES = ("self_confidence", "normalized_margin", "confidence_weighted_entropy")
PRUNE_FILTERS = ("prune_by_noise_rate", "prune_by_class", "both")
FILTERS = (
    *PRUNE_FILTERS,
    "confident_learning",
    "predicted_neq_given",
    "low_self_confidence",
    "low_normalized_margin",
)
PRIORS = ("cnt", "eqn", "marginal", "marginal_ps")

# Rows that a float64 still counts one by one; and as many of the greatest weight.
_MOST_COUNTED = 2**53
_MOST_WEIGHT = 2.0**84
_TINY = 1e-100
_LEAST_PRIOR = 1e-6
_MOST_NOISE = 0.9999  # a noise rate of 1 would say that a class does not exist


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
        totals = self.class_counts if self.class_weights is None else self.class_weights
        result: NDArray[Any] = _backend.load("cpu").calibrate(self.counts, totals)
        return result

    def joint(self) -> NDArray[np.float64]:
        """Return P(given, true), (n_classes, n_classes) float64 that sums to 1 (0 where there are no rows)."""
        calibrated = self.calibrated().astype(np.float64)
        result: NDArray[np.float64] = calibrated / max(float(calibrated.sum()), _TINY)
        return result

    def noise_rate(self) -> float:
        """Return the estimated share of wrong labels, in [0, 1]: one less the trace of `joint()`."""
        return float(1.0 - np.trace(self.joint())) if self.n else 0.0

    def noise_matrix(self) -> NDArray[np.float64]:
        """Return P(given | true), [given, true]: columns sum to 1, or to 0 for a class that no row belongs to."""
        return _clip_noise(self._raw_noise())

    def inverse_noise_matrix(self) -> NDArray[np.float64]:
        """Return P(true | given), [true, given]: columns sum to 1, or to 0 for a class without rows."""
        return _clip_noise(self._raw_inverse())

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
        _check.choice("method", method, PRIORS)
        totals = self.class_counts if self.class_weights is None else self.class_weights
        shares = totals / max(float(totals.sum()), _TINY)
        noise, inverse = self._raw_noise(), self._raw_inverse()
        prior: NDArray[Any]
        if method == "cnt":
            prior = inverse.diagonal() / np.maximum(noise.diagonal(), _TINY) * shares
        elif method == "eqn":
            try:
                prior = np.linalg.solve(noise, shares)
            except np.linalg.LinAlgError as error:
                raise ValueError(
                    "method 'eqn' needs a noise matrix that can be inverted"
                ) from error
        elif method == "marginal":
            prior = self.joint().sum(axis=0)
        else:
            prior = (inverse * shares).sum(axis=1)
        clipped = np.clip(prior, _LEAST_PRIOR, 1.0)
        result: NDArray[np.float64] = clipped / clipped.sum()
        return result

    def _raw_noise(self) -> NDArray[np.float64]:
        calibrated = self.calibrated().astype(np.float64)
        result: NDArray[np.float64] = calibrated / np.maximum(calibrated.sum(axis=0), _TINY)
        return result

    def _raw_inverse(self) -> NDArray[np.float64]:
        calibrated = self.calibrated().astype(np.float64)
        result: NDArray[np.float64] = calibrated.T / np.maximum(calibrated.sum(axis=1), _TINY)
        return result


def _clip_noise(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keep noise rates below 1, then rescale columns to sum to 1."""
    clipped = np.clip(matrix, 0.0, _MOST_NOISE)
    np.fill_diagonal(clipped, matrix.diagonal())
    result: NDArray[np.float64] = clipped / np.maximum(clipped.sum(axis=0), _TINY)
    return result


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


def _inputs(
    labels: object, pred_probs: object, class_names: object = None
) -> tuple[NDArray[np.int32], NDArray[Any], tuple[str, ...] | None]:
    p = _check.pred_probs("pred_probs", pred_probs)
    class_names = _check.named_classes(pred_probs, labels, class_names)
    codes, names = _check.encode_labels(
        "labels", labels, class_names, p.shape[1], counted_by="pred_probs"
    )
    _check.same_length("labels", len(codes), "pred_probs", len(p))
    return codes, p, names


def _thresholds(name: str, value: object, n_classes: int | None) -> NDArray[np.float64]:
    want = "(n_classes,) finite numbers"
    values = _check.array(name, value, 1, want)
    if values.dtype.kind not in "iuf":
        raise TypeError(f"{name} must be {want}, got dtype {values.dtype}")
    if n_classes is not None and len(values) != n_classes:
        raise _check.another_number_of_classes(name, len(values), n_classes, "pred_probs")
    if len(values) == 0:
        raise ValueError(f"{name} must be {want}, got none")
    bad = ~np.isfinite(values)
    if bad.any():
        raise _check.first_bad(name, values, bad, want)
    return _check.contiguous(values, np.float64)


RowSums = tuple[int, int, float]


def _warn_row_sums(row_sums: RowSums, stacklevel: int = 3) -> None:
    """Warn about rows of pred_probs that do not sum to 1: how many, the worst, its sum."""
    off, worst, total = row_sums
    if off:
        warnings.warn(
            f"pred_probs: {off} row{'' if off == 1 else 's'} not summing to 1 within 1e-3; "
            f"the worst is row {worst} with {total!r}; are these probabilities?",
            UserWarning,
            stacklevel=stacklevel,
        )


def confident_joint(
    labels: ArrayLike,
    pred_probs: ArrayLike,
    *,
    thresholds: ArrayLike | None = None,
    collision: str = "argmax",
    weights: ArrayLike | None = None,
    class_names: object = None,
    backend: str = "auto",
    threads: int = 0,
    progress: _check.Progress = None,
) -> ConfidentJoint:
    """Count the rows of each given class that confidently belong to each true class.

    A row confidently belongs to a class where its probability reaches the class's threshold (less 1e-6): the mean
    probability of the class over the rows labelled with it.

    Parameters
    ----------
    labels : (n,) whole numbers in [0, n_classes), or strings
        Given labels.
    pred_probs : (n, n_classes) float16, float32 or float64
        Out-of-sample predicted probabilities, in any memory layout; not copied.
    thresholds : (n_classes,) numbers, optional
        Thresholds to use instead of the classes' means.
    collision : {"argmax", "confident"}
        What a row counts as that is confident of several classes: its most probable class, confident or not (as
        cleanlab does), or the most probable of the confident ones (as the paper does).
    weights : (n,) numbers in [0, 2^31), optional
        What each row counts; thresholds become weighted means. A weight of 2 is the row twice.
    class_names : sequence of str, optional
        Names of the classes in the order of the columns; without, strings in `labels` are sorted.
    backend, threads, progress
        As everywhere: where to run, on how many threads (0: all), and a callable (stage, done, total).

    Returns
    -------
    ConfidentJoint

    Raises
    ------
    TypeError, ValueError
        Where an argument does not fit, naming it with the first bad row, its value and how many there are: a label
        out of range, a probability that is NaN or outside [-1e-6, 1 + 1e-6], a negative weight, lengths that differ.
    BackendError
        Where the backend cannot run.

    Warns
    -----
    UserWarning
        Once, where rows of `pred_probs` do not sum to 1 within 1e-3.

    References
    ----------
    Northcutt, Jiang and Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels", JAIR 70 (2021).

    Examples
    --------
    >>> import dqcore as dq
    >>> p = [[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.8, 0.2]]
    >>> joint = dq.confident_joint([0, 0, 1, 1], p)
    >>> joint.counts
    array([[1, 0],
           [0, 1]])
    >>> joint.thresholds
    array([0.85, 0.55])
    """
    module = _backend.load(backend, labels, pred_probs)
    y, p, names = _inputs(labels, pred_probs, class_names)
    t = None if thresholds is None else _thresholds("thresholds", thresholds, p.shape[1])
    _check.choice("collision", collision, COLLISIONS)
    w = None if weights is None else _check.weights("weights", weights, len(y))
    threads, progress = _check.run_options(threads, progress)
    counts, found, class_counts, class_weights, row_sums = module.confident_joint(
        y, p, thresholds=t, collision=collision, weights=w, threads=threads, progress=progress
    )
    _warn_row_sums(row_sums)
    return ConfidentJoint(counts, found, class_counts, class_weights, names)


def label_quality(
    labels: ArrayLike,
    pred_probs: ArrayLike,
    *,
    method: str = "self_confidence",
    adjust: bool = False,
    class_names: object = None,
    backend: str = "auto",
    threads: int = 0,
    progress: _check.Progress = None,
) -> NDArray[np.float64]:
    """Score how much the predictions agree with each given label.

    Parameters
    ----------
    labels, pred_probs, class_names, backend, threads, progress
        As for `confident_joint`. A score reads, and checks, only the probabilities that it needs.
    method : {"self_confidence", "normalized_margin", "confidence_weighted_entropy"}
        The probability p of the given label; (p - greatest other probability + 1) / 2, where a single class has the
        rival 0; ln(1 + q) / q with q the entropy over ln(n_classes), divided by p (at least 1e-6), and 1, its limit,
        where q is below 1e-6.
    adjust : bool
        First take each class's threshold off its probabilities, add the greatest threshold and rescale rows to sum
        to 1, so that rare classes are not all suspect. A row that then has no mass scores as if all were 0. Not for
        the entropy.

    Returns
    -------
    (n,) float64
        Higher is better; in [0, 1] for probabilities in [0, 1].

    Raises
    ------
    TypeError, ValueError
        As for `confident_joint`, and where `adjust` is asked for with the entropy.
    BackendError
        Where the backend cannot run.

    References
    ----------
    Kuan and Mueller, "Model-agnostic label quality scoring to detect real-world label errors", ICML DataPerf workshop
    (2022).

    Examples
    --------
    >>> import dqcore as dq
    >>> dq.label_quality([0, 1], [[0.75, 0.25], [0.75, 0.25]], method="normalized_margin")
    array([0.75, 0.25])
    """
    module = _backend.load(backend, labels, pred_probs)
    y, p, _ = _inputs(labels, pred_probs, class_names)
    _check.choice("method", method, QUALITIES)
    _check_adjust("method", method, _check.flag("adjust", adjust))
    threads, progress = _check.run_options(threads, progress)
    result: NDArray[np.float64] = module.label_quality(
        y, p, method=method, adjust=adjust, threads=threads, progress=progress
    )
    return result


def _check_adjust(name: str, method: str, adjust: bool) -> None:
    if adjust and method == "confidence_weighted_entropy":
        raise ValueError(f"adjust must be False with {name}='confidence_weighted_entropy'")


def _calibrated(joint: object, n_classes: int) -> NDArray[np.int64]:
    """Return the calibrated counts that `joint` stands for."""
    want = "a ConfidentJoint or (n_classes, n_classes) calibrated counts"
    if isinstance(joint, ConfidentJoint):
        if joint.class_weights is not None:
            raise ValueError("joint must be without weights: pruning counts rows")
        values = joint.calibrated()
    else:
        values = _check.integers("joint", joint, f"{want}, whole numbers", 2)
        if (values < 0).any():
            raise _check.first_bad("joint", values, values < 0, f"{want}, not negative")
    if values.shape != (n_classes, n_classes):
        raise ValueError(
            f"joint has shape {values.shape} but pred_probs has {n_classes} classes; "
            f"want ({n_classes}, {n_classes})"
        )
    return _check.contiguous(values, np.int64)


def _issue_options(
    n_classes: int,
    counted_by: str,
    filter_by: object = "prune_by_noise_rate",
    rank_by: object = "self_confidence",
    collision: object = "argmax",
    frac_noise: object = 1.0,
    num_to_remove_per_class: object = None,
    min_examples_per_class: object = 1,
    adjust: object = False,
) -> dict[str, Any]:
    """Return checked keyword arguments of the compiled function and of the state."""
    chosen = _check.choice("filter_by", filter_by, FILTERS)
    remove = None
    if num_to_remove_per_class is not None:
        if chosen not in PRUNE_FILTERS:
            raise ValueError(
                f"num_to_remove_per_class must be None with filter_by={chosen!r}: only the filters "
                f"{list(PRUNE_FILTERS)} remove by class"
            )
        want = "(n_classes,) whole numbers, at least 0"
        remove = _check.integers("num_to_remove_per_class", num_to_remove_per_class, want)
        if len(remove) != n_classes:
            raise _check.another_number_of_classes(
                "num_to_remove_per_class", len(remove), n_classes, counted_by
            )
        if (remove < 0).any():
            raise _check.first_bad("num_to_remove_per_class", remove, remove < 0, want)
        remove = _check.contiguous(np.minimum(remove, _check.MOST_CLASSES), np.int64)
    ranked = _check.choice("rank_by", rank_by, QUALITIES)
    adjusted = _check.flag("adjust", adjust)
    _check_adjust("rank_by", ranked, adjusted)
    return {
        "filter_by": chosen,
        "rank_by": ranked,
        "collision": _check.choice("collision", collision, COLLISIONS),
        "frac_noise": _check.number("frac_noise", frac_noise, 0.0, 1.0),
        "num_to_remove_per_class": remove,
        "min_examples_per_class": _check.integer(
            "min_examples_per_class", min_examples_per_class, 0, 2**53
        ),
        "adjust": adjusted,
    }


def label_issues(
    labels: ArrayLike,
    pred_probs: ArrayLike,
    *,
    filter_by: str = "prune_by_noise_rate",
    rank_by: str = "self_confidence",
    joint: ConfidentJoint | ArrayLike | None = None,
    collision: str = "argmax",
    frac_noise: float = 1.0,
    num_to_remove_per_class: ArrayLike | None = None,
    min_examples_per_class: int = 1,
    adjust: bool = False,
    class_names: object = None,
    backend: str = "auto",
    threads: int = 0,
    progress: _check.Progress = None,
) -> LabelIssues:
    """Find the rows whose given label is likely wrong, worst first.

    Parameters
    ----------
    labels, pred_probs, class_names, backend, threads, progress
        As for `confident_joint`.
    filter_by : str
        How rows are chosen. By the calibrated joint: "prune_by_noise_rate" takes, for each given class k and true
        class j, as many rows as the joint says, those with the largest p[j] - p[k]; "prune_by_class" takes from each
        given class as many as the joint says, those with the least p[k]; "both" what both take. By each row:
        "confident_learning" takes rows confident of another class; "predicted_neq_given" rows whose most probable
        class is another. By score: "low_self_confidence" and "low_normalized_margin" take as many of the lowest as
        "confident_learning" would take. But for the last two, no row is taken whose given label would be the most
        probable with 1e-6 more.
    rank_by : str
        The score that orders `indices`: a `method` of `label_quality`.
    joint : ConfidentJoint or (n_classes, n_classes) calibrated counts, optional
        What the prune filters go by, instead of the joint of the data; the other filters do not look at it.
    collision : {"argmax", "confident"}
        As for `confident_joint`.
    frac_noise : float in [0, 1]
        Share of the estimated errors that the prune filters take.
    num_to_remove_per_class : (n_classes,) whole numbers, optional
        How many rows of each given class the prune filters take (before rows are spared whose label is as probable
        as any): exactly with "prune_by_class", nearly, by cleanlab's rule, with "prune_by_noise_rate".
    min_examples_per_class : int
        Rows that the prune filters leave in each given class; a class with no more is left alone.
    adjust : bool
        Rank by adjusted probabilities, as for `label_quality`.

    Returns
    -------
    LabelIssues

    Raises
    ------
    TypeError, ValueError
        As for `confident_joint`, and where options do not go together.
    BackendError
        Where the backend cannot run.

    Warns
    -----
    UserWarning
        Once, where rows of `pred_probs` do not sum to 1 within 1e-3.

    References
    ----------
    Northcutt, Jiang and Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels", JAIR 70 (2021).

    Examples
    --------
    >>> import dqcore as dq
    >>> p = [[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.2, 0.8], [0.9, 0.1]]
    >>> issues = dq.label_issues(["cat", "cat", "dog", "dog", "dog"], p)
    >>> issues.indices
    array([4])
    >>> issues.class_names[issues.suggested[4]]
    'cat'
    """
    module = _backend.load(backend, labels, pred_probs)
    y, p, names = _inputs(labels, pred_probs, class_names)
    options = _issue_options(
        p.shape[1],
        "pred_probs",
        filter_by,
        rank_by,
        collision,
        frac_noise,
        num_to_remove_per_class,
        min_examples_per_class,
        adjust,
    )
    calibrated = None if joint is None else _calibrated(joint, p.shape[1])
    threads, progress = _check.run_options(threads, progress)
    mask, indices, quality, suggested, row_sums = module.label_issues(
        y, p, joint=calibrated, **options, threads=threads, progress=progress
    )
    _warn_row_sums(row_sums)
    return LabelIssues(mask, indices, quality, suggested, names)


def confident_joint_and_issues(
    labels: ArrayLike,
    pred_probs: ArrayLike,
    *,
    backend: str = "auto",
    threads: int = 0,
    progress: _check.Progress = None,
) -> tuple[ConfidentJoint, LabelIssues]:
    """Return `confident_joint`, and the `label_issues` that follow from it, with one warning at the caller's caller."""
    module = _backend.load(backend, labels, pred_probs)
    y, p, names = _inputs(labels, pred_probs, None)
    threads, progress = _check.run_options(threads, progress)
    run: dict[str, Any] = {"threads": threads, "progress": progress}
    counts, thresholds, class_counts, class_weights, row_sums = module.confident_joint(
        y, p, thresholds=None, collision="argmax", weights=None, **run
    )
    joint = ConfidentJoint(counts, thresholds, class_counts, class_weights, names)
    mask, indices, quality, suggested, _ = module.label_issues(
        y, p, joint=joint.calibrated(), **_issue_options(p.shape[1], "pred_probs"), **run
    )
    _warn_row_sums(row_sums, stacklevel=4)
    return joint, LabelIssues(mask, indices, quality, suggested, names)
