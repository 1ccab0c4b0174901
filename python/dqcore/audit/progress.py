"""A bar for each stage of a long call, on a terminal only: tqdm's where the extra `audit` is there, else a line of text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TextIO

DELAY = 0.2  # seconds before a stage is worth a bar


def bar(stream: TextIO, *, always: bool = False) -> Callable[[str, int, int], None] | None:
    """Return what shows progress(stage, done, total) on `stream`.

    Where that is no terminal, None; or, where it is wanted `always`, a line at each tenth of each stage.
    """
    if not stream.isatty():
        return _lines(stream) if always else None
    try:
        from tqdm import tqdm
    except ImportError:
        return _line(stream)

    class Bar(tqdm):  # type: ignore[type-arg,misc,unused-ignore]
        monitor_interval = 0  # no thread of its own, which would not survive a fork

    shown: dict[str, Any] = {}

    def show(stage: str, done: int, total: int) -> None:
        if stage not in shown:
            if done >= total:  # one of the many steps that take no time
                return
            layout = "{desc} {percentage:3.0f} % {bar} {elapsed}, {remaining} to go"
            shown[stage] = Bar(
                total=total,
                desc=stage,
                file=stream,
                leave=False,
                bar_format=layout,
                ncols=72,
                delay=DELAY,
            )
        now = shown[stage]
        now.total = total
        now.update(done - now.n)
        if done >= total:
            shown.pop(stage).close()

    return show


def _lines(stream: TextIO) -> Callable[[str, int, int], None]:
    told: dict[str, int] = {}

    def show(stage: str, done: int, total: int) -> None:
        tenth = 10 * done // max(1, total)
        if tenth != told.get(stage, 0):
            stream.write(f"dqcore: {stage} {10 * tenth} %\n")
            stream.flush()
        told[stage] = 0 if done >= total else tenth

    return show


def _line(stream: TextIO) -> Callable[[str, int, int], None]:
    def show(stage: str, done: int, total: int) -> None:
        end = "\r\x1b[K" if done >= total else ""
        stream.write(f"\r\x1b[K{stage} {100 * done // max(1, total)} %{end}")
        stream.flush()

    return show
