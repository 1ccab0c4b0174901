"""Disagreement of labels with those of the neighbours."""

import itertools

import dqcore as dq
import numpy as np
import pytest
from dqcore import reference

FIELDS = ["score", "suggested", "margin", "entropy", "flags", "confusion"]


def assert_same(got, expected):
    for field in FIELDS:
        a, b = getattr(got, field), getattr(expected, field)
        assert a.dtype == b.dtype
        assert a.tobytes() == b.tobytes(), (field, a, b)


@pytest.mark.threads
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize(("balanced", "labelled"), list(itertools.product([False, True], repeat=2)))
@pytest.mark.parametrize("weights", ["uniform", "distance", "gaussian", "similarity"])
def test_equals_reference(weights, balanced, labelled, metric):
    if weights == "similarity" and metric != "cosine":
        metric = "cosine"
    rng = np.random.default_rng(len(weights))
    for n, classes, k in ((300, 4, 9), (60, 2, 1), (50, 1, 5), (80, 30, 6)):
        x = rng.integers(-2, 3, (n, 3)).astype(np.float32) + (
            rng.random((n, 1)) < 0.5
        ) * rng.normal(size=(n, 3)).astype(np.float32)
        labels = rng.integers(-1, classes, n)
        graph = dq.knn_graph(x, k, metric=metric)
        options = {
            "weights": weights,
            "class_balanced": balanced,
            "labelled_only": labelled,
            "n_classes": classes,
        }
        expected = reference.knn_disagreement(labels, graph, **options)
        for threads in (1, 2, 3, 8):
            assert_same(dq.knn_disagreement(labels, graph, threads=threads, **options), expected)


def graph_of(indices, distances, metric="euclidean"):
    return dq.KnnGraph.from_arrays(indices, distances, metric=metric)


def test_scores_by_hand():
    graph = graph_of([[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]], np.ones((4, 3)))
    result = dq.knn_disagreement([0, 0, 1, 2], graph)
    np.testing.assert_array_equal(result.score, [2 / 3, 2 / 3, 1, 1])
    np.testing.assert_array_equal(
        result.suggested, [0, 0, 0, 0]
    )  # ties: the given one, then the lowest
    np.testing.assert_array_equal(result.margin, [0, 0, 2 / 3, 2 / 3])
    np.testing.assert_array_equal(result.confusion, [[2, 2, 2], [2, 0, 1], [2, 1, 0]])
    np.testing.assert_array_equal(result.flags, [0, 0, 4, 4])
    three_ways = -(3 * (1 / 3) * np.log(1 / 3)) / np.log(3)
    np.testing.assert_allclose(result.entropy[0], three_ways, rtol=1e-15)


def test_weights_by_hand():
    graph = graph_of([[1, 2], [0, 2], [0, 1]], [[0.5, 1.0], [0.5, 2.0], [1.0, 2.0]], "cosine")
    distance = dq.knn_disagreement([0, 0, 1], graph, weights="distance").score[0]
    assert distance == pytest.approx(1 / (1 + 2), rel=1e-11)
    gaussian = dq.knn_disagreement([0, 0, 1], graph, weights="gaussian").score[0]
    near, far = np.exp(-(0.5**2) / 2), np.exp(-0.5)
    assert gaussian == pytest.approx(far / (near + far), rel=1e-15)
    similarity = dq.knn_disagreement([0, 0, 1], graph, weights="similarity").score
    assert similarity[0] == 0.0  # weights 0.5 and 0: the second does not count
    assert similarity[1] == 0.0
    assert similarity[2] == 1.0


def test_no_weight_above_zero_counts_votes_as_equal():
    graph = graph_of([[1, 2], [0, 2], [0, 1]], np.full((3, 2), 1.5), "cosine")
    result = dq.knn_disagreement([0, 0, 1], graph, weights="similarity")
    assert (result.flags & dq.KnnDisagreement.ZERO_WEIGHTS != 0).all()
    np.testing.assert_array_equal(result.score, [0.5, 0.5, 1.0])


def test_zero_distances_everywhere():
    graph = graph_of([[1, 2], [0, 2], [0, 1]], np.zeros((3, 2)))
    for weights in ("uniform", "distance", "gaussian"):
        result = dq.knn_disagreement([0, 0, 1], graph, weights=weights)
        np.testing.assert_array_equal(result.score, [0.5, 0.5, 1.0])


