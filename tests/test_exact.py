"""Arithmetic with the same bits everywhere: log, exp, fixed-point sums, halves, and the canonical sum.

Each native function is compared with its twin in NumPy bit for bit, and the twin with an oracle that knows more digits.
"""

import math
from fractions import Fraction

import numpy as np
import pytest
from dqcore import _cpu
from dqcore.reference import _exact

WIDE = np.finfo(np.longdouble).nmant >= 63  # x86's 80 bits, or more


def same_bits(a, b):
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    different = (a.view(np.int64) != b.view(np.int64)) & ~(np.isnan(a) & np.isnan(b))
    return not different.any()


def doubles(rng, count, low, high):
    """Doubles with exponents uniform in [low, high): every binade is visited alike."""
    return np.ldexp(rng.uniform(1.0, 2.0, count), rng.integers(low, high, count))


def ulps(result, exact):
    """Return the distance of `result` from the longdouble `exact`, in units of the last place of it."""
    unit = np.spacing(np.abs(exact).astype(np.float64)).astype(np.longdouble)
    return np.abs(result.astype(np.longdouble) - exact) / unit


# ---- log and exp ---------------------------------------------------------------------------------


def log_arguments(rng, count):
    near_one = 1.0 + rng.uniform(-1e-3, 1e-3, count)
    root = math.sqrt(2.0)
    edges = np.array(
        [1.0, 2.0, 0.5, root, root / 2, 1e-6, 2.0**-1022, 5e-324, 1.7976931348623157e308]
    )
    around = np.concatenate([edges, np.nextafter(edges, 0.0), np.nextafter(edges[:-1], np.inf)])
    powers = np.ldexp(1.0, np.arange(-1074, 1024))
    parts = [
        doubles(rng, count, -1074, 1024),
        rng.random(count),
        near_one,
        around,
        powers,
        powers * root,
    ]
    arguments = np.concatenate(parts)
    return arguments[(arguments > 0) & np.isfinite(arguments)]


def exp_arguments(rng, count):
    edges = np.array([0.0, -0.0, 709.782712893383973, -745.133219101941, -708.4, 1e-300, 5e-324])
    halves = (np.arange(-1075, 1024) + 0.5) * math.log(2.0)  # where the reduction turns
    return np.concatenate(
        [
            rng.uniform(-746, 710, count),
            rng.uniform(-1, 1, count),
            -doubles(rng, count, -60, 9),
            edges,
            np.nextafter(edges, np.inf),
            np.nextafter(edges, -np.inf),
            halves,
            np.nextafter(halves, 0.0),
        ]
    )


def test_log_has_the_same_bits_in_both_languages(rng, scaled):
    x = log_arguments(rng, scaled(200_000))
    assert same_bits(_cpu.log(x), _exact.log(x))


def test_exp_has_the_same_bits_in_both_languages(rng, scaled):
    x = exp_arguments(rng, scaled(200_000))
    assert same_bits(_cpu.exp(x), _exact.exp(x))


@pytest.mark.skipif(not WIDE, reason="longdouble holds no more digits than double here")
def test_log_is_within_one_unit_of_the_last_place(rng, scaled):
    x = log_arguments(rng, scaled(200_000))
    exact = np.log(x.astype(np.longdouble))
    assert ulps(_exact.log(x), exact)[exact != 0].max() < 1.0
    assert (_exact.log(x)[exact == 0] == 0.0).all()


@pytest.mark.skipif(not WIDE, reason="longdouble holds no more digits than double here")
def test_exp_is_within_one_unit_of_the_last_place(rng, scaled):
    x = exp_arguments(rng, scaled(200_000))
    x = x[x < 709.78]  # above, the exact value may round to infinity
    exact = np.exp(x.astype(np.longdouble))
    assert ulps(_exact.exp(x), exact).max() <= 1.0


@pytest.mark.parametrize("module", [_cpu, _exact])
def test_values_outside_the_range_are_the_documented_ones(module):
    special = module.log(np.array([0.0, -0.0, -1.0, -5e-324, 1.0]))
    assert same_bits(special, [-np.inf, -np.inf, np.nan, np.nan, 0.0])
    special = module.exp(np.array([0.0, -0.0, 709.79, 1e300, -745.2, -1e300]))
    assert same_bits(special, [1.0, 1.0, np.inf, np.inf, 0.0, 0.0])


# ---- halves --------------------------------------------------------------------------------------


def test_every_half_becomes_the_float_that_it_is():
    halves = np.arange(65536, dtype=np.uint16)
    with np.errstate(invalid="ignore"):  # a signalling NaN among them
        wanted = halves.view(np.float16).astype(np.float32)
    result = _cpu.half(halves)
    nan = np.isnan(wanted)
    assert (np.isnan(result) == nan).all()
    assert (result.view(np.uint32) == wanted.view(np.uint32))[~nan].all()
    assert (np.signbit(result) == np.signbit(wanted)).all()


# ---- fixed-point sums ----------------------------------------------------------------------------

STEP = Fraction(1, 2**64)


def exact_sum(values):
    """Sum of floor(value * 2^64), by rational arithmetic."""
    return sum(math.floor(Fraction(float(v)) / STEP) for v in values)


