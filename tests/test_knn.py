"""The exact graph: equal to the reference bit for bit, whatever the data, the threads or the instruction set."""

import itertools

import dqcore as dq
import numpy as np
import pytest
from conftest import examples
from dqcore import _cpu, reference
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

METRICS = ["euclidean", "cosine"]


def assert_same_graph(got, expected):
    np.testing.assert_array_equal(got.indices, expected.indices)
    assert got.distances.tobytes() == expected.distances.tobytes()


def data_sets(rng):
    """Small sets that are hard for a filter: ties, duplicates, offsets, scales, rows without a direction."""
    n, d = 60, 37
    normal = rng.normal(size=(n, d))
    zeros = normal.copy()
    zeros[::7] = 0.0
    outlier = normal.copy()
    outlier[5] *= 1e6
    far_out = normal.copy()
    far_out[11] *= 1e20
    return {
        "normal": normal,
        "lattice": rng.integers(-1, 2, (n, d)),
        "binary": rng.integers(0, 2, (n, 3)),
        "duplicates": normal[rng.integers(0, 5, n)],
        "constant": np.ones((n, d)),
        "zero": np.zeros((n, d)),
        "some zero": zeros,
        "signed zeros": np.where(rng.integers(0, 2, (n, d)) == 1, 0.0, -0.0),
        "offset": normal + 1e4,
        "tiny": normal * 1e-30,
        "subnormal": normal * 1e-42,
        "huge": normal * 1e37,
        "outlier": outlier,
        "far out": far_out,
        "mixed scales": normal * 10.0 ** rng.integers(-38, 37, (n, 1)),
        "one column": rng.normal(size=(n, 1)),
        "one hot": np.eye(8)[rng.integers(0, 8, n)],
        "heavy tails": rng.standard_cauchy((n, d)),
        "close pairs": np.repeat(normal[: n // 2], 2, axis=0) + rng.normal(size=(n, d)) * 1e-7,
    }


@pytest.mark.usefixtures("native_isa")
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("name", data_sets(np.random.default_rng(0)))
def test_hard_data_equals_reference(name, metric):
    x = data_sets(np.random.default_rng(1))[name].astype(np.float32)
    for k in (1, 10, len(x) - 1):
        assert_same_graph(
            dq.knn_graph(x, k, metric=metric), reference.knn_graph(x, k, metric=metric)
        )
        got = dq.knn_graph(x, k, metric=metric, queries=x[7:30])
        assert_same_graph(got, reference.knn_graph(x, k, metric=metric, queries=x[7:30]))


def test_axes_are_sought_where_they_tell_more_than_coordinates():
    rng = np.random.default_rng(6)
    n, d = 20_000, 64
    low = rng.normal(size=(n, 8)) @ rng.normal(size=(8, d)) + 0.05 * rng.normal(size=(n, d))
    even = rng.normal(size=(n, d)) * rng.uniform(0.7, 1.0, d)
    options = {"metric": "euclidean", "queries": None, "threads": 2, "progress": None}
    for x, rotated in ((low, True), (even, False)):
        rows = x.astype(np.float32)
        graph = dq.knn_graph(rows, 5)
        assert (graph.stats["stage_dims"] != (d,)) == rotated
        indices, distances, _, _ = _cpu.knn_graph(rows, 5, **options, forced_head=-1)
        np.testing.assert_array_equal(graph.indices, indices)
        np.testing.assert_array_equal(graph.distances, distances)


@pytest.mark.usefixtures("native_isa")
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("head", [-1, 7, 15, 31, 44])
def test_every_plan_gives_the_same_graph(head, metric):
    """With no rotation, and with few coordinates and the norm of the rest before the exact keys."""
    rng = np.random.default_rng(head + 1)
    for x in [*data_sets(rng).values(), rng.normal(size=(450, 3)) @ rng.normal(size=(3, 70))]:
        rows = np.ascontiguousarray(x, np.float32)
        for queries in (None, rows[5:41].copy()):
            expected = reference.knn_graph(rows, 7, metric=metric, queries=queries)
            options = {"metric": metric, "queries": queries, "threads": 2, "progress": None}
            indices, distances, _, stats = _cpu.knn_graph(rows, 7, **options, forced_head=head)
            assert_same_graph(reference.knn.Graph(indices, distances, metric), expected)
            rotated = 0 < head < min(128, rows.shape[1] // 16 * 16) and stats["distinct_rows"] > 32
            if stats["distinct_rows"] > 1:
                assert stats["head_dims"] == (head + 1 if rotated else rows.shape[1])


@pytest.mark.usefixtures("native_isa")
def test_stages_let_no_neighbour_go():
    """Neighbours on both sides of the mean norm of what the first stage leaves out, which the second one knows."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=(2400, 96)) * np.repeat([1.2, 1.0, 0.01], [15, 16, 65])
    x[:, 15:31] *= rng.uniform(0.3, 1.7, (2400, 1))
    x = (x @ np.linalg.qr(rng.normal(size=(96, 96)))[0]).astype(np.float32)
    options = {"metric": "euclidean", "queries": None, "threads": 2, "progress": None}
    expected = reference.knn_graph(x, 5)
    for head in (15, 31, 44, 80):
        indices, distances, metric, _ = _cpu.knn_graph(x, 5, **options, forced_head=head)
        assert_same_graph(reference.knn.Graph(indices, distances, metric), expected)


@pytest.mark.usefixtures("native_isa")
def test_rows_beyond_the_range_of_int8():
    """Rows that the sample which sets the step has not seen, far outside it, each with neighbours of its own."""
    rng = np.random.default_rng(6)
    x = rng.normal(size=(3000, 24))
    x[1::150] *= 40.0
    x[2::150] = x[1::150] + 0.1 * rng.normal(size=x[2::150].shape)
    x = x.astype(np.float32)
    assert_same_graph(dq.knn_graph(x, 5), reference.knn_graph(x, 5))


@pytest.mark.usefixtures("native_isa")
@pytest.mark.parametrize("d", [*range(1, 68), 95, 96, 97, 127, 128, 129, 333])
def test_every_tail_length(d):
    x = np.random.default_rng(d).normal(size=(21, d)).astype(np.float32)
    for metric in METRICS:
        assert_same_graph(
            dq.knn_graph(x, 5, metric=metric), reference.knn_graph(x, 5, metric=metric)
        )


@pytest.mark.usefixtures("native_isa")
@pytest.mark.parametrize("n", [2, 3, 15, 16, 17, 47, 48, 49, 383, 384, 385, 433])
def test_every_block_edge(n):
    rng = np.random.default_rng(n)
    x = rng.integers(-2, 3, (n, 5)).astype(np.float32)
    k = min(7, n - 1)
    for metric in METRICS:
        assert_same_graph(
            dq.knn_graph(x, k, metric=metric), reference.knn_graph(x, k, metric=metric)
        )


@pytest.mark.usefixtures("native_isa")
@pytest.mark.threads
@pytest.mark.parametrize("metric", METRICS)
def test_many_blocks_same_bytes_for_any_threads(metric):
    rng = np.random.default_rng(5)
    centres = rng.normal(size=(30, 16))
    x = (centres[rng.integers(0, 30, 2500)] + 0.2 * rng.normal(size=(2500, 16))).astype(np.float32)
    x[100:180] = x[0]
    expected = reference.knn_graph(x[:1300], 12, metric=metric)
    for threads in (1, 2, 3, 8):
        assert_same_graph(dq.knn_graph(x[:1300], 12, metric=metric, threads=threads), expected)
    whole = [dq.knn_graph(x, 12, metric=metric, threads=t) for t in (1, 2, 3, 8)]
    for graph in whole[1:]:
        assert_same_graph(graph, whole[0])


@pytest.mark.parametrize("metric", METRICS)
def test_thousands_of_duplicates(metric):
    rng = np.random.default_rng(3)
    x = np.repeat(rng.normal(size=(3, 8)), [3000, 5, 900], axis=0).astype(np.float32)
    x = x[rng.permutation(len(x))]
    graph = dq.knn_graph(x, 10, metric=metric)
    assert graph.stats["distinct_rows"] == 3
    for i in rng.integers(0, len(x), 50):
        key = reference.knn.keys(x[i : i + 1], x, metric)[0]
        order = np.lexsort((np.arange(len(x)), key))
        np.testing.assert_array_equal(graph.indices[i], order[order != i][:10])


def test_a_duplicate_is_a_neighbour_and_self_is_not():
    graph = dq.knn_graph([[0.0], [0.0], [9.0]], 1)
    np.testing.assert_array_equal(graph.indices, [[1], [0], [0]])
    np.testing.assert_array_equal(graph.distances, [[0.0], [0.0], [9.0]])


def test_ties_go_to_the_lower_index():
    graph = dq.knn_graph([[0.0], [1.0], [-1.0], [1.0]], 3)
    np.testing.assert_array_equal(graph.indices[0], [1, 2, 3])


def test_the_last_place_in_a_list_goes_to_the_lowest_of_those_tied():
    """The four corners are equally far from the centre, whichever order the sweep meets them in."""
    corners = [[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]]
    for order in itertools.permutations(range(4)):
        graph = dq.knn_graph([[0.0, 0.0], *(corners[i] for i in order)], 2)
        np.testing.assert_array_equal(graph.indices[0], [1, 2])


def test_far_rows_among_many_near_ones(rng):
    """A far row's neighbours lie in blocks whose own rows have long found theirs."""
    near = rng.integers(-20, 21, (3000, 3))
    far = rng.integers(-4000, 4001, (800, 3))
    x = np.concatenate([near, far]).astype(np.float32)
    graph = dq.knn_graph(x, 5)
    for i in range(len(near), len(x)):  # whole numbers: every sum is exact
        squared = ((x.astype(np.int64) - x[i].astype(np.int64)) ** 2).sum(axis=1)
        order = np.lexsort((np.arange(len(x)), squared))
        np.testing.assert_array_equal(graph.indices[i], order[order != i][:5])


def test_rows_far_from_all_the_rest(rng):
    """Rows around a dense cluster, nearer to it than to each other: all their neighbours lie in blocks that are done."""
    cluster = rng.normal(size=(512, 200))
    around = rng.normal(size=(512, 200))
    around *= 8500.0 / np.linalg.norm(around, axis=1, keepdims=True)
    around[:, 0] = 5000.0
    x = np.concatenate([cluster, around]).astype(np.float32)
    assert_same_graph(dq.knn_graph(x, 5), reference.knn_graph(x, 5))


def test_rows_along_one_direction(rng):
    """Parallel but for rounding: the cosine may come out above 1, and the key must not go below 0."""
    x = rng.uniform(0.1, 10.0, (300, 1)).astype(np.float32) * rng.normal(size=40).astype(np.float32)
    assert_same_graph(
        dq.knn_graph(x, 20, metric="cosine"), reference.knn_graph(x, 20, metric="cosine")
    )


@pytest.mark.parametrize("metric", METRICS)
def test_fewer_neighbours_are_a_prefix_of_more(rng, metric):
    x = rng.integers(0, 3, (500, 4)).astype(np.float32)
    many = dq.knn_graph(x, 40, metric=metric)
    for k in (1, 5, 39):
        np.testing.assert_array_equal(
            dq.knn_graph(x, k, metric=metric).indices, many.indices[:, :k]
        )


def test_large_k(rng):
    x = rng.normal(size=(700, 6)).astype(np.float32)
    assert_same_graph(dq.knn_graph(x, 600), reference.knn_graph(x, 600))


@pytest.mark.usefixtures("native_isa")
def test_wide_rows(rng):
    x = rng.normal(size=(70, 4096)).astype(np.float32)
    for metric in METRICS:
        assert_same_graph(
            dq.knn_graph(x, 4, metric=metric), reference.knn_graph(x, 4, metric=metric)
        )


def test_zero_rows_are_at_cosine_distance_one(rng):
    x = rng.normal(size=(30, 4)).astype(np.float32)
    x[20:] = 0.0
    graph = dq.knn_graph(x, 29, metric="cosine")
    np.testing.assert_array_equal(graph.distances[25], np.ones(29))
    np.testing.assert_array_equal(graph.indices[25], [*range(25), *range(26, 30)])
    assert (graph.distances[0][np.isin(graph.indices[0], range(20, 30))] == 1.0).all()


def test_exact_duplicates_are_at_cosine_distance_zero(rng):
    x = (rng.normal(size=(50, 7)) * 10.0 ** rng.integers(-30, 30, (50, 1))).astype(np.float32)
    x = np.concatenate([x, x])
    graph = dq.knn_graph(x, 1, metric="cosine")
    assert (graph.distances == 0.0).all()


def test_a_distance_above_float32_is_infinity():
    graph = dq.knn_graph(np.array([[3e38], [-3e38], [3e38]], np.float32), 2)
    np.testing.assert_array_equal(graph.distances, [[0.0, np.inf], [np.inf, np.inf], [0.0, np.inf]])


@pytest.mark.parametrize("metric", METRICS)
def test_scikit_learn_agrees(rng, metric):
    from sklearn.neighbors import NearestNeighbors

    x = rng.normal(size=(1500, 24)).astype(np.float32)
    found = NearestNeighbors(n_neighbors=8, metric=metric, algorithm="brute").fit(x.astype(float))
    distances, indices = found.kneighbors()
    graph = dq.knn_graph(x, 8, metric=metric)
    np.testing.assert_array_equal(graph.indices, indices)
    np.testing.assert_allclose(graph.distances, distances, rtol=1e-6)


@pytest.mark.parametrize("metric", METRICS)
def test_a_power_of_two_or_a_zero_column_changes_nothing(rng, metric):
    x = rng.normal(size=(200, 20)).astype(np.float32)
    plain = dq.knn_graph(x, 6, metric=metric)
    np.testing.assert_array_equal(dq.knn_graph(x * 8, 6, metric=metric).indices, plain.indices)
    padded = np.concatenate([x, np.zeros((200, 1))], axis=1)
    assert_same_graph(dq.knn_graph(padded, 6, metric=metric), plain)


def test_permuting_rows_permutes_the_graph(rng):
    x = rng.normal(size=(400, 9)).astype(np.float32)
    order = rng.permutation(400)
    place = np.argsort(order)
    plain, permuted = dq.knn_graph(x, 5), dq.knn_graph(x[order], 5)
    np.testing.assert_array_equal(permuted.indices, place[plain.indices[order]])


@settings(max_examples=examples(150), deadline=None)
@given(
    x=hnp.arrays(
        st.sampled_from([np.float16, np.float32, np.float64, ">f4", np.int8, np.int64]),
        st.tuples(st.integers(2, 40), st.integers(1, 40)),
        elements=st.integers(-4, 4),
    ),
    layout=st.sampled_from(["c", "fortran", "reversed", "every second", "transposed"]),
    metric=st.sampled_from(METRICS),
    data=st.data(),
)
def test_dtypes_and_layouts(x, layout, metric, data):
    k = data.draw(st.integers(1, len(x) - 1))
    plain = np.ascontiguousarray(x, np.float32)
    view = {
        "c": lambda: x,
        "fortran": lambda: np.asfortranarray(x),
        "reversed": lambda: np.ascontiguousarray(x[::-1, ::-1])[::-1, ::-1],
        "every second": lambda: np.repeat(np.repeat(x, 2, 0), 2, 1)[::2, ::2],
        "transposed": lambda: np.ascontiguousarray(x.T).T,
    }[layout]()
    before = view.tobytes()
    view.setflags(write=False)
    assert_same_graph(
        dq.knn_graph(view, k, metric=metric), reference.knn_graph(plain, k, metric=metric)
    )
    assert view.tobytes() == before


# ---- input faults ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("row", [0, 17, 49])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_non_finite_features_name_the_row(value, row, dtype):
    x = np.ones((50, 7), dtype)
    x[row, 6] = value
    x[49, 0] = value
    with pytest.raises(
        ValueError, match=rf"features must be .* row {row}, column \d is .*such entr"
    ):
        dq.knn_graph(x, 3)


def test_opposite_infinities_do_not_cancel():
    x = np.ones((5, 2))
    x[1, 0], x[2, 0] = np.inf, -np.inf
    with pytest.raises(ValueError, match=r"row 1, column 0 is .*2 such entries"):
        dq.knn_graph(x, 1)


def test_float64_above_float32_is_refused():
    with pytest.raises(ValueError, match="float32's range"):
        dq.knn_graph(np.array([[1e39], [0.0]]), 1)


@pytest.mark.parametrize("k", [0, -1, 3, 10**9])
def test_k_out_of_range(k):
    with pytest.raises(ValueError, match="k must be"):
        dq.knn_graph(np.zeros((3, 2)), k)


@pytest.mark.parametrize("k", [True, 2.0, "2", None])
def test_k_of_a_wrong_type(k):
    with pytest.raises(TypeError, match="k must be a whole number"):
        dq.knn_graph(np.zeros((5, 2)), k)


@pytest.mark.parametrize(
    ("features", "error", "text"),
    [
        (np.zeros(3), ValueError, r"features must be .* got shape \(3,\)"),
        (np.zeros((3, 2, 2)), ValueError, "features must be"),
        (np.zeros((3, 0)), ValueError, "at least one column"),
        (np.zeros((3, 2), bool), TypeError, "got bool; pass"),
        (np.zeros((3, 2), complex), TypeError, "dtype complex128"),
        (np.array([["a", "b"]] * 3), TypeError, "dtype <U1"),
        (np.array([[1, None]] * 3), ValueError, "none missing: row 0, column 1 is None .3 such"),
        ([[1.0], [1.0, 2.0]], ValueError, "features must be"),
        (None, TypeError, "NoneType"),
        ("x", TypeError, "features must be an array or a path"),
        (np.ma.masked_equal([[1.0], [2.0]], 2.0), TypeError, "1 masked entries"),
        ((v for v in [1]), TypeError, "generator"),
    ],
)
def test_bad_features(features, error, text):
    with pytest.raises(error, match=text):
        dq.knn_graph(features, 1)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"metric": "l1"}, "metric must be one of"),
        ({"metric": None}, "metric must be one of"),
        ({"queries": np.zeros((2, 3))}, "queries have 3 columns but features 2"),
        ({"backend": "gpu"}, "backend must be"),
        ({"threads": -1}, "threads must be at least 0"),
    ],
)
def test_bad_options(options, text):
    with pytest.raises(ValueError, match=text):
        dq.knn_graph(np.zeros((5, 2)), 1, **options)