def test_unlabelled_rows_neither_vote_nor_score():
    graph = graph_of([[1, 2], [0, 2], [0, 1]], np.ones((3, 2)))
    result = dq.knn_disagreement([0, -1, 1], graph)
    np.testing.assert_array_equal(np.isnan(result.score), [False, True, False])
    np.testing.assert_array_equal(result.score[[0, 2]], [1.0, 1.0])
    assert result.suggested[1] == 0
    assert result.flags[1] == dq.KnnDisagreement.UNLABELLED
    nobody = dq.knn_disagreement([-1, -1, -1], graph)
    assert np.isnan(nobody.score).all()
    assert (nobody.suggested == -1).all()
    assert (nobody.flags == 3).all()
    assert nobody.confusion.sum() == 0


def test_balanced_votes_favour_the_rare_class():
    indices = [[j for j in range(5) if j != i] for i in range(5)]
    graph = graph_of(indices, np.ones((5, 4)))
    labels = [0, 0, 0, 0, 1]
    assert dq.knn_disagreement(labels, graph).score[0] == 0.25
    balanced = dq.knn_disagreement(labels, graph, class_balanced=True)
    assert balanced.score[0] == 0.5  # three of three others of class 0, one of one of class 1
    assert balanced.suggested[0] == 0


def test_labelled_only_changes_the_gaussian_width():
    graph = graph_of([[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]], [[1.0, 2.0, 8.0]] * 4)
    labels = [0, 0, 1, -1]
    wide = dq.knn_disagreement(labels, graph, weights="gaussian").score[0]
    narrow = dq.knn_disagreement(labels, graph, weights="gaussian", labelled_only=True).score[0]
    assert wide == pytest.approx(1 / (1 + np.exp(1 / 128 * (4 - 1))), rel=1e-14)
    assert narrow == pytest.approx(1 / (1 + np.exp((4 - 1) / 8)), rel=1e-14)


def test_many_classes_share_one_table(rng):
    labels = rng.integers(0, 600, 3000)
    graph = dq.knn_graph(rng.normal(size=(3000, 2)), 5)
    got = dq.knn_disagreement(labels, graph, threads=3)
    expected = np.zeros((600, 600), np.int64)
    np.add.at(expected, (np.repeat(labels, 5), labels[graph.indices].ravel()), 1)
    np.testing.assert_array_equal(got.confusion, expected)


@pytest.mark.parametrize(
    ("labels", "error", "text"),
    [
        ([0, 1, 5], ValueError, r"row 2 is .*5"),
        ([0, -2, 1], ValueError, r"row 1 is .*-2"),
        ([0, 1.5, 1], ValueError, r"row 1 is .*1\.5"),
        ([0, np.nan, 1], ValueError, r"row 1 is .*nan"),
        ([True, False, True], TypeError, "bool"),
        (["a", "b", "c"], TypeError, "dtype"),
        ([0, 1], ValueError, "labels has 2 rows but graph has 3"),
        ([[0], [1], [0]], ValueError, r"labels.ravel\(\)"),
        (np.array([2**63, 0, 0], np.uint64), ValueError, "row 0"),
    ],
)
def test_bad_labels(labels, error, text):
    graph = graph_of([[1, 2], [0, 2], [0, 1]], np.ones((3, 2)))
    with pytest.raises(error, match=text):
        dq.knn_disagreement(labels, graph, n_classes=3)


def test_whole_floats_are_labels():
    graph = graph_of([[1, 2], [0, 2], [0, 1]], np.ones((3, 2)))
    got = dq.knn_disagreement(np.array([0.0, 1.0, -1.0]), graph)
    assert_same(got, dq.knn_disagreement([0, 1, -1], graph))


def test_wrong_graphs_are_refused(rng):
    x = rng.normal(size=(5, 2))
    with pytest.raises(ValueError, match="made from queries"):
        dq.knn_disagreement([0] * 5, dq.knn_graph(x, 2, queries=x))
    with pytest.raises(TypeError, match="KnnGraph"):
        dq.knn_disagreement([0] * 5, x)
    with pytest.raises(ValueError, match="cosine graph"):
        dq.knn_disagreement([0] * 5, dq.knn_graph(x, 2), weights="similarity")
