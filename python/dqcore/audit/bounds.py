"""What --fail-on says: shares of an audit that must not be reached."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from .result import Audit

# What --fail-on can bound, and what the input must hold for it.
SHARES = {
    "noise": "pred_probs",
    "label": "pred_probs",
    "disagreement": "features",
    "outlier": "features",
    "near_duplicate": "features",
    "conflicting_duplicate": "features",
    "split_leak": "features and split",
}


class Bound(NamedTuple):
    """A share that must not be reached: "noise>5%"."""

    name: str
    strict: bool  # ">", else ">="
    share: float
    text: str


def bound(text: str) -> Bound:
    """Return the bound that `text` means, such as "noise>5%" or "label>=0.02"."""
    name, sign, value = (part.strip() for part in text.partition(">"))
    strict = not value.startswith("=")
    share = _share(value.removeprefix("=").strip())
    if name not in SHARES or not sign or not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no bound; want one of {', '.join(SHARES)}, then > or >=, "
            "then a share such as 5% or 0.05"
        )
    return Bound(name, strict, share, text.strip())


def agreed(text: str) -> float:
    """Return the share that `text` means, such as "99%" or "0.99"."""
    share = _share(text.strip())
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no share; want one such as 95% or 0.95")
    return share


def _share(text: str) -> float:
    """Return a share of 0 to 1; another number where `text` is none."""
    number, percent = (text[:-1].strip(), 100.0) if text.endswith("%") else (text, 1.0)
    try:
        return float(number) / percent
    except ValueError:
        return -1.0


def reached(found: Audit, bounds: Sequence[Bound]) -> list[str]:
    """Return a line for each of `bounds` that `found` reaches; ValueError where one cannot be told."""
    shares = {line.issue: line.share for line in found.summary}
    if found.noise is not None:
        shares["noise"] = found.noise.rate
    lines = []
    for b in bounds:
        if b.name not in shares:
            needs = SHARES[b.name]
            raise ValueError(f"--fail-on {b.text!r} needs {needs}, which the input does not hold")
        value = shares[b.name]
        if value > b.share or (value == b.share and not b.strict):
            lines.append(f"{b.name} is {100 * value:.2f} %, and --fail-on says {b.text}")
    return lines
