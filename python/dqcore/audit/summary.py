"""One line for each kind of issue that was looked for: how many rows have it, and what that means in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .. import _stats
from . import findings
from .text import printable, share, slice_name

if TYPE_CHECKING:
    from .result import Audit


class SummaryRow(NamedTuple):
    """One kind of issue: how many rows have it, their share of all rows, and what that means."""

    issue: str
    rows: int
    share: float
    verdict: str


def summary(audit: Audit) -> tuple[SummaryRow, ...]:
    """Return a line for each kind of issue that was looked for in `audit`."""
    lines = []
    if audit.noise is not None:
        lines.append(_flagged(audit, "label", _noise(audit.noise)))
    if audit.disagreement is not None:
        lines.append(_disagreement(audit))
    if audit.joint is not None or audit.disagreement is not None:
        lines.append(_confusion(audit))
    if audit.slices is not None and len(audit.slices):
        lines.append(_worst_slice(audit))
        lines.append(_failing_slices(audit))
    lines.append(_balance(audit))
    if audit.graph is not None:
        lines.append(_outliers(audit))
        lines.append(_near_duplicates(audit))
        lines.append(_conflicts(audit))
        if audit.split_names is not None:
            lines.append(_leaks(audit))
    return tuple(lines)


def _line(audit: Audit, issue: str, rows: int, verdict: str) -> SummaryRow:
    n = len(audit)
    return SummaryRow(issue, rows, rows / n if n else np.nan, verdict if n else "no rows")


def _flagged(audit: Audit, issue: str, verdict: str) -> SummaryRow:
    return _line(audit, issue, int(np.count_nonzero(audit.issues[f"is_{issue}_issue"])), verdict)


def _count(number: int, thing: str) -> str:
    """Return "1 group" or "2,000 groups"."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def _against(low: float, high: float) -> str:
    """Return "above 5 %, not decided against 20 %" for a share in [low, high]."""
    words = (
        f"{v.outcome} against {v.bound:.0%}"
        if v.outcome == "not decided"
        else f"{v.outcome} {v.bound:.0%}"
        for v in findings.verdicts(low, high)
    )
    return ", ".join(words).replace("%", " %")


def _noise(noise: findings.NoiseRate) -> str:
    interval = f"{share(noise.low)} to {share(noise.high)}"
    return (
        f"{share(noise.rate)} of the labels wrong ({interval}): {_against(noise.low, noise.high)}"
    )


def _disagreement(audit: Audit) -> SummaryRow:
    rows = int(np.count_nonzero(audit.issues["is_disagreement_issue"]))
    low, high = _stats.wilson_interval(rows, max(1, len(audit)), findings.CONFIDENCE)
    verdict = f"most neighbours say another label: {_against(float(low), float(high))}"
    return _line(audit, "disagreement", rows, verdict)


def _confusion(audit: Audit) -> SummaryRow:
    worst = findings.worst_confusion(audit.confusions, audit.consistent)
    if worst is None:
        return _line(
            audit, "confusion", 0, "no two classes are confused one way more than the other"
        )
    given, suggested = (printable(audit.class_names[c], 24) for c in worst[:2])
    verdict = (
        f"{given} that should be {suggested}: {share(worst.share)} of {given}, "
        f"{worst.rows:,} rows against {worst.reverse:,} the other way"
    )
    return _line(audit, "confusion", worst.rows, verdict)


def _worst_slice(audit: Audit) -> SummaryRow:
    assert audit.slices is not None
    found = audit.worst_slices(1)
    if not found:
        return _line(audit, "worst_slice", 0, f"none of {len(audit.slices):,} slices stands out")
    (worst,) = found
    name = slice_name(worst.predicate)
    verdict = f"{name}: {share(worst.error_rate)} flagged, {worst.lift:.1f} times the average"
    return _line(audit, "worst_slice", worst.size, verdict)


def _failing_slices(audit: Audit) -> SummaryRow:
    """Count the rows of the worst of the slices that surely keep less than the level agreed."""
    found = audit.slice_verdict
    assert found is not None
    level = f"{found.sla:.4g}" if found.sla < 0.01 else f"{100 * found.sla:.4g} %"
    whole = {"pass": "not", "fail": "and", "undecided": "perhaps"}[found.whole]
    failing = findings.failing_slices(found)
    if not failing:
        none = f"none of {len(found.verdicts):,} slices surely below {level}"
        return _line(audit, "failing_slice", 0, none)
    more = f" and {len(failing) - 1:,} more" if len(failing) > 1 else ""
    verdict = f"{slice_name(failing[0].predicate)}{more} below {level}, {whole} the whole"
    return _line(audit, "failing_slice", failing[0].size, verdict)


def _balance(audit: Audit) -> SummaryRow:
    balance, n_classes = audit.balance, len(audit.class_names)
    parts = []
    if len(balance.small) > len(balance.absent):
        least = "a tenth of an even share"
        parts.append(
            f"{len(balance.small) - len(balance.absent)} of {n_classes} classes below {least}"
        )
    if balance.absent:
        parts.append(f"{len(balance.absent)} of {n_classes} classes without rows")
    parts.append(f"largest class {balance.imbalance_ratio:,.1f} times the smallest")
    parts.append(f"as diverse as {balance.effective_classes:.1f} equal classes")
    rows = int(audit.class_counts[list(balance.small)].sum())
    return _line(audit, "class_imbalance", rows, ", ".join(parts))


def _outliers(audit: Audit) -> SummaryRow:
    found, graph = audit.outliers, audit.graph
    assert found is not None
    assert graph is not None
    verdict = f"mean {graph.metric} distance to neighbours above {found.threshold:.3g}"
    return _flagged(audit, "outlier", verdict)


def _near_duplicates(audit: Audit) -> SummaryRow:
    found = audit.near_duplicates
    assert found is not None
    copies = int(np.count_nonzero(audit.issues["duplicate_group"] >= 0))
    largest = int(np.bincount(found.group[found.mask]).max(initial=0))
    verdict = (
        f"{_count(found.n_groups, 'group')}, the largest of {_count(largest, 'row')}; "
        f"{_count(copies, 'row')} with a copy"
    )
    return _flagged(audit, "near_duplicate", verdict if found.n_groups else "none")


def _conflicts(audit: Audit) -> SummaryRow:
    found = audit.conflicts
    assert found is not None
    verdict = (
        f"{_count(found.groups, 'group')} of copies with more than one label: "
        f"at least {_count(found.least_wrong, 'label')} wrong"
    )
    return _flagged(audit, "conflicting_duplicate", verdict if found.groups else "none")


def _leaks(audit: Audit) -> SummaryRow:
    found = audit.leaks
    assert found is not None
    assert audit.split_names is not None
    parts = ", ".join(
        f"{_count(rows, 'row')} of {printable(name, 24)}"
        for name, rows in zip(audit.split_names, found.parts, strict=True)
        if rows
    )
    verdict = (
        f"{_count(found.groups, 'group')} of near-duplicates across parts: {parts}; "
        f"{found.copies:,} with copies across them"
    )
    return _flagged(audit, "split_leak", verdict if found.groups else "none")