def adversarial(rng):
    """Name and values of sums that a float64 accumulator gets wrong in one order or another."""
    tiny = np.full(1000, 2.0**-60)
    yield "ones and tiny", np.concatenate([np.ones(1000), tiny])
    yield "tiny and ones", np.concatenate([tiny, np.ones(1000)])
    yield "great and small", np.array([2.0**30, 2.0**-40, -(2.0**30), 2.0**-40] * 50)
    yield "cancelling", np.concatenate([rng.random(500), -rng.random(500)])
    yield "below the step", np.array([2.0**-65, -(2.0**-65), 2.0**-64, 5e-324, -(2.0**-85)])
    yield "largest", np.full(4, np.nextafter(2.0**31, 0.0))
    yield "zeros", np.array([0.0, -0.0])
    yield "none", np.zeros(0)
    yield "probabilities", rng.random(2000).astype(np.float32).astype(np.float64)


@pytest.mark.parametrize("case", range(9))
def test_fixed_sums_are_exact_in_every_order(rng, case):
    _, values = list(adversarial(rng))[case]
    wanted = exact_sum(values)
    for order in (
        np.arange(values.size),
        np.arange(values.size)[::-1],
        rng.permutation(values.size),
    ):
        groups = np.zeros(values.size, np.int32)
        assert _exact.fixed_sums(values[order], groups, 1) == [wanted]


def test_fixed_sums_by_group_are_the_sums_of_the_groups(rng):
    values, groups = rng.normal(size=500), rng.integers(0, 7, 500)
    sums = _exact.fixed_sums(values, groups, 9)  # two groups stay empty
    assert sums == [exact_sum(values[groups == g]) for g in range(9)]


def test_a_sum_of_whole_steps_is_the_correctly_rounded_sum(rng):
    """Numbers that are multiples of 2^-64 lose nothing, so that one rounding is all there is."""
    values = np.round(rng.random(10_000) * 2.0**40) * 2.0**-40
    (total,) = _exact.fixed_sums(values, np.zeros(values.size, np.int32), 1)
    assert _exact.from_fixed(total) == math.fsum(values)


@pytest.mark.parametrize(
    "total", [0, 1, -1, 2**64, 2**120, (2**53 + 1) << 11, (2**53 + 3) << 11, -(2**53 + 1)]
)
def test_a_total_is_rounded_once_to_the_nearest_double(total):
    assert _exact.from_fixed(total) == float(Fraction(total) * STEP)


# ---- the canonical sum ---------------------------------------------------------------------------


def canonical(x, y, term):
    """Sum of term(x, y) by 32 lanes and folds 16, 8, 4, 2, 1, one Python float at a time."""
    lanes = [0.0] * 32
    for c, (a, b) in enumerate(zip(x.tolist(), y.tolist(), strict=True)):
        lanes[c % 32] += term(a, b)
    width = 16
    while width:
        for lane in range(width):
            lanes[lane] += lanes[lane + width]
        width //= 2
    return lanes[0]


def squared(a, b):
    return (a - b) * (a - b)


def product(a, b):
    return a * b


@pytest.mark.parametrize(("name", "term"), [("squared_l2", squared), ("dot", product)])
def test_the_canonical_sum_at_every_tail_length(native_isa, name, term):
    rng = np.random.default_rng(1)
    kernel = getattr(_cpu, name)
    for d in range(1, 71):
        x, y = rng.normal(size=(2, d)).astype(np.float32) * np.float32(1e3)
        wanted = canonical(x, y, term)
        assert kernel(x, y).hex() == wanted.hex(), (native_isa, d)


@pytest.mark.parametrize(("name", "term"), [("squared_l2", squared), ("dot", product)])
def test_the_canonical_sum_rounds_every_product(native_isa, name, term):
    """Magnitudes far apart: squares with more digits than fit, so that a fused multiply-add would show."""
    rng = np.random.default_rng(3)
    kernel = getattr(_cpu, name)
    for _ in range(50):
        x, y = (rng.normal(size=(2, 500)) * 2.0 ** rng.integers(-12, 13, (2, 500))).astype("f4")
        assert kernel(x, y).hex() == canonical(x, y, term).hex(), native_isa


@pytest.mark.parametrize(("name", "term"), [("squared_l2", squared), ("dot", product)])
def test_the_canonical_sum_at_any_address(native_isa, name, term):
    """A row may start at any float: no kernel may ask for alignment."""
    rng = np.random.default_rng(2)
    pool = rng.normal(size=200).astype(np.float32)
    kernel = getattr(_cpu, name)
    for at in range(20):
        x, y = pool[at : at + 67], pool[100 - at : 167 - at]
        assert kernel(x, y).hex() == canonical(x, y, term).hex(), (native_isa, at)


def test_the_canonical_sum_keeps_plus_zero(native_isa):
    """-0 in a feature or a padded lane must not make the sum -0, nor may a square overflow early."""
    x = np.array([-0.0, 0.0, -0.0], np.float32)
    assert math.copysign(1.0, _cpu.squared_l2(x, -x)) == 1.0, native_isa
    largest = np.full(3, np.finfo(np.float32).max)
    assert _cpu.squared_l2(largest, -largest) == canonical(largest, -largest, squared), native_isa
