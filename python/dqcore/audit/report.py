"""An audit as a folder: report.json for people and programs, arrays as .npy, and back again.

The layout is described in docs/report.md and versioned by `format_version`. `report.json` names every other file with
its size and hash, so that damage is noticed; `objects.json` and the arrays hold what `load` needs. No pickle is
written or read.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..joint import ConfidentJoint
from ..knn import KnnDisagreement, KnnGraph
from ..slices import SliceTable
from . import save as folders
from .errors import CorruptFileError
from .findings import ISSUES_DTYPE, worst_slices
from .load import read_npy
from .result import Audit
from .text import printable

FORMAT, FORMAT_VERSION = "dqcore-audit", 1
OBJECTS = "objects.json"
MOST_LISTED = 100  # entries of each list in report.json; the arrays hold all of them
MOST_TOP = 20
MOST_JSON_BYTES = 1 << 30

_ROOMS: dict[str, type[Any]] = {
    "joint": ConfidentJoint,
    "graph": KnnGraph,
    "disagreement": KnnDisagreement,
    "slices": SliceTable,
}


# ---- report.json -----------------------------------------------------------------------------------


def content(audit: Audit) -> dict[str, Any]:
    """Return the report as plain values."""
    names = audit.class_names
    flagged = {
        flag: np.bincount(audit.issues["given"][audit.issues[flag]], minlength=len(names))
        for flag in ("is_label_issue", "is_disagreement_issue")
    }
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "rows": len(audit),
        "summary": [row._asdict() for row in audit.summary],
        "noise": None if audit.noise is None else audit.noise._asdict(),
        "classes": [
            {
                "name": name,
                "rows": audit.class_counts[c],
                "label_issues": flagged["is_label_issue"][c],
                "disagreement_issues": flagged["is_disagreement_issue"][c],
            }
            for c, name in enumerate(names)
        ],
        "confusions": [
            {"given": names[c.given], "suggested": names[c.suggested], "rows": c.rows}
            for c in audit.confusions[:MOST_LISTED]
        ],
        "slices": _slices(audit.slices),
        "top": {
            by: [_example(row, names) for row in audit.top(MOST_TOP, by)]
            for by, evidence in (("label", audit.joint), ("disagreement", audit.disagreement))
            if evidence is not None
        },
        "provenance": audit.provenance,
    }


def to_json(audit: Audit) -> str:
    """Return the report as JSON text."""
    return _json(content(audit))


def _slices(table: SliceTable | None) -> dict[str, Any] | None:
    if table is None:
        return None
    found = worst_slices(table)
    listed = [
        s._asdict() | {"predicate": [{"column": c, "value": v} for c, v in s.predicate]}
        for s in (table[int(i)] for i in found[:MOST_LISTED])
    ]
    return {"total": len(table), "standing_out": len(found), "worst": listed}


def _example(row: np.void, names: tuple[str, ...]) -> dict[str, Any]:
    suggested = int(row["suggested"])
    return {
        "row": row["row"],
        "given": names[row["given"]],
        "suggested": names[suggested] if suggested >= 0 else None,
        "label_quality": row["label_quality"],
        "disagreement": row["disagreement"],
    }


def _json(value: object) -> str:
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


# ---- the folder ------------------------------------------------------------------------------------


def save(audit: Audit, folder: str | os.PathLike[str]) -> Path:
    """Write `audit` into `folder`, whole or not at all; see `Audit.save`."""
    arrays: dict[str, np.ndarray[Any, Any]] = {
        "issues": audit.issues,
        "class_counts": audit.class_counts,
    }
    objects: dict[str, Any] = {"class_names": audit.class_names}
    for name in _ROOMS:
        if (room := getattr(audit, name)) is not None:
            objects[name] = {}
            for field, value in _fields(room):
                if isinstance(value, np.ndarray):
                    arrays[_array_name(name, field)] = value
                else:
                    objects[name][field] = value
    files: dict[str, Callable[[Path], object]] = {
        f"{name}.npy": _npy_writer(array) for name, array in arrays.items()
    }
    files[OBJECTS] = lambda path: path.write_text(_json(objects), encoding="ascii")
    listed = list(files)

    def write_report(path: Path) -> None:
        sums = {name: _fingerprint(path.with_name(name)) for name in listed}
        path.write_text(_json(content(audit) | {"files": sums}), encoding="ascii")

    return folders.write_folder(folder, files | {folders.REPORT: write_report}, _is_result)


def load(folder: str | os.PathLike[str]) -> Audit:
    """Return the audit saved in `folder`; see `Audit.load`."""
    place = Path(folder)
    report = _read_json(place / folders.REPORT)
    if report.get("format") != FORMAT:
        raise CorruptFileError(f"{printable(place, 200)} is not a result of dqcore audit")
    if report.get("format_version") != FORMAT_VERSION:
        raise CorruptFileError(
            f"{printable(place, 200)} has format version {printable(report.get('format_version'))}; "
            f"this dqcore reads version {FORMAT_VERSION}"
        )
    try:
        for name, wanted in report["files"].items():
            if Path(name).name != name or _fingerprint(place / name) != wanted:
                raise CorruptFileError(
                    f"{printable(place / name, 200)} is damaged: its hash has changed"
                )
        objects = _read_json(place / OBJECTS)
        rooms: dict[str, Any] = {
            name: _read_room(place, name, objects[name]) for name in _ROOMS if name in objects
        }
        names = tuple(str(name) for name in objects["class_names"])
        return Audit(
            issues=_read_issues(place / "issues.npy", len(names)),
            class_names=names,
            class_counts=read_npy(place / "class_counts.npy"),
            provenance=report["provenance"],
            **rooms,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CorruptFileError(f"{printable(place, 200)} is damaged: {error}") from error


def _read_issues(path: Path, n_classes: int) -> NDArray[np.void]:
    issues = read_npy(path)
    if issues.dtype != ISSUES_DTYPE or issues.ndim != 1:
        raise TypeError(f"issues have dtype {issues.dtype} and {issues.ndim} dimensions")
    for field, least in (("given", 0), ("label_suggested", -1), ("disagreement_suggested", -1)):
        bad = (issues[field] < least) | (issues[field] >= n_classes)
        if bad.any():
            raise ValueError(f"row {int(np.argmax(bad))} of issues has a class that there is not")
    return issues


def _array_name(room: str, field: str) -> str:
    return f"{room}_{field.lstrip('_')}"


def _fields(room: object) -> list[tuple[str, Any]]:
    """Return what a room's result is made of, in order."""
    return [(f.name, getattr(room, f.name)) for f in dataclasses.fields(room) if f.init]  # type: ignore[arg-type]


