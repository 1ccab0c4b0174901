"""More like this mistake: by hand, against a plain definition, on planted mistakes, and bad input."""

import heapq

import dqcore as dq
import numpy as np
import pytest
from conftest import examples
from dqcore import reference
from dqcore.audit import demo
from dqcore.reference.similar import HOPS
from hypothesis import given, settings
from hypothesis import strategies as st


def line_of(n, k=2):
    """Rows at 0, 1, 2, ... on a line."""
    return dq.knn_graph(np.arange(n, dtype=float)[:, None], k)


# ---- by hand -----------------------------------------------------------------------------------------


def test_by_hand():
    #        0  1  2  3  4  5  6  7  8
    labels = [0, 0, 1, 0, 0, 1, 1, 1, 2]
    found = dq.find_similar([2], labels, line_of(9), true_labels=[0])
    # All neighbours lie 1 apart but those at the ends, so that s is 1. Row 5 (4 and 6) has one vote of two.
    assert found.rows.tolist() == [5, 6, 7]
    assert found.distance.tolist() == [3, 4, np.inf]  # five steps are too many
    near = np.exp(-found.distance)
    assert found.score == pytest.approx((np.array([0.5, 0, 0]) + near) / 2)
    assert found.true_labels.tolist() == [0, 0, 0]
    assert repr(found) == "SimilarRows(3 rows: 5, 6, 7)"


def test_confirmed_rows_vote_as_corrected():
    labels = [1, 1, 1, 1, 1, 1]
    found = dq.find_similar([2, 4], labels, line_of(6), true_labels=7)
    assert found.rows.tolist() == [3, 1, 5, 0]  # both of 3's neighbours are confirmed
    assert found.score[0] == pytest.approx((1 + np.exp(-1)) / 2)
    assert set(found.true_labels) == {7}


def test_suggestions_count_as_much_as_the_neighbours():
    labels = [1] * 12
    plain = dq.find_similar([0], labels, line_of(12), true_labels=0, n=11)
    told = dq.find_similar([0], labels, line_of(12), true_labels=0, n=11, suggested=[1] * 11 + [0])
    assert plain.rows[-1] == 11
    assert told.rows.tolist().index(11) < plain.rows.tolist().index(11)
    assert told.score[told.rows == 11] == 1 / 3  # no neighbour, and not near
    unsure = dq.find_similar(
        [0], labels, line_of(12), true_labels=0, n=11, suggested=[1] * 11 + [0], quality=[0.25] * 12
    )
    assert unsure.score[unsure.rows == 11] == 0.25
    assert np.array_equal(unsure.score[unsure.rows < 11], told.score[told.rows < 11])


def test_several_mistakes_each_have_their_own_rows():
    labels = [0, 1, 0, 0, 2, 2, 1, 2, 2, 2, 0, 0]
    found = dq.find_similar([1, 6], labels, line_of(12), true_labels=[0, 2], n=99)
    assert len(found) == 0  # both rows labelled 1 are confirmed
    labels[3], labels[8] = 1, 1
    found = dq.find_similar([1, 6], labels, line_of(12), true_labels=[0, 2], n=99)
    assert dict(zip(found.rows.tolist(), found.true_labels.tolist(), strict=True)) == {3: 0, 8: 2}


def test_nothing_to_find():
    graph = line_of(4)
    assert len(dq.find_similar([0], [0, 1, 1, 1], graph, true_labels=1)) == 0
    assert len(dq.find_similar([], [0, 1, 1, 1], graph, true_labels=[])) == 0
    assert len(dq.find_similar([1], [0, 1, 1, 1], graph, true_labels=0, n=0)) == 0
    assert dq.find_similar([1], [0, 1, 1, 1], graph, true_labels=0, n=1).rows.tolist() == [2]


# ---- the definition, row by row --------------------------------------------------------------------------


def plain_scores(rows, labels, graph, truth, suggested, quality):
    """Scores of all candidates by loops and Dijkstra's way of finding paths, which must count steps too."""
    n, k = graph.indices.shape
    links = [[] for _ in range(n)]
    for i in range(n):
        for j, d in zip(graph.indices[i].tolist(), graph.distances[i].tolist(), strict=True):
            links[i].append((j, d))
            links[j].append((i, d))
    last = graph.distances[:, -1].astype(float)
    scale = np.percentile(last[last > 0], 50) if (last > 0).any() else 1.0
    corrected = dict(enumerate(labels)) | dict(zip(rows, truth, strict=True))
    scores = {}
    for pair in set(zip([labels[r] for r in rows], truth, strict=True)):
        best = {}
        queue = [(0.0, 0, r) for r, t in zip(rows, truth, strict=True) if (labels[r], t) == pair]
        while queue:
            d, steps, i = heapq.heappop(queue)
            if any(d0 <= d and s0 <= steps for d0, s0 in best.get(i, [])):
                continue
            best.setdefault(i, []).append((d, steps))
            if steps < HOPS:
                for j, w in links[i]:
                    heapq.heappush(queue, (d + w, steps + 1, j))
        for i in range(n):
            if labels[i] == pair[0] and i not in rows:
                evidence = sum(corrected[j] == pair[1] for j in graph.indices[i].tolist()) / k
                distance = min((d for d, _ in best.get(i, [])), default=np.inf)
                terms = [evidence, np.exp(-distance / scale)]
                if suggested is not None:
                    terms.append((suggested[i] == pair[1]) * (1 - quality[i]))
                scores[i] = max(scores.get(i, 0), sum(terms) / len(terms))
    return scores


