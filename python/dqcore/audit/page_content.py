"""What the page says first, the verdict and what to look at, and the list of its chapters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from markupsafe import Markup

from . import findings, page_classes, page_rows, pictures
from .pictures import Rate, percent
from .text import printable, slice_name

if TYPE_CHECKING:
    from .result import Audit

MOST_FACTS = 4

ISSUES = {
    "label": "Labels likely wrong",
    "disagreement": "Labels the neighbours doubt",
    "confusion": "Classes confused one way",
    "worst_slice": "Where errors gather",
    "failing_slice": "Slices below the level agreed",
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


def content(audit: Audit) -> dict[str, Any]:
    """Return everything that the template shows."""
    rates, whole = page_classes.class_rates(audit)
    return {
        "n": len(audit),
        "names": audit.class_names,
        "evidence": evidence(audit),
        "verdict": verdict(audit),
        "facts": facts(audit, rates),
        "summary": [(ISSUES.get(line.issue, line.issue), line) for line in audit.summary],
        "classes": page_classes.classes(audit, rates, whole),
        "heat": page_classes.heat(audit),
        "pairs": page_classes.pairs(audit),
        "one_way": page_classes.one_way(audit),
        "slices": page_rows.slices(audit),
        "level": page_rows.level(audit),
        "replicates": 0 if audit.intervals is None else audit.intervals.replicates,
        "by_label": audit.joint is not None,
        "by_neighbours": audit.graph is not None,
        "examples": page_rows.examples(audit),
        "views": page_rows.views(audit),
        "histogram": page_rows.histogram(audit),
        "map": page_rows.flat_map(audit),
        "groups": page_rows.groups(audit),
        "split": audit.split_names is not None,
        "outliers": page_rows.outliers(audit),
        "balance": page_classes.balance(audit),
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
    elif first == second:
        meaning = (
            f"These are too few labels to tell whether that is below {little} or above {much}."
        )
    else:
        bound = little if first == "not decided" else much
        meaning = f"Whether that is below or above {bound} is not decided."
    often = f", roughly 1 in {round(1 / noise.rate):,}" if 0 < noise.rate < 0.4 else ""
    label = f"Scale of noise: {percent(noise.rate, 1)}, interval {interval}; marks at {little} and {much}"
    return Verdict(
        f"About {percent(noise.rate)} of the labels are wrong{often}."
        if noise.rows
        else "No label seems to be wrong.",
        f"{meaning} The estimate is {percent(noise.rate, 1)} of {n:,} labels (95 % interval {interval}, from sampling alone).",
        Markup(pictures.gauge(noise.rate, noise.low, noise.high, bounds, label)),
    )


def facts(audit: Audit, rates: list[Rate]) -> list[Fact]:
    """Return what to look at first."""
    found = []
    flag = findings.main_flag(audit.joint is not None)
    if flagged := int(np.count_nonzero(audit.issues[flag])):
        both = page_rows.views(audit)
        more = (
            f"the neighbours doubt {both['both']:,} of them too" if both else "the worst are below"
        )
        found.append(Fact(f"{flagged:,}", "labels to look at", more, "rows"))
    if audit.conflicts is not None and audit.conflicts.least_wrong:
        more = f"at least, among {audit.conflicts.rows:,} rows with a copy labelled otherwise"
        found.append(
            Fact(
                f"{audit.conflicts.least_wrong:,}",
                "labels contradict identical rows",
                more,
                "copies",
            )
        )
    if audit.leaks is not None and audit.leaks.rows:
        more = "they are nearly the same as rows of another part"
        found.append(Fact(f"{audit.leaks.rows:,}", "rows leak across the split", more, "copies"))
    mixed, one_way = page_classes.pairs(audit), page_classes.one_way(audit)
    if one_way:
        c = one_way["rows"][0]
        given, true = printable(c["given"], 30), printable(c["true"], 30)
        more = (
            f"{c['rows']:,} rows, {c['reverse']:,} the other way: more than a model's own confusion"
        )
        what = f"of {given} should be {true}"
        found.append(Fact(percent(c["share"]), what, more, "one-way"))
    elif mixed and len(audit.class_names) > 2:
        p = mixed[0]
        more = f"{p['there']:,} labelled {p['a']}, {p['back']:,} {p['b']}; no two classes have more"
        found.append(Fact(f"{p['both']:,}", f"mix-ups of {p['a']} and {p['b']}", more, "pairs"))
    for s in audit.worst_slices(1):
        what = f"flagged where {slice_name(s.predicate)}"
        more = f"{s.lift:.1f} times the average, {s.size:,} rows"
        found.append(Fact(percent(s.error_rate), what, more, "slices"))
    if rates and rates[0].rate > 0:
        worst = rates[0]
        word = "wrong" if audit.joint is not None else "doubted"
        what = f"{word} in class {printable(worst.name, 30)}"
        found.append(Fact(percent(worst.rate), what, f"of {worst.size:,} rows", "classes"))
    return found[:MOST_FACTS]
