"""Outliers and near-duplicates: by hand, against cleanlab, laws, and bad input."""

import dqcore as dq
import numpy as np
import pytest
from conftest import examples
from dqcore import reference
from dqcore.reference.neighbours import groups_of, quantile
from hypothesis import given, settings
from hypothesis import strategies as st


def graph_of(distances, metric="euclidean"):
    """A graph with these distances, each row's neighbours being the rows after it."""
    d = np.asarray(distances, np.float32)
    n, k = d.shape
    indices = (np.arange(n)[:, None] + 1 + np.arange(k)) % n
    return dq.KnnGraph(indices.astype(np.int32), d, metric, n)


# ---- by hand -----------------------------------------------------------------------------------------


def test_outliers_by_hand():
    # Means 1, 2, 3, 4, 10: Q1 = 2, Q3 = 4, so the bound is 4 + 1.7 x 2.
    found = dq.outliers(graph_of([[0, 2], [2, 2], [1, 5], [4, 4], [5, 15]]))
    assert found.mean_distance.tolist() == [1, 2, 3, 4, 10]
    assert found.threshold == pytest.approx(7.4)
    assert found.indices.tolist() == [4]
    assert found.score == pytest.approx(np.exp(-np.array([1, 2, 3, 4, 10]) / 3))
    assert dq.outliers(graph_of([[1], [2], [3], [4], [10]]), iqr_factor=3).indices.tolist() == []
    assert dq.outliers(graph_of([[1], [2], [3], [4], [7]]), iqr_factor=1).indices.tolist() == [4]
    # Not above the bound is not an outlier: 4 + 1 x 2.
    assert not dq.outliers(graph_of([[1], [2], [3], [4], [6]]), iqr_factor=1).mask.any()


def test_outliers_come_farthest_first_and_ties_by_row():
    found = dq.outliers(
        graph_of([[9], [1], [9], [1], [1], [1], [1], [1], [99], [1], [1], [1], [1]])
    )
    assert found.indices.tolist() == [8, 0, 2]
    assert repr(found) == "Outliers(3 of 13 rows, threshold=1)"


def test_copies_do_not_make_outliers_of_all_others():
    few = graph_of([[1], [1.5], [2], [2.5], [30]])
    many = graph_of([[0]] * 100 + [[1], [1.5], [2], [2.5], [30]])
    assert dq.outliers(few).indices.tolist() == [4]
    found = dq.outliers(many)
    assert found.indices.tolist() == [104]
    assert found.threshold == dq.outliers(few).threshold
    assert (found.score[:100] == 1).all()


def test_near_duplicates_by_hand():
    # The usual distance to the nearest row that is no copy is 2 (of 1, 1, 2, 3, 4), the radius 0.26.
    distances = [[0.25, 1], [0.26, 1], [2, 2], [3, 4], [0, 4]]
    distances[0][0], distances[1][0] = 1, 1
    found = dq.near_duplicates(graph_of(distances))
    assert found.radius == pytest.approx(0.26)
    assert found.mask.tolist() == [True, False, False, False, True]  # a copy of row 0
    assert found.group.tolist() == [0, -1, -1, -1, 0]
    expected = 1 - np.exp(-np.array([1, 1, 2, 3, 0]) / 2)
    assert found.score == pytest.approx(expected)
    assert found.score[4] == 0


def test_the_radius_itself_is_not_near():
    graph = graph_of([[1, 9], [1, 9], [8, 9], [8, 9]])
    assert dq.near_duplicates(graph, radius=1.0).n_groups == 0
    found = dq.near_duplicates(graph, radius=1.0001)
    assert [g.tolist() for g in found.groups] == [[0, 1, 2]]
    assert dq.near_duplicates(graph, threshold=0).radius == 0


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("copies", [2, 11, 12, 500])
def test_copies_stay_in_one_group_however_many(metric, copies, rng):
    """More than k + 1 of them: ties by row let every copy point at the lowest."""
    x = rng.normal(size=(100, 6)).astype(np.float32)
    places = np.concatenate([np.arange(100), np.full(copies - 1, 3), np.full(copies - 1, 70)])
    places = rng.permutation(places)
    found = dq.near_duplicates(dq.knn_graph(x[places], 10, metric=metric), threshold=0)
    assert sorted(g.tolist() for g in found.groups) == sorted(
        np.flatnonzero(places == p).tolist() for p in (3, 70)
    )
    assert [g[0] for g in found.groups] == sorted(g[0] for g in found.groups)
    assert all(found.group[rows[0]] == number for number, rows in enumerate(found.groups))


