"""report.json: everything that is told of an audit, as plain values; docs/report.md and its schema describe it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .copies import largest_groups
from .findings import FLAGS, class_noise, failing_slices, interval, worst_slices
from .result import RANKINGS

if TYPE_CHECKING:
    from ..slices import Slice
    from .result import Audit

FORMAT, FORMAT_VERSION = "dqcore-audit", 2
MOST_LISTED = 100  # entries of each list in report.json; the arrays hold all of them
VERDICTS = ("pass", "undecided", "fail")
MOST_TOP = 20  # rows of each ranking, and of each group


def content(audit: Audit) -> dict[str, Any]:
    """Return the report as plain values."""
    names = audit.class_names
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "rows": len(audit),
        "summary": [row._asdict() for row in audit.summary],
        "noise": _noise(audit),
        "balance": _balance(audit),
        "classes": _classes(audit),
        "confusions": [
            c._asdict() | {"given": names[c.given], "suggested": names[c.suggested]}
            for c in audit.confusions[:MOST_LISTED]
        ],
        "consistent_noise": _consistent(audit),
        "slices": _slices(audit),
        "outliers": _outliers(audit),
        "near_duplicates": _near_duplicates(audit),
        "conflicting_duplicates": _conflicts(audit),
        "split_leaks": _leaks(audit),
        "top": {
            by: [_example(row, names) for row in audit.top(MOST_TOP, by)]
            for by, ranking in RANKINGS.items()
            if (audit.joint if ranking.needs == "pred_probs" else audit.graph) is not None
        },
        "provenance": audit.provenance,
    }


def to_json(audit: Audit) -> str:
    """Return the report as JSON text."""
    return dumps(content(audit))


def _noise(audit: Audit) -> dict[str, Any] | None:
    if audit.noise is None:
        return None
    return audit.noise._asdict() | {
        "verdicts": [v._asdict() for v in audit.noise.verdicts],
        "replicates": 0 if audit.intervals is None else audit.intervals.replicates,
    }


def _consistent(audit: Audit) -> dict[str, Any] | None:
    found = audit.consistent
    if found is None:
        return None
    names = audit.class_names
    listed = found.pairs[: min(found.n_significant, MOST_LISTED)]
    fields = listed.dtype.names or ()
    pairs = [dict(zip(fields, pair.item(), strict=True)) for pair in listed]
    for pair in pairs:
        pair |= {end: names[pair[end]] for end in ("given", "true")}
    return {
        "significant": found.n_significant,
        "tested": len(found),
        "ratio": found.ratio,
        "false_discoveries": found.false_discoveries,
        "pairs": pairs,
    }


def _balance(audit: Audit) -> dict[str, Any]:
    found = audit.balance._asdict()
    return found | {key: [audit.class_names[c] for c in found[key]] for key in ("small", "absent")}


def _classes(audit: Audit) -> list[dict[str, Any]]:
    n_classes = len(audit.class_names)
    flagged = {
        flag.removeprefix("is_") + "s": np.bincount(
            audit.issues["given"][audit.issues[flag]], minlength=n_classes
        )
        for flag in FLAGS
    }
    noise: list[dict[str, float] | None] = [None] * n_classes
    if audit.joint is not None:
        wrong, rows = class_noise(audit.joint)
        ends = interval(
            wrong, np.maximum(rows, 1), None if audit.intervals is None else audit.intervals.classes
        )
        noise = [
            {"rate": wrong[c] / rows[c], "low": ends[0][c], "high": ends[1][c]} if rows[c] else None
            for c in range(n_classes)
        ]
    return [
        {"name": name, "rows": audit.class_counts[c], "noise": noise[c]}
        | {flag: counts[c] for flag, counts in flagged.items()}
        for c, name in enumerate(audit.class_names)
    ]


def _slices(audit: Audit) -> dict[str, Any] | None:
    table, level = audit.slices, audit.slice_verdict
    if table is None or level is None:
        return None
    found = worst_slices(table)
    below = failing_slices(level)
    return {
        "total": len(table),
        "standing_out": len(found),
        "worst": [_slice(table[int(i)]) for i in found[:MOST_LISTED]],
        "sla": {
            "level": level.sla,
            "whole": level.whole,
            "worst_slice": level.verdict,
            **{f"slices_{v}": np.count_nonzero(level.verdicts == v) for v in VERDICTS},
            "failing": [_slice(s) for s in below[:MOST_LISTED]],
        },
    }


def _slice(s: Slice) -> dict[str, Any]:
    return s._asdict() | {"predicate": [{"column": c, "value": v} for c, v in s.predicate]}


# ---- from the neighbours -----------------------------------------------------------------------------


def _outliers(audit: Audit) -> dict[str, Any] | None:
    found = audit.outliers
    if found is None:
        return None
    return {"rows": np.count_nonzero(found.mask), "threshold": found.threshold}


def _near_duplicates(audit: Audit) -> dict[str, Any] | None:
    found = audit.near_duplicates
    if found is None:
        return None
    return {
        "rows": np.count_nonzero(found.mask),
        "groups": found.n_groups,
        "radius": found.radius,
        "rows_with_copies": np.count_nonzero(audit.issues["duplicate_group"] >= 0),
        "largest": groups(audit, "is_near_duplicate_issue", "near_duplicate_group"),
    }


def _conflicts(audit: Audit) -> dict[str, Any] | None:
    if audit.conflicts is None:
        return None
    largest = groups(audit, "is_conflicting_duplicate_issue", "duplicate_group")
    return audit.conflicts._asdict() | {"largest": largest}


def _leaks(audit: Audit) -> dict[str, Any] | None:
    if audit.leaks is None or audit.split_names is None:
        return None
    parts = [
        {"part": name, "rows": rows}
        for name, rows in zip(audit.split_names, audit.leaks.parts, strict=True)
    ]
    largest = groups(audit, "is_split_leak_issue", "near_duplicate_group")
    return audit.leaks._asdict() | {"parts": parts, "largest": largest}


def groups(audit: Audit, flag: str, field: str, most: int = MOST_LISTED) -> list[dict[str, Any]]:
    """Return the groups among the rows with `flag`, the largest first, then by lowest row."""
    return [_group(audit, rows) for rows in largest_groups(audit.issues, flag, field, most)]


def _group(audit: Audit, rows: NDArray[np.void]) -> dict[str, Any]:
    labels = np.unique(rows["given"])
    listed = {
        "size": len(rows),
        "rows": rows["row"][:MOST_TOP].tolist(),
        "labels": [audit.class_names[c] for c in labels[:MOST_TOP]],
    }
    if audit.split_names is None:
        return listed
    parts = np.unique(rows["split"][rows["split"] >= 0])
    return listed | {"parts": [audit.split_names[p] for p in parts[:MOST_TOP]]}


def _example(row: np.void, names: tuple[str, ...]) -> dict[str, Any]:
    suggested = int(row["suggested"])
    return {
        "row": row["row"],
        "given": names[row["given"]],
        "suggested": names[suggested] if suggested >= 0 else None,
        "label_quality": row["label_quality"],
        "disagreement": row["disagreement"],
        "outlier_score": row["outlier_score"],
        "near_duplicate_score": row["near_duplicate_score"],
    }


# ---- JSON ----------------------------------------------------------------------------------------------


def dumps(value: object) -> str:
    """Return `value` as JSON text."""
    # ASCII only, so that lone surrogates in names stay valid; indent 1, so that a diff shows lines.
    return json.dumps(_plain(value), allow_nan=False, ensure_ascii=True, indent=1) + "\n"


def _plain(value: object) -> object:
    """Return `value` in JSON's types; NaN and infinities become null."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)
