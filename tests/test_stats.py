"""Intervals and tails against SciPy and against exact rational arithmetic."""

from fractions import Fraction
from math import comb

import numpy as np
import pytest
from dqcore import _stats
from scipy import stats


def exact_tail(x, n, k, d):
    """P(X >= x) of the hypergeometric distribution as a fraction of whole numbers."""
    k, d = max(k, d), min(k, d)  # the same distribution, smaller numbers
    x = max(x, 0, d + k - n)
    if x > d:
        return Fraction(0)
    term, total = comb(k, x) * comb(n - k, d - x), 0
    for i in range(x, min(d, k) + 1):
        total += term
        term = term * (k - i) * (d - i) // ((i + 1) * (n - k - d + i + 1))
    return Fraction(total, comb(n, d))


def test_normal_quantile():
    p = np.concatenate([np.linspace(1e-6, 1 - 1e-6, 999), 10.0 ** -np.arange(1, 300, 7)])
    expected = stats.norm.ppf(p)
    np.testing.assert_allclose(_stats.normal_quantile(p), expected, rtol=1e-13, atol=1e-15)


def test_stirling_error():
    from scipy.special import gammaln

    x = np.concatenate([np.arange(0.5, 40, 0.25), [100.0, 1000.0]])
    stirling = (x - 0.5) * np.log(x) - x + 0.5 * np.log(2 * np.pi)
    np.testing.assert_allclose(
        stirling + _stats.stirling_error(x), gammaln(x), rtol=1e-13, atol=1e-14
    )


@pytest.mark.parametrize("most", [5, 60, 3000])
def test_hypergeometric_tail_is_exact(rng, most):
    n = rng.integers(1, most, 150)
    k, d = rng.integers(0, n + 1), rng.integers(0, n + 1)
    x = np.clip(np.rint(d * k / n) + rng.integers(-8, 9, 150), 0, n).astype(int)
    expected = [float(exact_tail(*map(int, row))) for row in zip(x, n, k, d, strict=True)]
    np.testing.assert_allclose(_stats.hypergeometric_tail(x, n, k, d), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("x", "n", "k", "d"),
    [
        (600, 5_000_000, 1000, 2_000_000),
        (70, 5_000_000, 30_000, 3000),
        (450, 5_000_000, 30_000, 50_000),
        (5, 10_000_000, 7_000_000, 5),
        (900, 10_000_000, 1000, 5_000_000),
    ],
)
def test_hypergeometric_tail_of_millions(x, n, k, d):
    expected = float(exact_tail(x, n, k, d))
    assert _stats.hypergeometric_tail(x, n, k, d) == pytest.approx(expected, rel=1e-12, abs=0)


def test_hypergeometric_tail_beside_scipy(rng):
    n = 10_000_000
    k, d = rng.integers(1, n, 200), rng.integers(1, 20_000, 200)
    x = rng.hypergeometric(k, n - k, d)
    ours = _stats.hypergeometric_tail(x, n, k, d)
    np.testing.assert_allclose(ours, stats.hypergeom.sf(x - 1, n, k, d), rtol=1e-7)


def test_student_tail(rng):
    t = np.concatenate([rng.normal(0, 3, 500), [0, 0.1, 1.7, 1.75, 10, 50, -3, 300, 1e10]])
    df = np.exp(rng.uniform(0, 16, t.size))
    expected = stats.t.sf(t, df)
    seen = expected > 1e-290
    np.testing.assert_allclose(_stats.student_tail(t, df)[seen], expected[seen], rtol=1e-12)
    assert (_stats.student_tail(t, df)[~seen] < 1e-280).all()


@pytest.mark.parametrize("p", [0.5, 0.1, 0.999])
def test_binomial_tail(rng, p):
    n = np.concatenate([rng.integers(0, 50, 2000), rng.integers(1, 10**6, 2000)])
    x = np.concatenate([rng.integers(-1, 52, 2000), rng.binomial(n[2000:], p)])
    found = _stats.binomial_tail(x, n, p)
    np.testing.assert_allclose(found, stats.binom.sf(x - 1, n, p), rtol=1e-9, atol=1e-300)
    assert _stats.binomial_tail(3, 3, 0.5) == pytest.approx(1 / 8, rel=1e-13)
    assert _stats.binomial_tail(600, 1000, 0.5) == pytest.approx(
        float(Fraction(sum(comb(1000, i) for i in range(600, 1001)), 2**1000)), rel=1e-12
    )


