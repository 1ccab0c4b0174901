"""Metrics of groups against the reference, scikit-learn, worked examples from papers, and their own definitions."""

import itertools
import math
import warnings

import dqcore as dq
import numpy as np
import pytest
from dqcore import _cpu, reference

PREDICATES = {"a": 3, "b": 5}


def made(rng, n, n_classes=2, missing=0.1):
    """Return labels, predictions, probabilities and columns with gaps."""
    labels = rng.integers(0, n_classes, n)
    probs = rng.dirichlet(np.ones(n_classes), n)
    columns = {name: rng.integers(0, k, n) for name, k in PREDICATES.items()}
    for codes in columns.values():
        codes[rng.random(n) < missing] = -1
    return labels, rng.integers(0, n_classes, n), probs, columns


def same_bits(one, other):
    assert one.metrics == other.metrics
    assert one.predicates == other.predicates
    for name in ("size", "_hits", "_support", "_values", "_low", "_high"):
        assert getattr(one, name).tobytes() == getattr(other, name).tobytes(), name


# ---- counts ------------------------------------------------------------------------------------------


def equal_counts(ours, theirs):
    for name, a, b in zip(ours._fields, ours, theirs, strict=True):
        assert np.array_equal(a, b), name


@pytest.mark.parametrize("sizes", [(2, 3, 2), (300, 200, 40, 3), (60000, 60000, 7)])
@pytest.mark.parametrize("losses", [False, True])
def test_native_counts_are_the_references(rng, sizes, losses):
    """Tables shared among crossings, of their own, and of only the cells that occur."""
    n = 3000
    codes = [rng.integers(-1, k, n).astype(np.int32) for k in sizes]
    errors = rng.random(n) if losses else rng.integers(0, 2, n).astype(np.uint8)
    m = len(sizes)
    crossings = [list(c) for k in range(1, m) for c in itertools.combinations(range(m), k)][1:]
    asked = {"crossings": crossings, "error_exponent": 0}
    ours = _cpu.group_counts(errors, codes, sizes, threads=2, progress=None, **asked)
    equal_counts(
        reference.slices.SliceCounts(*ours), reference.group_counts(errors, codes, sizes, **asked)
    )


def test_crossings_that_no_table_could_hold_together(rng):
    codes = [rng.integers(0, 2, 50).astype(np.int32) for _ in range(9)]
    asked = {"crossings": [[0, 1, 2, 3], [4, 5, 6, 7, 8]], "error_exponent": 0}
    errors, sizes = np.zeros(50, np.uint8), [2**16] * 9
    ours = _cpu.group_counts(errors, codes, sizes, threads=1, progress=None, **asked)
    equal_counts(
        reference.slices.SliceCounts(*ours), reference.group_counts(errors, codes, sizes, **asked)
    )


def test_crossings_that_are_none_are_refused():
    codes = [np.zeros(3, np.int32)] * 2
    for crossing in ([], [1, 0], [0, 0], [0, 2], [-1]):
        with pytest.raises(ValueError, match="crossings must be of ascending columns"):
            _cpu.group_counts(
                np.zeros(3, np.uint8),
                codes,
                [1, 1],
                crossings=[crossing],
                error_exponent=0,
                threads=1,
                progress=None,
            )


@pytest.mark.usefixtures("native_isa")
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_native_confidences_are_the_references(rng, dtype):
    for n_classes in (1, 2, 7, 40):
        labels = rng.integers(0, n_classes, 700).astype(np.int32)
        probs = rng.dirichlet(np.ones(n_classes), 700).astype(dtype)
        probs[:50] = 1.0 / n_classes  # ties
        ours = _cpu.confidences(labels, probs, threads=3, progress=None)
        for a, b in zip(ours, reference.confidences(labels, probs), strict=True):
            assert a.dtype == b.dtype
            assert a.tobytes() == b.tobytes()


@pytest.mark.threads
def test_no_thread_count_changes_a_bit(rng):
    labels, predictions, probs, columns = made(rng, 70_000)
    results = [
        dq.group_metrics(
            labels, predictions, columns, pred_probs=probs, max_level=2, threads=threads
        )
        for threads in (1, 2, 3, 8)
    ]
    for other in results[1:]:
        same_bits(results[0], other)


