"""Files read by position, never mapped: one that shrinks meanwhile is an error, not the end of the process."""

from __future__ import annotations

import errno
import io
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from .errors import SourceChangedError


@contextmanager
def regular_file(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Open a file to read, and nothing else: no FIFO, no device, no folder."""
    with os.fdopen(_open(path), "rb") as file:
        yield file


def _open(path: str | os.PathLike[str]) -> int:
    # Without O_NONBLOCK the open itself would wait for ever on a FIFO.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "not a regular file", str(path))


class File:
    """A file that stays as it was when it was first seen, or an error.

    Any number of threads may read it. Pickled, it is the path and what the file was like; whoever unpickles it reads the
    same file or gets an error.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self._descriptor: int | None = None
        self._lock = threading.Lock()
        self._seen = _likeness(os.fstat(self._opened()))

    @property
    def size(self) -> int:
        """Bytes."""
        return self._seen[0]

    def stamp(self) -> dict[str, object]:
        """Return what the file was like when it was first seen."""
        size, modified, inode = self._seen
        return {"path": os.fsdecode(self.path), "size": size, "mtime_ns": modified, "inode": inode}

    def unchanged(self) -> None:
        """Raise SourceChangedError where the file, or what its name leads to, is not what it was."""
        now = _likeness(os.fstat(self._opened()))
        try:
            named = _likeness(os.stat(self.path))  # noqa: PTH116 - pathlib is not loaded for it
        except FileNotFoundError:
            named = None
        if now != self._seen or named != self._seen:
            raise SourceChangedError(
                errno.ESTALE, f"was changed while it was read{self._how(named)}", self.path
            )

    def _how(self, named: tuple[int, int, int] | None) -> str:
        if named is None:
            return ": it is gone"
        size, _, inode = self._seen
        if named[2] != inode:
            return ": another file has its name"
        return f": {size} bytes before, {named[0]} now" if named[0] != size else ""

    def read(self, at: int, into: memoryview) -> None:
        """Fill `into` with the bytes from position `at` on."""
        descriptor, done = self._opened(), 0
        while done < len(into):
            got = os.preadv(descriptor, [into[done:]], at + done)
            if got == 0:
                raise SourceChangedError(
                    errno.ESTALE,
                    f"ends at byte {at + done} of the {self.size} it had",
                    self.path,
                )
            done += got

    def stream(self) -> io.BufferedReader:
        """Return a file object of its own position."""
        return io.BufferedReader(_Stream(self))

    def _opened(self) -> int:
        if self._descriptor is None:
            with self._lock:
                if self._descriptor is None:
                    self._descriptor = _open(self.path)
        return self._descriptor

    def __del__(self) -> None:
        """Close it."""
        descriptor, self._descriptor = getattr(self, "_descriptor", None), None
        if descriptor is not None:
            os.close(descriptor)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what belongs to this process."""
        return {"path": self.path, "_seen": self._seen}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Open it when it is read."""
        self.__dict__.update(state)
        self._descriptor, self._lock = None, threading.Lock()


def _likeness(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_size, status.st_mtime_ns, status.st_ino


class _Stream(io.RawIOBase):
    def __init__(self, file: File) -> None:
        self._file, self._at = file, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._file.size}[whence]
        self._at = max(start + offset, 0)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401
        view = memoryview(buffer).cast("B")
        view = view[: max(self._file.size - self._at, 0)]
        self._file.read(self._at, view)
        self._at += len(view)
        return len(view)
