"""Intervals of the confident joint: the weights, the replicates as data sets, the bounds, and what they cover."""

import dqcore as dq
import numpy as np
import pytest
from conftest import examples
from dqcore import _cpu, reference
from dqcore.reference import bootstrap as definition
from hypothesis import given, settings
from hypothesis import strategies as st
from joint_cases import coarse, same, smooth


def test_the_hash_is_splitmix64():
    stream = np.full(3, 1234567, np.uint64) + definition.GOLDEN * np.arange(1, 4, dtype=np.uint64)
    assert definition._mix(stream).tolist() == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
    ]


def test_the_table_has_the_mean_and_the_variance_of_poisson():
    draws = np.diff([0, *definition.POISSON_AT_MOST, 2**16])
    k = np.arange(len(draws))
    assert draws.sum() == (k * draws).sum() == 2**16
    assert (k**2 * draws).sum() == 2**17
    poisson = 2**16 * np.exp(-1) / np.array([1, 1, 2, 6, 24, 120, 720, 5040, 40320])
    assert np.abs(draws - poisson).max() < 4


def test_weights_are_independent_of_each_other():
    weights = definition.bootstrap_weights(7, 20_000, 24)
    assert abs(weights.mean() - 1.0) < 0.005
    assert abs(weights.var() - 1.0) < 0.01
    assert np.abs(np.corrcoef(weights.T) - np.eye(24)).max() < 0.04
    rows = weights[:, 0]
    assert abs(np.corrcoef(rows[:-1], rows[1:])[0, 1]) < 0.03
    assert (weights != definition.bootstrap_weights(8, 20_000, 24)).mean() > 0.5


@pytest.mark.threads
@pytest.mark.parametrize("collision", ["argmax", "confident"])
@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.usefixtures("native_isa")
def test_native_equals_the_reference(rng, collision, fixed):
    for make in (smooth, coarse):
        for n, n_classes, dtype in [(0, 2, "f8"), (1, 1, "f8"), (300, 3, "f2"), (200, 40, "f4")]:
            labels, p = make(rng, n, n_classes)
            y, p = labels.astype(np.int32), p.astype(dtype)
            thresholds = np.full(n_classes, 0.4) if fixed else None
            options = {"thresholds": thresholds, "collision": collision, "seed": n}
            expected = reference.bootstrap_joint(y, p, replicates=21, **options)
            classes = reference.confident_classes(y, p, thresholds=thresholds, collision=collision)
            for threads in (1, 2, 3, 8):
                run = {"threads": threads, "progress": None}
                same(tuple(expected), _cpu.bootstrap_joint(y, p, replicates=21, **options, **run))
                del_seed = {k: v for k, v in options.items() if k != "seed"}
                same(classes, _cpu.confident_classes(y, p, **del_seed, **run))


@settings(deadline=None, max_examples=examples(40))
@given(
    n=st.integers(0, 40),
    n_classes=st.integers(1, 5),
    replicates=st.integers(1, 20),
    seed=st.integers(0, 2**64 - 1),
    top=st.sampled_from([1.0, 1.0 + 1e-6, 0.0, -1e-6]),
)
def test_any_shape_seed_and_value(n, n_classes, replicates, seed, top):
    labels, p = coarse(np.random.default_rng(n), n, n_classes)
    p[p == 1.0] = top
    options = {"thresholds": None, "collision": "argmax", "replicates": replicates, "seed": seed}
    y, strided = labels.astype(np.int32), np.asfortranarray(p)[::-1][::-1]
    found = _cpu.bootstrap_joint(y, strided, **options, threads=2, progress=None)
    same(tuple(reference.bootstrap_joint(y, p, **options)), found)


