"""Confident learning against cleanlab and against the speed of reading the probabilities, in one run.

    PYTHONPATH=build/dev python bench/bench_joint.py [--quick] [--dtype float32]
    PYTHONPATH=build/dev python bench/bench_joint.py --memory     200,000 x 5,000 (4 GB): what label_issues holds

Asserts the answer first: counts, thresholds and issues equal cleanlab's on the same probabilities as float64, given
one calibrated joint. A figure is the median of several runs; a read is what two threads need to look at every value.
"""

from __future__ import annotations

import argparse
import os
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dqcore as dq
import numpy as np
from numpy.typing import DTypeLike, NDArray
from timing import median_seconds

warnings.filterwarnings("ignore", message="May not flag all label issues")

SIZES = [(1_000_000, 10), (500_000, 100), (200_000, 100), (100_000, 1000)]


def make(
    n: int, n_classes: int, dtype: DTypeLike, seed: int = 0
) -> tuple[NDArray[np.int32], NDArray[Any]]:
    """Probabilities from noisy logits: classes differ in how sure the model is of them, so thresholds spread."""
    rng = np.random.default_rng(seed)
    true = rng.integers(0, n_classes, n)
    p = rng.standard_normal((n, n_classes), np.float32)
    p[np.arange(n), true] += np.linspace(2.0, 6.0, n_classes, dtype=np.float32)[true]
    np.exp(p, out=p)
    p /= p.sum(axis=1, keepdims=True)
    flipped = rng.random(n) < 0.1
    labels = np.where(flipped, (true + rng.integers(1, n_classes, n)) % n_classes, true)
    return labels.astype(np.int32), p.astype(dtype)


def read_ms(p: NDArray[Any], threads: int, repeats: int) -> float:
    """Milliseconds for `threads` threads to look at every value once."""
    words = p.reshape(-1).view(np.uint32)
    parts = np.array_split(words, threads)
    with ThreadPoolExecutor(threads) as pool:
        return 1e3 * median_seconds(lambda: list(pool.map(np.max, parts)), repeats, warm_up=True)


def check(labels: NDArray[np.int32], p: NDArray[Any]) -> None:
    """Raise where the answer is not cleanlab's."""
    from cleanlab.count import compute_confident_joint
    from cleanlab.filter import find_label_issues

    wide = p.astype(np.float64)
    counts = dq.confident_joint(labels, p).counts.copy()
    np.fill_diagonal(counts, np.maximum(counts.diagonal(), 1))
    np.testing.assert_array_equal(counts, compute_confident_joint(labels, wide, calibrate=False))
    calibrated = compute_confident_joint(labels, wide, calibrate=True)
    theirs = find_label_issues(labels, wide, confident_joint=calibrated, n_jobs=1)
    np.testing.assert_array_equal(dq.label_issues(labels, p, joint=calibrated).mask, theirs)


def bench(n: int, n_classes: int, dtype: DTypeLike, threads: int, repeats: int) -> None:
    """Print the figures of one size."""
    from cleanlab.count import compute_confident_joint
    from cleanlab.filter import find_label_issues

    labels, p = make(n, n_classes, dtype)
    check(labels, p)
    read = read_ms(p, threads, repeats)
    print(
        f"\n{n:,} x {n_classes} {np.dtype(dtype).name}, {threads} threads; "
        f"one read {read:.2f} ms, {p.nbytes / read / 1e6:.1f} GB/s"
    )
    few = max(1, repeats // 5)
    rows = [
        (
            "confident_joint",
            lambda: dq.confident_joint(labels, p, threads=threads),
            lambda: compute_confident_joint(labels, p, calibrate=False),
        ),
        (
            "label_issues, ranked",
            lambda: dq.label_issues(labels, p, threads=threads),
            lambda: find_label_issues(
                labels, p, n_jobs=1, return_indices_ranked_by="self_confidence"
            ),
        ),
    ]
    state = dq.JointState(dq.confident_joint(labels, p).thresholds)
    rows.insert(
        1, ("  the fused pass alone", lambda: state.update(labels, p, threads=threads), None)
    )
    for name, ours, theirs in rows:
        mine = 1e3 * median_seconds(ours, repeats, warm_up=True)
        line = f"  {name:24} {mine:9.2f} ms {mine / read:6.2f} reads"
        if theirs is not None:
            peer = 1e3 * median_seconds(theirs, few, warm_up=True)
            line += f"   cleanlab {peer:9.1f} ms   {peer / mine:6.1f}x"
        print(line, flush=True)


def resident() -> int:
    """Return the bytes of this process that lie in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def bench_memory(n: int, n_classes: int, threads: int) -> None:
    """Print the most that label_issues holds over its input and result, and its seconds."""
    parts = [make(5000, n_classes, np.float32, seed) for seed in range(n // 5000)]
    labels = np.concatenate([y for y, _ in parts])
    p = np.empty((n, n_classes), np.float32)
    for i in range(len(parts)):
        p[5000 * i : 5000 * (i + 1)] = parts[i][1]
        parts[i] = (parts[i][0], parts[i][1][:0])
    before = most = resident()
    finished = threading.Event()

    def watch() -> None:
        nonlocal most
        while not finished.wait(0.002):
            most = max(most, resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    issues = dq.label_issues(labels, p, threads=threads)
    seconds = time.perf_counter() - start
    finished.set()
    watcher.join()
    result = sum(
        getattr(issues, name).nbytes for name in ("mask", "indices", "quality", "suggested")
    )
    print(
        f"label_issues, {n:,} x {n_classes:,} float32: {seconds:.2f} s, at most "
        f"{(most - before - result) / 1e6:.0f} MB over input and result, {len(issues):,} issues"
    )


def main() -> None:
    """Run the sizes that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the first size only")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=11)
    parser.add_argument("--memory", action="store_true", help="what label_issues holds, only")
    args = parser.parse_args()
    if args.memory:
        bench_memory(200_000, 5_000, args.threads)
        return
    for n, n_classes in SIZES[:1] if args.quick else SIZES:
        bench(n, n_classes, args.dtype, args.threads, args.repeats)


if __name__ == "__main__":
    main()
