"""The chapters of the page on classes: how many of their labels are wrong, what they truly are, how even they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from . import findings, pictures
from .pictures import Rate, percent
from .text import printable

if TYPE_CHECKING:
    from .result import Audit

MOST_SHOWN = 24  # classes on one picture; the worst where there are more
MOST_LISTED = 100
MOST_PAIRS = 12


def class_rates(audit: Audit) -> tuple[list[Rate], float]:
    """Return the share of wrong labels in each class, worst first, and that of the whole."""
    counts = audit.class_counts
    drawn = None if audit.intervals is None else audit.intervals.classes
    if audit.joint is not None:
        wrong, _ = findings.class_noise(audit.joint)
    elif audit.disagreement is not None:
        flagged = audit.issues["given"][audit.issues["is_disagreement_issue"]]
        wrong = np.bincount(flagged, minlength=len(counts))
    else:
        return [], 0.0
    there = np.flatnonzero(counts)
    ends = None if drawn is None else drawn[:, there]
    low, high = findings.interval(wrong[there], counts[there], ends)
    order = np.argsort(-low, kind="stable")
    rows = [
        Rate(
            audit.class_names[c],
            float(wrong[c] / counts[c]),
            float(low[i]),
            float(high[i]),
            int(counts[c]),
        )
        for i, c in ((int(i), int(there[i])) for i in order)
    ]
    return rows, float(wrong.sum() / max(1, counts.sum()))


def classes(audit: Audit, rows: list[Rate], whole: float) -> dict[str, Any] | None:
    """Return noise per class."""
    if not rows:
        return None
    shown = rows[:MOST_SHOWN]
    label = "Share of wrong labels in each class with intervals, worst first: " + ", ".join(
        f"{printable(r.name, 24)} {percent(r.rate)}" for r in shown[:5]
    )
    picture = Markup(pictures.rates(shown, whole, label))
    return {
        "rows": rows[:MOST_LISTED],
        "shown": len(shown),
        "total": len(audit.class_names),
        "whole": whole,
        "picture": picture,
    }


def heat(audit: Audit) -> dict[str, Any] | None:
    """Return the map of given against true labels, of the classes with most wrong ones."""
    if audit.joint is None or len(audit) == 0:
        return None
    counts = audit.joint.calibrated().astype(np.float64)
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0.0)
    chosen = np.arange(len(counts))
    if len(counts) > MOST_SHOWN:
        chosen = worst_block(wrong, MOST_SHOWN)
    block = counts[np.ix_(chosen, chosen)]
    totals = np.maximum(counts.sum(axis=1)[chosen], 1.0)
    covered = float(wrong[np.ix_(chosen, chosen)].sum() / max(1.0, wrong.sum()))
    names = [audit.class_names[int(c)] for c in chosen]
    label = f"Map of given labels against true ones for {len(names)} classes; the largest shares are in the table of mix-ups"
    picture = Markup(pictures.heat(block / totals[:, None], names, label))
    return {
        "picture": picture,
        "shown": len(chosen),
        "total": len(counts),
        "covered": covered,
        "wide": len(chosen) > pictures.MOST_BESIDE,
    }


def worst_block(wrong: NDArray[np.float64], size: int) -> NDArray[np.int64]:
    """Return `size` classes that hold the largest mix-ups, those mixed up side by side.

    Pairs are taken from the largest down until there are enough classes; then a walk goes from each class to the one
    most mixed up with it among those left.
    """
    both = wrong + wrong.T
    a, b = np.triu_indices(len(both), 1)
    order = np.argsort(-both[a, b], kind="stable")
    picked: dict[int, None] = {}
    for i in order:
        new = {int(a[i]), int(b[i])} - set(picked)
        if len(picked) + len(new) <= size:
            picked |= dict.fromkeys(sorted(new))
        if len(picked) == size:
            break
    left = list(picked)
    walk = [left.pop(0)]
    while left:
        following = max(left, key=lambda c: (both[walk[-1], c], -left.index(c)))
        left.remove(following)
        walk.append(following)
    return np.array(walk, dtype=np.int64)


def pairs(audit: Audit) -> list[dict[str, Any]]:
    """Return the pairs of classes mixed up most, both ways together, among the flagged rows."""
    found: dict[tuple[int, int], list[int]] = {}
    for c in audit.confusions:
        low, high = sorted((c.given, c.suggested))
        found.setdefault((low, high), [0, 0])[int(c.given != low)] += c.rows
    names = [printable(name, 40) for name in audit.class_names]
    ordered = sorted(found.items(), key=lambda entry: (-sum(entry[1]), entry[0]))
    most = max((sum(rows) for _, rows in ordered), default=1)
    return [
        {
            "a": names[low],
            "b": names[high],
            "there": there,
            "back": back,
            "both": there + back,
            "bar": (there + back) / most,
        }
        for (low, high), (there, back) in ordered[:MOST_PAIRS]
    ]


def one_way(audit: Audit) -> dict[str, Any] | None:
    """Return the pairs of classes mixed up one way, as by a wrong instruction; None without probabilities."""
    found = audit.consistent
    if found is None or found.n_significant == 0:
        return None
    shown = found.pairs[: min(found.n_significant, MOST_PAIRS)]
    widest = float(shown["high"].max())
    return {
        "total": found.n_significant,
        "ratio": found.ratio,
        "graph": bool(np.isfinite(shown["joins_z"]).any()),
        "rows": [
            {
                "given": audit.class_names[p["given"]],
                "true": audit.class_names[p["true"]],
                "rows": int(p["rows"]),
                "reverse": int(p["reverse"]),
                "share": float(p["share"]),
                "low": float(p["low"]),
                "high": float(p["high"]),
                "at": {end: 100 * float(p[end]) / widest for end in ("low", "share", "high")},
                "together": bool(p["joins_q_value"] <= findings.FALSE_DISCOVERIES),
            }
            for p in shown
        ],
    }


def balance(audit: Audit) -> dict[str, Any] | None:
    """Return the rows of each class."""
    counts = audit.class_counts
    if counts.sum() == 0:
        return None
    largest, smallest = int(np.argmax(counts)), int(np.argmin(counts))
    label = f"Rows of each class, from {counts[largest]:,} down to {counts[smallest]:,}"
    return {
        "picture": Markup(pictures.balance(counts, audit.class_names, label)),
        "found": audit.balance,
        "largest": (audit.class_names[largest], int(counts[largest])),
        "smallest": (audit.class_names[smallest], int(counts[smallest])),
    }
