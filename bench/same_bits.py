"""One hash a room for every instruction set and thread count; all of a column must be equal: python bench/same_bits.py.

The row of the kernel table is read back from the library before each line. Exits with 1 where a hash differs.
"""

from __future__ import annotations

import hashlib
import sys

import dqcore as dq
import numpy as np
from dqcore import _cpu
from numpy.typing import NDArray

ROWS, CLASSES = 24_000, 12
THREADS = (1, 2, 3, 8)


def digest(*arrays: NDArray[np.generic]) -> str:
    """Return a short hash of the arrays' bytes."""
    total = hashlib.sha256()
    for array in arrays:
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()[:12]


def main() -> int:
    """Print the table and return the exit code."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(200, 96)).astype(np.float32)
    features = centres[rng.integers(0, 200, ROWS)] + 0.3 * rng.normal(size=(ROWS, 96)).astype(
        np.float32
    )
    features[500:700] = features[3]  # exact duplicates
    labels = rng.integers(0, CLASSES, ROWS)
    pred_probs = rng.dirichlet(np.ones(CLASSES) / 3, ROWS).astype(np.float32)
    errors = rng.random(ROWS) ** 4
    columns = {"a": rng.integers(-1, 40, ROWS), "b": rng.integers(0, 9, ROWS)}

    def hashes(threads: int) -> dict[str, str]:
        found = {}
        for metric in ("euclidean", "cosine"):
            graph = dq.knn_graph(features, 10, metric=metric, threads=threads)
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
        for threads in THREADS:
            line = hashes(threads)
            for name, value in line.items():
                seen.setdefault(name, set()).add(value)
            print(f"{_cpu.isa():11} {threads}  " + "  ".join(f"{n} {v}" for n, v in line.items()))
    different = [name for name, values in seen.items() if len(values) > 1]
    print(f"different: {', '.join(different)}" if different else "all equal")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
