"""The search for the worst slices against the enumeration of all; limits, weights, bad input."""

import dqcore as dq
import numpy as np
import pytest
from dqcore import _cpu, reference
from dqcore.reference.slices import FoundSlices, SliceCounts

OPTIONS = {
    "weights": None,
    "k": 10,
    "alpha": 0.6,
    "max_level": 3,
    "min_support": 1,
    "error_exponent": 0,
    "weight_exponent": 0,
    "max_candidates": 2**62,
    "time_limit": np.inf,
    "most_bytes": 1 << 29,
    "threads": 1,
    "progress": None,
}


def found_by(module, errors, codes, sizes, **options):
    found = FoundSlices(*module.find_slices(errors, codes, sizes, **(OPTIONS | options)))
    return found._replace(counts=SliceCounts(*found.counts))


def assert_same_bits(a, b):
    fields = [*zip(SliceCounts._fields, a.counts, b.counts, strict=True)]
    fields += [*zip(FoundSlices._fields, a, b, strict=True)][1:-1]
    for name, x, y in fields:
        if isinstance(x, np.ndarray):
            assert (name, x.dtype, x.shape, x.tobytes()) == (name, y.dtype, y.shape, y.tobytes())
        else:
            assert (name, x) == (name, y)


def random_errors(rng, n):
    """Return errors of some kind with ties, and the exponent of their bound."""
    return [
        lambda: ((rng.random(n) < 0.3).astype(np.uint8), 0),
        lambda: (np.minimum(rng.exponential(size=n), 32.0), 5),
        lambda: (rng.choice([0.0, 0.2, 1.0], n), 0),
        lambda: (rng.choice([0.0, 0.5, 1.0, 2.0], n), 1),
        lambda: (np.where(rng.random(n) < 0.5, 0, rng.random(n) * 10.0 ** rng.integers(-12, 1)), 0),
    ][rng.integers(5)]()


def random_weights(rng, n):
    return [
        lambda: (rng.random(n), 0),
        lambda: (rng.choice([0.0, 1.0, 2.0, 4.0], n), 2),
        lambda: (None, 0),
        lambda: (None, 0),
    ][rng.integers(4)]()


def random_case(rng):
    m, n = int(rng.integers(1, 6)), int(rng.integers(0, 150))
    sizes = [int(rng.integers(1, 8)) for _ in range(m)]
    if rng.random() < 0.2:  # more categories than rows
        sizes[int(rng.integers(m))] = int(rng.integers(20, 200))
    codes = [rng.integers(-1, k, n).astype(rng.choice(["i2", "i4", "i8"])) for k in sizes]
    if m > 1 and rng.random() < 0.3:  # one column follows from another: the same rows
        codes[1] = np.where(codes[0] >= 0, codes[0] % sizes[1], -1)
    errors, error_exponent = random_errors(rng, n)
    weights, weight_exponent = random_weights(rng, n)
    options = {
        "weights": weights,
        "weight_exponent": weight_exponent,
        "error_exponent": error_exponent,
        "k": int(rng.integers(1, 30)),
        "alpha": float(rng.choice([0.05, 0.5, 0.6, 0.95, 1.0])),
        "max_level": int(rng.integers(1, m + 2)),
        "min_support": int(rng.integers(1, 12)),
    }
    return errors, codes, sizes, options


def test_search_is_the_enumeration(scaled):
    for seed in range(scaled(2500)):
        rng = np.random.default_rng(seed)
        errors, codes, sizes, options = random_case(rng)
        expected = found_by(reference, errors, codes, sizes, **options)
        options["threads"] = int(rng.integers(1, 4))
        options["most_bytes"] = int(rng.choice([1, 1 << 29]))  # all bits at once, or block by block
        assert_same_bits(found_by(_cpu, errors, codes, sizes, **options), expected)


@pytest.mark.parametrize("losses", [False, True])
def test_sixteen_columns_of_ten_values(rng, losses, scaled):
    """Float64 numbers of slices would collide here, and the first and last column's slice be lost."""
    n, m = 120, 16
    for _ in range(scaled(4)):
        codes = [rng.integers(0, 10, n).astype(np.int8) for _ in range(m)]
        codes[0][:20], codes[-1][:20] = 3, 7
        wrong = np.arange(n) < 20
        errors = rng.random(n) * wrong if losses else wrong.astype(np.uint8)
        options = {"max_level": 3, "min_support": 4, "k": 25}
        expected = found_by(reference, errors, codes, [10] * m, **options)
        best = expected.counts.predicate_columns[0].tolist()
        assert {0, m - 1} <= set(best) or expected.counts.size[0] < 20
        assert_same_bits(found_by(_cpu, errors, codes, [10] * m, **options), expected)


