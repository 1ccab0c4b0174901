"""The joint room: equal to its definition for every instruction set, thread count, dtype and layout; golden cases."""

import dqcore as dq
import numpy as np
import pytest
from conftest import examples
from dqcore import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from joint_cases import QUALITIES, coarse, everything, same, same_everything, smooth

# Class counts on both sides of every register width, and rows on both sides of every block.
CLASSES = (1, 2, 3, 4, 5, 7, 8, 9, 10, 15, 16, 17, 31, 33, 100)


@pytest.mark.usefixtures("native_isa")
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("n_classes", CLASSES)
def test_coarse_data_equals_the_reference(rng, n_classes, dtype):
    labels, p = coarse(rng, 300, n_classes)
    same_everything(labels, p.astype(dtype))


@pytest.mark.usefixtures("native_isa")
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("n_classes", [2, 10, 19, 40])
def test_smooth_data_equals_the_reference(rng, n_classes, dtype):
    labels, p = smooth(rng, 600, n_classes)
    same_everything(labels, p.astype(dtype))


@pytest.mark.threads
@pytest.mark.parametrize("threads", [1, 2, 3, 8])
@pytest.mark.parametrize("n", [0, 1, 255, 256, 257, 30_000])
def test_threads_and_blocks_change_nothing(rng, n, threads):
    labels, p = coarse(rng, n, 6)
    found = everything(labels, p.astype(np.float32), threads=threads)
    for name, value in everything(labels, p.astype(np.float32), threads=1).items():
        same(value, found[name])


def test_many_rows_equal_the_reference(rng):
    labels, p = coarse(rng, 30_000, 6)
    same_everything(labels, p.astype(np.float32), threads=3)


def test_many_classes_share_one_table(rng):
    labels, p = smooth(rng, 3_000, 400, 0.01)
    weights = np.ones(len(labels))
    for threads in (1, 3):
        found = dq.confident_joint(labels, p, threads=threads)
        same(found, dq.confident_joint(labels, p, backend="reference"))
    np.testing.assert_array_equal(
        dq.confident_joint(labels, p, weights=weights, threads=3).counts, found.counts
    )


def layouts(p):
    """The same numbers in memory in every way that NumPy can hold them."""
    n, k = p.shape
    yield "fortran", np.asfortranarray(p)
    yield "reversed", np.ascontiguousarray(p[::-1, ::-1])[::-1, ::-1]
    wide = np.zeros((2 * n, 3 * k), p.dtype)
    wide[::2, 1::3] = p
    yield "every other", wide[::2, 1::3]
    padded = np.zeros((n, k + 5), p.dtype)
    padded[:, 2 : 2 + k] = p
    yield "part of rows", padded[:, 2 : 2 + k]
    raw = np.zeros(p.nbytes + 1, np.uint8)
    odd = (
        raw[1:].view(p.dtype)
        if p.dtype.itemsize == 1
        else np.frombuffer(raw.data, p.dtype, n * k, offset=1).reshape(n, k)
    )
    np.frombuffer(raw.data, np.uint8, p.nbytes, offset=1)[:] = p.ravel().view(np.uint8)
    yield "unaligned", odd
    record = np.zeros(n, [("x", np.int8), ("p", p.dtype, (k,))])
    record["p"] = p
    yield "field", record["p"]
    frozen = p.copy()
    frozen.flags.writeable = False
    yield "read-only", frozen
    yield "big-endian", p.astype(p.dtype.newbyteorder(">"))


@pytest.mark.usefixtures("native_isa")
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("n_classes", [3, 10, 35])
def test_layouts_change_nothing(rng, dtype, n_classes):
    labels, p = coarse(rng, 70, n_classes)
    p = p.astype(dtype)
    expected = everything(labels, p)
    for name, q in layouts(p):
        np.testing.assert_array_equal(p, q)
        found = everything(labels, q)
        for key, value in expected.items():
            try:
                same(value, found[key])
            except AssertionError as error:
                raise AssertionError(f"{name}, {key}: {error}") from error


def test_one_row_repeated_by_a_stride_of_zero():
    p = np.broadcast_to(np.array([0.25, 0.75], np.float32), (1000, 2))
    labels = np.arange(1000) % 2
    same_everything(labels, p)


