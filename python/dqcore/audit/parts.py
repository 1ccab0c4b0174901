"""Files of states and folders of results, on the command line: whether they are whole, what they are together."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..joint_states import IssueState, JointState, ThresholdState
from ..knn import KnnState
from ..slice_states import SliceState
from ..sources import CorruptFileError
from ..sources.files import File
from . import save
from .result import Audit
from .text import printable

# As cpp/base/bytes.h numbers them: "DQST", format, kind.
_KINDS: dict[int, Any] = {
    1: ThresholdState,
    2: JointState,
    3: IssueState,
    4: SliceState,
    5: KnnState,
}
_HEAD = struct.Struct("<4sII")


def read_state(path: str) -> Any:  # noqa: ANN401
    """Return the state in the file at `path`; CorruptFileError where there is none, or it is damaged."""
    file = File(path)
    data = bytearray(file.size)
    file.read(0, memoryview(data))
    try:
        magic, _, kind = _HEAD.unpack_from(data)
        if magic != b"DQST" or kind not in _KINDS:
            raise ValueError("data does not hold a state: not a state of dqcore")
        return _KINDS[kind].from_bytes(bytes(data))
    except (ValueError, struct.error) as error:
        raise CorruptFileError(f"{printable(path, 300)}: {error}") from error


def merged(paths: Sequence[str]) -> Any:  # noqa: ANN401
    """Return the state that those in the files at `paths` are together; ValueError where they do not go together."""
    total = read_state(paths[0])
    for path in paths[1:]:
        other = read_state(path)
        if type(other) is not type(total):
            raise ValueError(
                f"{printable(path, 300)} holds a {type(other).__name__}, "
                f"{printable(paths[0], 300)} a {type(total).__name__}"
            )
        try:
            total.merge(other)
        except ValueError as error:
            raise ValueError(f"{printable(path, 300)}: {error}") from error
    return total


def merge(out: str, paths: Sequence[str]) -> str:
    """Write what the states at `paths` are together to `out`, whole or not at all; return what that is."""
    total = merged(paths)
    save.write_file(out, total.to_bytes())
    return f"{type(total).__name__} of {len(paths)} files"


def verify(path: str) -> str:
    """Return what the folder or file at `path` holds; CorruptFileError where it is damaged."""
    if Path(path).is_dir():
        return f"an audit of {len(Audit.load(path)):,} rows"
    return f"a {type(read_state(path)).__name__}"