def test_empty_queries(rng):
    graph = dq.knn_graph(rng.normal(size=(5, 3)), 2, queries=np.zeros((0, 3)))
    assert graph.indices.shape == graph.distances.shape == (0, 2)


@pytest.mark.filterwarnings("ignore:the matrix subclass")
def test_numpy_matrix_is_refused():
    with pytest.raises(TypeError, match=r"numpy\.matrix"):
        dq.knn_graph(np.matrix([[1.0], [2.0]]), 1)


def test_binding_never_converts():
    options = {"metric": "euclidean", "queries": None, "threads": 1, "progress": None}
    with pytest.raises(TypeError):
        _cpu.knn_graph(np.zeros((3, 2)), 1, **options)
    with pytest.raises(TypeError):
        _cpu.knn_graph(np.zeros((3, 4), np.float32)[:, ::2], 1, **options)


def test_stats_tell_what_was_done(rng):
    x = rng.normal(size=(900, 8)).astype(np.float32)
    stats = dq.knn_graph(x, 5).stats
    assert stats["distinct_rows"] == 900
    assert stats["survivors_level1"] < stats["pairs"]
    assert stats["keys"] >= 900 * 5


# ---- guesses of how far neighbours are ----------------------------------------------------------------------------


def without_self(x, k, metric):
    """The graph of x by queries against itself, which takes no guesses."""
    graph = dq.knn_graph(x, k + 1, queries=x, metric=metric)
    own = graph.indices == np.arange(len(x), dtype=np.int32)[:, None]
    own[:, -1] |= ~own.any(axis=1)  # behind k others at distance 0
    return graph.indices[~own].reshape(len(x), k), graph.distances[~own].reshape(len(x), k)