def test_holding_every_row_several_times_changes_no_radius(rng):
    x = rng.normal(size=(200, 4)).astype(np.float32)
    once, thrice = dq.knn_graph(x, 10), dq.knn_graph(np.repeat(x, 3, axis=0), 10)
    assert dq.near_duplicates(thrice).radius == dq.near_duplicates(once).radius
    assert dq.near_duplicates(thrice).n_groups >= 200 - 20


def test_all_rows_equal():
    graph = dq.knn_graph(np.ones((50, 3)), 5)
    assert not dq.outliers(graph).mask.any()
    assert dq.outliers(graph).threshold == np.inf
    found = dq.near_duplicates(graph)
    assert found.n_groups == 1
    assert found.radius == 0
    assert (found.score == 0).all()


def test_rows_of_zeros_in_cosine_are_never_duplicates():
    x = np.vstack([np.zeros((3, 4)), np.eye(4), np.eye(4) * 2])
    found = dq.near_duplicates(dq.knn_graph(x, 3, metric="cosine"))
    assert [g.tolist() for g in found.groups] == [[3, 7], [4, 8], [5, 9], [6, 10]]


def test_distances_beyond_float32():
    big = np.float32(3e38)
    x = np.array([[0, 0], [1, 0], [2, 0], [3, 0], [big, big], [-big, -big]], np.float32)
    graph = dq.knn_graph(x, 2)
    assert np.isinf(graph.distances[4:]).all()
    found = dq.outliers(graph)
    assert found.mask.tolist() == [False] * 4 + [True] * 2
    assert not np.isnan(found.score).any()
    assert not np.isnan(dq.near_duplicates(graph).score).any()


def test_no_rows():
    graph = dq.KnnGraph.from_arrays(np.zeros((0, 3), int), np.zeros((0, 3)))
    assert len(dq.outliers(graph)) == 0
    found = dq.near_duplicates(graph)
    assert (len(found), found.n_groups, found.groups) == (0, 0, ())


# ---- components ----------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=examples(200))
@given(st.data())
def test_groups_are_the_connected_components(data):
    n = data.draw(st.integers(1, 40))
    ends = st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), max_size=60)
    edges = np.array(data.draw(ends), np.int64).reshape(-1, 2)
    group = groups_of(n, edges[:, 0], edges[:, 1])
    own = np.arange(n)  # the definition: the lowest row that can be reached
    for _ in range(n):
        for a, b in edges:
            own[a] = own[b] = min(own[a], own[b])
    for i in range(n):
        alone = np.count_nonzero(own == own[i]) == 1
        assert (group[i] == -1) == alone
        for j in range(n):
            assert alone or (group[i] == group[j]) == (own[i] == own[j])
    heads = [int(np.flatnonzero(group == g)[0]) for g in range(group.max() + 1)]
    assert heads == sorted(heads)


def test_long_chains_take_few_rounds(rng):
    n = 100_000
    order = rng.permutation(n)
    for row in (np.arange(n), order):
        assert (groups_of(n, row[:-1], row[1:]) == 0).all()


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_quantile_is_numpys(rng, quarters):
    for n in range(1, 30):
        values = rng.normal(size=n)
        assert quantile(values, quarters) == pytest.approx(np.percentile(values, 25 * quarters))


# ---- against cleanlab ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("d", "metric"), [(3, "euclidean"), (12, "cosine"), (40, "euclidean")])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_same_rows_as_datalab(d, metric, seed, capsys):
    """Without copies. Datalab has no groups: its sets are the direct neighbours of each row."""
    pytest.importorskip("datasets")
    Datalab = pytest.importorskip("cleanlab").Datalab
    rng = np.random.default_rng(seed)
    x = 3 + rng.normal(size=(400, d)) * rng.lognormal(0, 0.5, size=(400, 1))
    x[:40] = x[40:80] + rng.normal(size=(40, d)) * rng.uniform(0, 0.3, (40, 1))
    graph = dq.knn_graph(x, 10, metric=metric)
    lab = Datalab({"id": np.arange(400)})
    lab.find_issues(knn_graph=graph.to_csr(), issue_types={"outlier": {}, "near_duplicate": {}})
    capsys.readouterr()
    theirs = lab.get_issues()
    far, near = dq.outliers(graph), dq.near_duplicates(graph)
    assert 0 < far.mask.sum() < 100
    assert 0 < near.mask.sum() < 100
    assert np.array_equal(far.mask, theirs["is_outlier_issue"])
    assert far.score == pytest.approx(theirs["outlier_score"].to_numpy(), abs=1e-6)
    assert np.array_equal(near.mask, theirs["is_near_duplicate_issue"])
    assert near.score == pytest.approx(theirs["near_duplicate_score"].to_numpy(), abs=1e-6)
    assert far.threshold == pytest.approx(lab.get_info("outlier")["issue_threshold"], rel=1e-5)
    for row, others in enumerate(lab.get_info("near_duplicate")["near_duplicate_sets"]):
        assert (near.group[others] == near.group[row]).all()


