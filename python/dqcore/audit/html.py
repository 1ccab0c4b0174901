"""report.html: one page that stands alone, without script and without anything from outside.

The template escapes whatever it is given, but for the pictures, which `svg` writes itself. Names from the data have had
control and direction marks made visible before (`text.printable`). Needs the extra `audit`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .text import printable

if TYPE_CHECKING:
    from .result import Audit

NEEDED = ("jinja2", "markupsafe", "matplotlib")


def missing() -> str | None:
    """Return what to do about a package that the page needs and that is not here; None where all are."""
    for name in NEEDED:
        try:
            import_module(name)
        except ImportError as error:
            return (
                f"report.html needs the package {name} ({error}); "
                "the extra 'audit' brings it: pip install '.[audit]' in a checkout of dqcore"
            )
    return None


def page(audit: Audit) -> str:
    """Return the report as one HTML page.

    Raises
    ------
    ImportError
        Where the extra `audit` is not installed.
    """
    if (reason := missing()) is not None:
        raise ImportError(reason)
    import jinja2

    from . import page_content, svg

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "name": printable,
        "count": count,
        "share": share,
        "decimal": decimal,
    }
    with svg.style():
        content = page_content.content(audit)
    return environment.get_template("report.html").render(
        content | {"provenance": list(flat(audit.provenance))}
    )


def count(number: int) -> str:
    """Return 12345 as "12,345"."""
    return f"{number:,}"


def share(value: float) -> str:
    """Return 0.1234 as "12.3 %"."""
    return "\N{EN DASH}" if math.isnan(value) else f"{100 * value:.1f}\N{NO-BREAK SPACE}%"


def decimal(value: float) -> str:
    """Return a number in [0, 1] with three digits."""
    return (
        "\N{EN DASH}" if math.isnan(value) else "< 0.001" if 0 < value < 0.0005 else f"{value:.3f}"
    )


def flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Return nested values as (dotted name, text)."""
    lines: list[tuple[str, str]] = []
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            lines += flat(value, name + ".")
        elif isinstance(value, float | np.floating):
            lines.append((name, f"{value:.4g}"))
        else:
            lines.append((name, str(value)))
    return lines
