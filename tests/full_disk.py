"""A disk that is full at the n-th call that wants room, for every n: what is saved, kept or spilled must stay whole.

    PYTHONPATH=build/dev python tests/full_disk.py [--every 1]

Each job below is done again and again in one process, while a library that is loaded before libc refuses one call of
write, pwrite, fallocate, open, mkdir, rename or fsync on regular files: first only that one, then it writes half and
refuses all that follow. Each time there has to be an OSError, the old content (or, where all had been written, the new) and no
file besides. Wants Linux and a C compiler.
"""

from __future__ import annotations

import argparse
import ctypes
import errno
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

long calls = 0, refused = -1;
int lasting = 0;

static int full(void) {
    const long call = __atomic_fetch_add(&calls, 1, __ATOMIC_SEQ_CST);
    return refused >= 0 && (lasting ? call >= refused : call == refused);
}
static int full_of(int file) {
    struct stat found;
    return fstat(file, &found) == 0 && S_ISREG(found.st_mode) && full();
}
#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define NO_ROOM return errno = ENOSPC, -1

/* The first of lasting refusals is a short write. */
#define HALF(call) if (lasting && calls == refused + 1 && size > 1) { size /= 2; return call; }

ssize_t write(int file, const void* from, size_t size) {
    if (!full_of(file)) return REAL(write)(file, from, size);
    HALF(REAL(write)(file, from, size))
    NO_ROOM;
}
ssize_t pwrite(int file, const void* from, size_t size, off_t at) {
    if (!full_of(file)) return REAL(pwrite)(file, from, size, at);
    HALF(REAL(pwrite)(file, from, size, at))
    NO_ROOM;
}
ssize_t pwrite64(int file, const void* from, size_t size, off64_t at) {
    if (!full_of(file)) return REAL(pwrite64)(file, from, size, at);
    HALF(REAL(pwrite64)(file, from, size, at))
    NO_ROOM;
}
int posix_fallocate(int file, off_t at, off_t size) {
    return full_of(file) ? ENOSPC : REAL(posix_fallocate)(file, at, size);
}
int posix_fallocate64(int file, off64_t at, off64_t size) {
    return full_of(file) ? ENOSPC : REAL(posix_fallocate64)(file, at, size);
}
int fsync(int file) {
    if (full()) NO_ROOM;
    return (void)file, 0; /* what is on disk is no matter here */
}
int mkdir(const char* path, mode_t mode) {
    if (access(path, F_OK) != 0 && full()) NO_ROOM;
    return REAL(mkdir)(path, mode);
}
int rename(const char* from, const char* to) {
    if (full()) NO_ROOM;
    return REAL(rename)(from, to);
}
int renameat2(int a, const char* from, int b, const char* to, unsigned how) {
    if (full()) NO_ROOM;
    return REAL(renameat2)(a, from, b, to, how);
}
#define OPENS(name, ...)                                         \
    mode_t mode = 0;                                             \
    if (how & (O_CREAT | __O_TMPFILE)) {                         \
        va_list more;                                            \
        va_start(more, how);                                     \
        mode = va_arg(more, mode_t);                             \
        va_end(more);                                            \
        if ((how & O_CREAT) && full()) NO_ROOM;                  \
    }                                                            \
    return REAL(name)(__VA_ARGS__, how, mode);
