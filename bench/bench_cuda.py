"""The CUDA backend on a device: ceilings of this run first, then each room, checked against the CPU before it is timed.

    PYTHONPATH=build/cuda python bench/bench_cuda.py [--rows 1000000] [--json FILE]

Wants a device; torch, where it is there, measures the ceilings and is the peer of the neighbour graph. Times are medians;
those "from host" hold the way over the bus, and what the host does before and after.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dqcore as dq
import numpy as np
from dqcore import _backend
from timing import median_seconds

Line = dict[str, Any]


def equal(a: object, b: object) -> bool:
    """Whether two results have the same bits."""
    if isinstance(a, np.ndarray):
        return np.array_equal(a, b)
    if isinstance(a, tuple):
        return all(map(equal, a, b))
    if hasattr(a, "__dict__"):
        return all(equal(v, vars(b)[k]) for k, v in vars(a).items())
    return a == b


def torch_seconds(torch: Any, work: Callable[[], object], repeats: int = 5) -> float:  # noqa: ANN401
    """Median seconds of `work` on the device, by its events, after two runs."""
    work(), work()
    seconds = []
    for _ in range(repeats):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        work()
        end.record()
        torch.cuda.synchronize()
        seconds.append(start.elapsed_time(end) / 1e3)
    return sorted(seconds)[len(seconds) // 2]


def ceilings() -> Line:
    """Copy and matrix rates, and the bus, as torch reaches them in this run."""
    try:
        import torch
    except ImportError:
        return {"what": "ceilings", "note": "no torch here"}
    line: Line = {"what": "ceilings"}
    x = torch.empty(1 << 30, dtype=torch.uint8, device="cuda")
    y = torch.empty_like(x)
    line["copy_TBps"] = 2 * x.numel() / torch_seconds(torch, lambda: y.copy_(x)) / 1e12
    host = torch.empty(1 << 28, dtype=torch.uint8, pin_memory=True)
    line["to_device_GBps"] = (
        host.numel() / torch_seconds(torch, lambda: x[: 1 << 28].copy_(host)) / 1e9
    )
    torch.backends.cuda.matmul.allow_tf32 = False
    for name, dtype in (("fp16", torch.float16), ("fp32", torch.float32)):
        a = torch.randn(8192, 8192, dtype=dtype, device="cuda")
        line[f"{name}_TFps"] = 2 * 8192**3 / torch_seconds(torch, lambda a=a: a @ a) / 1e12
    return line


def measure(what: str, repeats: int, call: Callable[..., object], **sizes: object) -> Line:
    """Check `call` on both backends, then time both."""
    same = equal(call(backend="cpu"), call(backend="cuda"))
    line: Line = {"what": what, **sizes, "equal_to_cpu": same}
    if not same:
        return line
    line["cuda_ms"] = 1e3 * median_seconds(lambda: call(backend="cuda"), repeats, warm_up=True)
    line["cpu_ms"] = 1e3 * median_seconds(lambda: call(backend="cpu"), repeats, warm_up=True)
    return line


def joint_lines(rows: int) -> list[Line]:
    """Return the joint and the issues of `rows` rows, of few and of many classes."""
    lines = []
    for n_classes in (10, 100, 1000):
        n = min(rows, 2_000_000_000 // (4 * n_classes))
        rng = np.random.default_rng(n_classes)
        labels = rng.integers(0, n_classes, n).astype(np.int32)
        p = rng.random((n, n_classes), np.float32)
        p[np.arange(n), labels] += n_classes / 10
        p /= p.sum(axis=1, keepdims=True)
        for what, function in (("joint", dq.confident_joint), ("issues", dq.label_issues)):
            lines.append(
                measure(
                    f"{what} from host",
                    3,
                    lambda f=function, y=labels, q=p, **b: f(y, q, **b),
                    n=n,
                    classes=n_classes,
                )
            )
            print(lines[-1], flush=True)
    return lines


def slice_lines(rows: int) -> list[Line]:
    """Return all pairs of 20 columns."""
    rng = np.random.default_rng(0)
    table = {f"c{i}": rng.integers(0, 4 + i, rows).astype(np.int32) for i in range(20)}
    lines = []
    for what, errors in (("0/1", rng.random(rows) < 0.1), ("losses", rng.random(rows))):
        lines.append(
            measure(
                f"slices of {what}, from host",
                3,
                lambda e=errors, **b: dq.slice_errors(e, table, max_level=2, **b),
                n=rows,
                columns=20,
            )
        )
        print(lines[-1], flush=True)
    return lines


def knn_lines(rows: int) -> list[Line]:
    """Return the neighbour graph: equal to the CPU's on a part; of all rows, next to torch's product and selection."""
    try:
        _ = _backend.load("cuda").knn_graph
    except _backend.BackendError as error:
        return [{"what": "knn", "note": str(error)}]
    lines = []
    for d in (192, 384):
        rng = np.random.default_rng(d)
        x = rng.standard_normal((rows, d), np.float32)
        part = x[:50_000]
        lines.append(
            measure(
                "knn from host", 1, lambda q=part, **b: dq.knn_graph(q, k=10, **b), n=len(part), d=d
            )
        )
        seconds = median_seconds(lambda q=x: dq.knn_graph(q, k=10, backend="cuda"), 3, warm_up=True)
        line: Line = {"what": "knn from host", "n": rows, "d": d, "cuda_s": seconds}
        line["half_matrix_TFps"] = rows**2 * d / seconds / 1e12
        line |= torch_graph(x)
        if "torch_fp32_s" in line:
            line["ratio"] = line["torch_fp32_s"] / seconds
        lines.append(line)
        print(lines[-2], line, sep="\n", flush=True)
    return lines


def torch_graph(x: np.ndarray) -> Line:
    """Seconds of float32 product and selection, tile by tile: some tiles, scaled to all rows."""
    try:
        import torch
    except ImportError:
        return {}
    torch.backends.cuda.matmul.allow_tf32 = False
    data = torch.from_numpy(x).cuda()
    norms = (data * data).sum(1)
    tile = 4096

    def one() -> object:
        scores = norms - 2 * (data[:tile] @ data.T)
        return torch.topk(scores, 11, largest=False)

    return {
        "torch_fp32_s": torch_seconds(torch, one, 3) * len(x) / tile,
        "torch": "scaled from a tile",
    }


def main() -> int:
    """Print a line for each measurement; return how many results were not the CPU's."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if reason := _backend.available()["cuda"]:
        sys.exit(reason)
    lines = [ceilings()]
    print(lines[0], flush=True)
    lines += joint_lines(10 * args.rows) + slice_lines(10 * args.rows) + knn_lines(args.rows)
    if args.json:
        args.json.write_text(json.dumps(lines, indent=1))
    return sum(line.get("equal_to_cpu") is False for line in lines)


if __name__ == "__main__":
    sys.exit(main())
