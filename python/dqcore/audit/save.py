"""A folder that is either the old one or the complete new one, at every instant and after a crash.

The new folder is written beside its place, every file and the folder itself are synced, and one rename
puts it there. Where a result already lies there the two are exchanged by one system call and the old one is
removed afterwards. A folder that is not a result of dqcore is never replaced.
"""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

REPORT = "report.json"
# A folder left by a killed writer carries no lock; one younger than this may not have taken its lock yet.
ABANDONED_AFTER_S = 60.0


def write_folder(
    folder: str | os.PathLike[str],
    files: dict[str, Callable[[Path], object]],
    is_ours: Callable[[Path], bool],
) -> Path:
    """Write each of `files` (a name and a function that writes the file at a path) as one new `folder`.

    Returns the folder's path. Raises FileExistsError where something is in the way for which `is_ours` is
    false, and OSError where writing fails; then the old folder is as it was and nothing new remains.
    """
    target = Path(os.path.realpath(folder))
    target.parent.mkdir(parents=True, exist_ok=True)
    _refuse_others(target, is_ours)
    _sweep(target)
    temporary = target.parent / f".{target.name}.{os.getpid()}.{time.time_ns():x}.tmp"
    temporary.mkdir()
    lock = os.open(temporary, os.O_RDONLY)
    try:
        _lock(lock)
        for name, write in files.items():
            write(temporary / name)
            _sync(temporary / name)
        os.fsync(lock)
        _put(temporary, target, is_ours)
        _sync(target.parent)
    finally:
        os.close(lock)
        # After an exchange this is the old folder, after a failure the unfinished new one.
        shutil.rmtree(temporary, ignore_errors=True)
    return target


def write_file(path: str | os.PathLike[str], content: bytes) -> None:
    """Write `content` as the file at `path`, in one step; OSError where that fails, and then the old file is as it was."""
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, "path is a folder; name a file in it", str(target))
    temporary = target.with_name(f".{target.name}.{os.getpid()}.{time.time_ns():x}.tmp")
    try:
        temporary.write_bytes(content)
        _sync(temporary)
        temporary.replace(target)
        _sync(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _put(temporary: Path, target: Path, is_ours: Callable[[Path], bool]) -> None:
    while True:
        try:
            temporary.rename(target)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        _refuse_others(target, is_ours)
        try:
            _exchange(temporary, target)
            return
        except FileNotFoundError:  # another writer took it away in between: its place is free again
            continue


def _refuse_others(target: Path, is_ours: Callable[[Path], bool]) -> None:
    if not target.exists():
        return
    if not target.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "the result needs a folder here", str(target))
    if any(target.iterdir()) and not is_ours(target):
        raise FileExistsError(
            errno.EEXIST, "folder exists and is not a result of dqcore; name another", str(target)
        )


def _exchange(a: Path, b: Path) -> None:
    """Swap two folders in one step; in two renames where the system or the file system has no such step."""
    import ctypes
    import sys

    libc = ctypes.CDLL(None, use_errno=True)
    swap = 2  # RENAME_EXCHANGE of <linux/fs.h>, RENAME_SWAP of <sys/stdio.h>
    names = os.fsencode(a), os.fsencode(b)
    if sys.platform == "darwin" and hasattr(libc, "renamex_np"):
        failed = libc.renamex_np(names[0], names[1], ctypes.c_uint(swap))
    elif hasattr(libc, "renameat2"):
        here = -100  # AT_FDCWD
        failed = libc.renameat2(here, names[0], here, names[1], ctypes.c_uint(swap))
    else:
        failed, _ = -1, ctypes.set_errno(errno.ENOSYS)
    if not failed:
        return
    code = ctypes.get_errno()
    if code not in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP):
        raise OSError(code, os.strerror(code), str(b))
    _two_renames(a, b)


def _two_renames(a: Path, b: Path) -> None:
    aside = a.with_name(a.name + ".old")
    b.rename(aside)
    a.rename(b)
    aside.rename(a)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    """Take the folder's lock, which the system drops when this process ends; False where another has it."""
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks: then nothing is ever swept either
        return False
    return True


def _sweep(target: Path) -> None:
    """Remove what writers that were killed left beside `target`."""
    now = time.time()
    for left in target.parent.glob(f".{_literal(target.name)}.*.tmp"):
        try:
            if now - left.stat().st_mtime < ABANDONED_AFTER_S:
                continue
            descriptor = os.open(left, os.O_RDONLY)
        except OSError:
            continue
        try:
            if _lock(descriptor):
                shutil.rmtree(left, ignore_errors=True)
        finally:
            os.close(descriptor)


def _literal(name: str) -> str:
    import glob

    return glob.escape(name)
