"""cleanlab 2.9.0 as second oracle: equal wherever its own result does not hang on the order of ties.

Two of its rules do: argsort is unstable, and equal remainders are rounded in any order. Random data have no equal
scores; where the calibrated joint has equal remainders the filters are compared on cleanlab's own matrix, or cleanlab
is made to take ties in the documented order (`stable`).
"""

import os
from pathlib import Path

import dqcore as dq
import numpy as np
import pytest
from joint_cases import FILTERS, QUALITIES, smooth

count = pytest.importorskip("cleanlab.count")
cleanlab_filter = pytest.importorskip("cleanlab.filter")
rank = pytest.importorskip("cleanlab.rank")


@pytest.fixture
def stable(monkeypatch):
    """Let cleanlab take ties to the lower index; nothing else of it changes."""
    argsort = np.argsort

    def stable_argsort(values, *args, **kwargs):
        return argsort(values, *args, **{**kwargs, "kind": "stable"})

    def round_preserving_sum(values):
        rounded = values.round()
        missing = int(np.round(values.sum().round() - rounded.sum()))
        step = 1 if missing > 0 else -1
        order = argsort(-step * (values - rounded), kind="stable")
        rounded[order[: abs(missing)]] += step
        return rounded.astype(int)

    monkeypatch.setattr(np, "argsort", stable_argsort)
    monkeypatch.setattr("cleanlab.internal.util.round_preserving_sum", round_preserving_sum)


SHAPES = [(30, 2), (400, 3), (900, 5), (2000, 10), (1500, 16), (3000, 40)]


def cleanlab_joint(labels, p):
    return np.asarray(count.compute_confident_joint(labels, p, calibrate=False))


def floored(counts):
    result = counts.copy()
    np.fill_diagonal(result, np.maximum(result.diagonal(), 1))
    return result


def rows_without_tied_remainders(joint):
    """Rows whose calibration does not choose among equal remainders."""
    counts = floored(joint.counts).astype(float)
    exact = counts / counts.sum(axis=1, keepdims=True) * joint.class_counts[:, None]
    rest = np.sort(np.round(exact - np.rint(exact), 9), axis=1)
    return ~(np.diff(rest, axis=1) == 0).any(axis=1)


