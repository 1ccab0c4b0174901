"""What the rooms say about each row, each slice and each class, and one line of summary for each kind of issue."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._stats import wilson_interval
from .text import share, slice_name

if TYPE_CHECKING:
    from ..joint import ConfidentJoint, LabelIssues
    from ..knn import KnnDisagreement
    from ..slices import SliceTable

CONFIDENCE = 0.95
# A neighbourhood speaks against a label where most of its votes, not merely the largest part, go elsewhere.
LEAST_DISAGREEMENT = 0.5
# Shares of wrong labels: below the first most training ignores them, above the second it suffers.
LITTLE_NOISE, MUCH_NOISE = 0.05, 0.20
# Of many slices, some stand out by chance: this part, at most, of those that are told.
FALSE_DISCOVERIES = 0.05
# A class is small below this part of what it would have if all classes had the same number of rows.
SMALL_CLASS = 0.1

ISSUES_DTYPE = np.dtype(
    [
        ("row", np.int64),
        ("given", np.int32),
        ("suggested", np.int32),
        ("is_label_issue", np.bool_),
        ("label_quality", np.float64),
        ("label_suggested", np.int32),
        ("is_disagreement_issue", np.bool_),
        ("disagreement", np.float64),
        ("disagreement_margin", np.float64),
        ("disagreement_suggested", np.int32),
    ]
)


class SummaryRow(NamedTuple):
    """One kind of issue: how many rows have it, their share of all rows, and what that means."""

    issue: str
    rows: int
    share: float
    verdict: str


class NoiseRate(NamedTuple):
    """The estimated share of wrong labels, with the interval that sampling alone leaves open.

    That the probabilities may be wrong in themselves is not covered.
    """

    rows: int
    rate: float
    low: float
    high: float


class Confusion(NamedTuple):
    """How many flagged rows are labelled `given` where the evidence says `suggested`."""

    given: int
    suggested: int
    rows: int


def issue_table(
    given: NDArray[np.int32],
    label_issues: LabelIssues | None,
    disagreement: KnnDisagreement | None,
) -> NDArray[np.void]:
    """Return one row for each example; what was not asked for is False, NaN or -1."""
    table = np.zeros(len(given), ISSUES_DTYPE)
    table["row"] = np.arange(len(given))
    table["given"] = given
    for name in ("label_quality", "disagreement", "disagreement_margin"):
        table[name] = np.nan
    for name in ("suggested", "label_suggested", "disagreement_suggested"):
        table[name] = -1
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
    return table


def main_flag(with_probabilities: bool) -> str:
    """Return the flag that says which rows count as errors: the label's where there are probabilities."""
    return "is_label_issue" if with_probabilities else "is_disagreement_issue"


def noise_rate(joint: ConfidentJoint) -> NoiseRate:
    """Return the share of rows that the calibrated joint puts off its diagonal."""
    counts = joint.calibrated()
    total = int(counts.sum())
    wrong = total - int(np.trace(counts))
    if total == 0:
        return NoiseRate(0, np.nan, np.nan, np.nan)
    low, high = wilson_interval(wrong, total, CONFIDENCE)
    return NoiseRate(wrong, wrong / total, float(low), float(high))


def confusions(issues: NDArray[np.void], flag: str, n_classes: int) -> tuple[Confusion, ...]:
    """Return the pairs (given, suggested) among the rows with `flag`, the most frequent first."""
    source = "label_suggested" if flag == "is_label_issue" else "disagreement_suggested"
    flagged = issues[issues[flag]]
    pairs = flagged["given"].astype(np.int64) * n_classes + flagged[source]
    codes, rows = np.unique(pairs[flagged["given"] != flagged[source]], return_counts=True)
    order = np.argsort(-rows, kind="stable")
    return tuple(
        Confusion(int(c) // n_classes, int(c) % n_classes, int(r))
        for c, r in zip(codes[order], rows[order], strict=True)
    )


def worst_slices(slices: SliceTable) -> NDArray[np.int64]:
    """Return the places in `slices` of those that stand out from the rest of the rows, worst first.

    Worst is the highest lower end of the interval: a few bad rows in a tiny slice prove little, and a huge slice a
    little above the average is not where to look first.
    """
    found = np.flatnonzero((slices.q_value <= FALSE_DISCOVERIES) & (slices.lift > 1.0))
    return found[np.argsort(-slices.low[found], kind="stable")]


def summary(
    issues: NDArray[np.void],
    class_counts: NDArray[np.int64],
    noise: NoiseRate | None,
    disagreement: KnnDisagreement | None,
    slices: SliceTable | None,
) -> tuple[SummaryRow, ...]:
    """Return a line for each kind of issue that was looked for."""
    n = len(issues)
    lines = []
    if noise is not None:
        rows = int(np.count_nonzero(issues["is_label_issue"]))
        lines.append(_line("label", rows, n, _noise_verdict(noise)))
    if disagreement is not None:
        rows = int(np.count_nonzero(issues["is_disagreement_issue"]))
        low, high = wilson_interval(rows, n, CONFIDENCE) if n else (np.nan, np.nan)
        lines.append(
            _line("disagreement", rows, n, f"{_amount(float(low), float(high))} disagreement")
        )
    if slices is not None and len(slices):
        lines.append(_slice_line(slices, n))
    least = SMALL_CLASS * n / max(1, len(class_counts))
    small = class_counts < least
    found = int(np.count_nonzero(small))
    verdict = f"{found} of {len(class_counts)} classes have fewer than {least:.0f} rows"
    lines.append(
        _line("small_class", int(class_counts[small].sum()), n, verdict if found else "none")
    )
    return tuple(lines)


def _line(issue: str, rows: int, n: int, verdict: str) -> SummaryRow:
    return SummaryRow(issue, rows, rows / n if n else np.nan, verdict if n else "no rows")


def _amount(low: float, high: float) -> str:
    """Return how much a share in [low, high] is; two words where the interval does not decide."""
    words = ("little", "some", "much")
    first = (low >= LITTLE_NOISE) + (low >= MUCH_NOISE)
    last = (high > LITTLE_NOISE) + (high > MUCH_NOISE)
    return words[first] if first == last else f"{words[first]} or {words[last]}"


def _noise_verdict(noise: NoiseRate) -> str:
    interval = f"{share(noise.low)} to {share(noise.high)}"
    return f"{_amount(noise.low, noise.high)} noise: {share(noise.rate)} of the labels wrong ({interval})"


def _slice_line(slices: SliceTable, n: int) -> SummaryRow:
    found = worst_slices(slices)
    if len(found) == 0:
        return _line("worst_slice", 0, n, f"none of {len(slices)} slices stands out")
    worst = slices[int(found[0])]
    name = slice_name(worst.predicate)
    verdict = f"{name}: {share(worst.error_rate)} flagged, {worst.lift:.1f} times the average"
    return _line("worst_slice", int(worst.size), n, verdict)
