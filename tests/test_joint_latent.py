"""What follows from a confident joint, against cleanlab 2.9.0 and at its edges."""

import dqcore as dq
import numpy as np
import pytest
from dqcore.reference import latent
from joint_cases import QUALITIES, smooth

count = pytest.importorskip("cleanlab.count")
dataset = pytest.importorskip("cleanlab.dataset")
rank = pytest.importorskip("cleanlab.rank")

PRIORS = ("cnt", "eqn", "marginal", "marginal_ps")
NAMES = ("ant", "bee", "cat")


@pytest.fixture(params=[(30, 2), (900, 5), (2000, 12)], ids=str)
def data(request, rng):
    labels, p = smooth(rng, *request.param)
    assert len(np.unique(labels)) == p.shape[1]
    return labels, p


def calibrated(labels, p):
    """Our calibrated counts: where remainders tie, cleanlab's own depend on the sort."""
    return dq.confident_joint(labels, p).calibrated()


@pytest.mark.parametrize("method", PRIORS)
@pytest.mark.parametrize("converge", [False, True])
def test_latent_estimates_equal_cleanlab(data, method, converge):
    labels, p = data
    found = dq.confident_joint(labels, p).latent_estimates(method, converge=converge)
    expected = count.estimate_latent(
        calibrated(labels, p), labels, py_method=method, converge_latent_estimates=converge
    )
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)


def test_estimates_that_converged_agree(data):
    joint = dq.confident_joint(*data)
    prior, noise, inverse = joint.latent_estimates(converge=True)
    shares = joint.class_counts / joint.n
    np.testing.assert_allclose((inverse * shares).T, noise * prior, atol=2e-3)
    assert prior.sum() == pytest.approx(1.0)
    np.testing.assert_allclose(inverse.sum(axis=0), 1.0)


@pytest.mark.parametrize("method", ["off_diagonal", "off_diagonal_calibrated"])
def test_the_number_of_issues_equals_cleanlab(data, method):
    labels, p = data
    expected = count.num_label_issues(labels, p, estimation_method=method)
    assert dq.num_label_issues(labels, p, method=method) == expected
    assert dq.num_label_issues(labels, p, method=method, backend="reference") == expected


def test_a_diagonal_without_rows_is_raised_once_more():
    """A class whose confident rows all belong to another one has no right row left after rounding."""
    counts = np.array([[0, 40], [0, 40]])
    joint = dq.ConfidentJoint(counts, np.array([0.5, 0.5]), np.array([3, 40]))
    assert joint.calibrated().tolist() == [[0, 3], [0, 40]]
    twice = latent.joint_of(np.array([[0.75, 2.25], [0.0, 40.0]]))
    assert joint.num_label_issues() == round((1 - np.trace(twice)) * 43) == 2