@settings(deadline=None, max_examples=examples(150))
@given(st.integers(3, 30), st.integers(0, 2**31), st.booleans(), st.booleans())
def test_as_the_definition_says(n, seed, whole, told):
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 4, (n, 2)) if whole else rng.normal(size=(n, 2))
    graph = dq.knn_graph(x.astype(float), int(rng.integers(1, n)))
    labels = rng.integers(-1, 3, n)
    rows = rng.permutation(np.flatnonzero(labels >= 0))[: int(rng.integers(0, 5))]
    truth = (labels[rows] + rng.integers(1, 3, len(rows))) % 3
    suggested, quality = (rng.integers(-1, 3, n), rng.random(n)) if told else (None, None)
    args = {"true_labels": truth, "suggested": suggested, "quality": quality}
    found = dq.find_similar(rows, labels, graph, n=n, **args)
    expected = plain_scores(
        rows.tolist(), labels.tolist(), graph, truth.tolist(), suggested, quality
    )
    assert set(found.rows.tolist()) == set(expected)
    assert found.score == pytest.approx([expected[r] for r in found.rows.tolist()], abs=1e-12)
    order = sorted(zip(-found.score, found.rows, strict=True))
    assert [row for _, row in order] == found.rows.tolist()
    fewer = dq.find_similar(rows, labels, graph, n=2, **args)
    assert np.array_equal(fewer.rows, found.rows[:2])
    same = reference.find_similar(rows, labels, graph, n=n, **args)
    assert same.score.tobytes() == found.score.tobytes()


# ---- planted mistakes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_it_finds_more_of_a_planted_mistake_than_the_audits_own_order(seed):
    """Five rows of the demo's confused annotator are confirmed; how many of the next 20 have the same mistake?"""
    planted = demo.plant(seed)
    clean = demo.Archive(demo.Path(demo.__file__).parent / "data" / "digits.npz").read("labels")
    found = dq.audit(planted.labels, features=planted.features, metric="cosine")
    mistake = (planted.labels == planted.given_class) & (clean == planted.true_class)
    rows = np.random.default_rng(seed).choice(np.flatnonzero(mistake), 5, replace=False)
    rest = [row for row in found.top(len(found))["row"] if row not in rows][:20]
    more = found.more_like(rows, 20, true_labels=planted.true_class)
    assert mistake[more.rows].mean() >= 0.8
    assert mistake[rest].mean() <= 0.3
    assert not np.isin(more.rows, rows).any()


# ---- from an audit ---------------------------------------------------------------------------------------


@pytest.fixture
def found(rng):
    true = rng.integers(0, 2, 200)
    labels = true.copy()
    labels[:20] = 1 - labels[:20]
    p = np.where(np.arange(2) == true[:, None], 0.9, 0.1)
    x = rng.normal(0, 0.3, (200, 2)) + 5 * true[:, None]
    return dq.audit(labels, features=x, pred_probs=p, class_names=["cat", "dog"])


def test_more_like_takes_the_suggested_labels(found):
    cats = [row for row in range(20) if found.issues["given"][row] == 0]
    more = found.more_like(cats[:2], 100)
    assert set(more.rows[: len(cats) - 2]) == set(cats[2:])
    assert set(more.true_labels) == {1}
    for truth in ([1, 1], ["dog", "dog"], "dog", 1):
        again = found.more_like(cats[:2], 100, true_labels=truth)
        assert again.score.tobytes() == more.score.tobytes()


def test_more_like_of_what_cannot_be_told(found):
    with pytest.raises(
        ValueError, match="true_labels must be given: of row 30 nothing but its own"
    ):
        found.more_like([0, 30])
    with pytest.raises(ValueError, match="needs an audit with features"):
        dq.audit([0, 1]).more_like([0])
    with pytest.raises(ValueError, match=r"rows must be .*200"):
        found.more_like([200])
    with pytest.raises(ValueError, match="one of class_names"):
        found.more_like([0], true_labels="horse")


# ---- bad input -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"rows": [9]}, ValueError, r"rows must be .*\[0, 8\], each once: row 0 is"),
        ({"rows": [-1]}, ValueError, "rows must be"),
        ({"rows": [2, 2]}, ValueError, "each once: row 1 is"),
        ({"rows": [0.5]}, ValueError, "rows must be"),
        ({"rows": [8]}, ValueError, "rows must be rows that have a label"),
        ({"labels": [0] * 8}, ValueError, "labels has 8 rows but graph has 9"),
        ({"true_labels": [0]}, ValueError, "true_labels has 1 rows but rows has 2"),
        ({"true_labels": [0, 1]}, ValueError, "true_labels must be other labels than the given"),
        ({"true_labels": 1}, ValueError, "true_labels must be other labels than the given"),
        ({"true_labels": [0, -1]}, ValueError, "true_labels must be"),
        ({"suggested": [0]}, ValueError, "suggested has 1 rows but labels has 9"),
        ({"suggested": [0.5] * 9}, ValueError, "suggested must be"),
        ({"quality": [0.5] * 9}, ValueError, "quality needs suggested"),
        (
            {"quality": [0.5] * 8 + [2], "suggested": [0] * 9},
            ValueError,
            "quality must be .*: row 8",
        ),
        ({"quality": ["a"] * 9, "suggested": [0] * 9}, TypeError, "quality must be"),
        ({"graph": None}, TypeError, "graph must be a KnnGraph"),
        ({"n": -1}, ValueError, "n must be at least 0"),
        ({"n": 1.5}, TypeError, "n must be a whole number"),
    ],
)
def test_bad_arguments_are_named(change, error, words):
    args = {
        "rows": [2, 5],
        "labels": [0, 0, 1, 0, 0, 1, 1, 1, -1],
        "graph": line_of(9),
        "true_labels": [0, 0],
    }
    with pytest.raises(error, match=words):
        dq.find_similar(**(args | change))
