"""The exact graph against its peers: python bench/bench_knn.py [SET ...] [--peers faiss,sklearn,hnswlib].

    --runs R          runs of dqcore, the median counts (default 3)
    --check ROWS      sampled rows compared with the float64 order (default 2,000; all of sets of 20,000 rows or less)
    --growth N,N,...  instead of sets: patches of these sizes, and the exponent that fits the times

Each set is made anew in a process of its own for dqcore and for each peer, so that nobody's memory counts for another. An
exact peer answers all rows, or in one call as many random ones as the budget allows (4,096 at least), scaled to all; the
best of three counts. hnswlib is not exact: its line tells the time of the index, of the answers, and the recall. The
instruction set is that of DQCORE_ISA. Sets made from files read the folder DQCORE_DATA.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import data
import numpy as np
from numpy.typing import NDArray

K = 10
BUDGET = 60.0  # seconds for a peer to answer all rows; above, it answers some
LEAST_QUERIES = 4096
THREADS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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


SETS: dict[str, Callable[[], NDArray[np.float32]]] = {
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


def make(name: str) -> NDArray[np.float32]:
    """Return a set of SETS, or patches of any size: "patches=250000"."""
    kind, _, n = name.partition("=")
    return data.image_patches(int(n)) if kind == "patches" else SETS[name]()


def peak_mb(*, anew: bool = False) -> float:
    """Return the most memory that this process has held, or has held since asked for it `anew` (on Linux)."""
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # bytes on macOS
    if anew:
        reset.write_text("5")
    kilobytes = next(
        line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM")
    )
    return int(kilobytes) * 1024 / 1e6


# ---- in a process of its own -----------------------------------------------------------------------


def run_dqcore(x: NDArray[np.float32], options: argparse.Namespace) -> dict[str, Any]:
    """Time dqcore and check its graph against the canonical order."""
    import dqcore as dq
    from dqcore import _cpu, reference

    before, times = peak_mb(anew=True), []
    for _ in range(options.runs):
        start = time.perf_counter()
        graph = dq.knn_graph(x, K)
        times.append(time.perf_counter() - start)
    peak = peak_mb() - before
    rows = len(x) if len(x) <= 20_000 else min(options.check, len(x))
    chosen = np.sort(np.random.default_rng(1).choice(len(x), rows, replace=False))
    index = np.arange(len(x))
    for some in np.array_split(chosen, max(1, rows // 16)):
        keys = np.concatenate(
            [
                reference.knn.keys(x[some], x[a : a + 2048], "euclidean")
                for a in range(0, len(x), 2048)
            ],
            axis=1,
        )
        keys[np.arange(len(some)), some] = np.inf
        for i, key in zip(some, keys, strict=True):
            near = np.flatnonzero(key <= np.partition(key, K - 1)[K - 1])
            wanted = near[np.lexsort((index[near], key[near]))][:K]
            np.testing.assert_array_equal(graph.indices[i], wanted)
    np.save(options.answers, graph.indices)
    return {
        "seconds": statistics.median(times),
        "spread": (min(times), max(times)),
        "peak": peak,
        "input": x.nbytes / 1e6,
        "isa": _cpu.isa(),
        "checked": rows,
        "stats": graph.stats,
    }


def best_of_three(call: Callable[[NDArray[np.float32]], object], x: NDArray[np.float32]) -> float:
    """Return the seconds for all rows of x as queries: measured, or scaled from as many as the budget allows."""

    def seconds(queries: NDArray[np.float32]) -> float:
        start = time.perf_counter()
        call(queries)
        return time.perf_counter() - start

    order = np.random.default_rng(2).permutation(len(x))
    first = x[order[:LEAST_QUERIES]]
    whole = seconds(first) * len(x) / len(first)
    if whole > BUDGET:
        return min(whole, *(seconds(first) * len(x) / len(first) for _ in range(2)))
    return min(seconds(x) for _ in range(3))


def run_faiss(x: NDArray[np.float32], _: argparse.Namespace) -> dict[str, Any]:
    """Time FAISS flat; the row itself is one of its answers."""
    import faiss

    faiss.omp_set_num_threads(THREADS)
    return {"seconds": best_of_three(lambda q: faiss.knn(q, x, K + 1), x)}


def run_sklearn(x: NDArray[np.float32], _: argparse.Namespace) -> dict[str, Any]:
    """Time scikit-learn's brute force."""
    from sklearn.neighbors import NearestNeighbors

    model = NearestNeighbors(n_neighbors=K + 1, algorithm="brute", n_jobs=THREADS).fit(x)
    return {"seconds": best_of_three(model.kneighbors, x)}


