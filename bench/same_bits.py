"""One hash a room for every instruction set and thread count; all of a column must be equal: python bench/same_bits.py.

The row of the kernel table is read back from the library before each line. Exits with 1 where a hash differs. The data
are made of whole random bits by sums, products and quotients alone, so that another machine has the same hashes; the last
line holds one of each room.
"""

from __future__ import annotations

import argparse
import hashlib
import sys

import dqcore as dq
import numpy as np
from dqcore import _cpu
from numpy.typing import NDArray

CLASSES = 12


def digest(*arrays: NDArray[np.generic]) -> str:
    """Return a short hash of the arrays' bytes."""
    total = hashlib.sha256()
    for array in arrays:
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()[:12]


def arguments() -> argparse.Namespace:
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=24_000)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2, 3, 8])
    return parser.parse_args()


def bell(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return numbers of nearly normal distribution, without the logarithms of NumPy's own."""
    return np.asarray(sum(rng.random(shape) for _ in range(4)) - 2.0)


def main() -> int:
    """Print the table and return the exit code."""
    asked = arguments()
    rows = asked.rows
    rng = np.random.default_rng(0)
    features = bell(rng, (200, 96))[rng.integers(0, 200, rows)] + 0.3 * bell(rng, (rows, 96))
    features[rows // 40 : rows // 30] = features[3]  # exact duplicates
    labels = rng.integers(0, CLASSES, rows)
    parts = rng.random((rows, CLASSES))
    parts = parts * parts * parts
    pred_probs = (parts / sum(parts.T)[:, None]).astype(np.float32)
    errors = parts[:, 0]
    columns = {"a": rng.integers(-1, 40, rows), "b": rng.integers(0, 9, rows)}

    def hashes(threads: int) -> dict[str, str]:
        found = {}
        for metric in ("euclidean", "cosine"):
            graph = dq.knn_graph(features.astype(np.float32), 10, metric=metric, threads=threads)
            found[f"graph {metric}"] = digest(graph.indices, graph.distances)
        votes = dq.knn_disagreement(labels, graph, weights="gaussian", threads=threads)
        found["disagreement"] = digest(votes.score, votes.entropy, votes.confusion)
        joint = dq.confident_joint(labels, pred_probs, threads=threads)
        found["joint"] = digest(joint.counts, joint.thresholds, joint.calibrated())
        issues = dq.label_issues(labels, pred_probs, threads=threads)
        found["issues"] = digest(issues.mask, issues.indices, issues.quality)
        slices = dq.slice_errors(errors, columns, max_level=2, threads=threads)
        found["slices"] = digest(slices.size, slices.error_sum, slices.low, slices.p_value)
        return found

    seen: dict[str, set[str]] = {}
    for isa in _cpu.isas():
        _cpu.set_isa(isa)
        for threads in asked.threads:
            line = hashes(threads)
            for name, value in line.items():
                seen.setdefault(name, set()).add(value)
            print(f"{_cpu.isa():11} {threads}  " + "  ".join(f"{n} {v}" for n, v in line.items()))
    different = [name for name, values in seen.items() if len(values) > 1]
    print(f"different: {', '.join(different)}" if different else "all equal")
    print("  ".join(f"{name} {'/'.join(sorted(values))}" for name, values in seen.items()))
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