@settings(max_examples=examples(150), deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(0, 60),
    n_classes=st.integers(1, 40),
    parts=st.integers(1, 20),
    dtype=st.sampled_from([np.float16, np.float32, np.float64]),
    threads=st.sampled_from([1, 3]),
)
def test_any_shape_equals_the_reference(seed, n, n_classes, parts, dtype, threads):
    labels, p = coarse(np.random.default_rng(seed), n, n_classes, parts)
    q = p.astype(dtype)
    same_everything(labels, q, threads=threads)


@settings(max_examples=examples(100), deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n_classes=st.integers(1, 20),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_user_thresholds_at_the_very_edge(seed, n_classes, dtype):
    """Thresholds within a bit of a probability (plus 1e-6) decide as float64 does."""
    rng = np.random.default_rng(seed)
    labels, p = smooth(rng, 40, n_classes)
    p = p.astype(dtype)
    edge = p[rng.integers(0, 40, n_classes), np.arange(n_classes)].astype(np.float64) + 1e-6
    step = rng.integers(-1, 2, n_classes)
    thresholds = np.where(step == 0, edge, np.nextafter(edge, np.where(step > 0, 9.0, -9.0)))
    for collision in ("argmax", "confident"):
        same(
            dq.confident_joint(labels, p, thresholds=thresholds, collision=collision),
            dq.confident_joint(
                labels, p, thresholds=thresholds, collision=collision, backend="reference"
            ),
        )


# ---- weights -------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("native_isa")
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_weights_equal_the_reference(rng, dtype):
    labels, p = smooth(rng, 500, 7)
    weights = rng.random(500) * 2.0 ** rng.integers(-40, 31, 500)
    weights[::7] = 0.0
    for threads in (1, 3):
        run = {"weights": weights, "collision": "confident"}
        found = dq.confident_joint(labels, p.astype(dtype), threads=threads, **run)
        expected = dq.confident_joint(labels, p.astype(dtype), backend="reference", **run)
        same(found, expected)
        same(found.calibrated(), reference.calibrate(found.counts, found.class_weights))


def test_whole_weights_are_repeated_rows(rng):
    labels, p = coarse(rng, 400, 5)
    times = rng.integers(0, 4, 400)
    weighted = dq.confident_joint(labels, p, weights=times)
    repeated = dq.confident_joint(np.repeat(labels, times), np.repeat(p, times, axis=0))
    np.testing.assert_array_equal(weighted.counts, repeated.counts)
    np.testing.assert_array_equal(weighted.thresholds, repeated.thresholds)
    np.testing.assert_array_equal(weighted.class_weights, repeated.class_counts)


def test_the_greatest_weight_does_not_overflow():
    w = np.nextafter(2.0**31, 0)
    labels, p = np.zeros(9, int), np.tile([1 + 1e-6, -1e-6], (9, 1))
    joint = dq.confident_joint(labels, p, weights=np.full(9, w))
    same(joint, dq.confident_joint(labels, p, weights=np.full(9, w), backend="reference"))
    assert joint.class_weights[0] == 9 * w


# ---- golden cases --------------------------------------------------------------------------------------------------


def test_a_class_without_rows():
    p = np.array([[0.5, 0.25, 0.25], [0.25, 0.5, 0.25], [0.0, 0.0, 1.0]])
    joint = dq.confident_joint([0, 1, 1], p)
    assert joint.thresholds.tolist() == [0.5, 0.25, 2.0]
    assert joint.counts.tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 0]]  # nothing is confident of 2
    assert joint.calibrated().tolist() == [[1, 0, 0], [0, 2, 0], [0, 0, 0]]
    assert joint.noise_matrix()[:, 2].tolist() == [0.0, 0.0, 0.0]
    assert joint.prior().sum() == pytest.approx(1.0)
    assert joint.noise_rate() == 0.0


def test_a_class_of_one_row_is_never_pruned():
    p = np.array([[0.9, 0.1], [0.8, 0.2], [0.9, 0.1]])
    for filter_by in ("prune_by_noise_rate", "prune_by_class", "both"):
        for least in (0, 1):
            issues = dq.label_issues(
                [0, 0, 1], p, filter_by=filter_by, min_examples_per_class=least
            )
            assert not issues.mask.any()
    assert dq.label_issues([0, 0, 1], p, filter_by="predicted_neq_given").indices.tolist() == [2]