def several_blocks(kind):
    rng = np.random.default_rng(3)
    n, sizes = 70_000, [4, 7, 3]
    codes = [rng.integers(-1, k, n).astype(np.int16) for k in sizes]
    rate = 0.05 + 0.2 * ((codes[0] == 1) & (codes[1] == 2)) + 0.01 * codes[2]
    if kind == "flags":
        return (rng.random(n) < rate).astype(np.uint8), codes, sizes, {}
    losses = rng.exponential(rate + 0.01)
    options = {"error_exponent": 4}
    if kind == "weighted losses":
        options |= {"weights": rng.random(n), "weight_exponent": 0}
    return losses, codes, sizes, options


@pytest.mark.threads
@pytest.mark.parametrize("kind", ["flags", "losses", "weighted losses"])
def test_no_instruction_set_and_no_thread_count_changes_a_bit(native_isa, kind):
    errors, codes, sizes, options = several_blocks(kind)
    options |= {"min_support": 50, "alpha": 0.9}
    one = found_by(_cpu, errors, codes, sizes, **options)
    for changed in ({"threads": 2}, {"threads": 3, "most_bytes": 1}, {"threads": 8}):
        again = found_by(_cpu, errors, codes, sizes, **(options | changed))
        assert_same_bits(again, one)
        assert again.levels.tolist() == one.levels.tolist()
    if native_isa == "scalar":
        assert_same_bits(found_by(reference, errors, codes, sizes, **options), one)


# ---- the door --------------------------------------------------------------------------------------------


def test_half_of_the_motorcycles():
    kind = np.array(["car"] * 90_000 + ["motorcycle"] * 1000 + ["bus"] * 9000)
    place = np.resize(["city", "road", "yard"], 100_000)
    errors = np.zeros(100_000, bool)
    errors[90_000:91_000:2] = True
    table = dq.find_slices(errors, {"place": place, "kind": kind})
    worst = table[0]
    assert worst.predicate == (("kind", "motorcycle"),)
    assert (worst.size, worst.error_sum, worst.error_rate, worst.lift) == (1000, 500, 0.5, 100)
    assert table.search.complete
    assert table.search.stopped_by is None


