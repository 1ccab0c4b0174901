"""What the page says: the values and pictures of each chapter, out of an audit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from .._stats import wilson_interval
from . import findings, pictures
from .pictures import Rate, percent
from .text import printable, slice_name

if TYPE_CHECKING:
    from .result import Audit

MOST_CLASSES = 24  # on one picture; the worst where there are more
MOST_SLICES = 20
MOST_PAIRS = 12
MOST_ROWS = 25

ISSUES = {
    "label": "Labels likely wrong",
    "disagreement": "Labels the neighbours doubt",
    "confusion": "Classes confused one way",
    "worst_slice": "Where errors gather",
    "class_imbalance": "Rows of small classes",
    "outlier": "Outliers",
    "near_duplicate": "Near-duplicates",
    "conflicting_duplicate": "Copies with different labels",
    "split_leak": "Leaks across the split",
}


class Verdict(NamedTuple):
    """The first thing on the page."""

    headline: str
    detail: str
    gauge: Markup | None


class Fact(NamedTuple):
    """One of the few things to look at first: a figure, what it counts, and a word on it."""

    figure: str
    what: str
    more: str
    link: str


class Example(NamedTuple):
    """A row to look at, with what each of the two views says of it."""

    row: int
    given: str
    suggested: str
    quality: float
    voters: tuple[tuple[str, int], ...]
    n_voters: int
    disagreement: float
    both: bool


def content(audit: Audit) -> dict[str, Any]:
    """Return everything that the template shows."""
    rates, whole = class_rates(audit)
    return {
        "n": len(audit),
        "names": audit.class_names,
        "evidence": evidence(audit),
        "verdict": verdict(audit),
        "facts": facts(audit, rates),
        "summary": [(ISSUES.get(line.issue, line.issue), line) for line in audit.summary],
        "classes": classes(audit, rates, whole),
        "heat": heat(audit),
        "pairs": pairs(audit),
        "slices": slices(audit),
        "by": audit._ranking(),
        "examples": examples(audit),
        "views": views(audit),
        "histogram": histogram(audit),
        "map": flat_map(audit),
        "balance": balance(audit),
    }


def evidence(audit: Audit) -> list[str]:
    """Return what the audit had to go on."""
    found = []
    if audit.joint is not None:
        found.append("predicted probabilities")
    if audit.graph is not None:
        found.append(f"{audit.graph.k} nearest neighbours by {audit.graph.metric} distance")
    if audit.slices is not None:
        found.append(f"{len(audit.slices.column_names)} columns")
    return found


# ---- the verdict -----------------------------------------------------------------------------------


def verdict(audit: Audit) -> Verdict:
    """Return one sentence for who reads no further, and one more."""
    n = len(audit)
    if n == 0:
        return Verdict("There are no rows.", "Nothing was audited.", None)
    if audit.noise is not None:
        return _noise(audit.noise, n)
    if audit.disagreement is not None:
        wrong = int(np.count_nonzero(audit.issues["is_disagreement_issue"]))
        return Verdict(
            f"{percent(wrong / n)} of the rows are labelled unlike their neighbours.",
            f"{wrong:,} of {n:,} rows. That is no estimate of wrong labels: it also counts rows where classes meet. "
            "Predicted probabilities would give one.",
            None,
        )
    return Verdict(
        f"{n:,} rows in {len(audit.class_names):,} classes; nothing to judge their labels by.",
        "Predicted probabilities or features show which labels are wrong.",
        None,
    )


def _noise(noise: findings.NoiseRate, n: int) -> Verdict:
    bounds = findings.NOISE_BOUNDS
    interval = f"{pictures.percent(noise.low, 1)} to {pictures.percent(noise.high, 1)}"
    little, much = (percent(b) for b in bounds)
    first, second = (v.outcome for v in noise.verdicts)
    if first == "below":
        meaning = f"That is little: below {little}, most training copes."
    elif second == "above":
        meaning = f"That is much: above {much}, models suffer. Clean the labels before training."
    elif first == "above" and second == "below":
        meaning = f"That is enough to be worth cleaning: above {little}, though below {much}."
    else:
        bound = little if first == "not decided" else much
        meaning = f"Whether that is below or above {bound} is not decided."
    often = f", roughly 1 in {round(1 / noise.rate):,}" if 0 < noise.rate < 0.4 else ""
    label = f"Scale of noise: {percent(noise.rate, 1)}, interval {interval}; marks at {little} and {much}"
    return Verdict(
        f"About {percent(noise.rate)} of the labels are wrong{often}.",
        f"{meaning} The estimate is {percent(noise.rate, 1)} of {n:,} labels (95 % interval {interval}, from sampling alone).",
        Markup(pictures.gauge(noise.rate, noise.low, noise.high, bounds, label)),
    )


def facts(audit: Audit, rates: list[Rate]) -> list[Fact]:
    """Return what to look at first."""
    found = []
    flagged = {line.issue: line for line in audit.summary}
    main = "label" if audit.joint is not None else "disagreement"
    if main in flagged and flagged[main].rows:
        both = views(audit)
        more = f"the neighbours doubt {both['both']:,} of them too" if both else "worst first below"
        found.append(Fact(f"{flagged[main].rows:,}", "labels to look at", more, "rows"))
    if mixed := pairs(audit):
        first = mixed[0]
        found.append(
            Fact(
                f"{first['both']:,}",
                f"mix-ups of {first['a']} and {first['b']}",
                "more than of any other two classes",
                "pairs",
            )
        )
    if len(worst := audit.worst_slices(1)):
        s = worst[0]
        found.append(
            Fact(
                percent(s.error_rate),
                f"flagged where {slice_name(s.predicate)}",
                f"{s.lift:.1f} times the average",
                "slices",
            )
        )
    if rates and rates[0].high > 0:
        worst_class = rates[0]
        found.append(
            Fact(
                percent(worst_class.rate),
                f"wrong in class {printable(worst_class.name, 30)}",
                f"of {worst_class.size:,} rows",
                "classes",
            )
        )
    return found


# ---- classes ---------------------------------------------------------------------------------------


def class_rates(audit: Audit) -> tuple[list[Rate], float]:
    """Return the share of wrong labels in each class, worst first, and that of the whole."""
    counts = audit.class_counts
    if audit.joint is not None:
        calibrated = audit.joint.calibrated()
        wrong = calibrated.sum(axis=1) - np.diagonal(calibrated)
    elif audit.disagreement is not None:
        flagged = audit.issues["given"][audit.issues["is_disagreement_issue"]]
        wrong = np.bincount(flagged, minlength=len(counts))
    else:
        return [], 0.0
    there = np.flatnonzero(counts)
    low, high = wilson_interval(wrong[there], counts[there], findings.CONFIDENCE)
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
    shown = rows[:MOST_CLASSES]
    label = "Share of wrong labels in each class with intervals, worst first: " + ", ".join(
        f"{printable(r.name, 24)} {percent(r.rate)}" for r in shown[:5]
    )
    picture = Markup(pictures.rates(shown, whole, label))
    return {
        "rows": rows[:100],
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
    if len(counts) > MOST_CLASSES:
        chosen = worst_block(wrong, MOST_CLASSES)
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


# ---- slices ----------------------------------------------------------------------------------------


def slices(audit: Audit) -> dict[str, Any] | None:
    """Return the slices that stand out."""
    if audit.slices is None:
        return None
    worst = audit.worst_slices(MOST_SLICES)
    whole = audit.slices.overall_error_rate
    most = max([whole, *(s.high for s in worst)]) or 1.0
    return {
        "rows": [
            (s, {key: 100 * getattr(s, key) / most for key in ("low", "error_rate", "high")})
            for s in worst
        ],
        "total": len(audit.slices),
        "whole": whole,
        "whole_at": 100 * whole / most,
        "standing_out": len(findings.worst_slices(audit.slices)),
    }


# ---- rows ------------------------------------------------------------------------------------------


def examples(audit: Audit) -> list[Example]:
    """Return the rows to look at first."""
    if audit.joint is None and audit.disagreement is None:
        return []
    names = [printable(name, 40) for name in audit.class_names]
    found = []
    for row in audit.top(MOST_ROWS):
        voters: tuple[tuple[str, int], ...] = ()
        n_voters = 0
        if audit.graph is not None:
            votes = np.bincount(
                audit.issues["given"][audit.graph.indices[row["row"]]], minlength=len(names)
            )
            n_voters = int(votes.sum())
            best = [int(c) for c in np.argsort(-votes, kind="stable")[:3] if votes[c]]
            voters = tuple((names[c], int(votes[c])) for c in best)
        found.append(
            Example(
                row=int(row["row"]),
                given=names[row["given"]],
                suggested=names[row["suggested"]] if row["suggested"] >= 0 else "\N{EN DASH}",
                quality=float(row["label_quality"]),
                voters=voters,
                n_voters=n_voters,
                disagreement=float(row["disagreement"]),
                both=bool(row["is_label_issue"] & row["is_disagreement_issue"]),
            )
        )
    return found


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


def histogram(audit: Audit) -> Markup | None:
    """Return how many rows have how many neighbours against them."""
    if audit.disagreement is None or audit.graph is None:
        return None
    score = audit.issues["disagreement"]
    doubted = np.count_nonzero(score > findings.LEAST_DISAGREEMENT) / max(1, len(score))
    label = f"Rows by how many neighbours have another label; for {percent(doubted)} more than half have"
    return Markup(pictures.histogram(score, audit.graph.k, findings.LEAST_DISAGREEMENT, label))


def flat_map(audit: Audit) -> dict[str, Any] | None:
    """Return the map of the features, coloured by finding."""
    if audit.projection is None or len(audit.projection.rows) == 0:
        return None
    flagged = audit.issues[audit.projection.rows]
    kind = flagged["is_label_issue"] + 2 * flagged["is_disagreement_issue"].astype(np.int8)
    explained = float(audit.projection.explained.sum())
    label = f"Map of {len(kind):,} rows by their features, in two dimensions that hold {percent(explained)} of the variance; coloured by finding"
    picture = Markup(pictures.flat_map(audit.projection.positions, kind.astype(np.int8), label))
    return {
        "picture": picture,
        "rows": len(kind),
        "explained": explained,
        "all": len(kind) == len(audit),
    }
