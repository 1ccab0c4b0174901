"""`dqcore.cleanlab` against cleanlab 2.9.0: every function on random data, with each of its options.

cleanlab is made to take ties in the documented order (`stable`); nothing else of it changes. Random data have no ties in the
scores, so that all else is compared as it is.
"""

import importlib
import os
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("cleanlab")
pandas = pytest.importorskip("pandas")
pytest.importorskip("sklearn")

FILTERS = (
    "prune_by_noise_rate",
    "prune_by_class",
    "both",
    "confident_learning",
    "predicted_neq_given",
    "low_self_confidence",
    "low_normalized_margin",
)
METHODS = ("self_confidence", "normalized_margin", "confidence_weighted_entropy")
KEYS = ("Label Quality Score", "Joint Probability", "Issue Probability")
PARTS = ("count", "filter", "rank", "dataset", "multilabel_classification")


class Package:
    def __init__(self, name):
        self.name = name
        for part in PARTS:
            setattr(self, part, importlib.import_module(f"{name}.{part}"))
        self.many = self.multilabel_classification


THEIRS, OURS = Package("cleanlab"), Package("dqcore.cleanlab")


@pytest.fixture
def stable(monkeypatch):
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
    monkeypatch.setattr("cleanlab.filter.psutil_exists", False)
    monkeypatch.setattr("multiprocessing.cpu_count", lambda: 1)  # no pool of processes


def same(a, b, where, rtol=1e-12):
    if isinstance(a, pandas.DataFrame):
        assert list(a.columns) == list(b.columns), where
        assert len(a) == len(b), where
        key = next(k for k in KEYS if k in a.columns)
        same(a[key].to_numpy(), b[key].to_numpy(), f"{where} {key}", rtol)
        # Ties go any way there.
        by = [c for c in a.columns if "Index" in c or "Given" in c]
        a, b = (frame.sort_values(by, ignore_index=True) for frame in (a, b))
        for column in a.columns:
            same(a[column].to_numpy(), b[column].to_numpy(), f"{where} {column}", rtol)
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            same(a[key], b[key], f"{where} {key}", rtol)
    elif isinstance(a, tuple | list):
        assert type(a) is type(b), where
        assert len(a) == len(b), where
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            same(x, y, f"{where} {i}", rtol)
    elif isinstance(a, np.ndarray) and a.dtype.kind != "f":
        assert a.dtype.kind == b.dtype.kind, where
        np.testing.assert_array_equal(a, b, err_msg=where)
    else:
        np.testing.assert_allclose(b, a, rtol=rtol, atol=rtol / 100, err_msg=where)


