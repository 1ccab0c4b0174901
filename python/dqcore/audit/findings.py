"""What the rooms say about each row, and what follows from it for pairs of classes, slices and the whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import _stats
from .copies import conflicting

if TYPE_CHECKING:
    from ..consistent import ConsistentNoise
    from ..joint_results import ConfidentJoint, LabelIssues
    from ..knn import KnnDisagreement
    from ..neighbours import NearDuplicates, Outliers
    from ..qa import SliceVerdict
    from ..slices import Slice, SliceTable
    from .labels import NoiseIntervals

CONFIDENCE = 0.95
# A neighbourhood speaks against a label where most of its votes, not merely the largest part, go elsewhere.
LEAST_DISAGREEMENT = 0.5
# Shares of wrong labels: below the first most training ignores them, above the second it suffers.
NOISE_BOUNDS = (0.05, 0.20)
# The share of right labels that a service level commonly promises.
SLA = 0.95
# Of many slices, or pairs of classes, some stand out by chance: this part, at most, of those that are told.
FALSE_DISCOVERIES = 0.05
# A slice with less than this part of the rows is no place where errors gather, however bad it is.
SMALL_SLICE = 0.001

ISSUES_DTYPE = np.dtype(
    [
        ("row", np.int64),
        ("given", np.int32),
        ("suggested", np.int32),
        ("split", np.int32),
        ("is_label_issue", np.bool_),
        ("label_quality", np.float64),
        ("label_suggested", np.int32),
        ("is_disagreement_issue", np.bool_),
        ("disagreement", np.float64),
        ("disagreement_margin", np.float64),
        ("disagreement_suggested", np.int32),
        ("is_outlier_issue", np.bool_),
        ("outlier_score", np.float64),
        ("is_near_duplicate_issue", np.bool_),
        ("near_duplicate_score", np.float64),
        ("near_duplicate_group", np.int64),
        ("is_conflicting_duplicate_issue", np.bool_),
        ("duplicate_group", np.int64),
        ("is_split_leak_issue", np.bool_),
    ]
)
FLAGS = tuple(name for name in ISSUES_DTYPE.names or () if name.startswith("is_"))


class Verdict(NamedTuple):
    """Whether a share is "below" or "above" a bound, or "not decided" because its interval holds the bound."""

    bound: float
    outcome: str


class NoiseRate(NamedTuple):
    """The estimated share of wrong labels, with the interval that sampling alone leaves open.

    That the probabilities may be wrong in themselves is not covered.
    """

    rows: int
    rate: float
    low: float
    high: float

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """Whether the rate is below or above 5 % and 20 %, or not decided."""
        return verdicts(self.low, self.high)


class Confusion(NamedTuple):
    """How many flagged rows are labelled `given` where the evidence says `suggested`.

    `share` is their share of all rows labelled `given`, with its Wilson interval; `reverse` is how many are labelled
    `suggested` where the evidence says `given`. `p_value` is the probability that so many of the two or more go this way
    if each way were as likely (binomial), `q_value` the same by Benjamini and Hochberg over all pairs found.
    """

    given: int
    suggested: int
    rows: int
    share: float
    low: float
    high: float
    reverse: int
    p_value: float
    q_value: float


# ---- each row --------------------------------------------------------------------------------------


def issue_table(
    given: NDArray[np.int32],
    *,
    label_issues: LabelIssues | None = None,
    disagreement: KnnDisagreement | None = None,
    outliers: Outliers | None = None,
    near: NearDuplicates | None = None,
    copies: NearDuplicates | None = None,
    split: NDArray[np.integer] | None = None,
) -> NDArray[np.void]:
    """Return one row for each example; what was not asked for is False, NaN or -1."""
    table = np.zeros(len(given), ISSUES_DTYPE)
    for name in ISSUES_DTYPE.names or ():
        if ISSUES_DTYPE[name].kind != "b":
            table[name] = np.nan if ISSUES_DTYPE[name].kind == "f" else -1
    table["row"] = np.arange(len(given))
    table["given"] = given
    if split is not None:
        table["split"] = split
    if disagreement is not None:
        table["disagreement"] = disagreement.score
        table["disagreement_margin"] = disagreement.margin
        table["disagreement_suggested"] = disagreement.suggested
        table["suggested"] = disagreement.suggested
        table["is_disagreement_issue"] = (disagreement.suggested != given) & (
            disagreement.score > LEAST_DISAGREEMENT
        )
    if label_issues is not None:
        table["label_quality"] = label_issues.quality
        table["label_suggested"] = label_issues.suggested
        table["suggested"] = label_issues.suggested
        table["is_label_issue"] = label_issues.mask
    if outliers is not None:
        table["is_outlier_issue"] = outliers.mask
        table["outlier_score"] = outliers.score
    if near is not None:
        table["is_near_duplicate_issue"] = near.mask
        table["near_duplicate_score"] = near.score
        table["near_duplicate_group"] = near.group
        table["is_split_leak_issue"] = conflicting(near.group, table["split"])
    if copies is not None:
        table["duplicate_group"] = copies.group
        table["is_conflicting_duplicate_issue"] = conflicting(copies.group, given)
    return table


def main_flag(with_probabilities: bool) -> str:
    """Return the flag that says which rows count as errors: the label's where there are probabilities."""
    return "is_label_issue" if with_probabilities else "is_disagreement_issue"


