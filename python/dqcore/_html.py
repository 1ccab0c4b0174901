"""Small tables for notebooks, with nothing but the standard library: every cell escaped, no style, no script."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST_CLASSES = 12  # of a joint that is shown in full
_NUMERIC = frozenset("0123456789.,-+e% ")


def table(header: Sequence[str], rows: Sequence[Sequence[str]], caption: str) -> str:
    """Return rows under a header as an HTML table; cells of numbers stand to the right."""
    lines = ["<table>", f'<caption style="text-align:left">{_shown(caption)}</caption>']
    cells = "".join(f'<th scope="col">{_shown(cell)}</th>' for cell in header)
    lines.append(f"<thead><tr>{cells}</tr></thead>")
    lines.append("<tbody>")
    lines += [f"<tr>{''.join(_cell(cell) for cell in row)}</tr>" for row in rows]
    return "\n".join([*lines, "</tbody>", "</table>"])


def joint(counts: NDArray[Any], names: Sequence[str] | None, caption: str) -> str:
    """Return counts [given, true] as a table: all of them, or the largest off the diagonal of many classes."""
    k = len(counts)
    whole = names or [str(c) for c in range(k)]
    short = [n if len(n) <= 24 else n[:23] + "\N{HORIZONTAL ELLIPSIS}" for n in whole]
    caption = f"{caption}, {k:,} classes"
    if k <= MOST_CLASSES:
        lines = zip(short, counts.tolist(), strict=True)
        return table(
            ("given \\ true", *short),
            [(n, *(f"{x:,}" for x in line)) for n, line in lines],
            caption,
        )
    off = np.where(np.eye(k, dtype=bool), 0, counts).ravel()
    worst = [int(i) for i in np.argsort(-off, kind="stable")[:MOST_CLASSES] if off[i] > 0]
    rows = [(short[i // k], short[i % k], f"{off[i]:,}") for i in worst]
    return table(("given", "true", "rows"), rows, caption + ", the largest counts off the diagonal")


def _cell(cell: str) -> str:
    right = cell != "" and set(cell) <= _NUMERIC
    side = "right" if right else "left"
    return f'<td style="text-align:{side}">{_shown(cell)}</td>'


def _shown(text: str) -> str:
    """Return `text` escaped, with control and direction marks made visible."""
    plain = "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text
    )
    return escape(plain)
