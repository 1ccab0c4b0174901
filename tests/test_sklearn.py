"""The estimators against scikit-learn's own checks and estimators, and the graph in cleanlab's Datalab."""

import warnings
from types import SimpleNamespace

import dqcore as dq
import numpy as np
import pytest

pytest.importorskip("sklearn", "1.6")

from dqcore.sklearn import ExactKNNTransformer, LabelNoiseDetector
from sklearn.datasets import load_digits
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import cross_val_predict
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsTransformer
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks


@parametrize_with_checks(
    [
        ExactKNNTransformer(),
        ExactKNNTransformer(mode="connectivity", metric="cosine", n_jobs=1),
        LabelNoiseDetector(),
        LabelNoiseDetector(GaussianNB(), cv=2),
    ]
)
def test_scikit_learn_checks(estimator, check):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(estimator)


# ---- the graph -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def digits():
    """Real digits whose features are not whole numbers, so that no two distances are equal; labels, and what is wrong."""
    x, y = load_digits(return_X_y=True)
    rng = np.random.default_rng(0)
    x = (x[:600] + rng.random((600, 64)) / 8).astype(np.float32)
    wrong = rng.random(600) < 0.08
    given = np.where(wrong, (y[:600] + rng.integers(1, 10, 600)) % 10, y[:600])
    return x, given, wrong


@pytest.mark.parametrize("mode", ["distance", "connectivity"])
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_the_graph_is_that_of_scikit_learn(digits, mode, metric):
    x = digits[0]
    ours = ExactKNNTransformer(n_neighbors=7, mode=mode, metric=metric).fit(x[:500])
    theirs = KNeighborsTransformer(n_neighbors=7, mode=mode, metric=metric, algorithm="brute").fit(
        x[:500].astype(np.float64)
    )
    for rows in (x[:500], x[500:]):
        a, b = ours.transform(rows), theirs.transform(rows.astype(np.float64))
        assert a.shape == b.shape
        np.testing.assert_array_equal(a.indptr, b.indptr)
        np.testing.assert_array_equal(a.indices, b.indices)
        np.testing.assert_allclose(a.data, b.data, rtol=1e-6, atol=1e-5)
    assert ours.n_features_in_ == 64
    assert ours.n_samples_fit_ == 500
    assert list(ours.get_feature_names_out()[:2]) == [
        "exactknntransformer0",
        "exactknntransformer1",
    ]
    assert len(ours.get_feature_names_out()) == 500


def test_the_graph_is_the_same_for_any_number_of_jobs(digits):
    one, three = (ExactKNNTransformer(n_jobs=jobs).fit_transform(digits[0]) for jobs in (1, 3))
    assert one.data.tobytes() == three.data.tobytes()
    assert one.indices.tobytes() == three.indices.tobytes()


def test_a_classifier_takes_the_graph(digits):
    x, y, _ = digits
    through = make_pipeline(
        ExactKNNTransformer(n_neighbors=5), KNeighborsClassifier(5, metric="precomputed")
    ).fit(x[:500], y[:500])
    direct = KNeighborsClassifier(5).fit(x[:500], y[:500])
    np.testing.assert_array_equal(through.predict(x[500:]), direct.predict(x[500:]))


def test_names_of_columns_are_kept_and_checked():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [0.0, 1.0, 5.0], "b": [0.0, 0.0, 0.0]})
    fitted = ExactKNNTransformer(n_neighbors=1).fit(frame)
    assert list(fitted.feature_names_in_) == ["a", "b"]
    with pytest.raises(ValueError, match="feature names should match"):
        fitted.transform(frame.rename(columns={"a": "c"}))


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"n_neighbors": 0}, ValueError, "n_neighbors must be at least 1"),
        ({"n_neighbors": 2.0}, TypeError, "n_neighbors must be a whole number"),
        ({"n_neighbors": 3}, ValueError, "wants 4 rows, but n_samples = 3"),
        ({"n_neighbors": 2, "mode": "graph"}, ValueError, "mode must be one of"),
        ({"n_neighbors": 2, "metric": "l1"}, ValueError, "metric must be one of"),
        ({"n_neighbors": 2, "n_jobs": 0}, ValueError, "n_jobs must be None, -1 or at least 1"),
        ({"n_neighbors": 2, "n_jobs": "all"}, TypeError, "n_jobs must be a whole number"),
    ],
)
def test_parameters_of_the_graph_that_are_refused(parameters, error, message):
    with pytest.raises(error, match=message):
        ExactKNNTransformer(**parameters).fit(np.eye(3))


