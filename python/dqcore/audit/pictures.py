"""The pictures of a report, each a function from plain values to one <svg> element.

Whatever a picture shows is also in a table of the report. Colours are of Okabe and Ito's set, which colour-blind people
tell apart, and no finding is told by colour alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.path import Path
from numpy.typing import NDArray

from .svg import ALARM, CALM, INK, LINE, MUTED, PAPER, SECOND, Sheet
from .text import printable, width

NARROW, MAP, WIDE = 460.0, 640.0, 900.0
MOST_BESIDE = 12  # classes on a map that still fits beside another picture
ROW = 24.0  # of a chart with a name on each line
CHARACTER = 6.4  # an average one at the size of labels, in a system's font
TINY = 10
MOST_NAME = 30  # characters beside a bar


class Rate(NamedTuple):
    """A share with its interval, and what it is a share of."""

    name: str
    rate: float
    low: float
    high: float
    size: int


def short(text: str, most: int) -> str:
    """Return `text` safe to show, cut to `most` columns."""
    shown = printable(text, most)
    while width(shown) > most:
        shown = shown[:-2] + "\N{HORIZONTAL ELLIPSIS}"
    return shown


def percent(value: float, digits: int | None = None) -> str:
    """Return a share as short as it can be read: 0.3 %, 17 %."""
    if digits is None:
        digits = 1 if 0 < value < 0.0995 and round(100 * value, 1) % 1 else 0
    return f"{100 * value:.{digits}f}\N{NO-BREAK SPACE}%"


def _steps(most: float, wanted: int = 5) -> list[float]:
    """Return round numbers from 0 to at most `most`."""
    rough = max(most, 1e-9) / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(s * power for s in (1, 2, 2.5, 5, 10) if s * power >= rough * 0.999)
    return [i * step for i in range(int(most / step + 1e-9) + 1)]


def _bare(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])


def _dots(axes: Axes, xy: NDArray[np.float64], size: float, color: str, alpha: float = 1.0) -> None:
    """Draw points as lines of no length with round ends: a dozen bytes for each."""
    if len(xy):
        points = np.repeat(xy, 2, axis=0)
        codes = np.tile([Path.MOVETO, Path.LINETO], len(xy))
        axes.add_patch(
            PathPatch(
                Path(points, codes), fill=False, edgecolor=color, linewidth=size, alpha=alpha,
                capstyle="round", clip_on=False,
            )
        )  # fmt: skip


# ---- rates with intervals --------------------------------------------------------------------------


def rates(rows: Sequence[Rate], whole: float, label: str) -> str:
    """Return a line for each of `rows`: name, interval, share; `whole` is marked across all of them."""
    names = [short(row.name, 30) for row in rows]
    left = min(0.46 * NARROW, 14 + CHARACTER * max(map(width, names), default=0))
    sheet = Sheet(NARROW, ROW * len(rows) + 46)
    axes = sheet.axes(left, 22, 56, 24)
    most = max([whole, *(row.high for row in rows)]) * 1.02 or 1.0
    axes.set_xlim(0, most)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    ticks = _steps(most, 4)
    axes.set_xticks(ticks, [percent(t) for t in ticks], fontsize=TINY)
    axes.set_yticks(range(len(rows)), [sheet.name(name) for name in names])
    axes.grid(axis="x")
    axes.plot([whole, whole], [-0.5, len(rows) - 0.5], color=INK, lw=1.2, dashes=(3, 3))
    near = "left" if whole < most / 2 else "right"
    axes.text(whole, -0.5 - 6 / ROW, f"all {percent(whole)}", fontsize=TINY, ha=near)
    for y, row in enumerate(rows):
        color = ALARM if row.low > whole else CALM if row.high < whole else MUTED
        axes.plot([row.low, row.high], [y, y], color=color, lw=4, alpha=0.4)
        _dots(axes, np.array([[row.rate, y]]), 9, color)
        at = axes.get_yaxis_transform()
        axes.text(1.02, y, percent(row.rate), transform=at, va="center_baseline")
    return sheet.svg(label)


def bars(rows: Sequence[Rate], allowed: float, label: str) -> str:
    """Return a bar for each share with its interval, and a line at the share that is `allowed`."""
    names = [short(row.name, MOST_NAME) for row in rows]
    left = min(0.46 * NARROW, 14 + CHARACTER * max(map(width, names), default=0))
    sheet = Sheet(NARROW, ROW * len(rows) + 46)
    axes = sheet.axes(left, 22, 92, 24)
    most = max([allowed, *(row.high for row in rows)]) * 1.02 or 1.0
    axes.set_xlim(0, most)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    ticks = _steps(most, 3)
    axes.set_xticks(ticks, [percent(t) for t in ticks], fontsize=TINY)
    axes.set_yticks(range(len(rows)), [sheet.name(name) for name in names])
    axes.grid(axis="x")
    colors = [ALARM if row.rate > allowed else CALM for row in rows]
    for y, (row, color) in enumerate(zip(rows, colors, strict=True)):
        axes.barh(y, row.rate, height=0.62, color=color, alpha=0.55, lw=0)
        axes.plot([row.low, row.high], [y, y], color=INK, lw=1.5)
        at = axes.get_yaxis_transform()
        text = f"{percent(row.rate)} of {row.size:,}"
        axes.text(1.03, y, text, transform=at, va="center_baseline")
    axes.plot([allowed, allowed], [-0.5, len(rows) - 0.5], color=INK, lw=1.2, dashes=(3, 3))
    near = "left" if allowed < most / 2 else "right"
    axes.text(allowed, -0.5 - 6 / ROW, f"allowed {percent(allowed)}", fontsize=TINY, ha=near)
    return sheet.svg(label)


# ---- the verdict -----------------------------------------------------------------------------------


def gauge(rate: float, low: float, high: float, bounds: tuple[float, float], label: str) -> str:
    """Return a scale of shares with the zones between `bounds` and where `rate` lies on it."""
    little, much = bounds
    most = min(1.0, max(1.5 * much, 1.15 * high))
    sheet = Sheet(NARROW, 64)
    axes = sheet.axes(4, 22, 4, 20)
    axes.set_xlim(0, most)
    axes.set_ylim(0, 1)
    _bare(axes)
    for start, end, name, color, alpha in (
        (0.0, little, "little", CALM, 0.28),
        (little, much, "some", SECOND, 0.28),
        (much, most, "much", ALARM, 0.28),
    ):
        axes.add_patch(
            Rectangle((start, 0), end - start, 1, facecolor=color, alpha=alpha, lw=0, clip_on=False)
        )
        axes.text((start + end) / 2, -0.75, name, ha="center", fontsize=TINY, color=MUTED)
    for bound in bounds:
        axes.text(bound, 1.25, percent(bound), ha="center", fontsize=TINY, color=MUTED)
    axes.plot([low, high], [0.5, 0.5], color=INK, lw=5, clip_on=False, solid_capstyle="butt")
    _dots(axes, np.array([[rate, 0.5]]), 13, PAPER)
    _dots(axes, np.array([[rate, 0.5]]), 9, INK)
    return sheet.svg(label)


# ---- the joint -------------------------------------------------------------------------------------


def heat(shares: NDArray[np.float64], names: Sequence[str], label: str) -> str:
    """Return the map of `shares` [given, true]: of the rows labelled so, how many are truly what."""
    k = len(names)
    many = k > MOST_BESIDE
    shown = [short(name, 24 if many else 14) for name in names]
    upright = k <= 4
    left = 12 + CHARACTER * max(map(width, shown), default=0)
    above = 18.0 if upright else left
    cell = min(((WIDE if many else NARROW) - left - 4) / k, 72.0)
    sheet = Sheet(left + cell * k + 4, above + cell * k + 4)
    axes = sheet.axes(left, 4, 4, above)
    axes.set_xlim(0, k)
    axes.set_ylim(k, 0)
    _bare(axes)
    wrong = np.where(np.eye(k, dtype=bool), 0.0, shares)
    top = max(float(wrong.max(initial=0.0)), 1e-12)
    # Ten steps of one colour; the square root lets small shares be seen beside large ones.
    level = np.where(wrong > 0, np.ceil(10 * np.sqrt(wrong / top)), 0).astype(int)
    for step in range(1, 11):
        _cells(axes, np.argwhere(level == step), ALARM, 0.085 * step)
    _cells(axes, np.argwhere(np.eye(k, dtype=bool)), LINE, 1.0)
    near = 6 / cell
    for c, name in enumerate(shown):
        axes.text(-near, c + 0.5, sheet.name(name), ha="right", va="center_baseline")
        if upright:
            axes.text(c + 0.5, -near, sheet.name(name), ha="center")
        else:
            axes.text(
                c + 0.5, -near, sheet.name(name), rotation=90, rotation_mode="anchor",
                va="center_baseline",
            )  # fmt: skip
    size = min(11.0, cell * 0.34)
    for given, true in np.argwhere(shares >= (0.01 if many else 0.0005)):
        color = MUTED if given == true else INK
        text = _in_cell(shares[given, true])
        axes.text(
            true + 0.5, given + 0.5, text, ha="center", va="center_baseline", size=size, color=color
        )
    return sheet.svg(label)


def _in_cell(value: float) -> str:
    return f"{100 * value:.1f}" if value < 0.0995 else f"{100 * value:.0f}"


def _cells(axes: Axes, cells: NDArray[np.int64], color: str, alpha: float) -> None:
    if len(cells):
        y, x = cells[:, 0], cells[:, 1]
        gap = 0.03
        corners = [
            (x + gap, y + gap),
            (x + 1 - gap, y + gap),
            (x + 1 - gap, y + 1 - gap),
            (x + gap, y + 1 - gap),
        ]
        points = np.stack([np.stack(c, axis=1) for c in [*corners, corners[0]]], axis=1)
        codes = np.tile([Path.MOVETO, *[Path.LINETO] * 3, Path.CLOSEPOLY], len(cells))
        axes.add_patch(
            PathPatch(Path(points.reshape(-1, 2), codes), facecolor=color, alpha=alpha, lw=0)
        )


# ---- disagreement ----------------------------------------------------------------------------------


def histogram(score: NDArray[np.float64], k: int, least: float, label: str) -> str:
    """Return how many rows have which share of neighbours against their label; above `least` stands out."""
    score = score[~np.isnan(score)]
    bins = min(k, 20)
    places = np.rint(score * bins).astype(int)
    counts = np.bincount(places, minlength=bins + 1)
    sheet = Sheet(NARROW, 220)
    axes = sheet.axes(8, 40, 8, 22)
    axes.set_xlim(-0.6, bins + 0.6)
    axes.set_ylim(0, max(1, counts.max(initial=0)))
    axes.set_yticks([])
    step = 1 if bins <= 10 else 2
    ticks = list(range(0, bins + 1, step))
    axes.set_xticks(
        ticks, [f"{t}" for t in ticks] if k <= 20 else [f"{100 * t // bins} %" for t in ticks]
    )
    total = max(1, len(score))
    for place, count in enumerate(counts):
        wrong = place / bins > least
        axes.bar(
            place,
            count,
            width=0.86,
            color=ALARM if wrong else CALM,
            alpha=1.0 if wrong else 0.55,
            lw=0,
        )
        if count and bins <= 12:
            axes.text(
                place,
                count + 0.015 * counts.max(),
                percent(count / total),
                ha="center",
                fontsize=TINY,
                color=MUTED,
            )
    axes.axhline(0, color=LINE, lw=1)
    what = (
        f"neighbours of {k} with another label"
        if k <= 20
        else "share of neighbours with another label"
    )
    axes.set_xlabel(what, fontsize=TINY)
    return sheet.svg(label)


# ---- the map ---------------------------------------------------------------------------------------


def flat_map(
    xy: NDArray[np.float64],
    kind: NDArray[np.int8],
    places: Sequence[tuple[str, float, float]],
    label: str,
) -> str:
    """Return the rows at `xy`; kind 0 fine, 1 label, 2 neighbours, 3 both; names at `places`, while there is room."""
    low, high = xy.min(axis=0), xy.max(axis=0)
    span = np.where(high > low, high - low, 1.0)
    tall = float(np.clip(MAP * span[1] / span[0], 0.5 * MAP, 0.9 * MAP))
    sheet = Sheet(MAP, tall)
    axes = sheet.axes(8, 8, 8, 8)
    axes.set_xlim(low[0], low[0] + span[0])
    axes.set_ylim(low[1], low[1] + span[1])
    _bare(axes)
    dot = float(np.clip(200 / math.sqrt(max(1, len(xy))), 3.2, 7.0))
    for which, color, larger, alpha in (
        (0, MUTED, 0.9, 0.4),
        (2, CALM, 1.0, 0.8),
        (1, SECOND, 1.0, 0.9),
        (3, ALARM, 1.25, 0.95),
    ):
        _dots(axes, xy[kind == which], dot * larger, color, alpha)
    pixels = np.array([MAP - 16, tall - 16]) / span
    taken: list[tuple[float, float, float]] = []
    for name, x, y in places:
        shown = short(name, 22)
        half = CHARACTER * width(shown) / 2
        across, up = (np.array([x, y]) - low) * pixels + 8
        across = min(max(across, half), MAP - half)
        if all(abs(across - a) > half + h or abs(up - u) > 15 for a, u, h in taken):
            taken.append((across, up, half))
            at = (across - 8) / pixels[0] + low[0]
            axes.text(
                at,
                y,
                sheet.name(shown),
                ha="center",
                va="center_baseline",
                fontsize=12,
                fontweight="bold",
            )
    return sheet.svg(label)


# ---- class balance ---------------------------------------------------------------------------------


def balance(counts: NDArray[np.int64], names: Sequence[str], label: str) -> str:
    """Return the rows of each class: bars by name, or one falling line where there are too many to name."""
    order = np.argsort(-counts, kind="stable")
    if len(counts) > 25:
        return _profile(counts[order], label)
    shown = [short(names[int(c)], 30) for c in order]
    left = min(0.46 * NARROW, 14 + CHARACTER * max(map(width, shown), default=0))
    sheet = Sheet(NARROW, ROW * len(counts) + 10)
    axes = sheet.axes(left, 5, 66, 5)
    axes.set_xlim(0, max(1, counts.max(initial=0)))
    axes.set_ylim(len(counts) - 0.5, -0.5)
    axes.set_xticks([])
    axes.set_yticks(range(len(counts)), [sheet.name(name) for name in shown])
    axes.barh(range(len(counts)), counts[order], height=0.62, color=CALM, alpha=0.7, lw=0)
    for y, c in enumerate(order):
        axes.text(1.02, y, f"{counts[c]:,}", transform=axes.get_yaxis_transform(), va="center")
    return sheet.svg(label)


def _profile(counts: NDArray[np.int64], label: str) -> str:
    sheet = Sheet(NARROW, 200)
    axes = sheet.axes(58, 34, 12, 12)
    most = max(1, int(counts.max(initial=0)))
    axes.set_xlim(0, len(counts))
    axes.set_ylim(0, most)
    ticks = _steps(most, 4)
    axes.set_yticks(ticks, [f"{t:,.0f}" for t in ticks], fontsize=TINY, color=MUTED)
    axes.set_xticks([0, len(counts)], ["largest class", "smallest"], fontsize=TINY)
    axes.grid(axis="y")
    axes.stairs(counts, range(len(counts) + 1), fill=True, color=CALM, alpha=0.7, lw=0)
    first, last = axes.get_xticklabels()
    first.set_horizontalalignment("left")
    last.set_horizontalalignment("right")
    return sheet.svg(label)
