"""The CUDA backend's neighbours on the CPU's executor: the bits of the reference, whatever the data does to the filter."""

import dqcore as dq
import numpy as np
import pytest
from dqcore import reference

_emulated = pytest.importorskip("dqcore._emulated", reason="only a checkout's build has it")


def rows(rng, n, d, scale=1.0):
    return (scale * rng.normal(size=(n, d))).astype(np.float32)


@pytest.fixture(autouse=True)
def usual_device():
    """What a test sets, it sets for itself."""
    yield
    _emulated.set_device()


@pytest.fixture
def backwards():
    """Blocks and threads in the opposite order."""
    _emulated.set_device(backwards=True)


def emulated(x, k, metric="euclidean", queries=None, progress=None):
    return _emulated.knn_graph(x, k, metric=metric, queries=queries, threads=1, progress=progress)


def equal(indices, distances, want):
    np.testing.assert_array_equal(indices, want.indices)
    np.testing.assert_array_equal(distances, want.distances)


def check(x, k, metric="euclidean", queries=None):
    """Compare with the reference and return what the engine did."""
    indices, distances, _, record = emulated(x, k, metric, queries)
    equal(indices, distances, reference.knn_graph(x, k, metric=metric, queries=queries))
    return record


def check_with_room(x, k, capacity):
    """The same of a self-join; how many hits there were, and rows whose hits did not fit."""
    *graph, hits, too_many = _emulated.knn_graph_with_room(x, k, capacity)
    equal(*graph, reference.knn_graph(x, k))
    return hits, too_many


@pytest.mark.parametrize(
    ("n", "d", "k"), [(2, 1, 1), (127, 3, 2), (128, 63, 5), (129, 64, 5), (257, 65, 3), (385, 5, 4)]
)
def test_any_shape(rng, n, d, k):
    record = check(rows(rng, n, d), k)
    assert record["distinct_rows"] == n
    # Were all pairs kept, the lists would be right too.
    assert n < 200 or record["survivors_level1"] < 0.1 * n * n


def test_more_dims_than_the_ring_holds(rng):
    check(rows(rng, 40, 4096), 3, "cosine")
    check(rows(rng, 40, 300), 3)


@pytest.mark.usefixtures("backwards")
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_the_order_of_blocks_and_threads_changes_nothing(rng, metric):
    check(rows(rng, 200, 20), 4, metric)
    check(rows(rng, 200, 20), 4, metric, rows(rng, 30, 20))


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_queries(rng, metric):
    base = rows(rng, 300, 12)
    queries = np.concatenate([rows(rng, 140, 12, 3.0), base[:5], np.zeros((1, 12), np.float32)])
    check(base, 6, metric, queries)
    check(base[:1], 1, metric, queries[:3])


def test_many_neighbours(rng):
    base = rows(rng, 1100, 2)
    check(base, 1024, queries=base[:2].copy())
    check(rows(rng, 140, 3), 139)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_ties_go_to_the_lower_index(rng, metric):
    check(rng.integers(-2, 3, (260, 3)).astype(np.float32), 7, metric)


def test_the_lanes_are_folded_in_the_canonical_order():
    # Squared, the small numbers are 9/16 of an ulp of 1: one alone rounds to an ulp, two together as well.
    x = np.zeros((2, 32), np.float32)
    x[:, 0] = 1.0
    x[:, 16] = x[0, 17] = 1.5 * 2.0**-27
    indices = emulated(x, 2, queries=np.zeros((1, 32), np.float32))[0]
    # Were lanes 16 and 17 added first, the keys would be equal.
    assert indices.tolist() == [[1, 0]]


def test_hits_that_do_not_fit_are_done_in_full(rng):
    _, too_many = check_with_room(rows(rng, 300, 8), 5, 9)
    assert 0 < too_many < 600


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_zero_rows(rng, metric):
    x = rows(rng, 200, 6)
    x[rng.permutation(200)[:90]] = 0.0
    x[150:] = np.abs(x[150:])
    check(x, 4, metric)


def test_near_rows_far_from_the_centre(rng):
    """What fp16 moves is more than what lies between neighbours: only the bound keeps them."""
    centres = 100.0 * rng.choice([-1.0, 1.0], (2, 40))
    x = centres[rng.integers(0, 2, 260)] + 0.05 * rng.normal(size=(260, 40))
    check_with_room(x.astype(np.float32), 3, 300)
    # Near neighbours by threes, where the dot products are sums of like signs: the tensor core cuts all the same way.
    x = np.repeat(np.abs(rows(rng, 70, 130)), 3, axis=0) + 10.0
    x += 3e-3 * rng.normal(size=x.shape)
    check_with_room(x.astype(np.float32), 2, 300)


