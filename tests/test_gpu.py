"""On an NVIDIA device: the same bits as the CPU. Skipped, with the reason, where none can be had."""

import dqcore as dq
import numpy as np
import pytest
from dqcore import _backend
from joint_cases import coarse, everything, same, smooth

REASON = _backend.available()["cuda"]
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(bool(REASON), reason=REASON or "a device")]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize(
    ("n", "n_classes"), [(1, 1), (5000, 2), (20_001, 10), (3000, 103), (999, 1000)]
)
@pytest.mark.parametrize("make", [smooth, coarse])
def test_joint(make, n, n_classes, dtype):
    labels, p = make(np.random.default_rng([n, n_classes]), n, n_classes)
    p = p.astype(dtype)
    want, got = everything(labels, p, backend="cpu"), everything(labels, p, backend="cuda")
    for name, value in want.items():
        same(value, got[name])
    weights = np.random.default_rng(1).random(n) * 2.0**30
    same(
        dq.confident_joint(labels, p, weights=weights, backend="cpu"),
        dq.confident_joint(labels, p, weights=weights, backend="cuda"),
    )


@pytest.mark.parametrize("losses", [False, True])
def test_slices(losses):
    rng = np.random.default_rng(3)
    n = 300_000
    table = {f"c{i}": rng.integers(-1, 3 + 2 * i, n).astype(np.int32) for i in range(8)}
    table["wide"] = rng.integers(0, 3000, n)
    errors = rng.random(n) * 7 if losses else rng.random(n) < 0.2
    options = {"max_level": 2, "min_support": 5}
    same(
        dq.slice_errors(errors, table, backend="cpu", **options),
        dq.slice_errors(errors, table, backend="cuda", **options),
    )


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize(("n", "d", "k"), [(129, 1, 3), (5000, 65, 10), (20_000, 200, 100)])
def test_neighbours(n, d, k, metric):
    rng = np.random.default_rng([n, d])
    x = rng.standard_normal((n, d)).astype(np.float32)
    x[n // 2 : n // 2 + n // 10] = x[0]  # more equal rows than a stage has room for
    x[-5:] = 0.0
    for queries in (None, x[: n // 3] + np.float32(0.01)):
        options = {"k": k, "metric": metric, "queries": queries}
        want, got = (dq.knn_graph(x, backend=b, **options) for b in ("cpu", "cuda"))
        np.testing.assert_array_equal(want.indices, got.indices)
        np.testing.assert_array_equal(want.distances, got.distances)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("d", [7, 128, 1024])
def test_the_tensor_cores_keep_within_the_filters_bound(d, metric):
    rng = np.random.default_rng(d)
    x = rng.standard_normal((1000, d))
    for data in (x, np.abs(x), x * 2.0 ** rng.integers(-12, 13, x.shape)):
        error = _backend.load("cuda").filter_error(data.astype(np.float32), metric)
        assert error < 1.0


def test_two_runs_are_identical():
    labels, p = smooth(np.random.default_rng(0), 200_000, 50)
    p = p.astype(np.float32)
    same(dq.label_issues(labels, p, backend="cuda"), dq.label_issues(labels, p, backend="cuda"))


def test_more_than_fits_is_a_memory_error_with_sizes():
    labels = np.arange(300_000, dtype=np.int32)
    p = np.broadcast_to(np.float32(0), (300_000, 300_000))
    with pytest.raises(
        MemoryError, match=r"allocation of \d+ bytes failed: \d+ of \d+ bytes are free"
    ):
        dq.confident_joint(labels, p, thresholds=np.zeros(300_000), backend="cuda")
