"""Each kernel once, on few rows: what compute-sanitizer runs."""

from __future__ import annotations

import dqcore as dq
import numpy as np
from dqcore import _backend

N = 1024


def main() -> None:
    """Run every room on the device."""
    rng = np.random.default_rng(0)
    for n_classes, dtype in ((3, np.float64), (100, np.float32), (260, np.float16)):
        labels = rng.integers(0, n_classes, N).astype(np.int32)
        p = rng.dirichlet(np.full(n_classes, 0.3), N).astype(dtype)
        dq.confident_joint(labels, p, weights=rng.random(N), backend="cuda")
        dq.label_issues(labels, p, filter_by="both", adjust=True, backend="cuda")
        dq.label_quality(labels, p, method="confidence_weighted_entropy", backend="cuda")
    table = {f"c{i}": rng.integers(-1, 5, N).astype(np.int32) for i in range(6)}
    dq.slice_errors(rng.random(N) < 0.2, table, max_level=2, backend="cuda")
    dq.slice_errors(rng.random(N), table, max_level=2, backend="cuda")
    try:
        dq.knn_graph(rng.standard_normal((N, 128)).astype(np.float32), k=5, backend="cuda")
    except _backend.NoKernelError as error:
        print(error)


if __name__ == "__main__":
    main()
