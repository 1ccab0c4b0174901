"""The chapters of the page on rows: where errors gather, what to look at first, what the neighbours and copies tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from .. import _stats
from . import findings, pictures, report
from .pictures import Rate, percent
from .text import printable, slice_name

if TYPE_CHECKING:
    from ..slices import Slice
    from .result import Audit

MOST_SLICES = 20
MOST_BARS = 12  # of slices below the level agreed
MOST_ROWS = 25
MOST_GROUPS = 10
MOST_OUTLIERS = 10
MOST_NAMES = 20  # on the map


class Example(NamedTuple):
    """A row to look at, with what each of the two views says of it."""

    row: int
    given: str
    suggested: str
    quality: float
    voters: tuple[tuple[str, int], ...]


class Groups(NamedTuple):
    """One kind of group of rows: what it means, and the largest."""

    title: str
    summary: str
    listed: list[dict[str, Any]]


def slices(audit: Audit) -> dict[str, Any] | None:
    """Return the slices that stand out; places on their scale in per cent of its width."""
    if audit.slices is None:
        return None
    worst, like = _distinct(audit.worst_slices(10 * MOST_SLICES))
    whole = audit.slices.overall_error_rate
    most = max([whole, *(s.high for s in worst)]) or 1.0
    ends = ("low", "error_rate", "high")
    return {
        "rows": [
            (s, n, {key: 100 * getattr(s, key) / most for key in ends})
            for s, n in zip(worst, like, strict=True)
        ],
        "total": len(audit.slices),
        "whole": whole,
        "whole_at": 100 * whole / most,
        "standing_out": len(findings.worst_slices(audit.slices)),
    }


def level(audit: Audit) -> dict[str, Any] | None:
    """Return the picture of the slices that surely keep less than the level agreed, beside the whole."""
    found, table = audit.slice_verdict, audit.slices
    if found is None or table is None or not len(table):
        return None
    below = findings.failing_slices(found)
    worst, _ = _distinct(below)
    allowed = 1.0 - found.sla
    picture = None
    if worst:
        low, high = _stats.wilson_interval(
            round(table.overall_error_rate * table.n), table.n, findings.CONFIDENCE
        )
        bars = [Rate(_bar_name(s), s.error_rate, s.low, s.high, s.size) for s in worst[:MOST_BARS]]
        whole = Rate("all rows", table.overall_error_rate, float(low), float(high), table.n)
        label = f"Share flagged in slices that allow {percent(allowed)}, with intervals"
        picture = Markup(pictures.bars([whole, *bars], allowed, label))
    return {
        "sla": found.sla,
        "whole": found.whole,
        "failing": len(below),
        "shown": min(len(worst), MOST_BARS),
        "undecided": int(np.count_nonzero(found.verdicts == "undecided")),
        "total": len(table),
        "picture": picture,
    }


def _bar_name(s: Slice) -> str:
    """Return the slice's name, where that is long without the columns of values that are words."""
    whole = slice_name(s.predicate)
    if len(whole) <= pictures.MOST_NAME:
        return whole
    parts = [
        printable(value, 24) if isinstance(value, str) else f"{printable(column, 12)} = {value}"
        for column, value in s.predicate
    ]
    return " & ".join(parts)


def _distinct(found: list[Slice]) -> tuple[list[Slice], list[int]]:
    """Return the first slices that say something new, and for each how many do not say more than it.

    A slice says nothing new where an earlier one shares a column's value with it, and has as many rows and errors: the
    other columns then do not divide those rows further.
    """
    kept: list[Slice] = []
    like: list[int] = []
    for s in found:
        for i, earlier in enumerate(kept):
            same = s.size == earlier.size and s.error_sum == earlier.error_sum
            if same and set(s.predicate) & set(earlier.predicate):
                like[i] += 1
                break
        else:
            if len(kept) == MOST_SLICES:
                break
            kept.append(s)
            like.append(0)
    return kept, like


# ---- the rows to look at first ---------------------------------------------------------------------


def examples(audit: Audit) -> list[Example]:
    """Return the rows to look at first."""
    if audit.joint is None and audit.disagreement is None:
        return []
    names = [printable(name, 40) for name in audit.class_names]
    return [
        Example(
            row=int(row["row"]),
            given=names[row["given"]],
            suggested=names[row["suggested"]],
            quality=float(row["label_quality"]),
            voters=_voters(audit, int(row["row"]), names),
        )
        for row in audit.top(MOST_ROWS)
    ]


def _voters(audit: Audit, row: int, names: list[str]) -> tuple[tuple[str, int], ...]:
    """Return the labels of the row's neighbours, the most frequent first, at most three."""
    if audit.graph is None:
        return ()
    labels = audit.issues["given"][audit.graph.indices[row]]
    classes, votes = np.unique(labels, return_counts=True)
    best = np.argsort(-votes, kind="stable")[:3]
    return tuple((names[classes[i]], int(votes[i])) for i in best)