@pytest.mark.usefixtures("native_isa")
@pytest.mark.parametrize("metric", METRICS)
def test_rows_whose_neighbours_are_farther_than_guessed(metric):
    """Most rows are crowded together; the few between them, as long as they are, have neighbours far away."""
    rng = np.random.default_rng(11)
    x = rng.normal(size=(9000, 24)) * 0.01 + np.repeat(rng.normal(size=(3, 24)), 3000, axis=0)
    lonely = rng.choice(9000, 40, replace=False)
    x[lonely] = rng.normal(size=(40, 24))
    x[17] = 0.0
    x = x.astype(np.float32)
    graph = dq.knn_graph(x, 6, metric=metric, threads=2)
    assert 0 < graph.stats["rows_again"] < 2000
    indices, distances = without_self(x, 6, metric)
    np.testing.assert_array_equal(graph.indices, indices)
    np.testing.assert_array_equal(graph.distances, distances)


@pytest.mark.usefixtures("native_isa")
def test_guesses_spare_level_2_and_lose_nothing(rng):
    x = rng.normal(size=(9000, 32)).astype(np.float32)
    graph = dq.knn_graph(x, 3, threads=2)
    indices, distances = without_self(x, 3, "euclidean")
    np.testing.assert_array_equal(graph.indices, indices)
    np.testing.assert_array_equal(graph.distances, distances)
    # Rows that start open test some 3 ln(9000 / 3) others while they learn.
    assert graph.stats["survivors_level2"] < 9000 * 16


