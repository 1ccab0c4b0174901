"""Consistent noise: what comes out on top, what does not, and each test against its law."""

import dqcore as dq
import numpy as np
import pytest
from dqcore import _stats
from dqcore.reference import consistent as definition
from joint_cases import same, smooth
from scipy import stats

NAMES = ("pedestrian", "skateboarder", "cyclist", "car", "truck", "bus")

# Symmetric confusion of like things, in classes of very different sizes; and of 160 skateboarders, 70 labelled as
# pedestrians. [given, true]
STREET = np.array(
    [
        [4000, 70, 30, 2, 0, 1],
        [5, 90, 3, 0, 0, 0],
        [26, 4, 900, 1, 0, 0],
        [1, 0, 2, 6000, 55, 12],
        [0, 0, 0, 48, 700, 20],
        [0, 0, 0, 9, 24, 300],
    ]
)


def test_skateboarders_that_are_labelled_as_pedestrians_are_the_only_significant_pair():
    found = dq.ConsistentNoise.from_counts(STREET, class_names=NAMES)
    assert found.n_significant == 1
    top = found.pairs[0]
    assert (NAMES[top["given"]], NAMES[top["true"]]) == ("pedestrian", "skateboarder")
    assert (top["rows"], top["reverse"]) == (70, 5)
    assert top["significant"]
    assert top["share"] == 70 / STREET[0].sum()
    assert top["low"] < top["share"] < top["high"]
    assert top["bowker"] == 65**2 / 75
    assert top["share_of_errors"] == 70 / 103
    assert "1 of 17 pairs significant" in repr(found)
    assert "skateboarder" in found._repr_html_()
    frame = found.to_pandas()
    assert frame["true"][0] == "skateboarder"
    assert len(frame) == np.count_nonzero(STREET) - 6


def test_without_the_instruction_nothing_is_significant():
    ordinary = STREET.copy()
    ordinary[0, 1] = 5
    assert dq.ConsistentNoise.from_counts(ordinary).n_significant == 0
    million = (
        np.maximum(ordinary, 1) * 1000
    )  # nor does any size of the data make confusion consistent
    assert dq.ConsistentNoise.from_counts(million).n_significant == 0
    assert dq.ConsistentNoise.from_counts(million, ratio=1.0).n_significant > 0


def test_random_flips_in_classes_of_any_size_are_not_consistent(rng):
    sizes = np.array([20_000, 4000, 1000, 300])
    for _ in range(10):
        counts = np.array(
            [[rng.poisson(0.03 * n) for n in sizes] for _ in sizes]
        )  # a share of each true class
        np.fill_diagonal(counts, sizes)
        assert dq.ConsistentNoise.from_counts(counts).n_significant == 0


def test_the_p_value_is_the_exact_binomial_of_the_two_directions():
    found = dq.ConsistentNoise.from_counts([[50, 9, 1], [2, 50, 0], [0, 4, 50]], ratio=1.0)
    of_class = np.array([52, 63, 51])
    for pair in found.pairs:
        weight = max(of_class[pair["true"]] / of_class[pair["given"]], 1.0)
        both = pair["rows"] + pair["reverse"]
        expected = stats.binom.sf(pair["rows"] - 1, both, weight / (1 + weight))
        assert pair["p_value"] == pytest.approx(expected, rel=1e-12)
        low, high = _stats.wilson_interval(pair["rows"], [60, 52, 54][pair["given"]], 0.95)
        assert (pair["low"], pair["high"]) == (low, high)
    p = {(x["given"], x["true"]): x["p_value"] for x in found.pairs}
    q = stats.false_discovery_control([p[0, 1], p[0, 2], p[1, 0], p[2, 1], 1.0, 1.0])
    for key, value in zip([(0, 1), (0, 2), (1, 0), (2, 1)], q, strict=False):
        at = (found.pairs["given"] == key[0]) & (found.pairs["true"] == key[1])
        assert found.pairs["q_value"][at] == pytest.approx(value, rel=1e-12)


def test_concentration_is_1_for_one_true_class_and_0_for_an_even_spread():
    found = dq.ConsistentNoise.from_counts([[9, 4, 4, 4], [7, 9, 0, 0], [0, 0, 9, 0], [1, 2, 0, 9]])
    by_class = dict(zip(found.pairs["given"], found.pairs["concentration"], strict=True))
    assert by_class[0] == pytest.approx(0.0, abs=1e-12)
    assert by_class[1] == 1.0
    assert by_class[3] == pytest.approx(1 - stats.entropy([1, 2]) / np.log(3))
    assert np.all(dq.ConsistentNoise.from_counts([[5, 1], [2, 5]]).pairs["concentration"] == 1.0)
    assert len(dq.ConsistentNoise.from_counts([[3]])) == 0


def test_moments_of_joins_are_those_of_permutations(rng):
    n, k = 60, 4
    _, p = smooth(rng, n, 2)
    labels = rng.integers(0, 2, n)
    graph = dq.knn_graph(rng.normal(size=(n, 2)).astype(np.float32), k)
    found = dq.consistent_noise(labels, p, graph=graph)
    guesses = dq.confident_classes(labels, p)
    assert len(found) == 2
    for pair in found.pairs:
        given = pair["given"]
        inside = np.flatnonzero(labels == given)
        m = int(pair["rows"])
        assert m == np.count_nonzero((labels == given) & (guesses == pair["true"]))
        drawn = []
        for _ in range(4000):
            mark = np.zeros(n, bool)
            mark[rng.choice(inside, m, replace=False)] = True
            drawn.append(np.count_nonzero(mark[:, None] & mark[graph.indices]))
        mark = (labels == given) & (guesses == pair["true"])
        assert pair["joins"] == np.count_nonzero(mark[:, None] & mark[graph.indices])
        z = (pair["joins"] - np.mean(drawn)) / np.std(drawn)
        assert pair["joins_z"] == pytest.approx(z, abs=0.1)
        assert pair["joins_p_value"] == pytest.approx(stats.norm.sf(pair["joins_z"]), rel=1e-9)


