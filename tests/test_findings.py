"""What an audit says beyond the rooms: confusions, balance, copies, leaks, verdicts, and the summary's lines."""

import dqcore as dq
import numpy as np
import pytest
from conftest import examples
from dqcore.audit import findings
from dqcore.audit.balance import class_balance
from dqcore.audit.copies import conflicting
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats


def line(found, issue):
    return next(row for row in found.summary if row.issue == issue)


# ---- verdicts ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high", "outcomes"),
    [
        (0, 0.04, ("below", "below")),
        (0.04, 0.06, ("not decided", "below")),
        (0.05, 0.06, ("not decided", "below")),  # the bound itself is not above it
        (0.051, 0.19, ("above", "below")),
        (0.1, 0.2, ("above", "not decided")),
        (0.01, 0.5, ("not decided", "not decided")),
        (0.3, 0.4, ("above", "above")),
    ],
)
def test_verdicts_admit_what_the_interval_leaves_open(low, high, outcomes):
    assert tuple(v.outcome for v in findings.verdicts(low, high)) == outcomes
    assert tuple(v.bound for v in findings.verdicts(low, high)) == (0.05, 0.20)


@pytest.mark.parametrize(("n", "outcome"), [(40, "not decided"), (2000, "below")])
def test_the_verdict_on_the_noise_needs_rows(n, outcome):
    labels = np.arange(n) % 2
    p = np.where(np.arange(2) == labels[:, None], 0.9, 0.1)
    p[::50] = p[::50, ::-1]
    found = dq.audit(labels, pred_probs=p)
    assert 0.01 < found.noise.rate < 0.04
    assert found.noise.verdicts[0].outcome == outcome
    assert outcome in line(found, "label").verdict


# ---- confusions ------------------------------------------------------------------------------------------


def audit_of_pairs(pairs, n_classes, each=1000):
    """An audit without noise but `rows` of class a labelled b for each (b, a, rows)."""
    true = np.repeat(np.arange(n_classes), each)
    labels = true.copy()
    for b, a, rows in pairs:
        free = np.flatnonzero((true == a) & (labels == a))[:rows]
        labels[free] = b
    p = np.where(np.arange(n_classes) == true[:, None], 0.98, 0.02 / (n_classes - 1))
    return dq.audit(labels, pred_probs=p)


def test_confusions_have_a_share_and_a_direction():
    # Skateboarders (1) labelled pedestrians (0); cars (2) and vans (3) mixed up both ways.
    found = audit_of_pairs([(0, 1, 200), (2, 3, 40), (3, 2, 50)], 4)
    first, second, third = found.confusions
    assert first[:3] == (0, 1, 200)
    assert second[:3] == (3, 2, 50)
    assert third[:3] == (2, 3, 40)
    assert first.share == 200 / 1200
    assert (first.reverse, second.reverse, third.reverse) == (0, 40, 50)
    low, high = stats.binomtest(200, 1200).proportion_ci(method="wilson")
    assert (first.low, first.high) == pytest.approx((low, high))
    p = [
        stats.binomtest(c.rows, c.rows + c.reverse, alternative="greater").pvalue
        for c in found.confusions
    ]
    assert [c.p_value for c in found.confusions] == pytest.approx(p, rel=1e-9)
    assert [c.q_value for c in found.confusions] == pytest.approx(stats.false_discovery_control(p))
    # Only one of them goes one way, and the summary tells it.
    assert [c.given for c in found.confusions if c.q_value <= 0.05] == [0]
    told = line(found, "confusion")
    assert told.rows == 200
    assert "0 that should be 1: 16.7 % of 0, 200 rows against 0" in told.verdict
    assert found.confusions == tuple(sorted(found.confusions, key=lambda c: (-c.rows, c.given)))


def test_confusions_that_go_both_ways_are_not_directed():
    found = audit_of_pairs([(0, 1, 60), (1, 0, 60)], 2)
    assert len(found.confusions) == 2
    assert line(found, "confusion").rows == 0
    assert audit_of_pairs([], 2).confusions == ()


# ---- balance -------------------------------------------------------------------------------------------