# ---- what level 2 cannot tell apart ---------------------------------------------------------------------------------


@pytest.mark.usefixtures("native_isa")
def test_rows_at_no_distance_whatever_met_first():
    """Reaches of 0: bounds of distances leave room for what underflows, however small the rows are."""
    x = np.ones((256, 16), np.float32)
    state = dq.KnnState(256, 3)
    state.update(x, x[128:], row_start=0, base_start=128)
    state.update(x, x[:128], row_start=0, base_start=0)
    np.testing.assert_array_equal(
        state.finish().indices[:4], [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]]
    )


@pytest.mark.usefixtures("native_isa")
def test_rows_far_smaller_than_the_rest(rng):
    """Rows of 1e-30 around the middle of rows of 1: float32 sums of squares of their differences are all 0."""
    tiny, large = rng.normal(size=(50, 16)) * 1e-30, rng.normal(size=(50, 16))
    x = np.stack([tiny, -tiny, large, -large], axis=1).reshape(200, 16).astype(np.float32)
    assert_same_graph(dq.knn_graph(x, 5), reference.knn_graph(x, 5))


@pytest.mark.usefixtures("native_isa")
def test_a_query_so_far_that_all_keys_are_equal(rng):
    x = rng.normal(size=(384, 16)) * 1e-3
    x[:128, 0] += 1.0
    query = np.zeros((1, 16), np.float32)
    query[0, 0] = 1e38
    graph = dq.knn_graph(x.astype(np.float32), 10, queries=query)
    np.testing.assert_array_equal(graph.indices, [np.arange(10)])


