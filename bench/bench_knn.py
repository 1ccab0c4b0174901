"""The exact graph against FAISS flat in the same run: python bench/bench_knn.py [SET ...] [--runs R] [--check ROWS].

Each set is checked first, on sampled rows, against the canonical float64 order; the time of FAISS is that of one
call for all rows, or for 4,096 random ones where that takes too long, scaled to all. Sets made from files read the
folder DQCORE_DATA. Prints one line a set; times are medians for dqcore and the best run for FAISS.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import time

import data
import dqcore as dq
import numpy as np
from dqcore import _cpu, reference
from numpy.typing import NDArray

K = 10
FAISS_QUERIES = 4096


def word_vectors() -> NDArray[np.float32]:
    """word2vec vectors, 40,000 x 100, not normalised: nearly full rank."""
    with np.load(data.folder() / "w2v_40k.npz") as file:
        return file["features"].astype(np.float32)


def mnist() -> NDArray[np.float32]:
    """MNIST images, 40,000 x 784."""
    with np.load(data.folder() / "mnist40k.npz") as file:
        return file["images"].reshape(-1, 784).astype(np.float32)


def sentences(*names: str) -> NDArray[np.float32]:
    """Sentence embeddings, 384 columns, unit norm."""
    parts = []
    for name in names:
        with np.load(data.folder() / f"{name}.npz") as file:
            parts.append(file["features"].astype(np.float32))
    return np.concatenate(parts)


SETS = {
    "patches-50k": lambda: data.image_patches(50_000),
    "patches-100k": lambda: data.image_patches(100_000),
    "patches-200k": lambda: data.image_patches(200_000),
    "patches-1m": lambda: data.image_patches(1_000_000),
    "words-40k": word_vectors,
    "mnist-40k": mnist,
    "sentences-13k": lambda: sentences("banking77"),
    "sentences-28k": lambda: sentences("banking77", "wordnet_15k"),
    "normal-60k": lambda: np.random.default_rng(0).normal(size=(60_000, 256)).astype(np.float32),
}


def check(x: NDArray[np.float32], graph: dq.KnnGraph, rows: int) -> None:
    """Assert that sampled rows of the graph are in the canonical order."""
    index = np.arange(len(x))
    for i in np.random.default_rng(1).choice(len(x), min(rows, len(x)), replace=False):
        key = np.concatenate(
            [
                reference.knn.keys(x[i : i + 1], x[a : a + 4096], "euclidean")[0]
                for a in range(0, len(x), 4096)
            ]
        )
        order = np.lexsort((index, key))
        np.testing.assert_array_equal(graph.indices[i], order[order != i][:K])


def faiss_seconds(x: NDArray[np.float32], budget: float = 60.0) -> float:
    """Return the time that FAISS flat takes for all rows, two threads."""
    import faiss

    faiss.omp_set_num_threads(os.cpu_count() or 1)
    queries = x[np.random.default_rng(2).choice(len(x), min(len(x), FAISS_QUERIES), replace=False)]

    def seconds(q: NDArray[np.float32]) -> float:
        start = time.perf_counter()
        faiss.knn(q, x, K + 1)
        return time.perf_counter() - start

    part = min(seconds(queries) for _ in range(3)) * len(x) / len(queries)
    return part if part > budget else min(seconds(x) for _ in range(3))


def main() -> None:
    """Measure the sets named, or all."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("sets", nargs="*", metavar="SET", help=f"of {', '.join(SETS)}")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--check", type=int, default=20, help="rows compared with the reference")
    options = parser.parse_args()
    print(f"{_cpu.isa()}, {_cpu.threads(0)} threads, k = {K}")
    for name in options.sets or SETS:
        x = SETS[name]()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        times = []
        for _ in range(options.runs):
            start = time.perf_counter()
            graph = dq.knn_graph(x, K)
            times.append(time.perf_counter() - start)
        peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        check(x, graph, options.check)
        ours, theirs, stats = statistics.median(times), faiss_seconds(x), graph.stats
        rows = stats["distinct_rows"]
        print(
            f"{name:14} {len(x):8,} x {x.shape[1]:3}  dqcore {ours:7.2f} s ({min(times):.2f} to {max(times):.2f})"
            f"  FAISS {theirs:8.2f} s  ratio {theirs / ours:5.1f}"
            f"  {stats['level1']} {stats['head_dims']}/{stats['near_dims']}"
            f"  survivors a row {stats['survivors_level1'] / rows:.0f} {stats['survivors_level2'] / rows:.0f}"
            f"  set-up {stats['seconds_prepare']:.2f} s  peak +{peak:.0f} MB"
        )


if __name__ == "__main__":
    main()