def test_balance_by_hand():
    even = class_balance(np.array([5, 5, 5, 5]))
    assert even[:2] == (1.0, 1.0)
    assert even.effective_classes == pytest.approx(4)
    assert (even.small, even.absent) == ((), ())
    uneven = class_balance(np.array([90, 0, 10, 2]))
    shares = np.array([90, 10, 2]) / 102
    assert uneven.imbalance_ratio == 45
    assert uneven.entropy == pytest.approx(-(shares * np.log(shares)).sum() / np.log(4))
    assert uneven.effective_classes == pytest.approx(np.exp(stats.entropy(shares)))
    assert uneven.small == (1, 3)
    assert uneven.absent == (1,)


@pytest.mark.parametrize(
    ("counts", "ratio", "entropy", "effective"),
    [
        ([7], 1, 1, 1),
        ([0, 7], 1, 0, 1),
        ([0, 0], np.nan, np.nan, np.nan),
        ([], np.nan, np.nan, np.nan),
    ],
)
def test_balance_of_one_class_or_none(counts, ratio, entropy, effective):
    found = class_balance(np.array(counts, np.int64))
    assert found[:3] == pytest.approx((ratio, entropy, effective), nan_ok=True)


def test_balance_in_the_summary():
    told = line(
        dq.audit([0] * 50 + [1] * 50 + [2], class_names=["a", "b", "c", "d"]), "class_imbalance"
    )
    assert told.rows == 1
    assert told.verdict.startswith(
        "1 of 4 classes below a tenth of an even share, 1 of 4 classes without rows, "
        "largest class 50.0 times the smallest"
    )


# ---- copies and leaks --------------------------------------------------------------------------------


@pytest.fixture
def copied(rng):
    """100 rows far apart; then copies of row 3 (three, one with another label) and of row 7, and a near copy of 9."""
    x = rng.normal(size=(100, 8)) * 10
    places = [3, 3, 3, 7, 9]
    features = np.vstack([x, x[places]])
    features[-1] += 1e-4
    labels = rng.integers(0, 3, 100)
    labels = np.concatenate([labels, labels[places]])
    labels[101] = (labels[3] + 1) % 3
    split = np.array(["train"] * 100 + ["train", "train", "train", "test", "test"])
    return labels, features, split


def test_copies_that_contradict_each_other(copied):
    labels, features, _ = copied
    found = dq.audit(labels, features=features)
    rows = found.issues
    assert np.flatnonzero(rows["is_conflicting_duplicate_issue"]).tolist() == [3, 100, 101, 102]
    assert np.flatnonzero(rows["duplicate_group"] >= 0).tolist() == [3, 7, 100, 101, 102, 103]
    assert np.flatnonzero(rows["is_near_duplicate_issue"]).tolist() == [
        3,
        7,
        9,
        100,
        101,
        102,
        103,
        104,
    ]
    assert found.conflicts == (1, 4, 1)
    assert [g.tolist() for g in found.near_duplicates.groups] == [
        [3, 100, 101, 102],
        [7, 103],
        [9, 104],
    ]
    told = line(found, "conflicting_duplicate")
    assert told.rows == 4
    assert told.verdict == "1 group of copies with more than one label: at least 1 label wrong"
    assert found.leaks is None
    assert "split_leak" not in [row.issue for row in found.summary]


def test_near_duplicates_across_the_split(copied):
    labels, features, split = copied
    found = dq.audit(labels, features=features, split=split)
    assert np.flatnonzero(found.issues["is_split_leak_issue"]).tolist() == [7, 9, 103, 104]
    assert found.split_names == ("test", "train")
    assert found.leaks == (2, 4, (2, 2), 1)
    told = line(found, "split_leak")
    assert (told.rows, told.share) == (4, 4 / 105)
    assert "2 rows of test, 2 rows of train" in told.verdict
    # A row of no part leaks nowhere.
    nowhere = dq.audit(labels, features=features, split=[*split[:103], None, split[104]])
    assert np.flatnonzero(nowhere.issues["is_split_leak_issue"]).tolist() == [9, 104]
    assert nowhere.issues["split"][103] == -1


