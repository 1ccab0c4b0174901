"""The joint of a file by a Dask cluster of processes on this machine, against as many threads, in one run.

    PYTHONPATH=build/dev python bench/bench_dask.py [--rows 10000000] [--workers 2] [--folder /tmp]

Makes the file of bench_files.py in the folder, unless it is there. Both results must be equal to the bit. Starting the
cluster does not count, nor does the first call, in which its processes import.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import dqcore as dq
import numpy as np
from bench_files import same, write
from distributed import Client, LocalCluster


def timed(call: Callable[[], dq.ConfidentJoint]) -> tuple[float, dq.ConfidentJoint]:
    """Return the seconds of a call, and its result."""
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    args = parser.parse_args()
    probs, labels = write(args.folder, args.rows)
    y = np.load(labels)
    with (
        LocalCluster(args.workers, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        both = []
        for _ in range(args.repeats + 1):
            threads, ours = timed(lambda: dq.confident_joint(y, probs, threads=args.workers))
            tasks, theirs = timed(lambda: dq.confident_joint(y, probs, executor=client))
            same(ours, theirs, ("counts", "thresholds"))
            both.append((threads, tasks))
    both = both[1:]
    threads, tasks = (statistics.median(pair[i] for pair in both) for i in range(2))
    ratios = sorted(pair[1] / pair[0] for pair in both)
    print(f"{args.rows:,} x 100 float16, {args.workers} workers")
    print(f"  threads         {threads:7.3f} s")
    print(f"  Dask processes  {tasks:7.3f} s")
    print(
        f"  ratio           {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
    )


if __name__ == "__main__":
    main()
