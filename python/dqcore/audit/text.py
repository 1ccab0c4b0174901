"""Plain text for people: tables, shares, and names from the data made safe for a terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .copies import largest_groups
from .findings import FALSE_DISCOVERIES, failing_slices

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..consistent import ConsistentNoise
    from ..slices import Slice
    from .findings import Confusion
    from .result import Audit

MOST_CHARACTERS = 60
MOST_IN_A_CELL = 5  # rows or names of a group


def printable(text: object, most: int = MOST_CHARACTERS) -> str:
    """Return `text` on one line without control characters, at most `most` characters long.

    What a terminal would act on or hide (escape codes, line ends, direction marks, lone surrogates)
    comes out as its escape, so a name in a data set cannot move the cursor or fake a line.
    """
    text = str(text)
    cut = text if len(text) <= most else text[: most - 1] + "\N{HORIZONTAL ELLIPSIS}"
    return "".join(c if c.isprintable() else _escape(c) for c in cut)


def _escape(character: str) -> str:
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def width(text: str) -> int:
    """Return how many columns a terminal gives `text`."""
    import unicodedata

    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


def share(value: float) -> str:
    """Return 0.1234 as "12.3 %", and "-" where there is none."""
    return "-" if math.isnan(value) else f"{100 * value:.1f} %"


def table(header: Sequence[str], rows: Sequence[Sequence[str]], indent: str = "  ") -> str:
    """Return rows under a header; columns that hold only numbers, shares or "-" stand to the right."""
    cells = [list(header), *(list(row) for row in rows)]
    columns = list(zip(*cells, strict=True))
    widths = [max(width(cell) for cell in column) for column in columns]
    right = [bool(rows) and all(_is_number(cell) for cell in column[1:]) for column in columns]
    lines = []
    for row in cells:
        padded = (
            " " * (w - width(cell)) + cell if r else cell + " " * (w - width(cell))
            for cell, w, r in zip(row, widths, right, strict=True)
        )
        lines.append((indent + "  ".join(padded)).rstrip())
    return "\n".join(lines)


def _is_number(cell: str) -> bool:
    return cell != "" and set(cell) <= set("0123456789.,-% ") and ", " not in cell  # a list


# ---- an audit --------------------------------------------------------------------------------------


def short(audit: Audit) -> str:
    """Return the summary of `audit`."""
    rows = [
        (line.issue, f"{line.rows:,}", share(line.share), line.verdict) for line in audit.summary
    ]
    return f"{sizes(audit)}\n\n{table(('issue', 'rows', 'share', 'verdict'), rows)}"


def sizes(audit: Audit) -> str:
    """Return what was audited, on one line."""
    parts = [f"{len(audit):,} rows", f"{len(audit.class_names):,} classes"]
    if audit.graph is not None:
        parts.append(f"{audit.graph.k} neighbours by {audit.graph.metric} distance")
    return ", ".join(parts)


def report(audit: Audit, top: int = 10) -> str:
    """Return everything of `audit` that fits a screen or two: summary, confusions, slices, rows to look at."""
    parts = [short(audit)]
    names = [printable(name, 24) for name in audit.class_names]
    if audit.consistent is not None and audit.consistent.n_significant:
        parts.append("mixed up one way\n" + _one_way(audit.consistent, names, top))
    if audit.confusions:
        parts.append("most confused\n" + _confusions(audit.confusions[:top], names))
    if len(worst := audit.worst_slices(top)):
        parts.append("worst slices\n" + slice_rows(worst))
    if audit.slice_verdict is not None and len(below := failing_slices(audit.slice_verdict)):
        level = f"{100 * audit.slice_verdict.sla:.4g} %"
        parts.append(f"slices with fewer than {level} right\n" + slice_rows(below[:top]))
    parts += _copies(audit, names, top)
    by = "label" if audit.joint is not None else "disagreement"
    if (audit.joint is not None or audit.disagreement is not None) and len(
        found := audit.top(top, by)
    ):
        parts.append(f"rows to look at first, by {by}\n" + _examples(found, names))
    return "\n\n".join(parts)


def _one_way(found: ConsistentNoise, names: Sequence[str], top: int) -> str:
    rows = [
        (
            names[p["given"]],
            names[p["true"]],
            f"{p['rows']:,}",
            f"{p['reverse']:,}",
            share(p["share"]),
            f"{share(p['low'])} to {share(p['high'])}",
            "-"
            if math.isnan(p["joins_q_value"])
            else "yes"
            if p["joins_q_value"] <= FALSE_DISCOVERIES
            else "no",
        )
        for p in found.pairs[: min(top, found.n_significant)]
    ]
    head = ("given", "truly", "rows", "other way", "share of sure", "95 % interval", "alike")
    return table(head, rows)


def _confusions(found: Sequence[Confusion], names: Sequence[str]) -> str:
    rows = [
        (
            names[c.given],
            names[c.suggested],
            f"{c.rows:,}",
            share(c.share),
            f"{share(c.low)} to {share(c.high)}",
            f"{c.reverse:,}",
        )
        for c in found
    ]
    head = ("given", "suggested", "rows", "share of given", "95 % interval", "other way")
    return table(head, rows)


def slice_rows(slices: Sequence[Slice]) -> str:
    """Return slices as a table."""
    rows = [
        (
            slice_name(s.predicate),
            f"{s.size:,}",
            f"{s.error_sum:,.0f}",
            share(s.error_rate),
            f"{share(s.low)} to {share(s.high)}",
            f"{s.lift:.2f}",
        )
        for s in slices
    ]
    return table(("slice", "rows", "flagged", "share", "95 % interval", "lift"), rows)


def slice_name(predicate: Sequence[tuple[object, object]]) -> str:
    """Return "column = value & column = value", safe for a terminal."""
    return " & ".join(
        f"{printable(column, 24)} = {printable(value, 24)}" for column, value in predicate
    )


def _copies(audit: Audit, names: Sequence[str], top: int) -> list[str]:
    """Return a table of copies with different labels, and one of near-duplicates across the split, where there are any."""
    labels = largest_groups(audit.issues, "is_conflicting_duplicate_issue", "duplicate_group", top)
    leaks = largest_groups(audit.issues, "is_split_leak_issue", "near_duplicate_group", top)
    split = [printable(name, 24) for name in audit.split_names or ()]
    kinds = (
        ("copies with different labels", "labels", labels, "given", names),
        ("near-duplicates across the split", "parts", leaks, "split", split),
    )
    return [
        f"{title}\n"
        + table(
            ("rows", head), [(_first(g["row"]), _first(np.unique(g[field]), said)) for g in groups]
        )
        for title, head, groups, field, said in kinds
        if groups
    ]


def _first(numbers: NDArray[np.integer], names: Sequence[str] | None = None) -> str:
    """Return the first few of `numbers`, or their names, and how many more there are."""
    shown = [names[i] if names is not None else str(i) for i in numbers[:MOST_IN_A_CELL].tolist()]
    more = len(numbers) - len(shown)
    return ", ".join(shown) + (f" and {more:,} more" if more else "")


def _examples(found: NDArray[np.void], names: Sequence[str]) -> str:
    rows = [
        (
            f"{row['row']}",
            names[row["given"]],
            names[row["suggested"]] if row["suggested"] >= 0 else "-",
            _decimal(row["label_quality"]),
            _decimal(row["disagreement"]),
        )
        for row in found
    ]
    return table(("row", "given", "suggested", "label quality", "disagreement"), rows)


def _decimal(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"