# ---- graphs from elsewhere --------------------------------------------------------------------------------------


def test_csr_round_trip(rng):
    x = np.repeat(rng.normal(size=(40, 3)), 2, axis=0).astype(np.float32)
    graph = dq.knn_graph(x, 4)
    csr = graph.to_csr()
    assert csr.shape == (80, 80)
    assert csr.nnz == 320  # the zero distances of duplicates are kept
    again = dq.KnnGraph.from_csr(csr)
    assert_same_graph(again, graph)


def test_csr_of_scikit_learn(rng):
    from sklearn.neighbors import kneighbors_graph

    x = rng.normal(size=(100, 5))
    graph = dq.KnnGraph.from_csr(kneighbors_graph(x, 6, mode="distance"))
    np.testing.assert_array_equal(graph.indices, dq.knn_graph(x, 6).indices)


def test_from_arrays_sorts_each_row():
    graph = dq.KnnGraph.from_arrays([[2, 1], [0, 2], [1, 0]], [[2.0, 1.0], [1.0, 1.0], [3.0, 3.0]])
    np.testing.assert_array_equal(graph.indices, [[1, 2], [0, 2], [0, 1]])


@pytest.mark.parametrize(
    ("indices", "distances", "text"),
    [
        ([[1], [2], [3]], np.ones((3, 1)), "row 2, column 0 is .*3"),
        ([[1], [-1], [0]], np.ones((3, 1)), "row 1, column 0 is .*-1"),
        ([[1], [1], [0]], np.ones((3, 1)), "other rows than the row itself: row 1"),
        ([[1, 1], [0, 2], [0, 1]], np.ones((3, 2)), "k different rows: row 0"),
        ([[1], [0], [0]], [[1.0], [np.nan], [1.0]], "at least 0: row 1"),
        ([[1], [0], [0]], [[1.0], [1.0], [-1.0]], "at least 0: row 2"),
        ([[1], [0], [0]], np.ones((3, 2)), "indices has shape"),
        (np.zeros((3, 0), int), np.zeros((3, 0)), "k >= 1"),
    ],
)
def test_bad_arrays_name_the_row(indices, distances, text):
    with pytest.raises(ValueError, match=text):
        dq.KnnGraph.from_arrays(indices, distances)


