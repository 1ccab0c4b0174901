"""An audit as a folder: report.json for people and programs, arrays as .npy, per-row tables, and back again.

The layout is described in docs/report.md and versioned by `format_version`. `report.json` names every other file with
its size and hash, so that damage is noticed; `objects.json` and the arrays hold what `load` needs. No pickle is
written or read.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ..consistent import PAIR, ConsistentNoise
from ..joint_results import ConfidentJoint
from ..knn import KnnDisagreement, KnnGraph
from ..slices import SliceTable
from ..sources import CorruptFileError
from . import html, table
from . import save as folders
from .findings import ISSUES_DTYPE
from .labels import NoiseIntervals
from .load import read_npy
from .projection import Projection
from .report import FORMAT, FORMAT_VERSION, content, dumps
from .result import Audit
from .rooms import fields_of, tuples
from .text import printable

OBJECTS, PAGE = "objects.json", "report.html"
CSV, PARQUET = "findings.csv", "findings.parquet"
MOST_JSON_BYTES = 1 << 30

_ROOMS: dict[str, type[Any]] = {
    "joint": ConfidentJoint,
    "consistent": ConsistentNoise,
    "intervals": NoiseIntervals,
    "graph": KnnGraph,
    "disagreement": KnnDisagreement,
    "slices": SliceTable,
    "projection": Projection,
}


def save(
    audit: Audit,
    folder: str | os.PathLike[str],
    parquet: bool | None = None,
    page: bool | None = None,
) -> Path:
    """Write `audit` into `folder`, whole or not at all; see `Audit.save`."""
    without_parquet = table.missing() if parquet is not False else None
    if parquet and without_parquet is not None:
        raise ImportError(without_parquet, name="pyarrow")
    without_page = html.missing() if page is not False else None
    if page and without_page is not None:
        raise ImportError(without_page)
    files: dict[str, Callable[[Path], object]] = _array_files(audit)
    files[CSV] = lambda path: _write_csv(audit, path)
    if parquet is not False and without_parquet is None:
        files[PARQUET] = lambda path: _write_parquet(audit, path)
    if page is not False and without_page is None:
        text = html.page(audit)
        files[PAGE] = lambda path: path.write_bytes(text.encode())
    listed = list(files)
    absent = []
    if without_parquet is not None:
        absent.append(_left_out(folder, PARQUET, without_parquet))
    if without_page is not None:
        absent.append(_left_out(folder, PAGE, without_page))

    def write_report(path: Path) -> None:
        sums = {name: _fingerprint(path.with_name(name)) for name in listed}
        path.write_text(
            dumps(content(audit) | {"files": sums, "left_out": absent}), encoding="ascii"
        )

    return folders.write_folder(folder, files | {folders.REPORT: write_report}, _is_result)


def _array_files(audit: Audit) -> dict[str, Callable[[Path], object]]:
    """Return a writer of each file that holds what `load` needs, and of the joint."""
    arrays: dict[str, np.ndarray[Any, Any]] = {
        "issues": audit.issues,
        "class_counts": audit.class_counts,
    }
    if audit.joint is not None:
        arrays["joint"] = audit.joint.joint()
    objects: dict[str, Any] = {"class_names": audit.class_names, "split_names": audit.split_names}
    for name in _ROOMS:
        if (room := getattr(audit, name)) is not None:
            objects[name] = {}
            for field, value in fields_of(room):
                if isinstance(value, np.ndarray):
                    arrays[_array_name(name, field)] = value
                else:
                    objects[name][field] = value
    files = {f"{name}.npy": _npy_writer(array) for name, array in arrays.items()}
    files[OBJECTS] = lambda path: path.write_text(dumps(objects), encoding="ascii")
    return files


def _left_out(folder: str | os.PathLike[str], name: str, reason: str) -> dict[str, str]:
    where = printable(Path(folder) / name, 300)
    warnings.warn(f"{where} is left out: {reason}", UserWarning, stacklevel=4)
    return {"file": name, "reason": reason}


def _write_csv(audit: Audit, path: Path) -> None:
    # Names may hold lone surrogates, which no encoding has.
    with path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        table.write_csv(audit, file)


def _write_parquet(audit: Audit, path: Path) -> None:
    from pyarrow import parquet

    parquet.write_table(table.to_arrow(audit), path)


def load(folder: str | os.PathLike[str]) -> Audit:
    """Return the audit saved in `folder`; see `Audit.load`."""
    place = Path(folder)
    report = _read_json(place / folders.REPORT)
    if report.get("format") != FORMAT:
        raise CorruptFileError(f"{printable(place, 200)} is not a result of dqcore audit")
    if report.get("format_version") != FORMAT_VERSION:
        raise CorruptFileError(
            f"{printable(place, 200)} has format version {printable(report.get('format_version'))}; "
            f"this dqcore reads version {FORMAT_VERSION}; audit the data again"
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
        parts = objects["split_names"]
        found = Audit(
            issues=_read_issues(place / "issues.npy", len(names), len(parts or ())),
            class_names=names,
            class_counts=read_npy(place / "class_counts.npy"),
            split_names=None if parts is None else tuple(str(part) for part in parts),
            provenance=report["provenance"],
            **rooms,
        )
        _check_parts(found)
        return found
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CorruptFileError(f"{printable(place, 200)} is damaged: {error}") from error


def _check_parts(audit: Audit) -> None:
    """Raise where what was read does not belong together, so that nothing derived from it can fail later."""
    n, n_classes = len(audit), len(audit.class_names)
    counts = np.bincount(audit.issues["given"], minlength=n_classes)
    if not np.array_equal(audit.class_counts, counts) or audit.class_counts.dtype != np.int64:
        raise ValueError("class_counts are not those of the labels")
    graph, disagreement = audit.graph, audit.disagreement
    if (graph is None) != (disagreement is None):
        raise ValueError("graph and disagreement are not both there")
    if (
        graph is not None
        and disagreement is not None
        and {len(graph), len(disagreement.score)} != {n}
    ):
        raise ValueError("graph or disagreement have another number of rows than issues")
    if audit.joint is not None and audit.joint.n_classes != n_classes:
        raise ValueError("joint has another number of classes")
    _check_noise(audit, n_classes)
    leaked = audit.issues[audit.issues["is_split_leak_issue"]]
    if (leaked["split"] < 0).any() or (leaked["near_duplicate_group"] < 0).any():
        raise ValueError("issues have a leak of a row that is in no part or no group")


def _check_noise(audit: Audit, n_classes: int) -> None:
    consistent, intervals = audit.consistent, audit.intervals
    if audit.joint is None and not (consistent is None and intervals is None):
        raise ValueError("consistent noise or intervals are there without a joint")
    if consistent is not None:
        pairs = consistent.pairs
        if pairs.dtype != PAIR or pairs.ndim != 1:
            raise ValueError(f"pairs have dtype {pairs.dtype} and {pairs.ndim} dimensions")
        for end in ("given", "true"):
            if not ((pairs[end] >= 0) & (pairs[end] < n_classes)).all():
                raise ValueError(f"pairs have a class as {end} that there is not")
    if intervals is not None:
        for ends, shape in ((intervals.whole, (2,)), (intervals.classes, (2, n_classes))):
            if ends.shape != shape or ends.dtype != np.float64:
                raise ValueError(f"intervals must be float64 of shape {shape}, got {ends.shape}")
            if not ((ends >= 0) & (ends <= 1)).all() or (ends[0] > ends[1]).any():
                raise ValueError("intervals must be ordered shares of 0 to 1")


def _read_issues(path: Path, n_classes: int, n_parts: int) -> NDArray[np.void]:
    issues = read_npy(path)
    if issues.dtype != ISSUES_DTYPE or issues.ndim != 1:
        raise TypeError(f"issues have dtype {issues.dtype} and {issues.ndim} dimensions")
    n = len(issues)
    bounds = {
        "given": (0, n_classes),
        "suggested": (-1, n_classes),
        "label_suggested": (-1, n_classes),
        "disagreement_suggested": (-1, n_classes),
        "split": (-1, n_parts),
        "near_duplicate_group": (-1, n),
        "duplicate_group": (-1, n),
    }
    for field, (least, most) in bounds.items():
        bad = (issues[field] < least) | (issues[field] >= most)
        if bad.any():
            raise ValueError(f"row {int(np.argmax(bad))} of issues has a {field} that there is not")
    if (issues["row"] != np.arange(n)).any():
        raise ValueError("issues are not in the order of the rows")
    return issues


def _array_name(room: str, field: str) -> str:
    return f"{room}_{field.lstrip('_')}"


def _read_room(place: Path, name: str, plain: dict[str, Any]) -> object:
    values = {}
    for field in dataclasses.fields(_ROOMS[name]):
        path = place / f"{_array_name(name, field.name)}.npy"
        if field.name in plain:
            values[field.name] = tuples(plain[field.name])
        elif path.exists():
            values[field.name] = read_npy(path)
    return _ROOMS[name](**values)


def _npy_writer(array: np.ndarray[Any, Any]) -> Callable[[Path], object]:
    def write(path: Path) -> None:
        with path.open("wb") as file:
            np.lib.format.write_array(_Plain(file), array, allow_pickle=False)

    return write


class _Plain:
    """A file that NumPy does not take for one: to those it writes by C's streams, and overlooks what their end could not."""

    def __init__(self, file: IO[bytes]) -> None:
        self.write = file.write


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