def test_health_and_class_quality_equal_cleanlab(data):
    labels, p = data
    joint = dq.confident_joint(labels, p)
    assert joint.health() == pytest.approx(np.trace(joint.joint()))
    table = joint.class_quality()
    theirs = dataset.rank_classes_by_label_quality(labels, confident_joint=calibrated(labels, p))
    theirs = theirs.sort_values(["Label Quality Score", "Class Index"], kind="stable")
    np.testing.assert_array_equal(np.sort(table.classes), np.arange(p.shape[1]))
    np.testing.assert_allclose(table.quality, theirs["Label Quality Score"], rtol=1e-12)
    assert (np.diff(table.quality) >= 0).all()
    by_class = theirs.set_index("Class Index").loc[table.classes]
    np.testing.assert_array_equal(table.issues, by_class["Label Issues"])
    np.testing.assert_array_equal(table.inverse_issues, by_class["Inverse Label Issues"])
    np.testing.assert_allclose(table.noise, by_class["Label Noise"], rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(
        table.inverse_noise, by_class["Inverse Label Noise"], rtol=1e-12, atol=1e-15
    )


@pytest.mark.parametrize("ordered", [False, True])
def test_overlapping_classes_equal_cleanlab(data, ordered):
    labels, p = data
    table = dq.confident_joint(labels, p).overlapping_classes(ordered=ordered)
    theirs = dataset.find_overlapping_classes(
        labels, confident_joint=calibrated(labels, p), asymmetric=ordered
    )
    theirs = theirs.set_index(["Class Index A", "Class Index B"]).loc[
        list(zip(table.a, table.b, strict=True))
    ]
    assert len(table) == len(theirs)
    np.testing.assert_array_equal(table.rows, theirs["Num Overlapping Examples"])
    np.testing.assert_allclose(table.probability, theirs["Joint Probability"], rtol=1e-12)
    keys = list(zip(-table.probability, table.a, table.b, strict=True))
    assert keys == sorted(keys)  # ties to the lower pair


def test_tables_have_names_and_frames(rng):
    pandas = pytest.importorskip("pandas")
    labels, p = smooth(rng, 400, 3)
    joint = dq.confident_joint(labels, p, class_names=NAMES)
    for table in (joint.class_quality(), joint.overlapping_classes()):
        frame = table.to_pandas()
        assert isinstance(frame, pandas.DataFrame)
        assert len(frame) == len(table)
        assert set(frame.iloc[:, 0]) <= set(NAMES)
        assert "ant" in table._repr_html_()


def test_a_class_without_rows_has_neither_issues_nor_noise():
    joint = dq.confident_joint([0, 0, 2], [[0.8, 0.1, 0.1], [0.7, 0.2, 0.1], [0.1, 0.1, 0.8]])
    table = joint.class_quality()
    assert table.classes.tolist() == [0, 1, 2]
    assert table.noise.tolist() == [0.0, 0.0, 0.0]
    assert np.isfinite(joint.latent_estimates(converge=True).prior).all()


def test_no_rows_have_no_issues():
    p = np.zeros((0, 3))
    assert dq.num_label_issues(np.zeros(0, int), p, method="off_diagonal_calibrated") == 0
    assert dq.confident_joint(np.zeros(0, int), p).health() == 1.0
    assert dq.label_quality_ensemble(np.zeros(0, int), [p, p]).shape == (0,)


@pytest.mark.parametrize("weight_by", ["accuracy", "uniform", "log_loss_search", "custom"])
@pytest.mark.parametrize("method", QUALITIES)
def test_ensembles_equal_cleanlab(data, rng, weight_by, method):
    labels, p = data
    noise = rng.dirichlet(np.ones(p.shape[1]), len(p))
    models = [p, 0.6 * p + 0.4 * noise, noise]
    custom = np.array([0.5, 0.25, 2.0])
    expected = rank.get_label_quality_ensemble_scores(
        labels,
        models,
        method=method,
        weight_ensemble_members_by=weight_by,
        custom_weights=custom if weight_by == "custom" else None,
        verbose=False,
    )
    weights = custom if weight_by == "custom" else weight_by
    found = dq.label_quality_ensemble(labels, models, method=method, weight_by=weights)
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    other = dq.label_quality_ensemble(
        labels, models, method=method, weight_by=weights, backend="reference"
    )
    np.testing.assert_array_equal(found, other, strict=True)


def test_an_ensemble_names_the_array_that_is_bad(data):
    labels, p = data
    bad = p.copy()
    bad[3, 1] = np.nan
    for weight_by in ("accuracy", "log_loss_search"):
        with pytest.raises(ValueError, match=r"pred_probs_list\[1\].*row 3, column 1 is nan"):
            dq.label_quality_ensemble(labels, [p, bad], weight_by=weight_by)
    with pytest.raises(ValueError, match=r"pred_probs_list\[1\] has 1 classes"):
        dq.label_quality_ensemble(np.zeros(len(p), int), [p, p[:, :1]])
    with pytest.raises(ValueError, match="pred_probs_list"):
        dq.label_quality_ensemble(labels, [])
    with pytest.raises(ValueError, match="weight_by"):
        dq.label_quality_ensemble(labels, [p, p], weight_by=[1.0, -1.0])
    with pytest.raises(ValueError, match="weight_by"):
        dq.label_quality_ensemble(labels, [p, p], weight_by=[1.0])


def test_models_that_are_never_right_count_alike():
    p = [[0.0, 1.0], [1.0, 0.0]]
    np.testing.assert_array_equal(
        dq.label_quality_ensemble([0, 1], [p, p]), dq.label_quality([0, 1], p)
    )