def test_bad_csr():
    from scipy.sparse import csr_matrix

    with pytest.raises(ValueError, match="square"):
        dq.KnnGraph.from_csr(csr_matrix(np.ones((2, 3))))
    with pytest.raises(ValueError, match="row 2 has 1"):
        dq.KnnGraph.from_csr(csr_matrix(np.array([[0, 1, 1], [1, 0, 1], [0, 1, 0]])))
    with pytest.raises(ValueError, match="row 0 has 0"):
        dq.KnnGraph.from_csr(csr_matrix((3, 3)))
    with pytest.raises(TypeError, match="CSR"):
        dq.KnnGraph.from_csr(csr_matrix(np.eye(3)).tocoo())


# ---- the mergeable state ----------------------------------------------------------------------------------------


@settings(max_examples=examples(60), deadline=None)
@given(data=st.data(), metric=st.sampled_from(METRICS), seed=st.integers(0, 2**32 - 1))
def test_any_split_order_and_merge_gives_the_same_graph(data, metric, seed):
    rng = np.random.default_rng(seed)
    n = data.draw(st.integers(2, 40))
    k = data.draw(st.integers(1, n - 1))
    x = rng.integers(-1, 2, (n, 3)).astype(np.float32)
    cuts = data.draw(st.lists(st.integers(0, n), max_size=4))
    edges = sorted({0, n, *cuts})
    blocks = [
        (a, b, c, e) for a, b in itertools.pairwise(edges) for c, e in itertools.pairwise(edges)
    ]
    rng.shuffle(blocks)
    states = [dq.KnnState(n, k, metric) for _ in range(3)]
    for a, b, c, e in blocks:
        for state in rng.choice(3, rng.integers(1, 3), replace=False):  # some pairs are met twice
            states[state].update(x[a:b], x[c:e], row_start=a, base_start=c)
    states[1].merge(dq.KnnState.from_bytes(states[2].to_bytes()))
    states[0].merge(states[1])
    assert_same_graph(states[0].finish(), reference.knn_graph(x, k, metric=metric))