@pytest.mark.parametrize("n", [0, 1, 400])
@pytest.mark.parametrize("n_classes", [2, 4])
def test_backends_agree(rng, n, n_classes):
    labels, predictions, probs, columns = made(rng, n, n_classes)
    for level, positive in ((1, None), (2, n_classes - 1)):
        options = {"pred_probs": probs, "max_level": level, "positive": positive}
        ours, theirs = (
            dq.group_metrics(labels, predictions, columns, backend=backend, **options)
            for backend in ("cpu", "reference")
        )
        same_bits(ours, theirs)


# ---- rates -------------------------------------------------------------------------------------------


def test_rates_are_those_of_scikit_learn(rng):
    sklearn = pytest.importorskip("sklearn.metrics")
    labels, predictions, _, columns = made(rng, 900)
    found = dq.group_metrics(labels, predictions, columns, max_level=2)
    where = [np.ones(900, bool)] + [
        np.logical_and.reduce([columns[name] == value for name, value in predicate])
        for predicate in found.predicates
    ]
    assert len(where) == 1 + 3 + 5 + 15
    for i, rows in enumerate(where):
        y, p = labels[rows], predictions[rows]
        tn, fp, fn, tp = sklearn.confusion_matrix(y, p, labels=[0, 1]).ravel()
        expected = {
            "error": sklearn.zero_one_loss(y, p),
            "accuracy": sklearn.accuracy_score(y, p),
            "precision": sklearn.precision_score(y, p),
            "recall": sklearn.recall_score(y, p),
            "false_positive_rate": fp / (fp + tn),
            "false_negative_rate": fn / (fn + tp),
            "selection_rate": p.mean(),
        }
        ours = found.overall if i == 0 else {m: v[i - 1] for m, v in found.by_group.items()}
        assert ours == pytest.approx(expected, rel=1e-13)


def test_a_class_of_many_against_the_rest(rng):
    labels, predictions, _, columns = made(rng, 500, 5)
    of_many = dq.group_metrics(labels, predictions, columns, positive=3)
    binary = dq.group_metrics((labels == 3).astype(int), (predictions == 3).astype(int), columns)
    for name in binary.metrics[2:]:
        assert np.array_equal(of_many.by_group[name], binary.by_group[name]), name
    assert dq.group_metrics(labels, predictions, columns).metrics == ("error", "accuracy")


def test_a_rate_of_no_rows_is_not_known_and_left_out_of_comparisons():
    found = dq.group_metrics([1, 1, 0, 0], [1, 0, 0, 0], {"g": ["x", "x", "y", "y"]})
    recall = found.metrics.index("recall")
    assert found.predicates == ((("g", "x"),), (("g", "y"),))
    assert found.by_group["recall"][0] == 0.5
    assert np.isnan(found.by_group["recall"][1])
    assert (found.low["recall"][1], found.high["recall"][1]) == (0.0, 1.0)
    assert found.support["recall"].tolist() == [2, 0]
    assert found.difference()["recall"] == 0.0
    assert found.ratio()["recall"] == 1.0
    assert "recall" not in {gap.metric for gap in found.gaps()}
    assert not np.isnan(found._low).any()
    assert not np.isnan(found._high[recall]).any()


def test_strings_are_numbered_together():
    found = dq.group_metrics(["no", "yes", "no"], ["yes", "yes", "no"], {"g": [0, 0, 0]})
    assert found.positive == "yes"
    assert found.overall["precision"] == 0.5
    apart = dq.group_metrics(["a", "b"], ["c", "b"], {"g": [0, 0]}, positive="c")
    assert (apart.overall["precision"], apart.overall["selection_rate"]) == (0.0, 0.5)
    with pytest.raises(TypeError, match=r"predictions must be strings as labels are"):
        dq.group_metrics(["a", "b"], [0, 1], {"g": [0, 0]})
    with pytest.raises(ValueError, match=r"positive must be one of \['a', 'b', 'c'\], got 'd'"):
        dq.group_metrics(["a", "b"], ["c", "b"], {"g": [0, 0]}, positive="d")