@pytest.mark.parametrize(("n", "n_classes"), SHAPES)
@pytest.mark.parametrize("seed", range(3))
class TestRandomData:
    @pytest.fixture
    def data(self, n, n_classes, seed):
        labels, p = smooth(np.random.default_rng(seed), n, n_classes)
        assert len(np.unique(labels)) == n_classes
        return labels, p

    def test_joint(self, data):
        labels, p = data
        joint = dq.confident_joint(labels, p)
        np.testing.assert_allclose(
            joint.thresholds, count.get_confident_thresholds(labels, p), rtol=1e-12, atol=0
        )
        np.testing.assert_array_equal(floored(joint.counts), cleanlab_joint(labels, p))
        calibrated = count.compute_confident_joint(labels, p, calibrate=True)
        rows = rows_without_tied_remainders(joint)
        np.testing.assert_array_equal(joint.calibrated()[rows], calibrated[rows])
        assert np.abs(joint.calibrated() - calibrated).max() <= 1

    def test_latent_estimates(self, data):
        labels, p = data
        joint = dq.confident_joint(labels, p)
        calibrated = joint.calibrated()
        np.testing.assert_allclose(joint.joint(), calibrated / calibrated.sum(), rtol=1e-12, atol=0)
        for method in ("cnt", "eqn", "marginal", "marginal_ps"):
            prior, noise, inverse = count.estimate_latent(calibrated, labels, py_method=method)
            np.testing.assert_allclose(joint.prior(method), prior, rtol=1e-9, atol=1e-12)
            np.testing.assert_allclose(joint.noise_matrix(), noise, rtol=1e-12, atol=0)
            np.testing.assert_allclose(joint.inverse_noise_matrix(), inverse, rtol=1e-12, atol=0)
        assert round(joint.noise_rate() * len(labels)) == count.num_label_issues(
            labels, p, confident_joint=calibrated, estimation_method="off_diagonal_custom"
        )

    def test_scores(self, data):
        labels, p = data
        for method in QUALITIES:
            expected = rank.get_label_quality_scores(labels, p, method=method)
            np.testing.assert_allclose(
                dq.label_quality(labels, p, method=method), expected, rtol=1e-12, atol=1e-15
            )
        for method in QUALITIES[:2]:
            expected = rank.get_label_quality_scores(
                labels, p, method=method, adjust_pred_probs=True
            )
            np.testing.assert_allclose(
                dq.label_quality(labels, p, method=method, adjust=True), expected, rtol=1e-12
            )

    @pytest.mark.parametrize("filter_by", FILTERS)
    @pytest.mark.filterwarnings("ignore:May not flag all label issues")
    @pytest.mark.filterwarnings("ignore:The supplied `confident_joint` is ignored")
    def test_issues(self, data, filter_by):
        labels, p = data
        calibrated = count.compute_confident_joint(labels, p, calibrate=True)
        for rank_by in QUALITIES:
            expected = cleanlab_filter.find_label_issues(
                labels,
                p,
                filter_by=filter_by,
                confident_joint=calibrated,
                return_indices_ranked_by=rank_by,
                n_jobs=1,
            )
            found = dq.label_issues(
                labels, p, filter_by=filter_by, rank_by=rank_by, joint=calibrated
            )
            np.testing.assert_array_equal(found.indices, expected)
            np.testing.assert_array_equal(np.flatnonzero(found.mask), np.sort(expected))
        if rows_without_tied_remainders(dq.confident_joint(labels, p)).all():
            own = cleanlab_filter.find_label_issues(labels, p, filter_by=filter_by, n_jobs=1)
            np.testing.assert_array_equal(dq.label_issues(labels, p, filter_by=filter_by).mask, own)

    @pytest.mark.parametrize("filter_by", FILTERS[:3])
    @pytest.mark.usefixtures("stable")
    @pytest.mark.filterwarnings("ignore:May not flag all label issues")
    def test_options_of_the_prune_filters(self, data, filter_by):
        labels, p = data
        calibrated = count.compute_confident_joint(labels, p, calibrate=True)
        remove = np.minimum(np.bincount(labels), 1 + np.arange(p.shape[1]) % 7)
        for options in (
            {"frac_noise": 0.0},
            {"frac_noise": 0.37},
            {"frac_noise": 0.5, "min_examples_per_class": 30},
            {"min_examples_per_class": 0},
            {"num_to_remove_per_class": remove},
            {"num_to_remove_per_class": remove, "frac_noise": 0.8},
        ):
            if options.keys() & {"num_to_remove_per_class"} and not noisy(calibrated, options):
                continue  # cleanlab divides 0 by 0
            theirs = {k: v.tolist() if k[0] == "n" else v for k, v in options.items()}
            expected = cleanlab_filter.find_label_issues(
                labels, p, filter_by=filter_by, confident_joint=calibrated, n_jobs=1, **theirs
            )
            found = dq.label_issues(labels, p, filter_by=filter_by, joint=calibrated, **options)
            np.testing.assert_array_equal(found.mask, expected, str(options))


def noisy(calibrated, options):
    """Whether every true class is left with some error to scale by."""
    prune = cleanlab_filter._keep_at_least_n_per_class(
        calibrated.T, n=1, frac_noise=options.get("frac_noise", 1.0)
    )
    return (prune.sum(axis=1) > prune.diagonal()).all()


@pytest.mark.usefixtures("stable")
@pytest.mark.parametrize("name", ["labelerrors_mnist", "labelerrors_20news"])
@pytest.mark.filterwarnings("ignore:May not flag all label issues")
def test_published_probabilities(name):
    folder = os.environ.get("DQCORE_DATA")
    if not folder:
        pytest.skip("DQCORE_DATA names no folder of real data")
    with np.load(Path(folder) / f"{name}.npz", allow_pickle=False) as data:
        labels, p = data["labels"], data["pred_probs"]
    wide = p.astype(np.float64)
    joint = dq.confident_joint(labels, p)
    np.testing.assert_array_equal(floored(joint.counts), cleanlab_joint(labels, wide))
    np.testing.assert_array_equal(floored(joint.counts), cleanlab_joint(labels, p))
    np.testing.assert_array_equal(
        joint.calibrated(), count.compute_confident_joint(labels, wide, calibrate=True)
    )
    for filter_by in FILTERS:
        for rank_by in QUALITIES[:2]:  # the third is wrong there for sure rows
            expected = cleanlab_filter.find_label_issues(
                labels, wide, filter_by=filter_by, return_indices_ranked_by=rank_by, n_jobs=1
            )
            found = dq.label_issues(labels, p, filter_by=filter_by, rank_by=rank_by)
            np.testing.assert_array_equal(found.indices, expected)
    for method in QUALITIES[:2]:
        np.testing.assert_array_equal(
            dq.label_quality(labels, p, method=method),
            rank.get_label_quality_scores(labels, wide, method=method),
        )