def test_merging_states_of_different_parameters_is_refused():
    state = dq.KnnState(5, 2, "euclidean")
    for other, name in (
        (dq.KnnState(6, 2), "n: 5 and 6"),
        (dq.KnnState(5, 3), "k: 2 and 3"),
        (dq.KnnState(5, 2, "cosine"), "metric: .euclidean. and .cosine."),
    ):
        with pytest.raises(ValueError, match=f"differ in {name}"):
            state.merge(other)
    with pytest.raises(TypeError, match="KnnState"):
        state.merge("x")


def test_an_unfinished_state_says_which_row():
    state = dq.KnnState(4, 2)
    state.update(np.zeros((4, 1)), np.zeros((2, 1)), row_start=0, base_start=0)
    with pytest.raises(ValueError, match="row 0 has met 1 other rows"):
        state.finish()


def test_state_ranges_are_checked():
    state = dq.KnnState(4, 2)
    for arguments in ({"row_start": 3, "base_start": 0}, {"row_start": 0, "base_start": -1}):
        with pytest.raises(ValueError, match="_start must be in"):
            state.update(np.zeros((2, 1)), np.zeros((2, 1)), **arguments)
    with pytest.raises(ValueError, match="rows has 5 rows"):
        state.update(np.zeros((5, 1)), np.zeros((2, 1)), row_start=0, base_start=0)