def test_no_row_is_confident():
    p = np.array([[0.5, 0.5], [0.5, 0.5]])
    joint = dq.confident_joint([0, 1], p, thresholds=[0.9, 0.9])
    assert not joint.counts.any()
    assert joint.class_counts.tolist() == [1, 1]
    assert joint.calibrated().tolist() == [[1, 0], [0, 1]]


def test_every_row_is_confident_of_every_class():
    """Uniform probabilities: every threshold is 1 / K, everything collides, the first class wins."""
    labels = np.arange(12) % 4
    joint = dq.confident_joint(labels, np.full((12, 4), 0.25))
    assert joint.thresholds.tolist() == [0.25] * 4
    assert joint.counts.tolist() == [[3, 0, 0, 0]] * 4
    assert not dq.label_issues(labels, np.full((12, 4), 0.25)).mask.any()  # as probable as any


def test_one_hot_probabilities():
    p = np.eye(3)[[0, 1, 2, 0, 1, 2, 0]]
    labels = [0, 1, 2, 0, 1, 2, 1]
    joint = dq.confident_joint(labels, p)
    assert joint.counts.tolist() == [[2, 0, 0], [1, 2, 0], [0, 0, 2]]
    quality = dq.label_quality(labels, p, method="confidence_weighted_entropy")
    assert quality.tolist() == [1.0] * 7  # the limit: cleanlab scores a perfect row 0, the worst
    assert dq.label_quality(labels, p, method="normalized_margin").tolist() == [1.0] * 6 + [0.0]
    assert dq.label_issues(labels, p).indices.tolist() == [6]


def test_the_two_collision_rules_differ_where_the_argmax_is_not_confident():
    p = np.array([[0.5, 0.3, 0.2]])
    thresholds = [0.9, 0.3, 0.2]
    argmax = dq.confident_joint([2], p, thresholds=thresholds)
    paper = dq.confident_joint([2], p, thresholds=thresholds, collision="confident")
    assert argmax.counts[2].tolist() == [1, 0, 0]
    assert paper.counts[2].tolist() == [0, 1, 0]


def test_the_tolerance_of_confidence():
    threshold = 0.5
    at = threshold - 1e-6
    p = np.array([[at, 1 - at], [np.nextafter(at, 0), 1 - at]])
    assert dq.confident_joint([0, 0], p, thresholds=[0.5, 2.0]).counts[0, 0] == 1


def test_thresholds_have_a_floor():
    joint = dq.confident_joint([0, 1], [[0.0, 1.0], [1.0, 0.0]])
    assert joint.thresholds.tolist() == [2e-6, 2e-6]
    assert joint.counts.tolist() == [[0, 1], [1, 0]]


@pytest.mark.parametrize("n", [0, 1, 5])
def test_a_single_class(n):
    p, labels = np.ones((n, 1)), np.zeros(n, int)
    same_everything(labels, p)
    assert dq.confident_joint(labels, p).counts.tolist() == [[n]]
    assert dq.confident_joint(labels, p).noise_rate() == 0.0
    for method in QUALITIES:
        assert dq.label_quality(labels, p, method=method).tolist() == [1.0] * n
    assert not dq.label_issues(labels, p).mask.any()


def test_no_rows():
    p = np.empty((0, 3), np.float32)
    joint = dq.confident_joint([], p)
    assert joint.counts.shape == (3, 3)
    assert joint.counts.dtype == np.int64
    assert not joint.counts.any()
    assert joint.thresholds.tolist() == [2.0] * 3
    assert not joint.calibrated().any()
    assert not joint.joint().any()
    assert (joint.n, joint.noise_rate()) == (0, 0.0)
    np.testing.assert_allclose(joint.prior(), 1 / 3)
    issues = dq.label_issues([], p)
    for name, dtype in {
        "mask": bool,
        "indices": int,
        "quality": float,
        "suggested": np.int32,
    }.items():
        assert getattr(issues, name).shape == (0,)
        assert getattr(issues, name).dtype == dtype
    assert dq.label_quality([], p).shape == (0,)