def outcome(call, *args, **kwargs):
    """Return what a call returns, or the class of error that it raises."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            return call(*args, **kwargs)
        except Exception as error:  # noqa: BLE001
            return type(error)


def compare(path, *args, rtol=1e-12, **kwargs):
    calls = []
    for package in (THEIRS, OURS):
        call = package
        for name in path.split("."):
            call = getattr(call, name)
        calls.append(call)
    theirs, ours = (outcome(call, *args, **kwargs) for call in calls)
    if isinstance(theirs, type):
        assert ours is theirs, f"{path} {kwargs}: {theirs} but {ours}"
    else:
        assert not isinstance(ours, type), f"{path} {kwargs}: {ours}"
        same(theirs, ours, f"{path} {kwargs}", rtol)


def random_case(rng):
    n, k = int(rng.integers(20, 200)), int(rng.integers(2, 8))
    p = rng.dirichlet(np.full(k, rng.choice([0.2, 0.5, 1.0])), n)
    labels = (p.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1)
    labels = np.where(rng.random(n) < 0.1, rng.integers(0, k, n), np.minimum(labels, k - 1))
    if rng.random() < 0.2:  # a class without rows
        labels[labels == k - 1] = 0
    if len(np.unique(labels)) < 2:
        labels[0] = 1 - labels[0]
    return labels, p


def compare_one_label(labels, p, rng):
    joint = THEIRS.count.compute_confident_joint(labels, p)
    k = p.shape[1]
    compare("count.get_confident_thresholds", labels, p)
    for calibrate in (True, False):
        for thresholds in (None, rng.uniform(0.2, 0.8, k), [0.4] * k):
            compare(
                "count.compute_confident_joint",
                labels,
                p,
                calibrate=calibrate,
                thresholds=thresholds,
                return_indices_of_off_diagonals=bool(rng.integers(2)),
            )
    compare("count.calibrate_confident_joint", rng.integers(0, 9, (k, k)), labels)
    compare("count.estimate_joint", labels, p)
    compare("count.estimate_joint", labels, p, confident_joint=joint)
    for method in ("off_diagonal", "off_diagonal_calibrated", "off_diagonal_custom", "none"):
        compare(
            "count.num_label_issues", labels, p, confident_joint=joint, estimation_method=method
        )
    for method in ("cnt", "eqn", "marginal", "marginal_ps", "none"):
        for converge in (False, True):
            compare(
                "count.estimate_latent",
                joint,
                labels,
                py_method=method,
                converge_latent_estimates=converge,
                rtol=1e-7 if converge or method == "eqn" else 1e-12,
            )
    compare("count.estimate_py_and_noise_matrices_from_probabilities", labels, p, rtol=1e-9)
    compare_filters(labels, p, joint)
    compare_ranks(labels, p, rng)
    for options in ({}, {"class_names": [f"c{i}" for i in range(k)]}):
        compare("dataset.rank_classes_by_label_quality", labels, p, **options)
        compare("dataset.rank_classes_by_label_quality", labels, confident_joint=joint, **options)
        for asymmetric in (False, True):
            compare("dataset.find_overlapping_classes", labels, p, asymmetric=asymmetric, **options)
    compare("dataset.overall_label_health_score", labels, p, verbose=False)
    compare("dataset.overall_label_health_score", labels, confident_joint=joint, verbose=False)
    compare("dataset.health_summary", labels, p, verbose=False)


def compare_filters(labels, p, joint):
    for i, filter_by in enumerate(FILTERS):
        options = {"filter_by": filter_by, "n_jobs": 1}
        path = "filter.find_label_issues"
        compare(path, labels, p, **options)
        compare(path, labels.tolist(), p, **options, return_indices_ranked_by=METHODS[i % 3])
        compare(path, labels, p, **options, confident_joint=joint, frac_noise=0.6)
        compare(path, labels, p, **options, min_examples_per_class=5)
        compare(
            path,
            labels,
            p,
            **options,
            return_indices_ranked_by="normalized_margin",
            rank_by_kwargs={"adjust_pred_probs": True},
        )
    prune = THEIRS.filter._keep_at_least_n_per_class(joint.T, n=1)
    if (prune.sum(axis=1) > prune.diagonal()).all():  # else cleanlab divides 0 by 0
        remove = np.minimum(np.bincount(labels, minlength=p.shape[1]), 2).tolist()
        for filter_by in FILTERS[:4]:
            options = {"filter_by": filter_by, "num_to_remove_per_class": remove, "n_jobs": 1}
            compare("filter.find_label_issues", labels, p, **options)
    compare("filter.find_label_issues", labels, p, filter_by="low_self_confidence", n_jobs=0)
    compare("filter.find_label_issues", labels, p, filter_by="none")
    compare("filter.find_predicted_neq_given", labels, p)
    if len(np.unique(labels)) == p.shape[1]:  # else cleanlab's matrix may lack a class
        compare("filter.find_label_issues_using_argmax_confusion_matrix", labels, p)


def compare_ranks(labels, p, rng):
    for method in (*METHODS, "none"):
        for adjust in (False, True):
            compare(
                "rank.get_label_quality_scores", labels, p, method=method, adjust_pred_probs=adjust
            )
    compare("rank.get_self_confidence_for_each_label", labels, p)
    compare("rank.get_normalized_margin_for_each_label", labels, p)
    compare("rank.get_confidence_weighted_entropy_for_each_label", labels, p)
    mask = rng.random(len(p)) < 0.3
    compare("rank.order_label_issues", mask, labels, p, rank_by="normalized_margin")
    compare("rank.find_top_issues", rng.random(30), top=7)
    compare("rank.find_top_issues", rng.random(5), top=None)
    others = [p, rng.dirichlet(np.ones(p.shape[1]), len(p))]
    for by in ("accuracy", "uniform", "custom", "none"):
        compare(
            "rank.get_label_quality_ensemble_scores",
            labels,
            others,
            weight_ensemble_members_by=by,
            custom_weights=np.array([0.3, 0.6]) if by == "custom" else None,
            verbose=False,
        )
    if len(np.unique(labels)) == p.shape[1]:  # sklearn wants to see every class
        compare(
            "rank.get_label_quality_ensemble_scores",
            labels,
            others,
            weight_ensemble_members_by="log_loss_search",
            log_loss_search_T_values=[1e-2, 1.0, 30.0],
            verbose=False,
            rtol=1e-9,
        )


def random_many(rng):
    n, k = int(rng.integers(30, 120)), int(rng.integers(2, 6))
    p = rng.beta(0.5, 0.8, (n, k))
    has = rng.random((n, k)) < np.clip(p + rng.normal(0, 0.15, (n, k)), 0.02, 0.98)
    has[0], has[1] = True, False
    return [np.flatnonzero(row).tolist() for row in has], p


def compare_many_labels(labels, p):
    k = p.shape[1]
    joint = THEIRS.count.compute_confident_joint(labels, p, multi_label=True)
    compare("count.get_confident_thresholds", labels, p, multi_label=True)
    for off in (False, True):
        compare(
            "count.compute_confident_joint",
            labels,
            p,
            multi_label=True,
            calibrate=off,
            return_indices_of_off_diagonals=off,
        )
    compare("count.calibrate_confident_joint", joint, labels, multi_label=True)
    compare("count.estimate_joint", labels, p, multi_label=True)
    compare("count.num_label_issues", labels, p, multi_label=True)
    compare("filter.find_predicted_neq_given", labels, p, multi_label=True)
    compare("filter.find_label_issues", labels, p, multi_label=True, n_jobs=1)
    compare("filter.find_label_issues", np.array([0, 1]), p[:2], multi_label=True)
    path = "many.filter.find_label_issues"
    for i, filter_by in enumerate(FILTERS):
        compare(path, labels, p, filter_by=filter_by, n_jobs=1)
        compare(
            path,
            labels,
            p,
            filter_by=filter_by,
            n_jobs=1,
            return_indices_ranked_by=METHODS[i % 3],
        )
        compare(path, labels, p, filter_by=filter_by, n_jobs=1, confident_joint=joint)
    path = "many.filter.find_multilabel_issues_per_class"
    compare(path, labels, p, n_jobs=1)
    compare(path, labels, p, return_indices_ranked_by="normalized_margin", n_jobs=1)
    compare(path, labels, p, confident_joint=np.ones((k, 3, 2)), n_jobs=1)
    options = {"filter_by": "prune_by_class", "num_to_remove_per_class": [2] * k, "n_jobs": 1}
    if (
        outcome(THEIRS.many.filter.find_multilabel_issues_per_class, labels, p, **options)
        is not ValueError
    ):
        compare(path, labels, p, **options)  # else cleanlab has divided 0 by 0
    for method in (*METHODS, "none"):
        for kwargs in (
            {"method": "exponential_moving_average"},
            {"method": "softmin", "temperature": 0.2},
            {"method": "none"},
            {},
        ):
            compare(
                "many.get_label_quality_scores", labels, p, method=method, aggregator_kwargs=kwargs
            )
        compare(
            "many.rank.get_label_quality_scores_per_class",
            labels,
            p,
            method=method,
            adjust_pred_probs=True,
        )
    names = [f"c{i}" for i in range(k)]
    for options in ({}, {"class_names": names}):
        compare("many.dataset.common_multilabel_issues", labels, p, **options)
        compare("many.dataset.rank_classes_by_multilabel_quality", labels, p, **options)
    compare("many.dataset.overall_multilabel_health_score", labels, p)
    compare("many.dataset.multilabel_health_summary", labels, p, verbose=False)


@pytest.mark.usefixtures("stable")
def test_every_function_on_random_data(scaled):
    for seed in range(scaled(12)):
        rng = np.random.default_rng(seed)
        compare_one_label(*random_case(rng), rng)


@pytest.mark.usefixtures("stable")
def test_every_function_on_random_data_of_many_labels(scaled):
    for seed in range(scaled(4)):
        compare_many_labels(*random_many(np.random.default_rng(seed)))


@pytest.mark.usefixtures("stable")
def test_float32_gives_cleanlabs_counts_and_masks():
    for seed in range(5):
        rng = np.random.default_rng(seed)
        labels, p = random_case(rng)
        p = p.astype(np.float32)
        for calibrate in (True, False):
            compare("count.compute_confident_joint", labels, p, calibrate=calibrate)
        for filter_by in FILTERS:
            compare("filter.find_label_issues", labels, p, filter_by=filter_by, n_jobs=1)
        compare("count.num_label_issues", labels, p)


@pytest.mark.usefixtures("stable")
def test_cross_validation(rng):
    labels = np.arange(45) % 3
    x = rng.normal(size=(45, 2)) + labels[:, None]
    frame = pandas.DataFrame(x)
    rare = np.where(
        np.arange(45) == 0, 3, labels
    )  # a class that one fold has none of to train with
    compare("count.estimate_py_noise_matrices_and_cv_pred_proba", x, labels, seed=3)
    path = "count.estimate_cv_predicted_probabilities"
    compare(path, frame, rare, seed=0, cv_n_folds=3)
    compare(path, x[:5], labels)
    compare(path, None, labels)
    compare(path, x, labels, clf=object())
    compare(path, x, labels, validation_func=3)
    noise = OURS.count.estimate_noise_matrices(x, labels, seed=3, cv_n_folds=3)
    assert [matrix.shape for matrix in noise] == [(3, 3), (3, 3)]


def wrong_inputs():
    p, y = np.full((4, 2), 0.5), np.array([0, 1, 0, 1])
    yield "strings", ["a", "b", "a", "b"], p
    yield "fractions", [0.5, 1.0, 0.0, 1.0], p
    yield "negative", [-1, 0, 1, 0], p
    yield "one class", np.array([1, 1, 1, 1]), p
    yield "two dimensions", [[0], [1], [0], [1]], p
    yield "a tuple", (0, 1, 0, 1), p
    yield "none", None, p
    yield "too high", [0, 1, 2, 1], p
    yield "empty", [], p[:0]
    yield "shorter", y[:3], p
    yield "probabilities in a list", y, p.tolist()
    yield "probabilities of one dimension", y, p[:, 0]
    yield "above 1", y, p * 3
    yield "below 0", y, p - 1
    yield "a frame of two columns", pandas.DataFrame({"a": y, "b": y}), p


@pytest.mark.parametrize(("labels", "p"), [pytest.param(*c[1:], id=c[0]) for c in wrong_inputs()])
def test_errors_are_of_cleanlabs_classes(labels, p):
    for path in (
        "filter.find_label_issues",
        "filter.find_predicted_neq_given",
        "count.num_label_issues",
        "rank.get_label_quality_scores",
    ):
        compare(path, labels, p)


def test_labels_in_a_series_or_a_frame_are_taken(rng):
    labels, p = random_case(rng)
    series = pandas.Series(labels, index=np.arange(len(labels))[::-1])
    for given in (
        series,
        pandas.DataFrame({"label": labels}),
        labels.tolist(),
        labels.astype(float),
    ):
        np.testing.assert_array_equal(
            OURS.filter.find_label_issues(given, p, n_jobs=1),
            OURS.filter.find_label_issues(labels, p, n_jobs=1),
        )


@pytest.mark.filterwarnings("ignore:May not flag all label issues")
def test_what_has_no_equal_in_cleanlab_is_refused(rng):
    labels, p = random_case(rng)
    bad = p.copy()
    bad[3, 1] = np.nan
    with pytest.raises(ValueError, match=r"row 3, column 1 is nan"):
        OURS.filter.find_label_issues(labels, bad)
    with pytest.raises(ValueError, match="between 0 and 1"):
        OURS.rank.get_label_quality_scores(labels, bad)
    with pytest.raises(ValueError, match="frac_noise"):
        OURS.filter.find_label_issues(labels, p, frac_noise=1.5)
    with pytest.raises(ValueError, match="lists of class indices"):
        OURS.many.filter.find_label_issues([[0], [9]], p[:2])


def test_a_package_that_is_not_there_is_named_with_the_extra(monkeypatch, rng):
    labels, p = random_case(rng)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"dataset.* needs pandas; .*\[cleanlab\]"):
        OURS.dataset.rank_classes_by_label_quality(labels, p)
    monkeypatch.setitem(sys.modules, "sklearn.base", None)
    with pytest.raises(ImportError, match=r"cross-validation needs sklearn; .*\[cleanlab\]"):
        OURS.count.estimate_cv_predicted_probabilities(p, labels)
    OURS.rank.get_label_quality_scores(labels, p)  # needs neither


@pytest.mark.filterwarnings("ignore:May not flag all label issues")
class TestCorrected:
    def test_collisions_go_to_a_confident_class(self):
        # Classes 0 and 1 are confident of the last row; class 2 is its most probable, and not confident.
        p = np.array([[0.2, 0.1, 0.7]] * 2 + [[0.2, 0.5, 0.3], [0.6, 0.2, 0.2], [0.1, 0.1, 0.8]])
        p = np.vstack([p, [0.31, 0.30, 0.39]])
        labels = np.array([0, 1, 1, 0, 2, 2])
        thresholds = [0.3, 0.3, 0.75]
        plain = OURS.count.compute_confident_joint(
            labels, p, thresholds=thresholds, calibrate=False
        )
        right = OURS.count.compute_confident_joint(
            labels, p, thresholds=thresholds, calibrate=False, corrected=True
        )
        assert (plain - right).tolist() == [[0, 0, 0], [0, 0, 0], [-1, 0, 1]]

    def test_a_sure_and_right_label_has_the_best_entropy_score(self):
        p = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
        labels = np.array([0, 0, 1])
        method = "confidence_weighted_entropy"
        plain = OURS.rank.get_label_quality_scores(labels, p, method=method)
        right = OURS.rank.get_label_quality_scores(labels, p, method=method, corrected=True)
        assert plain[[0, 2]].tolist() == [0.0, 0.0]
        assert right[[0, 2]].tolist() == [1.0, 1.0]
        assert plain[1] == right[1] < 1.0
        np.testing.assert_allclose(
            plain, THEIRS.rank.get_label_quality_scores(labels, p, method=method), rtol=1e-12
        )
        mask = np.ones(3, bool)
        ordered = OURS.rank.order_label_issues(mask, labels, p, rank_by=method, corrected=True)
        assert ordered.tolist() == [1, 0, 2]

    def test_rows_are_removed_by_given_class(self):
        rng = np.random.default_rng(5)
        p = rng.dirichlet(np.full(6, 0.3), 3000)
        labels = np.where(rng.random(3000) < 0.4, rng.integers(0, 6, 3000), p.argmax(axis=1))
        want = np.array([5, 0, 12, 5, 30, 1])
        options = {"num_to_remove_per_class": want.tolist(), "n_jobs": 1}
        plain = OURS.filter.find_label_issues(labels, p, **options)
        right = OURS.filter.find_label_issues(labels, p, **options, corrected=True)
        assert np.abs(np.bincount(labels[plain], minlength=6) - want).max() > 2
        assert np.abs(np.bincount(labels[right], minlength=6) - want).max() <= 1

    def test_index_0_of_a_multi_label_joint_is_having_the_class(self, rng):
        labels, p = random_many(rng)
        plain = OURS.count.compute_confident_joint(labels, p, multi_label=True, calibrate=False)
        right = OURS.count.compute_confident_joint(
            labels, p, multi_label=True, calibrate=False, corrected=True
        )
        # Two confident classes of two: the argmax is confident, so that only the index differs.
        np.testing.assert_array_equal(plain[:, ::-1, ::-1], right)
        has = np.array([0 in row for row in labels])
        assert right[0].sum(axis=1)[0] <= has.sum()
        np.testing.assert_array_equal(
            OURS.many.filter.find_label_issues(labels, p, confident_joint=right, corrected=True),
            OURS.many.filter.find_label_issues(labels, p, confident_joint=plain),
        )

    def test_ranked_rows_of_the_low_filters_are_in_order(self, rng):
        labels, p = random_many(rng)
        options = {"filter_by": "low_self_confidence", "return_indices_ranked_by": METHODS[1]}
        rows = OURS.many.filter.find_label_issues(labels, p, **options, corrected=True)
        score = OURS.many.get_label_quality_scores(labels, p, method=METHODS[1])
        assert (np.diff(score[rows]) >= 0).all()


@pytest.mark.usefixtures("stable")
@pytest.mark.parametrize(
    "name", ["labelerrors_mnist", "labelerrors_20news", "cifar10n", "banking77"]
)
def test_published_probabilities(name):
    folder = os.environ.get("DQCORE_DATA")
    if not folder:
        pytest.skip("DQCORE_DATA names no folder of real data")
    fields = {
        "cifar10n": ("random_label1", "pred_probs"),
        "banking77": ("labels_injected10", "pred_probs_injected10"),
    }
    with np.load(Path(folder) / f"{name}.npz", allow_pickle=False) as data:
        labels, p = (data[field] for field in fields.get(name, ("labels", "pred_probs")))
    wide = p.astype(np.float64)
    compare("count.compute_confident_joint", labels, wide, return_indices_of_off_diagonals=True)
    for filter_by in FILTERS:
        for rank_by in (None, *METHODS[:2]):
            compare(
                "filter.find_label_issues",
                labels,
                wide,
                filter_by=filter_by,
                return_indices_ranked_by=rank_by,
                n_jobs=1,
            )
    for method in ("off_diagonal", "off_diagonal_calibrated"):
        compare("count.num_label_issues", labels, wide, estimation_method=method)
    for method in METHODS:
        compare("rank.get_label_quality_scores", labels, wide, method=method)
    compare("dataset.rank_classes_by_label_quality", labels, wide)
    compare("dataset.find_overlapping_classes", labels, wide)
    if p.dtype != np.float16:
        compare("count.compute_confident_joint", labels, p)