def test_groups_in_the_text(copied):
    labels, features, split = copied
    text = str(dq.audit(labels, features=features, split=split, class_names=["a", "b", "c"]))
    pair = sorted("abc"[labels[row]] for row in (3, 101))
    assert "copies with different labels\n  rows              labels\n" in text
    assert f"  3, 100, 101, 102  {pair[0]}, {pair[1]}\n" in text
    assert "near-duplicates across the split\n  rows    parts\n" in text
    assert "  7, 103  test, train\n  9, 104  test, train\n" in text
    many = str(dq.audit([0, 1] * 6, features=np.ones((12, 2)), k=3))
    assert "  0, 1, 2, 3, 4 and 7 more  0, 1\n" in many + "\n"
    none = str(dq.audit(labels[:100], features=features[:100]))
    assert "different labels" not in none
    assert "across the split" not in none


def test_numbers_name_parts_too(copied):
    labels, features, split = copied
    found = dq.audit(labels, features=features, split=np.where(split == "test", 2, 0))
    assert found.split_names == ("0", "1", "2")
    assert found.leaks.parts == (2, 0, 2)


def test_split_without_evidence_is_refused():
    with pytest.raises(ValueError, match="split needs pred_probs or features"):
        dq.audit([0, 1], split=["a", "b"])


@settings(deadline=None, max_examples=examples(100))
@given(st.lists(st.tuples(st.integers(-1, 5), st.integers(-1, 3)), max_size=40))
def test_conflicting_is_more_than_one_label_in_a_group(rows):
    group = np.array([g for g, _ in rows], np.int64)
    labels = np.array([y for _, y in rows], np.int32)
    expected = [
        g >= 0 and y >= 0 and len({b for a, b in rows if a == g and b >= 0}) > 1 for g, y in rows
    ]
    assert conflicting(group, labels).tolist() == expected


# ---- outliers, and all of it on small data -----------------------------------------------------------


def test_outliers_of_an_audit_are_the_rooms(rng):
    x = rng.normal(size=(200, 3))
    x[5] = 40
    found = dq.audit(rng.integers(0, 2, 200), features=x)
    assert found.top(1, by="outlier")["row"].tolist() == [5]
    assert np.array_equal(found.issues["is_outlier_issue"], found.outliers.mask)
    assert np.array_equal(found.issues["outlier_score"], found.outliers.score)
    assert line(found, "outlier").rows == found.outliers.mask.sum()
    assert (
        found.top(3, by="near_duplicate")["row"].tolist()
        == sorted(
            np.flatnonzero(found.near_duplicates.mask), key=lambda r: found.near_duplicates.score[r]
        )[:3]
    )
    with pytest.raises(ValueError, match="needs an audit with features"):
        dq.audit([0, 1]).top(by="outlier")


@pytest.mark.parametrize(
    "args",
    [
        {"labels": []},
        {"labels": [0]},
        {"labels": [0], "pred_probs": [[1.0]]},
        {"labels": [], "pred_probs": np.zeros((0, 2)), "columns": {"a": []}, "split": []},
        {"labels": [0, 0], "features": [[1.0], [1.0]], "k": 1, "split": ["a", "b"]},
        {"labels": [0, 0, 0], "pred_probs": np.ones((3, 1)), "features": np.ones((3, 5)), "k": 2},
        {"labels": [0, 1], "features": [[0.0], [0.0]], "k": 1, "columns": {"c": [None, None]}},
        {"labels": ["a", "b"], "pred_probs": np.eye(2), "features": np.zeros((2, 9)), "k": 1},
    ],
)
def test_tiny_data_sets(args, tmp_path):
    found = dq.audit(**args)
    assert len(found) == len(args["labels"])
    assert str(found)
    found.save(tmp_path / "out")
    assert str(dq.Audit.load(tmp_path / "out")) == str(found)


@pytest.mark.parametrize("n", [0, 1, 5, 10])
def test_as_many_neighbours_as_rows_is_a_named_error(n):
    with pytest.raises(ValueError, match=rf"k must be at most .*\(n = {n}\), got 10"):
        dq.audit(np.zeros(n, int), features=np.zeros((n, 2)))


# ---- one warning -------------------------------------------------------------------------------------


def test_probabilities_that_do_not_sum_to_one_are_told_once(recwarn):
    dq.audit([0, 1, 0], pred_probs=[[0.9, 0.3], [0.2, 0.8], [0.6, 0.4]])
    (told,) = recwarn.list
    assert "1 row not summing to 1" in str(told.message)
    assert told.filename == __file__