@pytest.mark.parametrize("losses", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_a_found_slice_is_told_as_slice_errors_tells_it(rng, losses, weighted):
    """Weighted sums too, which slice_errors counts in another way."""
    columns = {"a": rng.integers(0, 9, 900), "b": rng.choice(["x"] * 18 + ["y", None], 900)}
    rate = np.where(columns["a"] == 2, 0.9, 0.005)
    errors = rng.exponential(rate) if losses else rng.random(900) < rate
    options = {"max_level": 2, "missing": "category", "max_abs_error": np.inf if losses else None}
    if weighted:
        options["weights"] = np.where(rng.random(900) < 0.1, 0.0, rng.exponential(size=900))
    table = dq.slice_errors(errors, columns, **options)
    every = {row.predicate: row for row in table}
    found = dq.find_slices(errors, columns, k=100, min_support=5, **options)
    assert len(found) > 1
    for row in found:
        told = every[row.predicate]
        assert row._replace(p_value=0, q_value=0) == told._replace(p_value=0, q_value=0)
        assert row.p_value == pytest.approx(told.p_value, rel=1e-12)
    if weighted:
        of = dict(zip(table.predicates, table.weight, strict=True))
        assert found.weight.tolist() == [of[p] for p in found.predicates]
    worse = [r for r in every.values() if r.score > 0 and r.size >= 5 and r.error_sum > 0]
    assert len(found) == len(worse)
    for few in (1, 2):
        best = dq.find_slices(errors, columns, k=few, min_support=5, **options)
        assert best.predicates == found.predicates[:few]
        assert best.search.bound == best.score[-1]


def test_weights_are_as_many_rows(rng):
    """Whole weights give the scores of rows written down so many times."""
    columns = {"a": rng.integers(0, 4, 400), "b": rng.integers(0, 3, 400)}
    errors = rng.random(400) < 0.02 + 0.8 * (columns["a"] == 1)
    weights = rng.integers(0, 4, 400)
    options = {"min_support": 1, "max_level": 2, "k": 50}
    weighted = dq.find_slices(errors, columns, weights=weights, **options)
    repeated = dq.find_slices(
        np.repeat(errors, weights),
        {name: np.repeat(column, weights) for name, column in columns.items()},
        **options,
    )
    assert weighted.predicates == repeated.predicates
    assert weighted.score.tolist() == repeated.score.tolist()
    assert weighted.weight.tolist() == repeated.size.tolist()
    assert weighted.error_sum.tolist() == repeated.error_sum.tolist()
    assert (weighted.low <= repeated.low).all()  # unequal weights are worth fewer rows
    equal = dq.find_slices(errors, columns, weights=np.full(400, 0.25), **options)
    plain = dq.find_slices(errors, columns, **options)
    assert equal.predicates == plain.predicates
    np.testing.assert_allclose(equal.low, plain.low, rtol=1e-12)
    for table in (weighted, equal):
        numbers = (table.low, table.high, table.p_value, table.q_value)
        assert all(np.isfinite(each).all() for each in numbers)


def test_slices_of_the_same_rows_are_marked():
    a = np.repeat([0, 1, 2], 40)
    columns = {"a": a, "b": np.where(a == 1, 5, 6), "c": np.resize([0, 1], 120)}
    table = dq.find_slices(a == 1, columns, alpha=0.95, k=20, min_support=1)
    marked = dict(zip(table.predicates, table.redundant.tolist(), strict=True))
    assert marked[("a", 1),] is False
    assert marked[("b", 5),] is False
    assert marked[("a", 1), ("b", 5)] is True
    assert marked[("a", 1), ("c", 0)] is False
    assert marked[("a", 1), ("b", 5), ("c", 0)] is True
    assert table[table.redundant].redundant.all()


def test_missing_is_left_out_or_a_category():
    columns = {"a": np.repeat([-1, 0, 1], 50), "b": np.repeat(["x", None, "y"], 50)}
    errors = np.arange(150) < 50
    left_out = dq.find_slices(errors, columns, min_support=1)
    assert left_out.predicates == ((("b", "x"),),)
    counted = dq.find_slices(errors, columns, min_support=1, missing="category")
    assert counted.predicates[0] == (("a", None),)
    assert (("a", None), ("b", "x")) in counted.predicates
    with pytest.raises(ValueError, match="missing must be"):
        dq.find_slices(errors, columns, missing="fill")


def test_nothing_to_find():
    columns = {"a": [0, 1] * 50}
    for errors in (np.zeros(100), np.ones(100), np.zeros(100, bool)):
        assert len(dq.find_slices(errors, columns, min_support=1)) == 0
    assert len(dq.find_slices([], {"a": []})) == 0
    assert len(dq.find_slices([1] + [0] * 99, columns, weights=np.zeros(100))) == 0
    assert len(dq.find_slices([1] + [0] * 99, columns, min_support=51)) == 0


# ---- limits ------------------------------------------------------------------------------------------------


def test_a_limit_is_told_and_what_was_missed_is_bounded(rng):
    codes = rng.integers(0, 6, (3000, 6))
    errors = rng.random(3000) < 0.05 + 0.3 * ((codes[:, 1] == 2) & (codes[:, 4] == 3))
    full = dq.find_slices(errors, codes, alpha=0.9, k=4, min_support=10)
    assert full.search.complete
    total = sum(level.evaluated for level in full.search.levels)
    for most in (0, 1, 35, 36, 37, total - 1):
        table = dq.find_slices(errors, codes, alpha=0.9, k=4, min_support=10, max_candidates=most)
        assert not table.search.complete
        assert table.search.stopped_by == "max_candidates"
        assert sum(level.evaluated for level in table.search.levels) == most
        missed = [row.score for row in full if row.predicate not in table.predicates]
        assert all(table.search.bound >= score for score in missed)
    for enough in (total, None):
        table = dq.find_slices(errors, codes, alpha=0.9, k=4, min_support=10, max_candidates=enough)
        assert table.search == full.search
    table = dq.find_slices(errors, codes, alpha=0.9, time_limit=0.0)
    assert (table.search.complete, table.search.stopped_by) == (False, "time_limit")
    assert table.search.bound >= full.score[0]
    table = dq.find_slices(errors, codes, alpha=0.9, k=4, min_support=10, time_limit=1e6)
    assert table.search == full.search


def test_progress_and_its_exceptions(rng):
    codes = rng.integers(0, 9, (200_000, 6))

    def report(*_):
        raise RuntimeError("stop here")

    with pytest.raises(RuntimeError, match="stop here"):
        dq.find_slices(rng.random(200_000), codes, progress=report)


# ---- bad input ---------------------------------------------------------------------------------------------

A = {"a": [0, 1, 0]}


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"k": 0}, ValueError, "k must be"),
        ({"k": 1.5}, TypeError, "k must be"),
        ({"alpha": 0.0}, ValueError, "alpha must be above 0"),
        ({"alpha": 1.1}, ValueError, "alpha must be"),
        ({"alpha": np.nan}, ValueError, "alpha must be"),
        ({"max_level": 0}, ValueError, "max_level must be"),
        ({"min_support": 0}, ValueError, "min_support must be"),
        ({"weights": [1, 2]}, ValueError, "weights has 2 rows but errors has 3"),
        ({"weights": [1, -2, 1]}, ValueError, r"weights must be .*row 1 is .*-2"),
        ({"weights": [1, 1, np.nan]}, ValueError, r"weights.*row 2 is .*nan"),
        ({"weights": [1, 2.0**31, 1]}, ValueError, r"weights.*row 1"),
        ({"weights": ["a", "b", "c"]}, TypeError, "weights must be .*dtype"),
        ({"weights": [1, 1, 1], "max_abs_error": 1e40}, ValueError, "with weights"),
        ({"time_limit": -1.0}, ValueError, "time_limit must be"),
        ({"max_candidates": -1}, ValueError, "max_candidates must be"),
        ({"missing": 3}, ValueError, "missing must be"),
    ],
)
def test_bad_input_is_named(options, error, message):
    with pytest.raises(error, match=message):
        dq.find_slices([0, 1, 0], A, **options)