# ---- laws ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("scale", [2.0**-30, 2.0**40])
def test_scale_changes_nothing(rng, metric, scale):
    x = rng.normal(size=(300, 5)).astype(np.float32)
    x[:20] = x[20:40]
    a, b = (dq.knn_graph(y, 6, metric=metric) for y in (x, x * np.float32(scale)))
    for function in (dq.outliers, dq.near_duplicates):
        one, other = function(a), function(b)
        assert one.mask.tobytes() == other.mask.tobytes()
        assert one.score.tobytes() == other.score.tobytes()
    assert np.array_equal(dq.near_duplicates(a).group, dq.near_duplicates(b).group)


@settings(deadline=None, max_examples=examples(60))
@given(st.integers(2, 30), st.integers(1, 5), st.integers(0, 2**31), st.integers(1, 3))
def test_any_shape_of_lattice(n, d, seed, levels):
    """Small whole numbers: ties and copies everywhere."""
    rng = np.random.default_rng(seed)
    x = rng.integers(0, levels + 1, (n, d)).astype(np.float32)
    graph = dq.knn_graph(x, int(rng.integers(1, n)))
    far, near = dq.outliers(graph), dq.near_duplicates(graph)
    assert ((far.score >= 0) & (far.score <= 1)).all()
    assert ((near.score >= 0) & (near.score <= 1)).all()
    assert np.array_equal(far.mask, far.mean_distance > far.threshold)
    assert np.array_equal(near.mask, near.group >= 0)
    assert all(len(g) > 1 for g in near.groups)
    _, twin = np.unique(x, axis=0, return_inverse=True)
    exact = dq.near_duplicates(graph, threshold=0)
    for i in range(n):
        assert np.array_equal(
            np.flatnonzero(twin == twin[i]),
            np.flatnonzero(exact.group == exact.group[i]) if exact.mask[i] else [i],
        )


def test_the_reference_has_them_too(rng):
    graph = dq.knn_graph(rng.normal(size=(100, 3)), 4)
    for name in ("outliers", "near_duplicates"):
        ours, theirs = getattr(dq, name)(graph), getattr(reference, name)(graph)
        assert ours.mask.tobytes() == theirs.mask.tobytes()
        assert ours.score.tobytes() == theirs.score.tobytes()


# ---- bad input -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda _: dq.outliers(None), TypeError, "graph must be a KnnGraph, got NoneType"),
        (lambda g: dq.near_duplicates(g.to_csr()), TypeError, "from_csr"),
        (lambda g: dq.outliers(g, iqr_factor=-1), ValueError, "iqr_factor must be in"),
        (lambda g: dq.outliers(g, iqr_factor=float("nan")), ValueError, "iqr_factor must be in"),
        (lambda g: dq.outliers(g, iqr_factor="1"), TypeError, "iqr_factor must be a number"),
        (lambda g: dq.near_duplicates(g, threshold=-0.1), ValueError, "threshold must be in"),
        (lambda g: dq.near_duplicates(g, radius=float("inf")), ValueError, "radius must be in"),
        (lambda g: dq.near_duplicates(g, radius=True), TypeError, "radius must be a number"),
    ],
)
def test_bad_arguments_are_named(call, error, words):
    with pytest.raises(error, match=words):
        call(dq.knn_graph([[0.0], [1.0], [3.0]], k=1))


def test_a_graph_of_queries_is_refused():
    graph = dq.knn_graph([[0.0], [1.0], [3.0]], k=1, queries=[[0.0]])
    for function in (dq.outliers, dq.near_duplicates):
        with pytest.raises(ValueError, match="made from queries"):
            function(graph)
