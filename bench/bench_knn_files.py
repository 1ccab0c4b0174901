"""The exact graph of a file within a limit, against in memory, in one run.

    PYTHONPATH=build/dev python bench/bench_knn_files.py [--rows 200000] [--limit 512MB] [--runs 3] [--file FILE.npy]

Makes a file of image patches (192 columns of float32) in the folder for temporary files and removes it again, unless a
file is given. Each call runs in a process of its own, by turns; both read the file, and their graphs must be equal to the
bit. The peak is the process's most resident memory (VmHWM), Python and the result included. The file should fit the page
cache.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

K = 10


def child(path: str, limit: str | None) -> None:
    """Print seconds, peak and a hash of the graph."""
    import dqcore as dq

    start = time.perf_counter()
    graph = dq.knn_graph(path, K, memory_limit=limit)
    seconds = time.perf_counter() - start
    digest = hashlib.sha256(graph.indices.tobytes() + graph.distances.tobytes()).hexdigest()
    status = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
    print(json.dumps([seconds, peak, digest, graph.stats.get("spilled_bytes", 0)]))


def measure(path: str, limit: str | None) -> list:
    """Return what a child prints."""
    command = [sys.executable, __file__, "--child", "--file", path]
    command += [] if limit is None else ["--limit", limit]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--limit")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--file", default="")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.file, options.limit)
        return
    limit = options.limit or "512MB"
    with tempfile.TemporaryDirectory() as folder:
        path = options.file
        if not path:
            import data

            path = f"{folder}/patches.npy"
            np.save(path, data.image_patches(options.rows))
        shape = np.load(path, mmap_mode="r").shape
        print(f"{shape[0]:,} x {shape[1]}, k = {K}, limit {limit}")
        ratios = []
        for _ in range(options.runs):
            whole, within = measure(path, None), measure(path, limit)
            if whole[2] != within[2]:
                raise AssertionError("the graphs differ")
            ratios.append(within[0] / whole[0])
            print(
                f"  in memory {whole[0]:7.2f} s, peak {whole[1] / 1e6:6.0f} MB; within the limit {within[0]:7.2f} s, "
                f"peak {within[1] / 1e6:6.0f} MB of which result {shape[0] * K * 8 / 1e6:.0f}, "
                f"in the file {within[3] / 1e6:.0f} MB; ratio {ratios[-1]:.2f}",
                flush=True,
            )
        print(f"  ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