def planted(rng, n=1500):
    """Rows of class 0 that belong to class 1, where they lie together and come from source "b"."""
    true = rng.integers(0, 3, n)
    features = rng.normal(size=(n, 2)).astype(np.float32) + 6 * true[:, None]
    labels = np.where((true == 1) & (features[:, 0] > 6.5), 0, true)
    labels = np.where(rng.random(n) < 0.03, rng.integers(0, 3, n), labels)
    p = 0.8 * np.eye(3)[true] + 0.2 * rng.dirichlet(np.ones(3), n)
    source = np.where((labels == 0) & (true == 1) | (rng.random(n) < 0.2), "b", "a")
    return labels, p, features, source


def test_rows_that_lie_together_and_come_from_one_source_are_told(rng):
    labels, p, features, source = planted(rng)
    graph = dq.knn_graph(features, 5)
    found = dq.consistent_noise(labels, p, graph=graph, sources=source)
    top = found.pairs[0]
    assert (top["given"], top["true"], found.n_significant) == (0, 1, 1)
    assert top["joins_q_value"] < 1e-6
    assert top["source_q_value"] < 1e-6
    assert (found.pairs["source_q_value"][1:] > 1e-3).all()
    guesses = dq.confident_classes(labels, p)
    rows = (labels == 0) & (guesses >= 0)
    table = [
        [np.count_nonzero(rows & (source == s) & ((guesses == 1) == hit)) for s in "ab"]
        for hit in (True, False)
    ]
    chi2, p_value, df, _ = stats.chi2_contingency(table, correction=False)
    assert (top["source_chi2"], top["source_df"]) == (pytest.approx(chi2, rel=1e-9), df)
    assert top["source_p_value"] == pytest.approx(p_value, rel=1e-8)
    twin = dq.consistent_noise(labels, p, graph=graph, sources=source, backend="reference")
    assert found.pairs.tobytes() == twin.pairs.tobytes()
    alone = dq.consistent_noise(labels, p)
    assert np.isnan(alone.pairs["joins_z"]).all()
    assert np.isnan(alone.pairs["source_p_value"]).all()
    for field in ("given", "true", "rows", "low", "q_value", "bowker", "concentration"):
        same(found.pairs[field], alone.pairs[field])


def test_unknown_sources_are_left_out(rng):
    labels, p, _, source = planted(rng)
    codes = np.where(source == "b", 70, 5)
    half = np.arange(len(labels)) % 2 == 0
    guesses = dq.confident_classes(labels, p).astype(np.int32)
    pair = definition.pair_of(labels, guesses, 3)
    found = dq.consistent_noise(labels, p, sources=np.where(half, codes, -1)).pairs[0]
    rows = half & (labels == 0) & (guesses >= 0)
    table = [
        [np.count_nonzero(rows & (codes == s) & ((pair == 1) == hit)) for s in (5, 70)]
        for hit in (True, False)
    ]
    assert found["source_chi2"] == pytest.approx(
        stats.chi2_contingency(table, correction=False)[0], rel=1e-9
    )
    nowhere = dq.consistent_noise(labels, p, sources=np.full(len(labels), -1)).pairs
    assert (nowhere["source_p_value"] == 1.0).all()
    assert (nowhere["source_df"] == 0).all()


@pytest.mark.parametrize("df", [1, 2, 3, 10, 1000, 100_000])
def test_chi_square_tail(df):
    x = df * np.array([0.0, 1e-6, 0.1, 0.5, 0.9, 1.0, 1.1, 1.5, 2.0])
    np.testing.assert_allclose(
        _stats.chi_square_tail(x, df), stats.chi2.sf(x, df), rtol=1e-10, atol=1e-300
    )


def test_what_does_not_fit_is_named(rng):
    labels, p = smooth(rng, 40, 3)
    graph = dq.knn_graph(rng.normal(size=(39, 2)).astype(np.float32), 3)
    with pytest.raises(ValueError, match=r"graph has 39 rows but labels has 40"):
        dq.consistent_noise(labels, p, graph=graph)
    with pytest.raises(ValueError, match=r"sources has 2 rows but labels has 40"):
        dq.consistent_noise(labels, p, sources=[0, 1])
    with pytest.raises(ValueError, match="ratio must be in"):
        dq.consistent_noise(labels, p, ratio=0.5)
    with pytest.raises(ValueError, match=r"counts must be .*: row 0, column 1 is .*-1"):
        dq.ConsistentNoise.from_counts([[1, -1], [0, 1]])
    weighted = dq.confident_joint(labels, p, weights=np.ones(40))
    with pytest.raises(ValueError, match="counts must be without weights"):
        dq.ConsistentNoise.from_counts(weighted)
    joint = dq.confident_joint(labels, p)
    counted = dq.ConsistentNoise.from_counts(joint)
    assert counted.pairs.tobytes() == dq.consistent_noise(labels, p).pairs.tobytes()