@pytest.mark.parametrize("fixed", [False, True])
def test_a_replicate_is_the_joint_of_its_data_set(rng, fixed):
    labels, p = smooth(rng, 400, 4)
    whole = dq.bootstrap_joint(
        labels, p, fixed_thresholds=fixed, replicates=9, confidence=0.8, seed=3
    )
    weights = definition.bootstrap_weights(3, 400, 9)
    values = {"noise_rate": [], "class_noise": [], "noise_matrix": [], "prior": []}
    for b in range(9):
        rows = np.repeat(np.arange(400), weights[:, b])
        thresholds = whole.joint.thresholds if fixed else None
        joint = dq.confident_joint(labels[rows], p[rows], thresholds=thresholds)
        calibrated = joint.calibrated()
        values["noise_rate"].append(joint.noise_rate())
        values["class_noise"].append(1.0 - calibrated.diagonal() / calibrated.sum(axis=1))
        values["noise_matrix"].append(joint.noise_matrix())
        values["prior"].append(joint.prior())
    for name, drawn in values.items():
        ordered = np.sort(np.array(drawn), axis=0)
        interval = getattr(whole, name)
        np.testing.assert_allclose(interval.low, ordered[0], rtol=0, atol=1e-15)
        np.testing.assert_allclose(interval.high, ordered[-1], rtol=0, atol=1e-15)
    joint = dq.confident_joint(labels, p)
    assert whole.noise_rate.estimate == joint.noise_rate()
    same(whole.prior.estimate, joint.prior())
    same(whole.noise_matrix.estimate, joint.noise_matrix())


def test_bounds_are_the_order_statistics_that_confidence_names(rng):
    labels, p = smooth(rng, 300, 3)
    widths = []
    for confidence in (0.5, 0.9, 0.95):
        found = dq.bootstrap_joint(labels, p, confidence=confidence)
        assert found.noise_rate.low <= found.noise_rate.high
        widths.append(found.noise_rate.high - found.noise_rate.low)
    assert widths == sorted(widths)
    assert widths[0] < widths[2]
    dq.bootstrap_joint(labels, p, replicates=39)
    with pytest.raises(ValueError, match=r"replicates must be at least 39 for confidence 0.95"):
        dq.bootstrap_joint(labels, p, replicates=38)
    with pytest.raises(ValueError, match="seed"):
        dq.bootstrap_joint(labels, p, seed=-1)


def test_intervals_cover_what_the_estimate_tends_to():
    def draw(seed, n):
        rng = np.random.default_rng(seed)
        true = rng.integers(0, 3, n)
        p = rng.dirichlet((0.5, 0.5, 0.5), n) + 2.0 * np.eye(3)[true]
        flipped = np.where(rng.random(n) < 0.2, (true + 1) % 3, true)
        return flipped, p / p.sum(axis=1, keepdims=True)

    truth = dq.confident_joint(*draw(1000, 200_000))
    covered = np.zeros((3, 3))
    rate = 0
    for seed in range(40):
        found = dq.bootstrap_joint(*draw(seed, 400), replicates=99, confidence=0.9, seed=seed)
        matrix = found.noise_matrix
        covered += (matrix.low <= truth.noise_matrix()) & (truth.noise_matrix() <= matrix.high)
        rate += found.noise_rate.low <= truth.noise_rate() <= found.noise_rate.high
    assert 32 <= rate <= 40
    assert covered.mean() > 33


def test_results_say_that_they_cover_sampling_error_only(rng):
    labels, p = smooth(rng, 100, 3)
    found = dq.bootstrap_joint(labels, p, class_names=["a", "b<", "c"])
    assert "sampling error only" in repr(found)
    assert "sampling error only" in found._repr_html_()
    assert "b&lt;" in found._repr_html_()


def test_bad_values_are_named_as_everywhere(rng):
    labels, p = smooth(rng, 50, 3)
    p[31, 2] = np.nan
    with pytest.raises(ValueError, match=r"pred_probs must be probabilities.*row 31, column 2"):
        dq.bootstrap_joint(labels, p)
    with pytest.raises(ValueError, match=r"pred_probs must be probabilities.*row 31, column 2"):
        dq.confident_classes(labels, p)
    with pytest.warns(UserWarning, match="not summing to 1"):
        dq.bootstrap_joint([0, 1], [[0.5, 0.2], [0.5, 0.5]])