def views(audit: Audit) -> dict[str, int] | None:
    """Return how many rows the model, the neighbours, and both of them doubt."""
    if audit.joint is None or audit.disagreement is None:
        return None
    model, neighbours = audit.issues["is_label_issue"], audit.issues["is_disagreement_issue"]
    return {
        "both": int(np.count_nonzero(model & neighbours)),
        "model": int(np.count_nonzero(model & ~neighbours)),
        "neighbours": int(np.count_nonzero(neighbours & ~model)),
    }


# ---- the neighbours --------------------------------------------------------------------------------


def histogram(audit: Audit) -> Markup | None:
    """Return how many rows have how many neighbours against them."""
    if audit.graph is None or len(audit) == 0:
        return None
    score = audit.issues["disagreement"]
    doubted = np.count_nonzero(score > findings.LEAST_DISAGREEMENT) / len(score)
    label = (
        "Rows by how many neighbours have another label; "
        f"for {percent(doubted)} more than half have"
    )
    return Markup(pictures.histogram(score, audit.graph.k, findings.LEAST_DISAGREEMENT, label))


def flat_map(audit: Audit) -> dict[str, Any] | None:
    """Return the map of the features, coloured by finding."""
    if audit.projection is None or len(audit.projection.rows) == 0:
        return None
    sample = audit.issues[audit.projection.rows]
    kind = sample["is_label_issue"] + 2 * sample["is_disagreement_issue"].astype(np.int8)
    label = f"Map of {len(kind):,} rows, near ones near each other, coloured by finding"
    places = _places(audit, audit.projection.flat, sample)
    picture = pictures.flat_map(audit.projection.flat, kind.astype(np.int8), places, label)
    return {"picture": Markup(picture), "rows": len(kind), "all": len(kind) == len(audit)}


def _places(
    audit: Audit, flat: NDArray[np.float64], sample: NDArray[np.void]
) -> list[tuple[str, float, float]]:
    """Return where on the map each class is at home: the middle of its rows that nobody doubts.

    The classes with most rows that somebody doubts, the first of them first.
    """
    fine = ~(sample["is_label_issue"] | sample["is_disagreement_issue"])
    doubted = np.bincount(sample["given"][~fine], minlength=len(audit.class_names))
    found = []
    for c in np.argsort(-doubted, kind="stable")[:MOST_NAMES]:
        rows = flat[fine & (sample["given"] == c)]
        if len(rows) >= 3:
            x, y = np.median(rows, axis=0)
            found.append((audit.class_names[c], float(x), float(y)))
    return found


# ---- outliers and copies ---------------------------------------------------------------------------


def outliers(audit: Audit) -> dict[str, Any] | None:
    """Return the rows that lie farthest from all others."""
    found = audit.outliers
    if found is None or not found.mask.any():
        return None
    usual = float(np.median(found.mean_distance)) or float("nan")
    names = [printable(name, 40) for name in audit.class_names]
    rows = [
        (int(i), names[audit.issues["given"][i]], found.mean_distance[i] / usual)
        for i in found.indices[:MOST_OUTLIERS]
    ]
    return {"rows": rows, "total": int(np.count_nonzero(found.mask)), "usual": usual}


def groups(audit: Audit) -> list[Groups]:
    """Return the kinds of groups of rows that are the same or nearly so, the gravest first."""
    kinds = []
    if audit.conflicts is not None and audit.conflicts.groups:
        c = audit.conflicts
        said = (
            f"{c.groups:,} groups of identical rows, {c.rows:,} rows in all, have more than one label: "
            f"at least {c.least_wrong:,} of these labels are wrong."
        )
        kinds.append(
            (
                "Identical rows, different labels",
                said,
                "is_conflicting_duplicate_issue",
                "duplicate_group",
            )
        )
    if audit.leaks is not None and audit.leaks.groups and audit.split_names is not None:
        parts = ", ".join(
            f"{rows:,} of {printable(name, 24)}"
            for name, rows in zip(audit.split_names, audit.leaks.parts, strict=True)
            if rows
        )
        said = (
            f"{audit.leaks.groups:,} groups of near-duplicates lie in more than one part of the data ({parts}); "
            f"{audit.leaks.copies:,} of them hold identical rows. What is trained on one part has seen them."
        )
        kinds.append(
            ("Leaks across the split", said, "is_split_leak_issue", "near_duplicate_group")
        )
    if audit.near_duplicates is not None and audit.near_duplicates.n_groups:
        near = audit.near_duplicates
        copies = int(np.count_nonzero(audit.issues["duplicate_group"] >= 0))
        said = (
            f"{int(np.count_nonzero(near.mask)):,} rows in {near.n_groups:,} groups are nearly the same; "
            f"{copies:,} rows have an identical one."
        )
        kinds.append(("Near-duplicates", said, "is_near_duplicate_issue", "near_duplicate_group"))
    return [
        Groups(title, said, report.groups(audit, flag, field, MOST_GROUPS))
        for title, said, flag, field in kinds
    ]