def test_hostile_bytes_are_refused(rng):
    state = dq.KnnState(6, 2)
    x = rng.normal(size=(6, 2))
    state.update(x, x, row_start=0, base_start=0)
    data = state.to_bytes()
    for i in range(len(data)):
        damaged = data[:i] + bytes([data[i] ^ 0x41]) + data[i + 1 :]
        with pytest.raises(ValueError, match="data does not hold a state"):
            dq.KnnState.from_bytes(damaged)
        with pytest.raises(ValueError, match="data does not hold a state"):
            dq.KnnState.from_bytes(data[:i])
    with pytest.raises(TypeError, match="bytes"):
        dq.KnnState.from_bytes("x")


def test_bytes_that_lie_behind_a_right_checksum_are_refused(rng):
    import zlib

    state = dq.KnnState(6, 2)
    x = rng.normal(size=(6, 2))
    state.update(x, x, row_start=0, base_start=0)
    data = state.to_bytes()[:-4]
    for at, value in ((20, 2**62), (28, 2**40), (20, -1), (28, 0), (20, 7), (37, 2**61)):
        lie = data[:at] + value.to_bytes(8, "little", signed=True) + data[at + 8 :]
        with pytest.raises(ValueError, match="data does not hold a state"):
            dq.KnnState.from_bytes(lie + zlib.crc32(lie).to_bytes(4, "little"))
    ids = len(data) - 6 * 2 * 4
    lie = data[:ids] + (77).to_bytes(4, "little") + data[ids + 4 :]
    with pytest.raises(ValueError, match="neighbour out of range"):
        dq.KnnState.from_bytes(lie + zlib.crc32(lie).to_bytes(4, "little"))