def test_the_calibrated_joint_keeps_row_totals_and_breaks_ties_low():
    # 10 rows of class 0, 3 of them confident of each of 0, 1, 2: 10/3 each, and 1 to give away.
    counts = np.array([[3, 3, 3], [0, 0, 0], [0, 1, 3]])
    found = dq._backend.load("cpu").calibrate(counts, np.array([10, 0, 6]))
    assert found.tolist() == [[4, 3, 3], [0, 0, 0], [0, 2, 4]]
    same(found, reference.calibrate(counts, np.array([10, 0, 6])))


@settings(max_examples=examples(200), deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1), n_classes=st.integers(1, 200), most=st.sampled_from([1, 9, 900])
)
def test_calibration_equals_the_reference(seed, n_classes, most):
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, most + 1, (n_classes, n_classes)) * (
        rng.random((n_classes, n_classes)) < 0.5
    )
    totals = rng.integers(0, 3 * most * n_classes, n_classes)
    found = dq._backend.load("cpu").calibrate(counts, totals)
    same(found, reference.calibrate(counts, totals))
    np.testing.assert_array_equal(found.sum(axis=1), totals)
    assert (found >= 0).all()
    same(
        dq._backend.load("cpu").calibrate(counts * 0.3, totals * 0.7),
        reference.calibrate(counts * 0.3, totals * 0.7),
    )


def test_num_to_remove_per_class_is_exact_before_the_veto(rng):
    labels, p = smooth(rng, 2000, 5)
    p = np.roll(p, 1, axis=1)  # hardly a given label is the argmax, so hardly a row is spared
    remove = np.array([5, 0, 17, 1, 400])
    issues = dq.label_issues(labels, p, filter_by="prune_by_class", num_to_remove_per_class=remove)
    for k in range(5):
        rows = np.flatnonzero(labels == k)
        wanted = rows[np.argsort(p[rows, k], kind="stable")[: remove[k]]]
        wanted = wanted[p[wanted].argmax(axis=1) != k]
        np.testing.assert_array_equal(rows[issues.mask[rows]], np.sort(wanted))


def test_ranking_takes_ties_by_row(rng):
    labels, p = coarse(rng, 3000, 4, parts=4)
    issues = dq.label_issues(labels, p, filter_by="predicted_neq_given")
    keys = list(zip(issues.quality[issues.indices], issues.indices, strict=True))
    assert keys == sorted(keys)
    assert sorted(issues.indices) == np.flatnonzero(issues.mask).tolist()


def test_permuted_rows_give_permuted_results(rng):
    labels, p = smooth(rng, 1500, 8)
    order = rng.permutation(1500)
    plain, mixed = dq.label_issues(labels, p), dq.label_issues(labels[order], p[order])
    np.testing.assert_array_equal(plain.mask[order], mixed.mask)
    np.testing.assert_array_equal(plain.indices, order[mixed.indices])


def test_permuted_classes_permute_the_joint(rng):
    labels, p = smooth(rng, 1500, 8)
    order = rng.permutation(8)
    number = np.argsort(order)
    plain, mixed = dq.confident_joint(labels, p), dq.confident_joint(number[labels], p[:, order])
    np.testing.assert_array_equal(plain.counts[np.ix_(order, order)], mixed.counts)


def test_the_data_twice_doubles_the_counts(rng):
    labels, p = smooth(rng, 700, 6)
    once, twice = (
        dq.confident_joint(labels, p),
        dq.confident_joint(np.tile(labels, 2), np.tile(p, (2, 1))),
    )
    np.testing.assert_array_equal(2 * once.counts, twice.counts)
    np.testing.assert_array_equal(once.thresholds, twice.thresholds)


def test_progress_is_told_by_stage(rng):
    labels, p = smooth(rng, 500, 4)
    stages = []
    dq.label_issues(
        labels, p, progress=lambda stage, done, total: stages.append((stage, done, total))
    )
    assert {"thresholds", "joint", "issues", "selections"} == {s for s, _, _ in stages}
    assert all(done <= total for _, done, total in stages)