def test_entropy():
    assert _stats.entropy([7]) == 0.0
    assert _stats.entropy([3, 3, 3, 3]) == pytest.approx(np.log(4), rel=1e-15)
    assert _stats.entropy([1, 2, 3]) == pytest.approx(stats.entropy([1, 2, 3]), rel=1e-14)


@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999])
def test_wilson_interval(rng, confidence):
    size = rng.integers(1, 200, 100)
    errors = rng.integers(0, size + 1)
    low, high = _stats.wilson_interval(errors, size, confidence)
    for i in range(100):
        ci = stats.binomtest(int(errors[i]), int(size[i])).proportion_ci(confidence, "wilson")
        assert low[i] == pytest.approx(ci.low, rel=1e-12, abs=1e-15)
        assert high[i] == pytest.approx(ci.high, rel=1e-12, abs=1e-15)
    low, high = _stats.wilson_interval([0, 7], [7, 7], confidence)
    assert low[0] == 0.0
    assert high[1] == 1.0


def test_bounded_interval():
    low, high = _stats.bounded_interval([0.5, 1.0, 0.3], [0.0, 0.0, 90.0], [1, 2, 1000], 2.0, 0.95)
    assert (low[0], high[0]) == (0.0, 2.0)  # one row tells nothing
    assert (low[1], high[1]) == (0.0, 2.0)
    term = np.log(4 / 0.05)  # by hand: variance 90 / 999
    half = np.sqrt(2 * 90 / 999 * term / 1000) + 7 * 2 * term / (3 * 999)
    assert high[2] == pytest.approx(0.3 + half)
    assert low[2] == pytest.approx(0.3 - half)


def test_bounded_interval_covers_rare_large_losses(rng):
    """One loss in fifty: intervals from the normal distribution miss far more often than 5 %."""
    losses = (rng.random((2000, 30)) < 0.02).astype(float)
    mean = losses.mean(axis=1)
    low, high = _stats.bounded_interval(
        mean, ((losses - mean[:, None]) ** 2).sum(axis=1), np.full(2000, 30), 1.0, 0.95
    )
    assert np.mean((low <= 0.02) & (high >= 0.02)) >= 0.95


def sides(a, b):
    return [
        f(np.asarray(x, float))
        for x in (a, b)
        for f in (np.mean, lambda x: ((x - x.mean()) ** 2).sum(), len)
    ]


def test_welch_tail(rng):
    for _ in range(50):
        a = rng.normal(rng.normal(), 1 + rng.random(), rng.integers(2, 50))
        b = rng.exponential(2, rng.integers(2, 50))
        expected = stats.ttest_ind(a, b, equal_var=False, alternative="greater").pvalue
        assert _stats.welch_tail(*sides(a, b)) == pytest.approx(expected, rel=1e-10)


def test_welch_tail_where_a_side_has_no_spread():
    rest = np.arange(10.0)
    one = _stats.welch_tail(*sides([12.0], rest))  # Crawford and Howell's test
    expected = stats.t.sf((12 - 4.5) / (rest.std(ddof=1) * np.sqrt(1 + 1 / 10)), 9)
    assert one == pytest.approx(expected, rel=1e-12)
    assert _stats.welch_tail(*sides(rest, [-3.0])) < 0.5
    # Both constant: one of C(5, 2) ways to choose the two that are high.
    assert _stats.welch_tail(*sides([1.0, 1.0], [0.0] * 3)) == pytest.approx(1 / 10)
    assert _stats.welch_tail(*sides([0.0, 0.0], [0.0] * 3)) == 1.0
    assert _stats.welch_tail(*sides([1.0], [0.0])) == pytest.approx(1 / 2)
    assert _stats.welch_tail(1.0, 0.5, 4, 0.0, 0.0, 0) == 1.0


def test_benjamini_hochberg(rng):
    p = rng.random(100) ** 3
    np.testing.assert_allclose(_stats.benjamini_hochberg(p), stats.false_discovery_control(p))
    assert _stats.benjamini_hochberg([]).shape == (0,)
