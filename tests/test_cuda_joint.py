"""The joint room's kernels, run thread by thread on the CPU, against the reference: the same bits."""

import numpy as np
import pytest
from dqcore import _backend, reference
from joint_cases import coarse, same, same_everything

emulated = pytest.importorskip("dqcore._emulated", reason="built without the CPU's executor")

RUN = {"threads": 1, "progress": None}
FLOATS = [np.float16, np.float32, np.float64]
SCORES = ["self_confidence", "normalized_margin", "confidence_weighted_entropy"]


@pytest.fixture(autouse=True, params=[False, True], ids=["forwards", "backwards"])
def device(request):
    """Blocks and threads in either order."""
    emulated.set_device(backwards=request.param)
    yield
    emulated.set_device()


def rows(n, n_classes, dtype, seed=0):
    """Labels, one class without rows, and probabilities with ties, zeros and values a little out of [0, 1]."""
    rng = np.random.default_rng([seed, n, n_classes])
    y = rng.integers(0, max(n_classes - 1, 1), n).astype(np.int32)
    logits = rng.standard_normal((n, n_classes)) * 1.5
    logits[np.arange(n), np.where(rng.random(n) < 0.7, y, rng.integers(0, n_classes, n))] += 3
    p = np.exp(logits)
    p = np.round(p / p.sum(1, keepdims=True), 2)
    p[rng.random(n) < 0.1] = 1 / n_classes
    p[0, 0] = -0.0
    if dtype != np.float16:
        p[n // 2, 0] = -9e-7
        p[n // 3, -1] = 1 + 9e-7
    return y, p.astype(dtype)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    ("n", "n_classes"), [(1, 1), (37, 2), (300, 10), (211, 13), (130, 100), (40, 257), (9, 1000)]
)
def test_joint(n, n_classes, dtype):
    y, p = rows(n, n_classes, dtype)
    weights = np.random.default_rng(1).random(n) * 2.0**30
    for collision in ("argmax", "confident"):
        for w in (None, weights)[: 1 if n_classes == 1000 else 2]:  # a table of 24 MB
            options = {"thresholds": None, "collision": collision, "weights": w}
            got = emulated.confident_joint(y, p, **options, **RUN)
            same(got, reference.confident_joint(y, p, **options))
    thresholds = np.quantile(p.astype(np.float64), 0.7, axis=0)
    options = {"thresholds": thresholds, "collision": "confident", "weights": None}
    got = emulated.confident_joint(y, p, **options, **RUN)
    same(got, reference.confident_joint(y, p, **options))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("n", "n_classes"), [(5, 1), (150, 2), (120, 10), (40, 100), (6, 1000)])
def test_scores(n, n_classes, dtype):
    y, p = rows(n, n_classes, dtype)
    for method in SCORES:
        for adjust in (False, True)[: 1 if method == SCORES[2] else 2]:
            options = {"method": method, "adjust": adjust}
            got = emulated.label_quality(y, p, **options, **RUN)
            same(got, reference.label_quality(y, p, **options))
    same(emulated.confidences(y, p, **RUN), reference.confidences(y, p))


@pytest.mark.parametrize(("n", "n_classes"), [(150, 4), (120, 12)])
def test_everything_through_the_public_doors(n, n_classes, monkeypatch):
    monkeypatch.setitem(_backend._MODULES, "cuda", "dqcore._emulated")
    labels, p = coarse(np.random.default_rng(n), n, n_classes)
    same_everything(labels, p.astype(np.float32), backend="cuda")


@pytest.mark.parametrize("dtype", FLOATS)
def test_pieces_and_strides(dtype):
    """A device with no room for all rows, and rows in another layout than its own."""
    y, p = rows(200, 10, dtype)
    emulated.set_device(free_bytes=16_000)
    options = {"thresholds": None, "collision": "argmax", "weights": None}
    want = reference.confident_joint(y, p, **options)
    for layout in (p, np.asfortranarray(p), np.repeat(p, 2, axis=1)[:, ::2], p[::-1]):
        labels = y if layout.strides[0] > 0 else y[::-1].copy()
        got = emulated.confident_joint(labels, layout, **options, **RUN)
        same(got[:4], want[:4])
        assert got[4][0] == want[4][0]
    same(
        emulated.label_quality(y, p, method=SCORES[1], adjust=False, **RUN),
        reference.label_quality(y, p, method=SCORES[1], adjust=False),
    )


@pytest.mark.parametrize("dtype", FLOATS)
def test_faults_are_told_as_on_the_cpu(dtype):
    y, p = rows(90, 6, dtype)
    p[70, 3], p[41, 5], p[41, 4] = np.nan, 1.5, -0.25
    options = {"collision": "argmax", "weights": None}
    emulated.set_device(free_bytes=4_000)
    for thresholds in (None, np.zeros(6)):
        with pytest.raises(ValueError, match=r"row 41, column 4 is -0.25 \(3 such entries\)"):
            emulated.confident_joint(y, p, thresholds=thresholds, **options, **RUN)
    y[41] = 4
    with pytest.raises(ValueError, match=r"row 41, column 4 is -0.25 \(3 such entries\)"):
        emulated.confident_joint(y, p, thresholds=None, **options, **RUN)
    y[50] = 6
    with pytest.raises(ValueError, match=r"labels must be in \[0, 5\]: row 50 is 6"):
        emulated.confident_joint(y, p, thresholds=None, **options, **RUN)
    y[12] = -1
    with pytest.raises(ValueError, match=r"labels must be in \[0, 5\]: row 12 is -1"):
        emulated.confident_joint(y, p, thresholds=np.zeros(6), **options, **RUN)


def test_many_rows_of_one_class():
    """A block adds more rows of a class than its words in shared memory hold."""
    n = 12_000
    y, p = np.zeros(n, np.int32), np.full((n, 2), 0.999999, np.float32)
    options = {"thresholds": None, "collision": "argmax", "weights": None}
    same(
        emulated.confident_joint(y, p, **options, **RUN), reference.confident_joint(y, p, **options)
    )


def test_thresholds_between_two_floats():
    """A probability is compared with its threshold as float64: one float below it fails, the next passes."""
    p = np.nextafter(np.full((2, 3), 0.3, np.float32), np.float32([[0], [1]]))
    low, high = p.astype(np.float64)
    for share in (0.01, 0.5, 0.99):
        options = {
            "thresholds": low + share * (high - low) + 1e-6,
            "collision": "argmax",
            "weights": None,
        }
        y = np.zeros(2, np.int32)
        got = emulated.confident_joint(y, p, **options, **RUN)
        same(got, reference.confident_joint(y, p, **options))


def test_no_rows():
    y, p = np.empty(0, np.int32), np.empty((0, 3), np.float32)
    options = {"thresholds": None, "collision": "argmax", "weights": None}
    got = emulated.confident_joint(y, p, **options, **RUN)
    same(got, reference.confident_joint(y, p, **options))
    assert len(emulated.label_quality(y, p, method=SCORES[0], adjust=False, **RUN)) == 0