def test_a_value_beyond_float32_is_refused_by_its_row():
    with pytest.raises(ValueError, match=r"X must be .* row 1, column 0"):
        ExactKNNTransformer(n_neighbors=1).fit([[0.0], [1e300]])


# ---- the detector --------------------------------------------------------------------------------


def test_the_detector_by_neighbours_is_the_audit(digits):
    x, y, wrong = digits
    found = LabelNoiseDetector().fit(x, y)
    audit = dq.audit(y, features=x)
    np.testing.assert_array_equal(found.is_issue_, audit.issues["is_disagreement_issue"])
    np.testing.assert_array_equal(found.suggested_labels_, audit.issues["disagreement_suggested"])
    np.testing.assert_array_equal(found.label_quality_, 1 - audit.issues["disagreement"])
    assert not hasattr(found, "pred_probs_")
    hits = np.count_nonzero(found.is_issue_ & wrong)
    assert hits >= 0.9 * np.count_nonzero(wrong)
    assert hits >= 0.9 * np.count_nonzero(found.is_issue_)
    np.testing.assert_array_equal(LabelNoiseDetector().fit_predict(x, y), found.is_issue_)
    assert sorted(found.ranking_) == list(np.flatnonzero(found.is_issue_))
    assert (np.diff(found.label_quality_[found.ranking_]) >= 0).all()


@pytest.mark.parametrize("filter_by", ["prune_by_noise_rate", "both"])
def test_the_detector_by_a_classifier_is_confident_learning(digits, filter_by):
    x, y, wrong = digits
    model = make_pipeline(LogisticRegression(max_iter=50, C=0.01))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # so few steps do not converge
        p = cross_val_predict(model, x, y, cv=3, method="predict_proba")
        found = LabelNoiseDetector(model, cv=3, filter_by=filter_by).fit(x, y)
    issues = dq.label_issues(y, p, filter_by=filter_by)
    np.testing.assert_array_equal(found.is_issue_, issues.mask)
    np.testing.assert_array_equal(found.ranking_, issues.indices)
    np.testing.assert_array_equal(found.label_quality_, issues.quality)
    np.testing.assert_array_equal(found.suggested_labels_, issues.suggested)
    np.testing.assert_array_equal(found.pred_probs_, p)
    hits = np.count_nonzero(found.is_issue_ & wrong)
    assert hits >= 0.7 * np.count_nonzero(wrong)


def test_labels_keep_their_kind():
    x = [[0.0], [0.1], [0.2], [0.3], [9.0], [9.1], [9.2], [9.3]]
    for names in (np.array(["b", "a"]), np.array([7, -3])):
        found = LabelNoiseDetector(n_neighbors=3).fit(x, names[[0, 0, 0, 1, 1, 1, 1, 1]])
        assert found.suggested_labels_.dtype == names.dtype
        assert found.suggested_labels_[3] == names[0]
        assert list(found.ranking_) == [3]
        assert list(found.classes_) == sorted(names)


@pytest.mark.parametrize(
    ("parameters", "y", "error", "message"),
    [
        (
            {"estimator": LinearRegression()},
            [0, 1, 0, 1],
            TypeError,
            "estimator must be a classifier",
        ),
        ({"estimator": "model"}, [0, 1, 0, 1], TypeError, "estimator must be a classifier"),
        ({"filter_by": "all"}, [0, 1, 0, 1], ValueError, "filter_by must be one of"),
        ({"n_neighbors": -1}, [0, 1, 0, 1], ValueError, "n_neighbors must be at least 1"),
        ({"metric": "l1"}, [0, 1, 0, 1], ValueError, "metric must be one of"),
        ({}, [0.5, 1.5, 0.25, 1.0], ValueError, "Unknown label type"),
        ({}, [0, 1, 0], ValueError, "inconsistent numbers of samples"),
        ({}, None, ValueError, "requires y to be passed"),
    ],
)
def test_what_the_detector_refuses(parameters, y, error, message):
    with pytest.raises(error, match=message):
        LabelNoiseDetector(**parameters).fit(np.eye(4), y)


