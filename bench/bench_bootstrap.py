"""Intervals by bootstrap: a replicate against its data set, then seconds, and replicates a second against doing it again.

    PYTHONPATH=build/dev python bench/bench_bootstrap.py [--quick]

"Again" is the confident joint of the same rows, computed once for each replicate: what resampling by hand would cost at
least, without drawing the rows.
"""

from __future__ import annotations

import argparse

import dqcore as dq
import numpy as np
from bench_joint import make
from dqcore.reference.bootstrap import bootstrap_weights
from numpy.typing import NDArray
from timing import median_seconds

SIZES = [(1_000_000, 10), (500_000, 100), (100_000, 1000)]


def check(labels: NDArray[np.int32], p: NDArray[np.float32]) -> None:
    """Raise where a replicate is not the joint of its data set."""
    found = dq.bootstrap_joint(labels, p, replicates=3, confidence=0.4)
    rates = []
    for b in range(3):
        rows = np.repeat(np.arange(len(labels)), bootstrap_weights(0, len(labels), 3)[:, b])
        rates.append(dq.confident_joint(labels[rows], p[rows]).noise_rate())
    assert (found.noise_rate.low, found.noise_rate.high) == (min(rates), max(rates))


def bench(n: int, n_classes: int, replicates: int, threads: int, repeats: int) -> None:
    """Print the figures of one size."""
    labels, p = make(n, n_classes, np.float32)
    check(labels[:20_000], p[:20_000])
    once = median_seconds(
        lambda: dq.confident_joint(labels, p, threads=threads), repeats, warm_up=True
    )
    print(f"\n{n:,} x {n_classes} float32, {replicates} replicates, {threads} threads")
    for fixed in (False, True):
        seconds = median_seconds(
            lambda fixed=fixed: dq.bootstrap_joint(
                labels, p, replicates=replicates, fixed_thresholds=fixed, threads=threads
            ),
            repeats,
            warm_up=True,
        )
        name = "thresholds fixed" if fixed else "thresholds of each replicate"
        print(
            f"  {name:28} {seconds:7.2f} s  {replicates / seconds:7.0f} a second   "
            f"{replicates * once / seconds:5.1f}x again",
            flush=True,
        )


def main() -> None:
    """Run the sizes that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the first size only")
    parser.add_argument("--replicates", type=int, default=200)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    for n, n_classes in SIZES[:1] if args.quick else SIZES:
        bench(n, n_classes, args.replicates, args.threads, args.repeats)


if __name__ == "__main__":
    main()