def _read_room(place: Path, name: str, plain: dict[str, Any]) -> object:
    values = {}
    for field in dataclasses.fields(_ROOMS[name]):
        path = place / f"{_array_name(name, field.name)}.npy"
        if field.name in plain:
            values[field.name] = _tuples(plain[field.name])
        elif path.exists():
            values[field.name] = read_npy(path)
    return _ROOMS[name](**values)


def _tuples(value: object) -> object:
    return tuple(_tuples(entry) for entry in value) if isinstance(value, list) else value


def _npy_writer(array: np.ndarray[Any, Any]) -> Callable[[Path], object]:
    return lambda path: np.save(path, array, allow_pickle=False)


def _fingerprint(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return {"bytes": os.fstat(file.fileno()).st_size, "sha256": digest}


def _read_json(path: Path) -> dict[str, Any]:
    if path.stat().st_size > MOST_JSON_BYTES:
        raise CorruptFileError(f"{printable(path, 200)} is larger than {MOST_JSON_BYTES} bytes")
    try:
        found = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise CorruptFileError(f"{printable(path, 200)} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise CorruptFileError(f"{printable(path, 200)} does not hold an object")
    return found


def _is_result(folder: Path) -> bool:
    """Return whether `folder` holds a result of ours and nothing else, so that it may be replaced."""
    try:
        report = _read_json(folder / folders.REPORT)
        known = {folders.REPORT, *report["files"]}
        return report["format"] == FORMAT and {entry.name for entry in folder.iterdir()} <= known
    except (OSError, KeyError, TypeError):
        return False