def test_missing_may_be_a_group_of_its_own(rng):
    labels, predictions, _, columns = made(rng, 400)
    found = dq.group_metrics(labels, predictions, columns, missing="category")
    absent = columns["a"] == -1
    at = found.predicates.index((("a", None),))
    assert found.by_group["error"][at] == np.mean(labels[absent] != predictions[absent])
    assert len(found) == 2 + len(dq.group_metrics(labels, predictions, columns))


def test_min_support_leaves_groups_out_but_no_row_of_the_whole(rng):
    labels, predictions, _, columns = made(rng, 400)
    every = dq.group_metrics(labels, predictions, columns, max_level=2)
    large = dq.group_metrics(labels, predictions, columns, max_level=2, min_support=30)
    kept = every.size >= 30
    assert 0 < len(large) < len(every)
    assert large.predicates == tuple(itertools.compress(every.predicates, kept))
    assert np.array_equal(large._values[:, 1:], every._values[:, 1:][:, kept], equal_nan=True)
    assert large.overall == every.overall


# ---- comparisons -------------------------------------------------------------------------------------


def of_shares(*shares):
    """Return metrics of one column whose group g errs in shares[g] = (errors, rows)."""
    labels = np.concatenate([np.r_[np.ones(e), np.zeros(n - e)] for e, n in shares]).astype(int)
    group = np.repeat(np.arange(len(shares)), [n for _, n in shares])
    return dq.group_metrics(labels, np.zeros_like(labels), {"g": group})


def test_differences_and_ratios():
    found = of_shares((10, 100), (30, 100), (20, 200))
    assert found.difference()["error"] == pytest.approx(0.2)
    assert found.difference("g", method="to_overall")["error"] == pytest.approx(0.15)
    assert found.ratio()["error"] == pytest.approx(1 / 3)
    assert found.ratio(["g"], method="to_overall")["error"] == pytest.approx(0.5)
    assert np.isnan(found.ratio()["selection_rate"])  # nothing selected anywhere


def test_a_gap_has_the_interval_of_newcombes_example():
    """Newcombe (1998), table II, (a): 56/70 less 48/80 by method 10."""
    (gap,) = (g for g in of_shares((48, 80), (56, 70)).gaps() if g.metric == "error")
    assert (gap.lowest, gap.highest) == ((("g", 0),), (("g", 1),))
    assert (gap.difference, gap.low, gap.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)


def test_a_gap_of_many_groups_is_told_at_a_shared_confidence(rng):
    """Of twelve equal groups the farthest two seem to differ; one in twenty at most may be told so."""
    told = 0
    for _ in range(60):
        shares = [(int(rng.binomial(300, 0.3)), 300) for _ in range(12)]
        (gap,) = (g for g in of_shares(*shares).gaps() if g.metric == "error")
        told += gap.low > 0.0
    assert told <= 8  # P(more) < 0.01 at 5 %


def test_a_tiny_group_at_the_end_does_not_hide_a_gap_that_is_sure():
    (gap,) = (g for g in of_shares((800, 2000), (400, 2000), (2, 3)).gaps() if g.metric == "error")
    (pair,) = (g for g in of_shares((800, 2000), (400, 2000)).gaps() if g.metric == "error")
    assert gap.highest == (("g", 2),)
    assert gap.difference == pytest.approx(2 / 3 - 0.2)
    assert 0.9 * pair.low < gap.low < pair.low  # at a confidence shared by three pairs
    assert gap.high > gap.difference
    many = of_shares((800, 2000), *[(400, 2000)] * 600)
    (wide,) = (g for g in many.gaps() if g.metric == "error")
    assert 0.1 < wide.low < wide.difference < wide.high