def run_hnswlib(x: NDArray[np.float32], options: argparse.Namespace) -> dict[str, Any]:
    """Time hnswlib's index and its answers for all rows, and its recall against the exact graph."""
    import hnswlib

    index = hnswlib.Index(space="l2", dim=x.shape[1])
    index.init_index(max_elements=len(x), M=16, ef_construction=200)
    index.set_num_threads(THREADS)
    start = time.perf_counter()
    index.add_items(x)
    built = time.perf_counter() - start
    index.set_ef(50)
    start = time.perf_counter()
    answers, _ = index.knn_query(x, K + 1)
    answered = time.perf_counter() - start
    exact = np.load(options.answers)
    found = sum(
        len(np.intersect1d(a[a != i][:K], e))
        for i, (a, e) in enumerate(zip(answers[:20_000], exact[:20_000], strict=True))
    )
    return {"seconds": built + answered, "built": built, "recall": found / exact[:20_000].size}


RUNNERS = {
    "dqcore": run_dqcore,
    "faiss": run_faiss,
    "sklearn": run_sklearn,
    "hnswlib": run_hnswlib,
}


def measure(runner: str, name: str, answers: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Run this file for one set and one runner."""
    command = [sys.executable, __file__, name, "--child", runner, "--answers", str(answers)]
    command += ["--runs", str(options.runs), "--check", str(options.check)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


# ---- what is printed -------------------------------------------------------------------------------


def ceilings() -> dict[str, float]:
    """Return the operations a second of one core, by kind; empty without a compiler."""
    source = Path(__file__).with_name("ceilings.cpp")
    with tempfile.TemporaryDirectory() as folder:
        try:
            subprocess.run(["c++", "-O2", source, "-o", f"{folder}/ceilings"], check=True)
            text = subprocess.run(
                [f"{folder}/ceilings"], check=True, capture_output=True, text=True
            ).stdout
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"no ceilings: {error}", file=sys.stderr)
            return {}
    return {kind: float(rate) for kind, rate in map(str.split, text.splitlines())}


def report(name: str, rates: dict[str, float], options: argparse.Namespace) -> float:
    """Measure one set and print it; return the seconds of dqcore."""
    with tempfile.TemporaryDirectory() as folder:
        answers = Path(folder) / "answers.npy"
        ours = measure("dqcore", name, answers, options)
        stats, low, high = ours["stats"], *ours["spread"]
        rows = stats["distinct_rows"]
        print(
            f"{name:15} dqcore {ours['seconds']:7.2f} s ({low:.2f} to {high:.2f}), {ours['checked']:,} rows checked, "
            f"peak +{ours['peak']:.0f} MB over {ours['input']:.0f} of rows\n"
            f"{'':15} {ours['isa']} {stats['level1']} {tuple(stats['stage_dims'])}, then {stats['near_dims']} dims, "
            f"survivors a row {stats['survivors_level1'] / rows:.0f}, {stats['survivors_level2'] / rows:.0f}, "
            f"keys {stats['keys'] / rows:.0f}, rows swept again {stats['rows_again']:,}, "
            f"set-up {stats['seconds_prepare']:.2f} s",
            flush=True,
        )
        if rate := rates.get("int8" if stats["level1"] == "int8" else "float32"):
            # As if every pair went through all stages: what the ceiling would take at least without stages.
            floor = 2.0 * stats["pairs"] * stats["head_dims"] / (rate * THREADS)
            print(
                f"{'':15} the filter without stages would take {floor:.2f} s at the ceiling of {THREADS} cores; "
                f"the sweep took {stats['seconds_sweep']:.2f} s"
            )
        for peer in filter(None, options.peers.split(",")):
            theirs = measure(peer, name, answers, options)
            more = "".join(f", {key} {theirs[key]:.3g}" for key in theirs if key != "seconds")
            print(
                f"{'':15} {peer} {theirs['seconds']:.2f} s, ratio {theirs['seconds'] / ours['seconds']:.1f}{more}",
                flush=True,
            )
    return float(ours["seconds"])


def main() -> None:
    """Measure the sets named, or all."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("sets", nargs="*", metavar="SET", help=f"of {', '.join(SETS)}")
    parser.add_argument("--peers", default="faiss")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--check", type=int, default=2000)
    parser.add_argument("--growth", default="")
    parser.add_argument("--child", choices=RUNNERS, help=argparse.SUPPRESS)
    parser.add_argument("--answers", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(RUNNERS[options.child](make(options.sets[0]), options)))
        return
    rates = ceilings()
    print(f"{THREADS} cores, k = {K}; of one core, operations a second: {rates}")
    if not options.growth:
        for name in options.sets or SETS:
            report(name, rates, options)
        return
    sizes = [int(n) for n in options.growth.split(",")]
    seconds = [report(f"patches={n}", rates, options) for n in sizes]
    exponent = np.polyfit(np.log(sizes), np.log(seconds), 1)[0]
    print(f"seconds grow as n to the {exponent:.2f}")


if __name__ == "__main__":
    main()
