"""A folder in which a long call keeps what it has finished, so that the same call, ended at any moment, goes on from there.

Each part is a file that is written whole or not at all, with a checksum. What the call is of (its inputs, parameters and the
version) is written first; another call is refused, with the first thing that differs.
"""

from __future__ import annotations

import errno
import itertools
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import _backend, _check
from .sources import CorruptFileError

if TYPE_CHECKING:
    import hashlib

FORMAT = 1
_MAGIC = b"DQCK"
_HEAD = len(_MAGIC) + 32  # and the SHA-256 of the rest
_OWNER = "call"
EVERY_S = 5.0  # between two states of one pass

Values = dict[str, Any]  # arrays, bytes, and what JSON has


class Checkpoint:
    """What a call has finished, in a folder of its own."""

    def __init__(self, folder: object, call: dict[str, Any]) -> None:
        from pathlib import Path

        self._lock = -1
        self._folder = Path(_check.path("resume", folder))
        self._folder.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(self._folder, os.O_RDONLY)
        self._stored = time.monotonic()
        try:
            self._hold()
            self._begin({"checkpoint": FORMAT} | call)
        except BaseException:
            self.close()
            raise

    def _begin(self, call: dict[str, Any]) -> None:
        """Write what the call is of, or make sure that it is what has been written."""
        for left in self._folder.glob(".*.tmp"):  # of a writer that was killed
            left.unlink(missing_ok=True)
        wanted = json.loads(json.dumps(call))
        found = self.load(_OWNER)
        if found is None:
            if any(self._folder.iterdir()):
                raise FileExistsError(
                    errno.EEXIST, "resume: the folder holds something else", str(self._folder)
                )
            self.store(_OWNER, wanted)
            return
        if (difference := _difference(found, wanted)) is not None:
            raise ValueError(f"resume: {self._folder} is of another call: {difference}")

    def close(self) -> None:
        """Let others have it: at once, not when an error that refers to it is gone."""
        lock, self._lock = self._lock, -1
        if lock >= 0:
            os.close(lock)

    def __del__(self) -> None:
        """Let others have it."""
        self.close()

    def _hold(self) -> None:
        """Take the folder's lock, which the system drops when this process ends."""
        import fcntl

        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BlockingIOError(
                errno.EAGAIN, "resume: another process works in this folder", str(self._folder)
            ) from None
        except OSError:  # a file system without locks
            pass

    def due(self) -> bool:
        """Return whether it is time to keep the state of a pass."""
        return time.monotonic() - self._stored >= EVERY_S

    def load(self, name: str) -> Values | None:
        """Return what was stored as `name`; None where nothing was, CorruptFileError where it is damaged."""
        with self._whole(name) as file:
            return None if file is None else _values(file)

    def pieces(self, name: str) -> Iterator[NDArray[Any]]:
        """Give the arrays that were stored as `name` after its values, one at a time."""
        with self._whole(name) as file:
            if file is None:
                return
            _values(file)
            end = os.fstat(file.fileno()).st_size
            while file.tell() < end:
                yield np.lib.format.read_array(file, allow_pickle=False)

    @contextmanager
    def _whole(self, name: str) -> Iterator[IO[bytes] | None]:
        """Give the file of `name`, where there is one, at what follows its checksum, which fits."""
        path = self._folder / f"{name}.part"
        try:
            file = path.open("rb")
        except FileNotFoundError:
            yield None
            return
        with file:
            head = file.read(_HEAD)
            digest = _sha256()
            while block := file.read(1 << 20):
                digest.update(block)
            if head != _MAGIC + digest.digest():
                raise CorruptFileError(f"{path} is damaged; remove the folder and begin anew")
            file.seek(_HEAD)
            yield file

    def store(self, name: str, values: Values, pieces: Iterable[NDArray[Any]] = ()) -> None:
        """Keep `values` as `name`, and `pieces`, of which one at a time is held; whole or not at all."""
        arrays = {key: value for key, value in values.items() if isinstance(value, np.ndarray)}
        plain = {key: value for key, value in values.items() if key not in arrays}
        head = json.dumps(plain | {"\0": list(arrays)}).encode()
        temporary = self._folder / f".{name}.tmp"
        try:
            with temporary.open("wb") as file:
                file.write(bytes(_HEAD))
                body = _Digested(file)
                body.write(len(head).to_bytes(8, "little") + head)
                for array in itertools.chain(arrays.values(), pieces):
                    np.lib.format.write_array(body, array, allow_pickle=False)
                file.seek(0)
                file.write(_MAGIC + body.digest.digest())
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self._folder / f"{name}.part")
            os.fsync(self._lock)
        finally:
            temporary.unlink(missing_ok=True)
        self._stored = time.monotonic()

    def drop(self, prefix: str) -> None:
        """Forget all whose names begin so: they are no longer needed."""
        for path in self._folder.glob(f"{prefix}*.part"):
            path.unlink(missing_ok=True)


def _values(file: IO[bytes]) -> Values:
    values: Values = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    for key in values.pop("\0"):
        values[key] = np.lib.format.read_array(file, allow_pickle=False)
    return values


def _sha256() -> hashlib._Hash:
    import hashlib  # loads OpenSSL, which `import dqcore` is spared

    return hashlib.sha256()


class _Digested:
    """A file that what is written to goes to, and is hashed: nothing is held twice."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.digest = file, _sha256()

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        return self._file.write(data)


def as_array(data: bytes) -> NDArray[np.uint8]:
    """Return bytes as what a checkpoint takes."""
    return np.frombuffer(data, np.uint8)


def stamp(array: NDArray[Any] | None) -> Any:  # noqa: ANN401
    """Return what tells arrays in memory apart."""
    if array is None:
        return None
    digest = _sha256()
    rows = max(1, (1 << 22) // max(array[:1].nbytes, 1))
    for begin in range(0, len(array), rows):
        digest.update(np.ascontiguousarray(array[begin : begin + rows]).view(np.uint8).data)
    return {"shape": list(array.shape), "dtype": array.dtype.str, "content": digest.hexdigest()}


def kept(
    checkpoint: Checkpoint | None,
    name: str,
    compute: Callable[[], Any],
    pack: Callable[[Any], Values],
    unpack: Callable[[Values], Any],
) -> Any:  # noqa: ANN401
    """Return what `compute` returns, or what it returned when the call was last at it."""
    if checkpoint is None:
        return compute()
    try:
        if (found := checkpoint.load(name)) is not None:
            return unpack(found)
        value = compute()
        checkpoint.store(name, pack(value))
    except BaseException:
        checkpoint.close()  # the call is over
        raise
    return value


def _difference(found: Any, wanted: Any, where: str = "") -> str | None:  # noqa: ANN401
    """Return the first thing in which two calls differ, in words."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        for key in wanted | found:
            at = f"{where} {key}".strip()
            if key not in found or key not in wanted:
                return f"{at} is given in one and not in the other"
            if (difference := _difference(found[key], wanted[key], at)) is not None:
                return difference
        return None
    return (
        None if found == wanted else f"its {where} was {_brief(found)}, now it is {_brief(wanted)}"
    )


def _brief(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."


def version() -> str:
    """Return what has to be the same: nobody promises the same bits from another version."""
    return str(_backend.load("cpu").version)
