"""Scores, verdicts, plans and estimates against the figures of their sources, SciPy, and plain enumeration."""

import itertools
import math
import re
from pathlib import Path

import dqcore as dq
import numpy as np
import pytest
from dqcore import _proportions, _stats

stats = pytest.importorskip("scipy.stats")

BATCH = [0.90, 1.00, 0.99, 0.98]


def test_the_examples_of_the_guide_run():
    text = (Path(__file__).parents[1] / "docs" / "quality.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    names = {}
    for block in blocks:
        exec(compile(block, "quality.md", "exec"), names)  # noqa: S102
    assert {"found", "plan", "test"} <= set(names)


# ---- batches -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("interval", ["bounded", "t"])
def test_a_batch_that_passes_by_its_mean_is_not_decided_by_four_tasks(interval):
    at = {sla: dq.batch_verdict(BATCH, sla, interval=interval) for sla in (0.95, 0.99)}
    assert at[0.95].score == pytest.approx(0.9675, abs=1e-15)
    assert (at[0.95].passes, at[0.99].passes) == (True, False)
    assert (at[0.95].verdict, at[0.99].verdict) == ("undecided", "undecided")


def test_scores_of_tasks_weigh_errors_by_severity():
    scores = dq.task_scores(
        [10, 10, 20, 10, 0, 2], {"critical": [1, 0, 0, 0, 0, 3], "minor": [0, 0, 1, 1, 0, 0]}
    )
    assert scores[:4] == pytest.approx(BATCH, abs=1e-15)
    assert np.isnan(scores[4])
    assert scores[5] == 0.0  # not below
    found = dq.batch_verdict(scores[:5], 0.95)
    assert (found.n_tasks, found.n_skipped) == (4, 1)
    assert found == dq.batch_verdict(BATCH, 0.95)._replace(n_skipped=1)
    own = dq.task_scores([4], {"wrong class": [1]}, weights={"wrong class": 0.5})
    assert own.tolist() == [0.875]
    with pytest.raises(ValueError, match=r"errors\['minor'\] must be 0 in a task without items"):
        dq.task_scores([1, 0], {"minor": [0, 1]})


def test_all_items_together_are_the_mean_by_weight():
    found = dq.batch_verdict([0.5, 1.0], 0.9, weights=[1, 9])
    assert found.score == pytest.approx(0.95)
    assert (found.passes, found.verdict) == (True, "undecided")
    weights = np.arange(1, 61)
    half = math.sqrt(math.log(40) / 2 * ((weights / weights.sum()) ** 2).sum())  # Hoeffding's
    found = dq.batch_verdict(np.full(60, 0.5), 0.9, weights=weights)
    assert (found.low, found.high) == pytest.approx((0.5 - half, 0.5 + half), rel=1e-12)
    alike = dq.batch_verdict(BATCH * 40, 0.95, weights=np.full(160, 3.0))
    assert alike == dq.batch_verdict(BATCH * 40, 0.95)


def test_verdicts_have_three_outcomes_and_say_what_would_decide():
    perfect = dq.batch_verdict(np.ones(73), 0.95)
    assert (perfect.verdict, perfect.low) == ("pass", pytest.approx(0.025 ** (1 / 73)))
    assert dq.batch_verdict(np.ones(71), 0.95).verdict == "undecided"
    assert dq.batch_verdict(np.ones(71), 0.95).n_needed in range(72, 74)
    assert dq.batch_verdict(np.zeros(20), 0.95).verdict == "fail"
    assert dq.batch_verdict([1.0, 1.0], 0.99, interval="t").verdict == "undecided"  # no spread
    assert dq.batch_verdict([0.9] * 9, 0.9).n_needed is None
    assert dq.batch_verdict([0.9] * 9, 0.9).passes
    nothing = dq.batch_verdict([math.nan], 0.9)
    assert (nothing.verdict, nothing.n_tasks, nothing.n_skipped) == ("undecided", 0, 1)
    needed = dq.batch_verdict(BATCH * 3, 0.95).n_needed
    enough, short = (
        dq.batch_verdict(BATCH * (n // 4), 0.95) for n in (needed + 4, round(0.9 * needed))
    )
    assert (enough.verdict, short.verdict) == ("pass", "undecided")


@pytest.mark.parametrize("weighted", [False, True])
def test_the_interval_of_a_batch_holds_its_mean(rng, weighted):
    """Scores that are mostly 1 mislead Student's t; the bounds hold at every size."""
    outside = 0
    for _ in range(80):
        scores = np.where(rng.random(40) < 0.05, rng.random(40), 1.0)
        weights = rng.integers(1, 30, 40) if weighted else None
        found = dq.batch_verdict(scores, 0.9, weights=weights)
        outside += not found.low <= 0.975 <= found.high
    assert outside <= 5


# ---- slices ------------------------------------------------------------------------------------------


def test_a_whole_that_passes_hides_a_slice_that_fails():
    """Half of the motorcycles are wrong, 1 % of the rows: 0.5 % of all."""
    kind = np.full(100_000, "car", object)
    kind[:1_000] = "motorcycle"
    wrong = np.zeros(100_000, int)
    wrong[:500] = 1
    table = dq.slice_errors(wrong, {"kind": kind, "side": np.arange(100_000) % 2})
    assert table.overall_error_rate == 0.005
    top = table[0]
    assert top.predicate == (("kind", "motorcycle"),)
    assert (top.error_rate, top.lift) == (0.5, 100.0)
    found = dq.slice_verdict(table, 0.95)
    assert (found.whole, found.verdict, found.passes) == ("pass", "fail", False)
    assert found.failing.predicates == (top.predicate,)
    assert found.worst == top
    assert found.verdicts.tolist() == ["fail", "pass", "pass", "pass"]
    assert repr(found) == (
        "SliceVerdict at 0.95: whole set pass, worst slice fail (1 fail, 0 undecided, 3 pass)"
    )


def test_a_slice_is_told_at_a_confidence_shared_by_all(rng):
    """Of a thousand slices of right accuracy hardly one may fail; each by itself, some do."""
    group = np.repeat(np.arange(1000), 200)
    table = dq.slice_errors((rng.random(200_000) < 0.05).astype(int), {"g": group})
    together = dq.slice_verdict(table, 0.95)
    alone = dq.slice_verdict(table, 0.95, correction="none")
    assert np.count_nonzero(together.verdicts != "undecided") <= 1
    assert np.count_nonzero(alone.verdicts != "undecided") >= 5
    assert (together.low < alone.low).all()
    losses = dq.slice_errors([0.0, 1.0, 0.5, 0.5] * 2 + [1.0, 1.0], {"g": np.zeros(10, int)})
    found = dq.slice_verdict(losses, 0.95)
    low, high = _proportions.chernoff_interval(0.6, 10, 0.95)
    assert (found.low[0], found.high[0]) == (1 - high, 1 - low)
    with pytest.raises(ValueError, match=r"table must be of errors, or of losses in \[0, 1\]"):
        dq.slice_verdict(dq.slice_errors([0.0, 2.0], {"g": [0, 0]}), 0.95)
    empty = dq.slice_verdict(dq.slice_errors([], {"g": []}), 0.95)
    assert (empty.verdict, empty.whole, empty.worst) == ("undecided", "undecided", None)


# ---- plans -------------------------------------------------------------------------------------------


def test_plans_that_accept_no_error():
    sizes = {p: dq.sampling_plan(p).n for p in (0.05, 0.01, 0.20)}
    assert sizes == {0.05: 59, 0.01: 299, 0.20: 14}
    for p, n in sizes.items():
        assert (1 - p) ** n <= 0.05 < (1 - p) ** (n - 1)
    tiny = dq.sampling_plan(1e-6, beta=0.01)
    assert tiny.n == math.ceil(math.log(0.01) / math.log1p(-1e-6))
    assert (tiny.decide(0), tiny.decide(1)) == ("accept", "reject")


@pytest.mark.parametrize("lot", [None, 60, 400])
@pytest.mark.parametrize(("good", "bad"), [(0.02, 0.1), (0.05, 0.3), (0.1, 0.2)])
def test_plans_are_the_smallest(lot, good, bad):
    alpha, beta = 0.1, 0.05
    wrong = {
        p: (math.ceil if p == bad else math.floor)(round(p * (lot or 1), 9)) for p in (good, bad)
    }

    def accepted(c, n, p):
        return stats.binom.cdf(c, n, p) if lot is None else stats.hypergeom.cdf(c, lot, wrong[p], n)

    plan = dq.sampling_plan(bad, p_good=good, alpha=alpha, beta=beta, lot_size=lot)
    n, c = plan.n, plan.max_errors
    assert plan.beta == pytest.approx(accepted(c, n, bad), rel=1e-10)
    assert plan.alpha == pytest.approx(1 - accepted(c, n, good), abs=1e-12)
    assert plan.beta <= beta
    assert plan.alpha <= alpha
    for fewer in range(1, n):
        each = np.arange(fewer)
        works = (accepted(each, fewer, bad) <= beta) & (accepted(each, fewer, good) >= 1 - alpha)
        assert not works.any(), fewer
    share = wrong[good] / lot if lot else good
    assert plan.acceptance(share) == pytest.approx(accepted(c, n, good), rel=1e-10)


def test_plans_that_cannot_be():
    with pytest.raises(ValueError, match="p_good must be farther from p_bad"):
        dq.sampling_plan(0.5, p_good=0.4999)
    with pytest.raises(ValueError, match="p_good must be below p_bad"):
        dq.sampling_plan(0.05, p_good=0.05)
    with pytest.raises(ValueError, match="lot_size must be larger"):
        dq.sampling_plan(0.3, p_good=0.3 - 1e-15, lot_size=10)


def test_a_sequential_test_keeps_its_risks(rng):
    plan = dq.sequential_plan(0.02, 0.10, alpha=0.05, beta=0.10)
    assert plan.log_ratio(2, 10) == pytest.approx(2 * math.log(5) + 8 * math.log(0.9 / 0.98))
    table = {}
    wrong = {}
    for rate in (0.02, 0.10):
        ends = []
        for _ in range(200):
            errors = 0
            for n in itertools.count(1):
                errors += int(rng.random() < rate)
                key = errors, n
                if key not in table:
                    table[key] = plan.decide(errors, n)
                if table[key] != "continue":
                    break
            ends.append(table[key])
        wrong[rate] = ends.count("reject" if rate == 0.02 else "accept")
    assert wrong[0.02] <= 20
    assert wrong[0.10] <= 33
    with pytest.raises(ValueError, match="alpha and beta must be below 1 together"):
        dq.sequential_plan(0.1, 0.2, alpha=0.5, beta=0.5)


# ---- strata ------------------------------------------------------------------------------------------


def test_allocations_vary_least(rng):
    for _ in range(40):
        sizes = rng.integers(0, 9, 3)
        rates = rng.choice([0.0, 0.05, 0.3, 0.5, 1.0], 3)
        least = np.minimum(sizes, 2)
        weight = sizes**2 * rates * (1 - rates)
        n = int(rng.integers(least.sum(), sizes.sum() + 1))
        found = dq.neyman_allocation(n, sizes, rates)
        assert found.sum() == n
        assert ((found >= least) & (found <= sizes)).all()
        if not weight.any():
            continue

        def variance(rows, weight=weight):
            return sum(w / k for w, k in zip(weight, rows, strict=True) if w > 0)

        every = itertools.product(*(range(a, b + 1) for a, b in zip(least, sizes, strict=True)))
        best = min(variance(rows) for rows in every if sum(rows) == n)
        assert variance(found.tolist()) == pytest.approx(best, rel=1e-12)
    assert dq.neyman_allocation(30, [100, 200], [0.0, 1.0]).tolist() == [10, 20]
    assert dq.neyman_allocation(10**9, [10**12, 10**12], [0.5, 0.5]).tolist() == [5 * 10**8] * 2
    with pytest.raises(ValueError, match=r"n must be in \[4, 300\], got 3"):
        dq.neyman_allocation(3, [100, 200], [0.1, 0.1])


def test_an_estimate_of_strata_is_cochrans():
    found = dq.stratified_estimate([1, 18, 0], [64, 36, 5], [9000, 1000, 5])
    share, p, n = np.array([9000, 1000, 5]) / 10005, np.array([1 / 64, 0.5, 0.0]), [64, 36, 5]
    left = 1 - np.array([64 / 9000, 36 / 1000, 1.0])
    assert found.rate == pytest.approx((share * p).sum(), rel=1e-14)
    expected = (share**2 * p * (1 - p) / (np.array(n) - 1) * left).sum()
    assert found.variance == pytest.approx(expected, rel=1e-13)
    whole = dq.stratified_estimate([3, 0], [10, 7], [10, 7])
    assert (whole.rate, whole.low, whole.high) == pytest.approx((3 / 17,) * 3)
    none = dq.stratified_estimate([0, 0], [30, 30], [1000, 1000])
    assert none.low == 0.0
    assert 0.03 < none.high < 0.1
    assert np.isnan(dq.stratified_estimate([0], [1], [9]).variance)
    with pytest.raises(ValueError, match=r"n_reviewed .*at least 1 in a stratum with rows: row 1"):
        dq.stratified_estimate([0, 0], [3, 0], [9, 9])


def test_the_interval_of_strata_holds_the_truth(rng):
    sizes, rates = np.array([8000, 1500, 500]), np.array([0.01, 0.1, 0.5])
    truth, n = float((sizes * rates).sum() / sizes.sum()), dq.neyman_allocation(200, sizes, rates)
    found = [dq.stratified_estimate(rng.binomial(n, rates), n, sizes) for _ in range(200)]
    assert sum(not f.low <= truth <= f.high for f in found) <= 18


# ---- intervals ---------------------------------------------------------------------------------------


def test_exact_intervals_are_scipys():
    n = np.array([1, 1, 7, 50, 50, 1000, 100_000])
    x = np.array([0, 1, 3, 0, 49, 17, 3])
    for confidence in (0.5, 0.95, 1 - 1e-9):
        low, high = _proportions.clopper_pearson_interval(x, n, confidence)
        for i in range(len(n)):
            expected = stats.binomtest(int(x[i]), int(n[i])).proportion_ci(confidence, "exact")
            assert (low[i], high[i]) == pytest.approx((expected.low, expected.high), rel=1e-6)


def test_students_quantiles_are_scipys():
    for p, df in itertools.product((0.5, 0.9, 0.975, 1 - 1e-9), (1.0, 2.5, 30.0, 1e6)):
        assert float(_stats.student_quantile(p, df)) == pytest.approx(
            stats.t.ppf(p, df), rel=1e-7, abs=1e-12
        )


def test_chernoffs_interval_is_where_the_bound_is_met():
    for mean, n in itertools.product((0.0, 1e-4, 0.3, 0.97, 1.0), (1, 10, 100_000)):
        low, high = map(float, _proportions.chernoff_interval(mean, n, 0.95))
        assert 0.0 <= low <= mean <= high <= 1.0
        for end in (low, high):
            if 1e-12 < end < 1.0 - 1e-12:
                entropy = stats.entropy([mean, 1 - mean], [end, 1 - end])
                assert n * entropy == pytest.approx(math.log(40), rel=1e-5)


def test_a_plan_for_a_lot_accepts_fewer_errors_than_the_bad_lot_has():
    """Eight of 100 rows are wrong in a bad lot, five in a good one: only 5, 6 and 7 errors tell them apart."""
    plan = dq.sampling_plan(0.08, p_good=0.05, lot_size=100)
    assert (plan.n, plan.max_errors) == (89, 5)


@pytest.mark.parametrize("n", [39, 49, 55, 98, 99])
def test_what_is_needed_does_not_hang_on_a_rounding(n):
    """All right: decided where (alpha / 2)^(1 / n) reaches the level, and then for every larger number."""
    needed = dq.batch_verdict([1.0] * n, sla=0.97).n_needed
    assert 0.025 ** (1 / needed) >= 0.97 > 0.025 ** (1 / (needed * 62 // 64 - 1))


def test_a_slice_at_the_level_itself_passes_its_point_rule():
    table = dq.slice_errors([1] * 7 + [0] * 93, {"k": ["a"] * 100})
    assert dq.slice_verdict(table, 0.93).passes
    assert not dq.slice_verdict(table, 0.931).passes


def test_a_table_without_slices_decides_nothing():
    found = dq.slice_verdict(dq.slice_errors([1] * 20, {"k": range(20)}, min_support=2), 0.9)
    assert (found.whole, found.verdict, found.passes) == ("fail", "undecided", False)


def test_slices_picked_by_a_search_have_no_interval_together():
    wrong = [0] * 60 + [1] * 40
    found = dq.find_slices(wrong, {"k": ["a"] * 50 + ["b"] * 50}, min_support=1)
    with pytest.raises(ValueError, match="table must be of slice_errors"):
        dq.slice_verdict(found, 0.9)
    assert dq.slice_verdict(found, 0.9, correction="none").verdict == "fail"


def test_a_confidence_of_nearly_one_leaves_no_quantiles():
    with pytest.raises(ValueError, match="confidence must be above 0 and below 1"):
        dq.batch_verdict([0.9, 1.0], 0.95, confidence=1 - 2.0**-53)