int open(const char* path, int how, ...) { OPENS(open, path) }
int open64(const char* path, int how, ...) { OPENS(open64, path) }
int openat(int folder, const char* path, int how, ...) { OPENS(openat, folder, path) }
int openat64(int folder, const char* path, int how, ...) { OPENS(openat64, folder, path) }
"""


def missing() -> str | None:
    """Return why it cannot be done here; None where it can."""
    import shutil

    if not sys.platform.startswith("linux"):
        return "refuses calls of Linux's"
    return None if shutil.which("cc") else "wants a C compiler"


def refused(folder: Path, every: int, jobs: str = "") -> dict[str, list[int]]:
    """Return of each job whose name begins with `jobs` how many calls were refused, and how many were survived."""
    library = folder / "full.so"
    command = ["cc", "-shared", "-fPIC", "-O1", "-x", "c", "-", "-o", str(library), "-ldl"]
    subprocess.run(command, input=SHIM, text=True, check=True)
    before = os.environ.get("LD_PRELOAD", "")
    environment = os.environ | {"LD_PRELOAD": f"{before} {library}".strip()}
    script = [sys.executable, "-W", "ignore", __file__, "--child", str(library), "--folder"]
    found = subprocess.run(
        [*script, str(folder), "--every", str(every), "--jobs", jobs],
        env=environment,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    result: dict[str, list[int]] = json.loads(found.stdout)
    return result


# ---- in the process with the library -----------------------------------------------------------------

Content = dict[str, bytes]


def _content(folder: Path) -> Content:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def _jobs(folder: Path) -> dict[str, tuple[Callable[[Path], object], Callable[[Path], object]]]:
    """Return of each job what makes the old content, and what is done where the disk is full."""
    import dqcore as dq
    import numpy as np
    from dqcore import checkpoint, joint_passes, knn_files, passes
    from dqcore.audit import parts

    passes._BLOCK_BYTES, joint_passes._PART_BLOCKS, checkpoint.EVERY_S = 8192, 1, 0.0
    rng = np.random.default_rng(0)
    audits = []
    for n in (60, 90):
        y, x = rng.integers(0, 3, n), rng.normal(size=(n, 3))
        audits.append(dq.audit(y, features=x, pred_probs=rng.dirichlet(np.ones(3), n)))
    y, p = rng.integers(0, 5, 1500), rng.dirichlet(np.ones(5), 1500)
    np.save(folder / "p.npy", p)
    x = rng.normal(size=(1200, 200)).astype(np.float32)
    needed = dq.knn_graph(x, 3)
    least = knn_files._backend.load("cpu").knn_spill_bytes(*x.shape, 3)[2] - x.nbytes - 1
    wanted = dq.label_issues(y, p)
    for name, rows in (("a", slice(0, 700)), ("b", slice(700, None))):
        state = dq.JointState(np.full(5, 0.2))
        state.update(y[rows], p[rows])
        (folder / f"{name}.state").write_bytes(state.to_bytes())

    def issues(where: Path) -> None:
        found = dq.label_issues(y, folder / "p.npy", resume=where / "kept", threads=1)
        assert (found.indices == wanted.indices).all()
        assert (found.quality == wanted.quality).all()

    def spilled(where: Path) -> None:
        tempfile.tempdir = str(where)
        found = dq.knn_graph(x, 3, memory_limit=least, threads=1)
        assert (found.indices == needed.indices).all()

    def merge(where: Path, *names: str) -> None:
        parts.merge(str(where / "out"), [str(folder / f"{name}.state") for name in names])

    nothing = Path.exists
    return {
        "audit saved": (
            lambda where: audits[0].save(where / "out", page=False),
            lambda where: audits[1].save(where / "out", page=False),
        ),
        "page written": (
            lambda where: audits[0].to_html(where / "out"),
            lambda where: audits[1].to_html(where / "out"),
        ),
        "states merged": (lambda where: merge(where, "a"), lambda where: merge(where, "a", "b")),
        "call resumed": (nothing, issues),
        "neighbours spilled": (nothing, spilled),
    }


def _child(library: str, folder: Path, every: int, jobs: str) -> dict[str, list[int]]:
    shim = ctypes.CDLL(library)
    calls, refuse = (ctypes.c_long.in_dll(shim, name) for name in ("calls", "refused"))
    lasting = ctypes.c_int.in_dll(shim, "lasting")
    result = {}
    for name, (before, act) in _jobs(folder).items():
        if not name.startswith(jobs):
            continue
        where = folder / name
        where.mkdir()
        before(where)
        act(where)  # imports what it needs
        new = _content(where)
        count = right = 0
        for mode in (0, 1):
            at = 0
            while True:
                _empty(where)
                before(where)
                old = _content(where)
                calls.value, refuse.value, lasting.value = 0, at, mode
                error = None
                try:
                    act(where)
                except OSError as found:
                    error = found
                refuse.value = -1
                if error is None and calls.value <= at:
                    break
                count += 1
                good = error is not None and error.errno == errno.ENOSPC
                good &= _may_be(name, _content(where), old, new)
                if name == "call resumed":
                    act(where)  # goes on with what was kept
                if not good:
                    print(f"{name}, call {at}, mode {mode}: {error!r}", file=sys.stderr)
                right += good
                at += every
        result[name] = [count, right]
    return result


def _may_be(name: str, found: Content, old: Content, new: Content) -> bool:
    if (
        name == "call resumed"
    ):  # parts that are whole; that they are, a call that goes on with them tells
        return not [path for path in found if path.endswith(".tmp")]
    return found in (old, new)


def _empty(folder: Path) -> None:
    import shutil

    shutil.rmtree(folder)
    folder.mkdir()


def main() -> None:
    """Print how many refusals were survived."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--every", type=int, default=1, help="refuse each so manieth call")
    parser.add_argument("--jobs", default="", help="those whose names begin so")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(_child(args.child, args.folder, args.every, args.jobs)))
        return
    if (why := missing()) is not None:
        sys.exit(why)
    with tempfile.TemporaryDirectory() as folder:
        found = refused(Path(folder), args.every, args.jobs)
    for name, (count, right) in found.items():
        print(f"{name}: {right} of {count} refusals survived")
    sys.exit(any(count != right for count, right in found.values()))


if __name__ == "__main__":
    main()
