"""What runs here: versions, instruction sets, threads, backends."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from .. import _backend
from .text import printable


def runtime(threads: int = 0) -> dict[str, Any]:
    """Return what decides how fast a call runs, and on what it ran."""
    import platform

    result: dict[str, Any] = {
        "dqcore": None,
        "isa": None,
        "threads": None,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "platform": f"{platform.system()} {platform.release()} {platform.machine()}",
    }
    try:
        cpu = _backend.load("cpu")
    except _backend.BackendError:  # the reference runs without it
        return result
    return result | {"dqcore": cpu.version, "isa": cpu.isa(), "threads": cpu.threads(threads)}


def versions() -> dict[str, Any]:
    """Return what `show_versions` prints, as plain values for JSON."""
    backends = _backend.available()
    usable = [] if backends["cpu"] else list(_backend.load("cpu").isas())
    reasons = {name: {"runs": not reason, "reason": reason} for name, reason in backends.items()}
    return runtime() | {"isas": usable, "backends": reasons}


def versions_text() -> str:
    """Return what `show_versions` prints."""
    found = versions()
    lines = [
        ("dqcore", found["dqcore"]),
        ("instruction set", f"{found['isa']} (usable here: {', '.join(found['isas'])})"),
        ("threads", found["threads"]),
    ]
    for name, state in found["backends"].items():
        lines.append(
            (f"backend {name}", _where(name) if state["runs"] else f"no: {state['reason']}")
        )
    lines += [(name, found[name]) for name in ("python", "numpy", "platform")]
    return "\n".join(f"{name:<16} {printable(value, 300)}" for name, value in lines)


def _where(backend: str) -> str:
    """Return that a backend runs; of that of devices, on which, and with what."""
    if backend != "cuda":
        return "runs"
    runtime, driver, devices, _ = _backend.load(backend).status()
    return f"runs on {', '.join(devices)} (CUDA runtime {runtime}, driver for {driver})"


def show_versions() -> None:
    """Print the versions, instruction set, threads and backends in force, for a bug report.

    Examples
    --------
    >>> import dqcore as dq
    >>> dq.show_versions()  # doctest: +ELLIPSIS
    dqcore           ...
    """
    sys.stdout.write(versions_text() + "\n")
