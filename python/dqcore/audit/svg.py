"""Figures of matplotlib as small inline SVG: nothing but shapes and text, in the colours of the page.

What matplotlib writes is read and written anew. Only groups, paths and text get through, numbers are rounded to a tenth of
a pixel, a colour of the palette becomes a variable of the page's style, so that it follows a dark one, and text takes the
page's font. Names from the data never reach matplotlib, which would look for markup and glyphs in them: a token stands for
each until the end.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast
from xml.etree import ElementTree
from xml.sax.saxutils import escape, quoteattr

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

# Stand-ins for the variables of the page's style, each a colour that nothing else has.
PALETTE = {
    name: f"#00{i:02x}fe"
    for i, name in enumerate(("ink", "muted", "line", "paper", "calm", "alarm", "second"))
}
INK, MUTED, LINE, PAPER, CALM, ALARM, SECOND = PALETTE.values()
_VARIABLES = {color: f"var(--{name})" for name, color in PALETTE.items()}

_SVG = "{http://www.w3.org/2000/svg}"
_KEPT = {
    "path": ("fill", "fill-opacity", "opacity", "stroke", "stroke-width", "stroke-opacity",
             "stroke-linecap", "stroke-dasharray"),
    "text": ("fill", "opacity", "text-anchor", "font-size", "font-weight"),
}  # fmt: skip
_DEFAULTS = {"stroke-linecap": "butt", "opacity": "1", "stroke-width": "1", "text-anchor": "start"}
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "dqcore",
    "path.simplify": False,
    "font.size": 11,
    "text.color": INK,
    "text.usetex": False,
    "text.parse_math": False,
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.unicode_minus": False,
    "axes.grid.axis": "x",
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.spines.bottom": False,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "grid.color": LINE,
    "grid.linewidth": 1,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.major.pad": 5,
    "ytick.major.pad": 8,
}


@contextmanager
def style() -> Iterator[None]:
    """Draw as the page does, whatever the caller's own settings of matplotlib are."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(cast("Any", _STYLE))
        yield


class Sheet:
    """A figure, measured in pixels; y runs upwards from the bottom."""

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = width, height
        self.figure = Figure((width / 72, height / 72), dpi=72)
        FigureCanvasSVG(self.figure)
        self._names: list[str] = []

    def axes(self, left: float, bottom: float, right: float, top: float) -> Axes:
        """Return axes between these margins."""
        w, h = self.width, self.height
        return self.figure.add_axes(
            (left / w, bottom / h, max(1.0, w - left - right) / w, max(1.0, h - bottom - top) / h)
        )

    def name(self, text: str) -> str:
        """Return what to draw in place of `text`, which may hold anything printable."""
        self._names.append(text)
        return f"@{len(self._names) - 1}@"

    def svg(self, label: str) -> str:
        """Return the figure as an <svg> element; `label` tells what there is to see."""
        drawn = io.StringIO()
        self.figure.savefig(drawn, format="svg", metadata={"Date": None, "Creator": None})
        parts = list(self._parts(ElementTree.fromstring(drawn.getvalue())))
        size = f'width="{self.width:g}" height="{self.height:g}"'
        box = f'viewBox="0 0 {self.width:g} {self.height:g}"'
        return f'<svg {size} {box} role="img" aria-label={quoteattr(label)}>{"".join(parts)}</svg>'

    def _parts(self, element: ElementTree.Element) -> Iterator[str]:
        for child in element:
            if child.tag == f"{_SVG}g":
                yield from self._parts(child)
            elif child.tag == f"{_SVG}path":
                shape = _path(child.get("d", ""))
                kept = _kept(child, "path")
                # The figure's and the axes' own backgrounds are drawn in no colour.
                if shape and ("stroke:" in kept or "fill:none" not in kept):
                    yield f'<path d="{shape}" style="{kept}"/>'
            elif child.tag == f"{_SVG}text":
                yield f"<text {_place(child)}{_styled(child)}>{self._words(child)}</text>"

    def _words(self, element: ElementTree.Element) -> str:
        text = "".join(element.itertext())
        token = re.fullmatch(r"@(\d+)@", text)
        return escape(self._names[int(token[1])] if token else text)


def _kept(element: ElementTree.Element, kind: str) -> str:
    pairs = (part.partition(":") for part in element.get("style", "").split(";"))
    values = {key.strip(): value.strip() for key, _, value in pairs}
    if "font" in values and (size := re.search(r"([\d.]+)px", values["font"])):
        values["font-size"] = size[1] + "px"
        if re.search(r"\b(bold|[6-9]00)\b", values["font"]):
            values["font-weight"] = "600"
    if values.get("font-weight") in {"bold", "700"}:
        values["font-weight"] = "600"
    return ";".join(
        f"{key}:{_VARIABLES.get(values[key], values[key])}"
        for key in _KEPT[kind]
        if key in values and values[key] != _DEFAULTS.get(key)
    )


def _styled(element: ElementTree.Element) -> str:
    return f' style="{_kept(element, "text")}"'


def _path(drawn: str) -> str:
    """Return path data with short numbers; a line to where the pen is, which draws a dot, becomes "h0"."""
    parts = []
    last = ""
    for command, numbers in re.findall(r"([MLQCz])([^MLQCz]*)", drawn):
        place = " ".join(_number(n) for n in numbers.split())
        parts.append("h0" if command == "L" and place == last else command + place)
        last = place
    return "".join(parts)


def _place(element: ElementTree.Element) -> str:
    """Return where a text stands: x and y, and how it is turned."""
    transform = element.get("transform", "")
    moved = re.search(r"translate\(([-\d.e]+)[ ,]+([-\d.e]+)\)", transform)
    turned = re.search(r"rotate\(([-\d.e]+)", transform)
    x, y = moved.groups() if moved else (element.get("x", "0"), element.get("y", "0"))
    angle = _number(turned[1]) if turned else "0"
    if angle == "0":
        return f'x="{_number(x)}" y="{_number(y)}"'
    return f'transform="translate({_number(x)} {_number(y)}) rotate({angle})"'


def _number(text: str) -> str:
    short = f"{float(text):.1f}".removesuffix(".0")
    return "0" if short == "-0" else short