@pytest.mark.parametrize("dtype", ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"])
def test_kernel_refuses_what_is_out_of_range(dtype):
    info = np.iinfo(dtype)
    for bad in {3, info.max, info.min} - {0}:
        codes = np.zeros(2000, dtype)
        codes[1500] = bad
        with pytest.raises(ValueError, match="row 1500, column 0"):
            found_by(_cpu, np.ones(2000, np.uint8), [codes], [3])


def test_kernel_refuses_other_numbers():
    codes = [np.zeros(3, np.int32)]
    for value in (-1.0, 1.5, np.nan, np.inf):
        numbers = np.array([0, value, 0])
        with pytest.raises(ValueError, match=r"errors must be .*row 1 is"):
            found_by(_cpu, numbers, codes, [1])
        with pytest.raises(ValueError, match=r"weights must be .*row 1 is"):
            found_by(_cpu, np.ones(3), codes, [1], weights=numbers)
    with pytest.raises(ValueError, match="row 2 is 2"):
        found_by(_cpu, np.array([0, 1, 2], np.uint8), codes, [1], error_exponent=3)
    with pytest.raises(TypeError, match="weights"):
        found_by(_cpu, np.ones(3), codes, [1], weights=np.ones(3, np.uint8))
    with pytest.raises(ValueError, match="length"):
        found_by(_cpu, np.ones(3), codes, [1], weights=np.ones(4))
    for options in ({"alpha": 0.0}, {"k": 0}, {"max_level": 0}, {"min_support": 0}):
        with pytest.raises(ValueError, match=next(iter(options))):
            found_by(_cpu, np.ones(3), codes, [1], **options)
    with pytest.raises(ValueError, match="n_categories"):
        found_by(_cpu, np.ones(3), codes, [1, 1])
    with pytest.raises(ValueError, match="exponent"):
        found_by(_cpu, np.ones(3), codes, [1], weights=np.ones(3), weight_exponent=200)


def test_a_part_of_a_table_has_no_certificate(rng):
    errors, column = rng.integers(0, 2, 200), rng.integers(0, 9, 200)
    found = dq.find_slices(errors, {"a": column}, k=6, min_support=1)
    assert found.search is not None
    assert found[2:].search is None


def test_progress_is_a_share_of_something(rng):
    seen = []
    errors, columns = rng.integers(0, 2, 900), {n: rng.integers(0, 4, 900) for n in "abcd"}
    dq.find_slices(errors, columns, min_support=1, progress=lambda *tick: seen.append(tick))
    assert seen
    assert all(0 <= done <= total and total > 0 for _, done, total in seen)