def test_parity_has_fairlearns_meaning(rng):
    labels, predictions, _, columns = made(rng, 800, missing=0.0)
    found = dq.group_metrics(labels, predictions, columns)
    rates = {}
    for name, where in (("tpr", labels == 1), ("fpr", labels == 0), ("selected", labels >= 0)):
        rates[name] = [predictions[where & (columns["b"] == g)].mean() for g in range(5)]
    apart = {name: max(r) - min(r) for name, r in rates.items()}
    ratio = {name: min(r) / max(r) for name, r in rates.items()}
    assert found.parity("b") == pytest.approx(
        {
            "demographic_parity_difference": apart["selected"],
            "demographic_parity_ratio": ratio["selected"],
            "equal_opportunity_difference": apart["tpr"],
            "equal_opportunity_ratio": ratio["tpr"],
            "equalized_odds_difference": max(apart["tpr"], apart["fpr"]),
            "equalized_odds_ratio": min(ratio["tpr"], ratio["fpr"]),
        }
    )
    with pytest.raises(ValueError, match=r"names must be given, one of \['a', 'b'\]"):
        found.parity()
    with pytest.raises(ValueError, match=r"names must be one of \['a', 'b'\], got 'c'"):
        found.difference("c")
    with pytest.raises(ValueError, match="parity needs a positive class"):
        dq.group_metrics(labels + 1, predictions, columns).parity("a")


# ---- calibration -------------------------------------------------------------------------------------


def test_calibration_is_that_of_its_definition(rng):
    labels, _, probs, columns = made(rng, 300, 3)
    found = dq.group_metrics(labels, None, columns, pred_probs=probs, n_bins=7)
    for i, (((name, value),)) in enumerate(found.predicates):
        rows = np.flatnonzero(columns[name] == value)
        bins = {}
        for row in rows:
            sure = probs[row].max()
            at = next(b for b in range(7) if sure <= (b + 1) / 7 or b == 6)
            bins.setdefault(at, []).append((sure, probs[row].argmax() == labels[row]))
        off = [abs(math.fsum(s for s, _ in b) - sum(r for _, r in b)) for b in bins.values()]
        assert found.by_group["ece"][i] == pytest.approx(math.fsum(off) / len(rows), abs=1e-12)
        brier = np.mean(((probs[rows] - np.eye(3)[labels[rows]]) ** 2).sum(axis=1))
        assert found.by_group["brier"][i] == pytest.approx(brier, abs=1e-12)
        assert found.by_group["error"][i] == np.mean(probs[rows].argmax(axis=1) != labels[rows])
    assert (found.low["ece"] <= found.by_group["ece"]).all()
    assert (found.by_group["ece"] <= found.high["ece"]).all()


def test_the_interval_of_the_calibration_error_holds_the_truth(rng):
    """Where probabilities are right the error is 0; where they are too sure by 0.1 it is 0.1."""
    outside = {0.0: 0, 0.1: 0}
    for _, shift in itertools.product(range(60), outside):
        sure = rng.uniform(0.65, 0.95, 400)
        labels = (rng.random(400) < sure - shift).astype(int)
        found = dq.group_metrics(
            labels, None, {"g": np.zeros(400, int)}, pred_probs=np.stack([1 - sure, sure], axis=1)
        )
        outside[shift] += not found.low["ece"][0] <= shift <= found.high["ece"][0]
    assert outside[0.0] <= 8
    assert outside[0.1] <= 8


def test_probabilities_that_are_none_are_named(rng):
    labels, predictions, probs, columns = made(rng, 300, 3)
    probs[7, 2] = np.nan
    for backend in ("cpu", "reference"):
        with pytest.raises(ValueError, match=r"pred_probs .*row 7, column 2 is nan"):
            dq.group_metrics(labels, predictions, columns, pred_probs=probs, backend=backend)


# ---- how it is shown ---------------------------------------------------------------------------------


def test_what_is_shown(rng):
    labels, predictions, probs, columns = made(rng, 200)
    found = dq.group_metrics(labels, predictions, columns, pred_probs=probs, max_level=2)
    assert repr(found).startswith("GroupMetrics of 23 groups, 200 rows\nslice")
    assert repr(found).endswith("... 13 more")
    assert "<table>" in found._repr_html_()
    pandas = pytest.importorskip("pandas")
    frame = found.to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert frame["slice"][3] == "b=0"
    assert np.array_equal(frame["recall_low"], found.low["recall"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        empty = dq.group_metrics([], [], {"g": []})
    assert len(empty) == 0
    assert empty.gaps() == ()
    assert np.isnan(empty.overall["error"])