def test_without_scikit_learn_the_import_says_what_to_install(fresh_python):
    said = fresh_python(
        """
import sys
sys.modules["sklearn"] = sys.modules["sklearn.base"] = None
import dqcore
try:
    import dqcore.sklearn
except ImportError as error:
    print(error)
"""
    )
    assert said == ("dqcore.sklearn needs scikit-learn 1.6 or later: pip install '.[sklearn]'\n")


# ---- Datalab -------------------------------------------------------------------------------------

KINDS = ("outlier", "near_duplicate", "non_iid")


@pytest.fixture(scope="module")
def planted():
    """Rows in clusters with three far ones, copies and near copies; in float64, where cleanlab finds the same order."""
    rng = np.random.default_rng(1)
    x = (rng.normal(size=(240, 6)) + 6 * rng.integers(0, 3, (240, 1))).astype(np.float32)
    x[[5, 6, 7]] *= 40
    x[[20, 21]] = x[[30, 31]]
    x[22] = x[32] * np.float32(1.0001)
    return x.astype(np.float64)


def without_copies(x):
    """Copies are all at one distance, and which of them stands first is the maker's choice."""
    return np.delete(x, [20, 21, 22], axis=0)


def managed(kind, metric, **given):
    """What Datalab's manager of one kind of issue finds."""
    managers = pytest.importorskip("cleanlab.datalab.internal.issue_manager")
    names = {
        "outlier": "OutlierIssueManager",
        "near_duplicate": "NearDuplicateIssueManager",
        "non_iid": "NonIIDIssueManager",
    }
    lab = SimpleNamespace(get_info=lambda _: {}, issues={}, labels=None)
    manager = getattr(managers, names[kind])(lab, metric=metric, k=10)
    manager.find_issues(**given)
    return manager


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("kind", KINDS)
def test_datalab_finds_the_same_by_our_graph_as_by_its_own(planted, kind, metric):
    features = without_copies(planted) if kind == "non_iid" else planted
    graph = dq.knn_graph(features, 10, metric=metric).to_csr()
    ours = managed(kind, metric, knn_graph=graph)
    theirs = managed(kind, metric, features=features)
    flag, score = f"is_{kind}_issue", f"{kind}_score"
    np.testing.assert_array_equal(ours.issues[flag], theirs.issues[flag])
    np.testing.assert_allclose(ours.issues[score], theirs.issues[score], rtol=1e-5, atol=1e-6)
    if kind == "near_duplicate":
        assert ours.issues[flag][[20, 21, 22, 30, 31, 32]].all()
        for a, b in zip(ours.near_duplicate_sets, theirs.near_duplicate_sets, strict=True):
            assert sorted(a) == sorted(b)
    if kind == "outlier" and metric == "euclidean":
        assert ours.issues[flag][[5, 6, 7]].all()


def test_the_graph_is_as_datalab_wants_it(planted):
    """k a row, nearest first, the row itself left out, distance 0 as an entry."""
    csr = dq.knn_graph(planted, 10).to_csr()
    assert (np.diff(csr.indptr) == 10).all()
    assert (np.diff(csr.data.reshape(240, 10), axis=1) >= 0).all()
    assert (csr.indices.reshape(240, 10) != np.arange(240)[:, None]).all()
    assert csr.data.reshape(240, 10)[20, 0] == 0
    assert csr.indices.reshape(240, 10)[20, 0] == 30
    assert csr.nnz == 2400


def test_datalab_takes_the_graph(planted):
    pytest.importorskip("datasets")
    from cleanlab import Datalab

    features = without_copies(planted)
    graph = dq.knn_graph(features, 10)
    labels = (features[:, 0] > 6).astype(int)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        labs = [Datalab({"y": labels.tolist()}, label_name="y", verbosity=0) for _ in range(2)]
        kinds = {kind: {} for kind in KINDS}
        labs[0].find_issues(knn_graph=graph.to_csr(), issue_types=kinds)
        labs[1].find_issues(
            features=features, issue_types={k: {"metric": "euclidean"} for k in KINDS}
        )
    for kind in KINDS:
        flag, score = f"is_{kind}_issue", f"{kind}_score"
        ours, theirs = (lab.get_issues(kind) for lab in labs)
        np.testing.assert_array_equal(ours[flag], theirs[flag])
        np.testing.assert_allclose(ours[score], theirs[score], rtol=1e-5, atol=1e-6)
