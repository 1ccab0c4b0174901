"""The demo finds what it plants, over 20 seeds; and it plants what it says."""

from statistics import median

import numpy as np
import pytest
from dqcore.audit import demo

SEEDS = range(20)


@pytest.fixture(scope="module")
def runs():
    return [demo.run(seed) for seed in SEEDS]


def test_finds_most_of_what_is_planted(runs):
    assert median(d.recall for d in runs) >= 0.88
    assert median(d.precision for d in runs) >= 0.95
    assert min(d.recall for d in runs) >= 0.80
    assert min(d.precision for d in runs) >= 0.90


@pytest.mark.parametrize("what", ["pair_rank", "annotator_rank", "scanner_rank"])
def test_what_was_planted_comes_first(runs, what):
    assert sum(getattr(d, what) == 1 for d in runs) >= 18


def test_plants_what_it_says():
    clean = demo.Archive(demo.Path(demo.__file__).parent / "data" / "digits.npz").read("labels")
    for seed in (0, 1):
        p = demo.plant(seed)
        assert np.array_equal(p.wrong, p.labels != clean)
        scanner = p.columns["scanner"] == p.scanner
        assert p.wrong[scanner].mean() == pytest.approx(0.43, abs=0.05)
        theirs = (p.columns["annotator"] == p.annotator) & (clean == p.true_class)
        assert abs((p.labels[theirs] == p.given_class).sum() - 0.7 * theirs.sum()) <= 5
        assert p.confused_rows == round(0.7 * theirs.sum())
        rest = ~scanner & ~theirs
        assert p.wrong[rest].mean() == pytest.approx(0.05, abs=0.02)
        for column in p.columns.values():  # dealt evenly
            assert np.ptp(np.unique(column, return_counts=True)[1]) <= 1


def test_planting_depends_on_the_seed_alone():
    first, again, other = demo.plant(5), demo.plant(5), demo.plant(6)
    assert np.array_equal(first.labels, again.labels)
    assert not np.array_equal(first.labels, other.labels)


def test_probabilities_come_from_the_labels_as_they_stand():
    p = demo.plant(0)
    graph = demo.knn_graph(p.features, demo.K, metric=demo.METRIC)
    probs = demo.vote_probabilities(graph, p.labels)
    assert np.allclose(probs.sum(axis=1), 1, atol=1e-6)
    changed = p.labels.copy()
    changed[7] = (changed[7] + 1) % 10
    differ = np.flatnonzero((demo.vote_probabilities(graph, changed) != probs).any(axis=1))
    assert 7 not in differ  # a row's own label never votes for itself
    assert set(differ) == set(np.flatnonzero((graph.indices == 7).any(axis=1)))


def test_text_tells_planted_and_found(runs):
    shown = demo.text(runs[0])
    assert "planted" in shown
    assert f"{int(runs[0].planted.wrong.sum())} wrong labels" in shown
    assert runs[0].planted.annotator in shown
    assert all(len(line) < 120 for line in shown.splitlines())