# ---- the whole -------------------------------------------------------------------------------------


def noise_rate(joint: ConfidentJoint, intervals: NoiseIntervals | None = None) -> NoiseRate:
    """Return the share of rows that the calibrated joint puts off its diagonal, with its `interval`."""
    counts = joint.calibrated()
    total = int(counts.sum())
    wrong = total - int(np.trace(counts))
    if total == 0:
        return NoiseRate(0, np.nan, np.nan, np.nan)
    low, high = interval(wrong, total, None if intervals is None else intervals.whole)
    return NoiseRate(wrong, wrong / total, float(low), float(high))


def class_noise(joint: ConfidentJoint) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return how many rows of each given class have a wrong label by the calibrated joint, and all its rows."""
    calibrated = joint.calibrated()
    rows = calibrated.sum(axis=1)
    return rows - np.diagonal(calibrated), rows


def interval(
    wrong: ArrayLike, rows: ArrayLike, drawn: NDArray[np.float64] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return both ends for shares of wrong labels: the outer ones of Wilson's interval and of the bootstrap's.

    Wilson's takes the thresholds as known, and the bootstrap has nothing to vary in a class of a few rows that are all
    right: each is too narrow where the other is not.
    """
    low, high = _stats.wilson_interval(wrong, rows, CONFIDENCE)
    return (low, high) if drawn is None else (np.minimum(low, drawn[0]), np.maximum(high, drawn[1]))


def verdicts(low: float, high: float) -> tuple[Verdict, ...]:
    """Return where a share with this interval lies against each of the bounds."""
    return tuple(
        Verdict(b, "below" if high < b else "above" if low > b else "not decided")
        for b in NOISE_BOUNDS
    )


def confusions(
    issues: NDArray[np.void], flag: str, class_counts: NDArray[np.int64]
) -> tuple[Confusion, ...]:
    """Return the pairs (given, suggested) among the rows with `flag`, the most frequent first."""
    n_classes = max(1, len(class_counts))
    source = "label_suggested" if flag == "is_label_issue" else "disagreement_suggested"
    flagged = issues[issues[flag]]
    given, suggested = flagged["given"].astype(np.int64), flagged[source]
    codes, rows = np.unique((given * n_classes + suggested)[given != suggested], return_counts=True)
    if len(codes) == 0:
        return ()
    given, suggested = codes // n_classes, codes % n_classes
    opposite = suggested * n_classes + given
    place = np.minimum(np.searchsorted(codes, opposite), len(codes) - 1)
    reverse = np.where(codes[place] == opposite, rows[place], 0)
    low, high = _stats.wilson_interval(rows, class_counts[given], CONFIDENCE)
    p = _stats.binomial_tail(rows, rows + reverse, 0.5)
    columns = (
        given, suggested, rows, rows / class_counts[given], low, high, reverse, p,
        _stats.benjamini_hochberg(p),
    )  # fmt: skip
    order = np.argsort(-rows, kind="stable")
    return tuple(
        Confusion(*line) for line in zip(*(c[order].tolist() for c in columns), strict=True)
    )


def worst_confusion(
    found: tuple[Confusion, ...], consistent: ConsistentNoise | None
) -> Confusion | None:
    """Return the pair that is confused one way more than the other and has the highest lower end.

    Where there are probabilities that is the first of the consistent pairs, whose test leaves aside what the model
    confuses by itself and what the sizes of the classes explain; else it is one of `found`.
    """
    if consistent is not None:
        if consistent.n_significant == 0:
            return None
        first = consistent.pairs[0]
        names = ("given", "true", "rows", "share", "low", "high", "reverse", "p_value", "q_value")
        return Confusion(*(first[name].item() for name in names))
    directed = [c for c in found if c.q_value <= FALSE_DISCOVERIES]
    return max(directed, key=lambda c: c.low, default=None)  # of equals, the more frequent


def failing_slices(found: SliceVerdict) -> list[Slice]:
    """Return the slices that surely keep less than the level agreed, the highest lower end of their errors first."""
    return sorted(found.failing, key=lambda s: -s.low)  # equal ones stay in the table's order


def worst_slices(slices: SliceTable) -> NDArray[np.int64]:
    """Return the places in `slices` of those that stand out from the rest of the rows, worst first.

    Worst is the highest lower end of the interval: a few bad rows in a tiny slice prove little, and a huge slice a
    little above the average is not where to look first. Slices with less than a thousandth of the rows are left out.
    """
    stands_out = (slices.q_value <= FALSE_DISCOVERIES) & (slices.lift > 1.0)
    found = np.flatnonzero(stands_out & (slices.size >= SMALL_SLICE * slices.n))
    return found[np.argsort(-slices.low[found], kind="stable")]