def test_what_the_tensor_core_cuts_off(rng):
    """Whole numbers that fp16 holds exactly, in sums beyond 24 bits: nothing is rounded but what the tensor core cuts."""
    x = rng.choice([0, 1], (70, 1)) * rng.integers(256, 512, 512) + rng.integers(-3, 4, (70, 512))
    check(x.astype(np.float32), 4)
    # On V100 alone all that the bound allows could come about; there is room, but not much.
    assert 0.05 < _emulated.filter_error(x.astype(np.float32), "euclidean") < 1.0


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_the_bound_holds_for_every_pair(rng, metric):
    wide = rows(rng, 60, 70) * 2.0 ** rng.integers(-12, 13, (60, 70))
    for x in (rows(rng, 140, 33), np.abs(rows(rng, 50, 300)), wide.astype(np.float32)):
        assert _emulated.filter_error(x, metric) < 1.0


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_duplicates(rng, metric):
    x = rows(rng, 260, 5)
    x[rng.permutation(260)[:150]] = x[0]
    x[200:230] = x[40:70]
    assert check(x, 6, metric)["distinct_rows"] < 110
    few = np.repeat(rows(rng, 2, 5), 150, axis=0)
    assert check(few, 2, metric)["distinct_rows"] == 2
    few[:100] = 0.0
    assert check(few, 3, metric)["distinct_rows"] == 3
    few[:] = 1.0
    assert check(few, 2, metric)["distinct_rows"] == 1


@pytest.mark.parametrize("scale", [1e-44, 1e-30, 1e30])
def test_any_scale(rng, scale):
    check(rows(rng, 150, 9, scale), 3)
    check(rows(rng, 150, 9, scale), 3, "cosine")


def test_long_rows_spoil_no_others_bounds(rng):
    x = rows(rng, 382, 7)
    x[rng.permutation(382)[:126]] *= 1e6
    record = check(x, 3)
    assert record["rows_again"] < 20  # long ones with all the others about as near


def test_progress_is_told_and_may_end_the_call(rng):
    ticks = []
    emulated(rows(rng, 600, 2), 1, progress=lambda *tick: ticks.append(tick))
    assert ticks == [("sweep", done, 3) for done in (0, 1, 2, 3)]

    def stop(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        emulated(rows(rng, 130, 2), 1, progress=stop)


def test_what_the_kernels_cannot_take_is_refused(rng):
    with pytest.raises(ValueError, match="k = 1025: the CUDA backend takes at most 1024"):
        emulated(rows(rng, 1030, 1), 1025)
    with pytest.raises(ValueError, match=r"features.shape\[1\] = 65537"):
        emulated(rows(rng, 3, 65537), 1)


@pytest.mark.parametrize("weights", ["uniform", "distance", "gaussian", "similarity"])
@pytest.mark.parametrize(("n", "classes", "k"), [(60, 4, 9), (40, 1, 1), (40, 3, 1), (70, 50, 40)])
def test_disagreement(rng, n, classes, k, weights):
    """Votes of rows with ties, equal rows, a class of one row and rows without labels; in pieces too."""
    x = rng.integers(-2, 3, (n, 3)).astype(np.float32)
    graph = dq.knn_graph(x, k, metric="cosine" if weights == "similarity" else "euclidean")
    labels = rng.integers(-1, classes, n).astype(np.int32)
    for balanced, only in ((False, False), (True, False), (False, True)):
        options = {"weights": weights, "class_balanced": balanced, "labelled_only": only}
        options["n_classes"] = classes
        want = reference.knn_disagreement(labels, graph, **options)
        for free_bytes in (1 << 20, 45_000):
            _emulated.set_device(backwards=balanced, free_bytes=free_bytes)
            got = _emulated.knn_disagreement(labels, graph, threads=1, progress=None, **options)
            for a, b in zip(got, want, strict=True):
                assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


def test_disagreement_of_too_many_neighbours_is_refused():
    graph = dq.KnnGraph(np.zeros((2, 1025), np.int32), np.zeros((2, 1025), np.float32), "cosine", 2)
    with pytest.raises(ValueError, match="k = 1025: the CUDA backend takes at most 1024"):
        _emulated.knn_disagreement(
            np.zeros(2, np.int32),
            graph,
            weights="uniform",
            class_balanced=False,
            labelled_only=False,
            n_classes=1,
            threads=1,
            progress=None,
        )


def test_a_graph_that_does_not_fit_is_a_memory_error_with_sizes(rng):
    _emulated.set_device(free_bytes=100_000)
    with pytest.raises(MemoryError, match=r"of \d+ bytes failed: \d+ of 100000 bytes are free"):
        emulated(rows(rng, 300, 100), 3)
