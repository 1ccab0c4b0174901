"""A slice of the differential loop for each function, and proof that it notices."""

import differential
import numpy as np
import pytest
from dqcore import reference


@pytest.mark.parametrize("generator", differential.GENERATORS, ids=lambda g: g.__name__)
def test_native_is_the_reference(generator, scaled):
    differential.Loop(seed=0, generators={generator: 1}).run(scaled(1000))


@pytest.mark.threads
@pytest.mark.parametrize("generator", differential.GENERATORS, ids=lambda g: g.__name__)
def test_native_is_the_reference_with_threads(generator, scaled):
    differential.Loop(seed=1, generators={generator: 1}).run(scaled(200))


def test_a_difference_is_reported_so_that_it_can_be_found_again(monkeypatch):
    right = reference.knn_graph

    def wrong(*args, **kwargs):
        graph = right(*args, **kwargs)
        return graph._replace(indices=graph.indices + np.int32(1))

    monkeypatch.setattr(reference, "knn_graph", wrong)
    with pytest.raises(
        differential.Difference, match=r"indices differs: seed 5, problem \d+\n  features ="
    ):
        differential.Loop(seed=5, generators={differential.knn_graph: 1}).run(100)


@pytest.mark.parametrize(
    ("got", "want"),
    [
        (np.zeros(2), np.array([0.0, -0.0])),
        (np.zeros(2), np.zeros(2, np.float32)),
        (np.zeros(2), np.zeros((2, 1))),
        (np.array([1.0, np.nan]), np.array([np.nan, 1.0])),
        (1, True),
        (0.0, -0.0),
        ((1,), (2,)),
    ],
)
def test_results_that_differ_in_anything_are_not_the_same(got, want):
    assert not differential.same(got, want)


def test_nan_is_nan():
    assert differential.same(np.array([-np.nan, 1.0]), np.array([np.nan, 1.0]))
