"""Rooms' results taken apart into plain values and arrays, and put together again: for folders and for checkpoints."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np


def fields_of(room: object) -> list[tuple[str, Any]]:
    """Return what a room's result is made of, in order."""
    return [(f.name, getattr(room, f.name)) for f in dataclasses.fields(room) if f.init]  # type: ignore[arg-type]


def packed(**rooms: object) -> dict[str, Any]:
    """Return what rooms' results are made of, as what a checkpoint takes; see `unpacked`."""
    values: dict[str, Any] = {}
    for name, room in rooms.items():
        if room is None:
            continue
        fields = fields_of(room)
        values[name] = {
            field: value for field, value in fields if not isinstance(value, np.ndarray)
        }
        for field, value in fields:
            if isinstance(value, np.ndarray):
                values[f"{name} {field}"] = value
    return values


def unpacked(values: dict[str, Any], **kinds: type[Any]) -> dict[str, Any]:
    """Return rooms' results by name, None for those that `packed` was given none of."""
    rooms: dict[str, Any] = dict.fromkeys(kinds)
    for name, kind in kinds.items():
        if name in values:
            plain = {field: tuples(value) for field, value in values[name].items()}
            arrays = {
                key.partition(" ")[2]: value
                for key, value in values.items()
                if key.startswith(f"{name} ")
            }
            rooms[name] = kind(**plain, **arrays)
    return rooms


def tuples(value: object) -> object:
    """Return the value with tuples where JSON has lists."""
    return tuple(tuples(entry) for entry in value) if isinstance(value, list) else value
