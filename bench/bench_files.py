"""Confident learning on a file, against reading the file alone, in one run.

    PYTHONPATH=build/dev python bench/bench_files.py [--rows 30000000] [--limit 256MB] [--folder /tmp]

Makes a file of float16 probabilities of 100 classes (200 bytes a row) in the folder and removes it again, unless it is
there. Asserts the answer first, on its beginning, for several limits and for uneven shards merged; then times
`confident_joint` and `label_issues` given that joint (three passes), and three reads of the file by as many threads, by
turns. The file should fit the page cache. What is held is the most resident memory over that before the calls, less the
result.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dqcore as dq
import numpy as np
from bench_joint import make, resident
from numpy.typing import NDArray

N_CLASSES = 100
PART = 100_000
READ_BYTES = 1 << 20  # the size at which reading alone was fastest, or near it


def write(folder: Path, rows: int) -> tuple[Path, Path]:
    """Return the paths of probabilities and labels, made where they are not there."""
    probs, labels = folder / f"bench_{rows}.npy", folder / f"bench_{rows}_labels.npy"
    if not (probs.exists() and labels.exists()):
        out = np.lib.format.open_memmap(probs, "w+", np.float16, (rows, N_CLASSES))
        given = np.empty(rows, np.int32)
        for begin in range(0, rows, PART):
            end = min(begin + PART, rows)
            # Ten parts over and over: drawing costs more than all else here.
            y, p = parts(begin // PART % 10)
            out[begin:end], given[begin:end] = p[: end - begin], y[: end - begin]
        out.flush()
        np.save(labels, given)
    return probs, labels


def parts(seed: int, made: dict[int, tuple[NDArray[np.int32], NDArray[np.float16]]] = {}):  # noqa: ANN201, B006
    """Return labels and probabilities of a part, kept."""
    if seed not in made:
        made[seed] = make(PART, N_CLASSES, np.float16, seed)
    return made[seed]


def read_seconds(path: Path, threads: int) -> float:
    """Return the time in which so many threads read the file once, a part each."""
    descriptor = os.open(path, os.O_RDONLY)
    size = os.fstat(descriptor).st_size

    def read(worker: int) -> None:
        at, end = size * worker // threads, size * (worker + 1) // threads
        into = bytearray(READ_BYTES)
        while at < end:
            at += os.preadv(descriptor, [into], at)

    with ThreadPoolExecutor(threads) as pool:
        start = time.perf_counter()
        list(pool.map(read, range(threads)))
        seconds = time.perf_counter() - start
    os.close(descriptor)
    return seconds


def check(probs: Path, labels: Path) -> None:
    """Raise where the file's beginning does not give the bits of an array, for any limit or split."""
    n = min(500_000, len(dq.Source.open(probs)))
    p = dq.Source.open(probs).read(0, n)
    y = np.load(labels)[:n]
    joint = dq.confident_joint(y, p)
    issues = dq.label_issues(y, p, joint=joint)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "p.npy"
        np.save(path, p)
        for limit in (None, "64MB", "256MB", "1GB"):
            same(dq.confident_joint(y, path, memory_limit=limit), joint, ("counts", "thresholds"))
            found = dq.label_issues(y, path, joint=joint, memory_limit=limit)
            same(found, issues, ("mask", "indices", "quality", "suggested"))
    cuts = [0, *(n * i * i // 49 for i in range(1, 8))]
    shards = [dq.IssueState(joint) for _ in range(7)]
    for shard, begin, end in zip(shards, cuts[:-1], cuts[1:], strict=True):
        shard.update(y[begin:end], p[begin:end], row_start=begin)
    for shard in shards[1:]:
        shards[0].merge(dq.IssueState.from_bytes(shard.to_bytes()))
    same(shards[0].finish(), issues, ("mask", "indices", "quality", "suggested"))


def same(a: object, b: object, names: tuple[str, ...]) -> None:
    """Raise where two results differ."""
    for name in names:
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


def held(call) -> tuple[float, int, object]:  # noqa: ANN001
    """Return the seconds of a call, the most memory over what there was before, and its result."""
    before = most = resident()
    finished = threading.Event()

    def watch() -> None:
        nonlocal most
        while not finished.wait(0.005):
            most = max(most, resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    result = call()
    seconds = time.perf_counter() - start
    finished.set()
    watcher.join()
    return seconds, most - before, result


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=3_000_000)
    parser.add_argument("--limit", default="256MB")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    args = parser.parse_args()
    probs, labels = write(args.folder, args.rows)
    check(probs, labels)
    run = {"memory_limit": args.limit, "threads": args.threads}
    y = np.load(labels)
    ratios, rows = [], []
    for _ in range(args.repeats):
        reads = sum(read_seconds(probs, args.threads) for _ in range(3))
        joint_s, joint_held, joint = held(lambda: dq.confident_joint(y, probs, **run))
        issues_s, issues_held, issues = held(
            lambda joint=joint: dq.label_issues(y, probs, joint=joint, **run)
        )
        names = ("mask", "indices", "quality", "suggested")
        result = sum(getattr(issues, name).nbytes for name in names)
        ratios.append((joint_s + issues_s) / reads)
        rows.append((reads, joint_s, issues_s, max(joint_held, issues_held - result), len(issues)))
        del issues
    reads, joint_s, issues_s = (statistics.median(row[i] for row in rows) for i in range(3))
    size = probs.stat().st_size
    print(f"{args.rows:,} x {N_CLASSES} float16, {size / 1e9:.2f} GB, {args.threads} threads")
    print(f"  three reads           {reads:7.3f} s   {3 * size / reads / 1e9:6.1f} GB/s")
    print(f"  confident_joint       {joint_s:7.3f} s   {2 * size / joint_s / 1e9:6.1f} GB/s")
    print(f"  label_issues          {issues_s:7.3f} s   {size / issues_s / 1e9:6.1f} GB/s")
    print(
        f"  both against three reads: {statistics.median(ratios):.2f} "
        f"({min(ratios):.2f} to {max(ratios):.2f}); {rows[0][4]:,} issues"
    )
    print(
        f"  most held over labels and result, limit {args.limit}: {max(r[3] for r in rows) / 1e6:.0f} MB"
    )


if __name__ == "__main__":
    main()
