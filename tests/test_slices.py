"""Slices: the kernels against the reference, pandas and SciPy; the state's laws; bad input."""

import itertools
import json
import pickle
import struct
import zlib

import dqcore as dq
import numpy as np
import pandas as pd
import pytest
from conftest import examples
from dqcore import _cpu, _stats, reference
from dqcore.reference.slices import SliceCounts
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

FIELDS = dq.Slice._fields[1:]


def counts_by(module, errors, codes, n_categories, **given_options):
    options = {"max_level": 2, "error_exponent": 0, "min_support": 1}
    options |= {"threads": 1, "progress": None} | given_options
    return SliceCounts(*module.slice_errors(errors, codes, n_categories, **options))


def assert_same_bits(a, b):
    for name, x, y in zip(SliceCounts._fields, a, b, strict=True):
        if isinstance(x, np.ndarray):
            assert x.dtype == y.dtype, name
            assert x.shape == y.shape, name
            assert x.tobytes() == y.tobytes(), name
        else:
            assert x == y, name


def assert_same_table(a, b):
    assert a.predicates == b.predicates
    for name in FIELDS:
        assert getattr(a, name).tobytes() == getattr(b, name).tobytes(), name
    assert (a.n, a.overall_error_rate) == (b.n, b.overall_error_rate)


def random_codes(rng, n, n_categories):
    return [rng.integers(-1, k, n).astype(np.int32) for k in n_categories]


# ---- kernels against the reference --------------------------------------------------------------------


@pytest.mark.parametrize("level", [1, 2, 3])
@pytest.mark.parametrize("kind", ["flags", "flags as floats", "losses"])
def test_native_is_the_reference(rng, level, kind):
    # Sizes around the blocks of 1,024 rows; few and many categories, one empty, one of one value.
    for n in (0, 1, 2, 1023, 1024, 1025, 3000):
        n_categories = (3, 1, 40, 7, 0)
        codes = random_codes(rng, n, n_categories)
        errors = (rng.random(n) < 0.3).astype(np.uint8)
        if kind == "flags as floats":
            errors = errors.astype(np.float64)
        elif kind == "losses":
            errors = rng.exponential(size=n) * 10.0 ** rng.integers(-6, 1, n)
        options = {"max_level": level, "error_exponent": 4 if kind == "losses" else 0}
        assert_same_bits(
            counts_by(_cpu, errors, codes, n_categories, **options),
            counts_by(reference, errors, codes, n_categories, **options),
        )


@pytest.mark.parametrize("n_categories", [(300, 200, 400), (2000, 1500, 3), (2**31 - 2, 2**30, 9)])
def test_wide_crossings_are_the_reference(rng, n_categories):
    """Tables of their own, and hash tables where a crossing has too many cells to hold."""
    codes = [rng.integers(-1, min(k, 50), 2000).astype(np.int64) for k in n_categories]
    codes[0][7] = n_categories[0] - 1
    errors = rng.random(2000)
    for level in (2, 3):
        assert_same_bits(
            counts_by(_cpu, errors, codes, n_categories, max_level=level),
            counts_by(reference, errors, codes, n_categories, max_level=level),
        )


def test_many_columns_are_the_reference(rng):
    n_categories = rng.integers(1, 9, 14).tolist()
    codes = random_codes(rng, 300, n_categories)
    errors = (rng.random(300) < 0.5).astype(np.uint8)
    for level in (2, 3):
        assert_same_bits(
            counts_by(_cpu, errors, codes, n_categories, max_level=level),
            counts_by(reference, errors, codes, n_categories, max_level=level),
        )


def test_hundreds_of_columns_are_the_reference(rng):
    n_categories = [2] * 90
    codes = random_codes(rng, 40, n_categories)
    errors = (rng.random(40) < 0.5).astype(np.uint8)
    for level in (1, 2):
        assert_same_bits(
            counts_by(_cpu, errors, codes, n_categories, max_level=level),
            counts_by(reference, errors, codes, n_categories, max_level=level),
        )


@settings(deadline=None, max_examples=examples(100))
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(0, 60),
    n_categories=st.lists(st.integers(0, 6), min_size=1, max_size=5),
    level=st.integers(1, 5),
    dtype=st.sampled_from(["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"]),
    stride=st.sampled_from([1, 2, -1, -3]),
    offset=st.integers(0, 1),
    exponent=st.integers(-30, 60),
    support=st.integers(1, 4),
)
def test_any_layout_is_the_reference(
    seed, n, n_categories, level, dtype, stride, offset, exponent, support
):
    rng = np.random.default_rng(seed)
    low = 0 if dtype[0] == "u" else -1

    def laid_out(values):  # any stride, at an address that need not suit the type
        room = np.zeros(n * abs(stride) * values.itemsize + offset, np.uint8)
        out = room[offset:].view(values.dtype)[::stride][:n]
        out[:] = values
        return out

    codes = [
        laid_out(rng.integers(low, max(k, low + 1), n).astype(dtype)) if k or low else None
        for k in n_categories
    ]
    kept = [j for j, c in enumerate(codes) if c is not None]
    codes, sizes = (
        [codes[j] for j in kept] or [np.zeros(n, "u1")],
        [n_categories[j] for j in kept] or [1],
    )
    errors = laid_out(rng.random(n) * 2.0**exponent)
    options = {"max_level": level, "error_exponent": exponent, "min_support": support}
    assert_same_bits(
        counts_by(_cpu, errors, codes, sizes, **options),
        counts_by(reference, errors, codes, sizes, **options),
    )


@pytest.mark.threads
def test_no_thread_count_changes_a_bit(rng):
    n, n_categories = 100_000, (5, 40, 3, 900)
    codes = random_codes(rng, n, n_categories)
    for errors in ((rng.random(n) < 0.1).astype(np.uint8), rng.random(n)):
        one = counts_by(_cpu, errors, codes, n_categories)
        for threads in (2, 3, 8):
            assert_same_bits(one, counts_by(_cpu, errors, codes, n_categories, threads=threads))


def test_losses_and_flags_mix_in_blocks(rng):
    """Blocks of 0/1 errors are counted another way; the sums must not show it."""
    errors = (rng.random(5000) < 0.5).astype(np.float64)
    errors[2500] = 0.1
    codes = random_codes(rng, 5000, (4, 5))
    assert_same_bits(
        counts_by(_cpu, errors, codes, (4, 5)), counts_by(reference, errors, codes, (4, 5))
    )


# ---- second oracles ------------------------------------------------------------------------------------


@pytest.mark.parametrize("losses", [False, True])
def test_pandas_groupby(rng, losses):
    n = 4000
    frame = pd.DataFrame(
        {
            "a": rng.integers(0, 6, n),
            "b": rng.choice(["x", "y", None], n),
            "c": pd.Categorical(rng.choice(["p", "q", "r"], n)),
        }
    )
    errors = rng.random(n) * 5 if losses else rng.random(n) < 0.2
    table = dq.slice_errors(errors, frame, max_level=3)
    found = {row.predicate: row for row in table}
    frame["error"] = errors.astype(float)
    count = 0
    for level in (1, 2, 3):
        for names in itertools.combinations("abc", level):
            for key, group in frame.groupby(list(names), observed=True)["error"]:
                row = found[tuple(zip(names, key, strict=True))]
                assert (row.size, row.max_error) == (len(group), group.max())
                assert row.error_sum == pytest.approx(group.sum(), rel=1e-12)
                count += 1
    assert count == len(table)


def test_statistics_against_scipy(rng):
    n = 500
    kind = rng.integers(0, 6, n)
    errors = rng.random(n) < 0.1 + 0.1 * kind
    for row in dq.slice_errors(errors, {"kind": kind}, confidence=0.9):
        inside = kind == row.predicate[0][1]
        wrong = int(errors[inside].sum())
        ci = stats.binomtest(wrong, row.size).proportion_ci(0.9, "wilson")
        assert (row.low, row.high) == pytest.approx((ci.low, ci.high), rel=1e-12)
        p = stats.hypergeom.sf(wrong - 1, n, errors.sum(), row.size)
        assert row.p_value == pytest.approx(p, rel=1e-10)
        assert row.lift == pytest.approx(errors[inside].mean() / errors.mean())

    losses = rng.exponential(1 + kind)
    table = dq.slice_errors(losses, {"kind": kind})
    for row in table:
        inside = kind == row.predicate[0][1]
        test = stats.ttest_ind(
            losses[inside], losses[~inside], equal_var=False, alternative="greater"
        )
        assert row.p_value == pytest.approx(test.pvalue, rel=1e-9)
        assert row.low < row.error_rate < row.high
    np.testing.assert_allclose(table.q_value, stats.false_discovery_control(table.p_value))


# ---- golden cases ---------------------------------------------------------------------------------------


def test_half_of_the_motorcycles():
    kind = np.array(["car"] * 90_000 + ["motorcycle"] * 1000 + ["bus"] * 9000)
    errors = np.zeros(100_000, bool)
    errors[90_000:90_500] = True
    table = dq.slice_errors(errors, {"kind": kind})
    assert table.overall_error_rate == 0.005
    worst = table[0]
    assert worst.predicate == (("kind", "motorcycle"),)
    assert (worst.size, worst.error_sum, worst.error_rate, worst.lift) == (1000, 500, 0.5, 100)
    # SliceLine by hand: 0.6 (100 - 1) - 0.4 (100 - 1).
    assert worst.score == pytest.approx(0.6 * 99 - 0.4 * 99)
    assert worst.p_value < 1e-300
    assert [row.size for row in table] == [1000, 90_000, 9000]


def test_missing_codes_leave_a_slice_but_not_the_whole():
    errors = [1, 0, 1, 0]
    columns = {"a": [0, 0, -1, 1], "b": ["x", None, "x", "x"]}
    table = dq.slice_errors(errors, columns, max_level=2)
    sizes = {row.predicate: (row.size, row.error_sum) for row in table}
    assert sizes == {
        (("a", 0),): (2, 1),
        (("a", 1),): (1, 0),
        (("b", "x"),): (3, 2),
        (("a", 0), ("b", "x")): (1, 1),
        (("a", 1), ("b", "x")): (1, 0),
    }
    assert table.overall_error_rate == 0.5


def test_order_is_score_then_predicate():
    """All slices alike: prefixes first, then columns, then categories."""
    table = dq.slice_errors(
        [1, 0] * 4, {"b": [0, 0, 1, 1] * 2, "a": [0, 0, 0, 0, 1, 1, 1, 1]}, max_level=2
    )
    assert [row.predicate for row in table] == [
        (("b", 0),),
        (("b", 1),),
        (("a", 0),),
        (("a", 1),),
        (("b", 0), ("a", 0)),
        (("b", 0), ("a", 1)),
        (("b", 1), ("a", 0)),
        (("b", 1), ("a", 1)),
    ]


@pytest.mark.parametrize("errors", [np.ones(9, bool), np.zeros(9, bool), np.full(9, 0.3)])
def test_a_slice_that_is_the_whole(errors):
    row = dq.slice_errors(errors, {"a": ["one"] * 9})[0]
    assert (row.p_value, row.q_value, row.lift, row.score) == (1, 1, 1, 0)


def test_nothing_errs():
    for errors in (np.zeros(10, bool), np.zeros(10)):
        table = dq.slice_errors(errors, {"a": [0, 1] * 5})
        assert (table.lift == 1).all()
        assert (table.error_rate == 0).all()
        assert (table.p_value == 1).all()
        assert all(np.isfinite(getattr(table, name)).all() for name in FIELDS)


@pytest.mark.parametrize("errors", [[True], [1.0], [0.25], [0.0]])
def test_one_row(errors):
    table = dq.slice_errors(errors, {"a": ["x"], "b": [3]}, max_level=2)
    assert len(table) == 3
    assert all(np.isfinite(getattr(table, name)).all() for name in FIELDS)
    assert ((table.low < table.high) | (table.max_error == 0)).all()


def test_one_loss_is_no_narrow_interval():
    table = dq.slice_errors([0.5, 0.1, 0.9, 0.2], {"a": [0, 1, 1, 1]}, max_abs_error=2.0)
    lonely = next(row for row in table if row.size == 1)
    assert (lonely.low, lonely.high) == (0.0, 2.0)


def test_no_rows():
    table = dq.slice_errors([], {"a": []})
    assert len(table) == 0
    assert table.n == 0
    assert table.overall_error_rate == 0.0
    assert [getattr(table, name).dtype for name in FIELDS] == ["i8"] + ["f8"] * 9
    assert "0 slices" in repr(table)


def test_more_levels_than_columns():
    one = dq.slice_errors([1, 0, 0], {"a": [0, 1, 1]}, max_level=1)
    assert_same_table(one, dq.slice_errors([1, 0, 0], {"a": [0, 1, 1]}, max_level=7))


def test_min_support(rng):
    kind = np.repeat(np.arange(5), [10, 31, 32, 33, 894])
    errors = rng.random(1000) < 0.5

    def sizes(support):
        table = dq.slice_errors(errors, {"k": kind}, min_support=support)
        return sorted(table.size.tolist())

    assert sizes(32) == [32, 33, 894]
    assert sizes(None) == [32, 33, 894]  # max(32, ceil(1000 / 1000))
    assert sizes(1) == [10, 31, 32, 33, 894]
    table = dq.slice_errors(errors, {"k": kind}, min_support=32)
    np.testing.assert_array_equal(table.q_value, _stats.benjamini_hochberg(table.p_value))


def test_sums_are_rounded_once():
    """10^6 small losses beside a large one: a float64 sum would have drifted."""
    errors = np.full(100_001, 2.0**-40)
    errors[0] = 1.0
    row = dq.slice_errors(errors, {"a": np.zeros(100_001, int)})[0]
    assert row.error_sum == 1.0 + 100_000 * 2.0**-40


@pytest.mark.parametrize("losses", [False, True])
def test_whole_weights_are_as_many_rows(rng, losses):
    columns = {"a": rng.integers(0, 4, 300), "b": rng.integers(0, 3, 300)}
    errors = rng.random(300) * 4 if losses else rng.random(300) < 0.3
    weights = rng.integers(0, 4, 300)
    options = {"max_level": 2, "max_abs_error": 4.0 if losses else None}
    weighted = dq.slice_errors(errors, columns, weights=weights, **options)
    repeated = dq.slice_errors(
        np.repeat(errors, weights),
        {name: np.repeat(column, weights) for name, column in columns.items()},
        **options,
    )
    assert weighted.predicates == repeated.predicates
    assert weighted.weight.tolist() == repeated.size.tolist()
    for name in ("error_sum", "error_rate", "lift", "score"):
        np.testing.assert_allclose(getattr(weighted, name), getattr(repeated, name), rtol=1e-12)
    # Rows of unequal weight are worth fewer than their weights add up to.
    assert (weighted.high - weighted.low >= repeated.high - repeated.low).all()
    assert all(np.isfinite(getattr(weighted, name)).all() for name in FIELDS)
    equal = dq.slice_errors(errors, columns, weights=np.full(300, 0.25), **options)
    plain = dq.slice_errors(errors, columns, **options)
    for name in ("low", "high", "error_rate"):
        np.testing.assert_allclose(getattr(equal, name), getattr(plain, name), rtol=1e-10)
    assert_same_table(
        weighted,
        dq.slice_errors(errors, columns, weights=weights, backend="reference", **options),
    )


def test_slices_without_weight_are_left_out():
    table = dq.slice_errors([1, 0, 1], {"a": [0, 0, 1]}, weights=[0.5, 0.5, 0.0])
    assert [(r.predicate, r.error_rate) for r in table] == [((("a", 0),), 0.5)]
    assert len(dq.slice_errors([1, 0], {"a": [0, 1]}, weights=[0, 0])) == 0


def test_losses_without_a_bound(rng):
    """Student's interval; a single row tells nothing above, rows alike borrow the spread of the rest."""
    losses = np.concatenate([rng.exponential(size=40), [7.0], [3.0, 3.0]])
    kind = np.repeat([0, 1, 2], [40, 1, 2])
    rows = {
        r.predicate[0][1]: r for r in dq.slice_errors(losses, {"k": kind}, max_abs_error=np.inf)
    }
    expected = stats.t.interval(0.95, 39, losses[:40].mean(), stats.sem(losses[:40]))
    assert (rows[0].low, rows[0].high) == pytest.approx(expected, rel=1e-12)
    assert (rows[1].low, rows[1].high) == (0.0, np.inf)
    spread = losses[:41].std(ddof=1) / np.sqrt(2)
    assert rows[2].high == pytest.approx(3 + stats.t.ppf(0.975, 1) * spread, rel=1e-12)
    with pytest.raises(ValueError, match=r"errors.*row 1 is .*inf"):
        dq.slice_errors([0.0, np.inf], {"a": [0, 1]}, max_abs_error=np.inf)


def test_missing_as_a_category():
    columns = {"a": np.array([0, -1, -1], np.int8), "b": ["x", "y", None]}
    table = dq.slice_errors([1, 0, 1], columns, max_level=2, missing="category")
    sizes = {row.predicate: (row.size, row.error_sum) for row in table}
    assert sizes[("a", None),] == (2, 1)
    assert sizes[("b", None),] == (1, 1)
    assert sizes[("a", None), ("b", None)] == (1, 1)
    assert sum(size for p, (size, _) in sizes.items() if len(p) == 1) == 6
    assert "a=None" in repr(table)
    assert len(table.to_pandas()) == len(table.to_arrow()) == len(table.to_polars()) == len(table)


# ---- kinds of input ------------------------------------------------------------------------------------


def test_kinds_of_columns_agree(rng):
    words = rng.choice(["a", "b", "c"], 200)
    errors = rng.random(200) < 0.4
    expected = dq.slice_errors(errors, {"x": words})
    import polars
    import pyarrow

    for column in (
        words.tolist(),
        words.astype(object),
        pd.Series(words),
        pd.Series(words).astype("category"),
        pd.Categorical(words, categories=["c", "b", "unused", "a"]),
        polars.Series(words),
        polars.Series(words.tolist(), dtype=polars.Categorical),
        pyarrow.array(words.tolist()),
        pyarrow.array(words.tolist()).dictionary_encode(),
        pyarrow.chunked_array([words[:50].tolist(), words[50:].tolist()]),
    ):
        assert_same_table(expected, dq.slice_errors(errors, {"x": column}))
    for frame in (
        pd.DataFrame({"x": words}),
        polars.DataFrame({"x": words}),
        pyarrow.table({"x": words.tolist()}),
    ):
        assert_same_table(expected, dq.slice_errors(errors, frame))


def test_kinds_of_missing_agree():
    import polars
    import pyarrow

    errors = [1, 0, 1, 0]
    expected = dq.slice_errors(errors, {"x": [5, -1, 7, 5]})
    assert expected.predicates == ((("x", 5),), (("x", 7),))
    for column in (
        [5, None, 7, 5],
        [5, float("nan"), 7, 5],
        np.array([5, np.nan, 7, 5]),
        np.array([5, -1, 7, 5], ">i2"),
        pd.Series([5, None, 7, 5], dtype="Int64"),
        pd.Series([5, None, 7, 5]),
        polars.Series([5, None, 7, 5]),
        pyarrow.array([5, None, 7, 5]),
    ):
        assert_same_table(expected, dq.slice_errors(errors, {"x": column}))
    words = dq.slice_errors(errors, {"x": ["u", None, "v", "u"]})
    for column in (pd.Series(["u", None, "v", "u"]), np.array(["u", np.nan, "v", "u"], object)):
        assert_same_table(words, dq.slice_errors(errors, {"x": column}))


def test_integer_matrix_of_any_strides(rng):
    codes = rng.integers(-1, 5, (300, 3))
    errors = rng.random(300) < 0.3
    expected = dq.slice_errors(errors, codes, max_level=2)
    assert expected.column_names == ("0", "1", "2")
    wide = np.repeat(codes, 2, axis=1)
    for same in (np.asfortranarray(codes), wide[:, ::2], codes.astype(">i8"), codes.astype("i1")):
        assert_same_table(expected, dq.slice_errors(errors, same, max_level=2))


def test_large_numbers_and_bools_are_categories():
    numbers = [10**15, 7, 10**15, 70_000]
    table = dq.slice_errors([1, 0, 0, 0], {"n": numbers, "flag": [True, False, True, True]})
    assert {p[0] for p in table.predicates} == {
        ("n", 7),
        ("n", 70_000),
        ("n", 10**15),
        ("flag", False),
        ("flag", True),
    }
    assert all(type(p[0][1]) in (int, bool) for p in table.predicates)


def test_kinds_of_errors_agree(rng):
    flags = rng.random(50) < 0.5
    kind = {"k": rng.integers(0, 3, 50)}
    expected = dq.slice_errors(flags, kind)
    for same in (
        flags.tolist(),
        flags.astype(">i4"),
        flags.astype(np.uint64),
        flags.astype(np.float16),
        flags.astype(np.float64),
        pd.Series(flags),
        np.repeat(flags, 2)[::2],
    ):
        assert_same_table(expected, dq.slice_errors(same, kind))
    assert_same_table(expected, dq.slice_errors(flags, kind, backend="reference"))


def test_inputs_are_only_read(rng):
    codes, errors = rng.integers(0, 4, (100, 2)), rng.random(100)
    codes.flags.writeable = errors.flags.writeable = False
    dq.slice_errors(errors, codes, max_level=2)


# ---- the table -----------------------------------------------------------------------------------------


def test_table_as_sequence_and_frames(rng):
    table = dq.slice_errors(
        rng.random(60), {"a": rng.integers(0, 3, 60), "b": ["x", "y"] * 30}, max_level=2
    )
    assert len(list(table)) == len(table) == 3 + 2 + 6
    assert table[-1] == list(table)[-1]
    assert table[2:4].predicates == table.predicates[2:4]
    assert len(table[table.size > 15]) == (table.size > 15).sum()
    with pytest.raises(IndexError, match="out of range"):
        table[len(table)]
    with pytest.raises(TypeError, match="whole number"):
        table[True]
    frame = table.to_pandas()
    assert frame.columns.tolist() == ["slice", "predicates", *FIELDS]
    assert frame["predicates"].tolist() == list(table.predicates)
    assert frame["score"].tolist() == table.score.tolist()
    arrow, polars = table.to_arrow(), table.to_polars()
    assert arrow.column_names == polars.columns == frame.columns.tolist()
    assert polars["slice"].to_list() == arrow["slice"].to_pylist() == frame["slice"].tolist()
    assert arrow["predicates"].to_pylist() == polars["predicates"].to_list()
    empty = dq.slice_errors([], {"a": []})
    assert len(empty.to_pandas()) == len(empty.to_arrow()) == len(empty.to_polars()) == 0
    assert pickle.loads(pickle.dumps(table)).predicates == table.predicates


def test_repr_escapes_what_a_terminal_would_obey():
    hostile = "\x1b[31mred\n\u202egnp.exe"
    text = repr(dq.slice_errors([1, 0], {"name\t": [hostile, "plain"]}))
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "\\x1b[31mred\\n\\u202egnp.exe" in text
    assert "plain" in text


# ---- the state ------------------------------------------------------------------------------------------

SPEC = {"a": 4, "b": ["x", "y"], "c": 3}


def rows(seed, n, losses):
    rng = np.random.default_rng(seed)
    columns = {
        "a": rng.integers(-1, 4, n),
        "b": rng.choice(np.array(["x", "y", None], object), n),
        "c": rng.integers(0, 3, n).astype(np.uint8),
    }
    errors = rng.random(n) if losses else rng.random(n) < 0.4
    return errors, columns


def part(errors, columns, chosen):
    return errors[chosen], {name: column[chosen] for name, column in columns.items()}


@settings(deadline=None, max_examples=examples(60))
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(0, 50),
    losses=st.booleans(),
    owners=st.lists(st.integers(0, 4), min_size=50, max_size=50),
    order=st.permutations(range(5)),
    level=st.integers(1, 3),
)
def test_any_split_and_order_gives_the_same_bytes(seed, n, losses, owners, order, level):
    errors, columns = rows(seed, n, losses)
    whole = dq.SliceState(SPEC, max_level=level)
    whole.update(errors, columns)
    owners = np.array(owners[:n], int)
    parts = [dq.SliceState(SPEC, max_level=level) for _ in range(5)]
    for owner in order:
        parts[owner].update(*part(errors, columns, owners == owner), threads=1)
    merged = parts[order[0]]
    for owner in order[1:]:
        merged.merge(dq.SliceState.from_bytes(parts[owner].to_bytes()))
    assert merged.to_bytes() == whole.to_bytes()
    assert merged.n == n
    assert_same_table(
        merged.finish(), dq.slice_errors(errors, columns, max_level=level, max_abs_error=1.0)
    )


def test_update_in_parts_keeps_hash_tables_in_step(rng):
    spec = {"a": 2**31 - 2, "b": 2**31 - 2}
    codes = {name: rng.integers(0, 60_000, 500) for name in spec}
    errors = rng.random(500)
    whole = dq.SliceState(spec, max_level=2)
    whole.update(errors, codes)
    for order in ([0, 1, 2], [2, 0, 1]):
        state = dq.SliceState(spec, max_level=2)
        for third in order:
            state.update(*part(errors, codes, slice(third * 167, third * 167 + 167)))
        assert state.to_bytes() == whole.to_bytes()
    assert len(whole.finish()) == len(dq.slice_errors(errors, codes, max_level=2))


@pytest.mark.threads
def test_update_on_threads_gives_the_same_bytes():
    errors, columns = rows(5, 70_000, losses=True)
    states = []
    for threads in (1, 2, 3, 8):
        states.append(dq.SliceState(SPEC, max_level=2))
        states[-1].update(errors, columns, threads=threads)
        states[-1].update(errors, columns, threads=threads)
    assert len({state.to_bytes() for state in states}) == 1


def test_merge_with_itself_doubles():
    state = dq.SliceState(SPEC)
    state.update(*rows(1, 30, losses=True))
    once = state.finish()
    state.merge(state)
    assert state.finish().size.sum() == 2 * once.size.sum()
    assert pickle.loads(pickle.dumps(state)).to_bytes() == state.to_bytes()


@pytest.mark.parametrize(
    ("other", "what"),
    [
        (dq.SliceState({"a": 4, "b": ["x", "z"], "c": 3}), "columns_spec"),
        (dq.SliceState({"a": 4, "b": ["x", "y"], "d": 3}), "columns_spec"),
        (dq.SliceState({"a": 5, "b": ["x", "y"], "c": 3}), "columns_spec"),
        (dq.SliceState(SPEC, max_level=2), "max_level"),
        (dq.SliceState(SPEC, max_abs_error=2.0), "max_abs_error"),
        (dq.SliceState(SPEC, max_abs_error=0.75), "max_abs_error"),
    ],
)
def test_other_parameters_do_not_merge(other, what):
    with pytest.raises(ValueError, match=f"states differ in {what}"):
        dq.SliceState(SPEC).merge(other)


def test_a_refused_update_leaves_the_state_as_it_was():
    state = dq.SliceState(SPEC, max_abs_error=1.0)
    errors, columns = rows(2, 40, losses=True)
    state.update(errors, columns)
    before = state.to_bytes()
    bad = columns | {"a": np.where(np.arange(40) == 33, 4, 0)}
    with pytest.raises(ValueError, match=r"columns\['a'\].*row 33 is .*4"):
        state.update(errors, bad)
    with pytest.raises(ValueError, match=r"row 7 is .*1\.5"):
        state.update(np.where(np.arange(40) == 7, 1.5, errors), columns)
    with pytest.raises(
        ValueError, match=r"columns\['b'\].*known categories.*row 3 is 'w' \(2 such"
    ):
        state.update(errors, columns | {"b": ["x", "y", "x", "w"] + ["w"] + ["x"] * 35})
    with pytest.raises(ValueError, match="those of the spec"):
        state.update(errors, {"a": columns["a"]})
    # Below the checks: the kernel reads the codes once and refuses what is not one.
    codes = [np.where(np.arange(40) == 39, 9, 0), np.zeros(40, int), np.zeros(40, int)]
    with pytest.raises(ValueError, match="row 39, column 0"):
        state._native.update(errors, codes, threads=1, progress=None)
    assert state.to_bytes() == before


def sealed(payload):
    """`payload` as a state with a right header and checksum."""
    body = b"DQST" + struct.pack("<IIQ", 1, 4, len(payload)) + payload
    return body + struct.pack("<I", zlib.crc32(body))


def test_damaged_bytes_are_refused():
    state = dq.SliceState({"a": 3})
    state.update([0.5, 1.0, 0.0], {"a": [0, 1, -1]})
    data = state.to_bytes()
    for i in range(len(data)):
        with pytest.raises(ValueError, match="does not hold a state"):
            dq.SliceState.from_bytes(data[:i])
        with pytest.raises(ValueError, match="does not hold a state"):
            dq.SliceState.from_bytes(data[:i] + bytes([data[i] ^ 0x41]) + data[i + 1 :])
    with pytest.raises(TypeError, match="must be bytes"):
        dq.SliceState.from_bytes("text")


def test_hostile_bytes_with_a_right_checksum_are_refused():
    """Every byte and every 8-byte number of the payload replaced: an error or a state, no more."""
    state = dq.SliceState({"a": 3, "b": 2}, max_level=2)
    state.update([0.5, 1.0, 0.0], {"a": [0, 1, -1], "b": [0, 1, 1]})
    payload = state.to_bytes()[20:-4]
    read = 0
    for i in range(len(payload) - 7):
        for number in (0, 1, 2**31, 2**40, 2**63 - 1, 2**64 - 1):
            bad = sealed(payload[:i] + struct.pack("<Q", number) + payload[i + 8 :])
            try:
                dq.SliceState.from_bytes(bad).finish()
                read += 1
            except ValueError:
                pass
    assert 0 < read < 6 * (len(payload) - 7)
    assert dq.SliceState.from_bytes(sealed(payload)).to_bytes() == state.to_bytes()


def test_description_that_contradicts_is_refused():
    native = _cpu.SliceState(
        [3],
        max_level=1,
        error_exponent=0,
        description=json.dumps({"columns": [["a", 4]], "most": (1.0).hex()}),
    )
    with pytest.raises(ValueError, match="contradicts"):
        dq.SliceState.from_bytes(native.to_bytes())
    for text in (
        "",
        "[]",
        "{}",
        '{"columns": [1], "most": "x"}',
        '{"columns": 3, "most": "0x1p+0"}',
    ):
        native = _cpu.SliceState([3], max_level=1, error_exponent=0, description=text)
        with pytest.raises(ValueError, match="does not hold a state"):
            dq.SliceState.from_bytes(native.to_bytes())


# ---- bad input ------------------------------------------------------------------------------------------

A = {"a": [0, 1, 0]}


@pytest.mark.parametrize(
    ("errors", "columns", "options", "error", "message"),
    [
        ([0, 2, 1], A, {}, ValueError, r"errors must be .*row 1 is .*2.*1 such entry"),
        ([0, -1, -1], A, {}, ValueError, r"errors.*row 1 is .*-1.*2 such entries"),
        ([0.0, 0.5, np.nan], A, {}, ValueError, r"errors.*row 2 is .*nan"),
        ([0.0, np.inf, 0.5], A, {}, ValueError, r"errors.*row 1 is .*inf"),
        ([-0.1, 0.5, 0.5], A, {}, ValueError, r"errors.*row 0 is .*-0\.1"),
        ([0.0, 0.5, 1e300], A, {}, ValueError, r"errors.*row 2"),
        ([0.0, 3.0, 0.5], A, {"max_abs_error": 2.0}, ValueError, r"max_abs_error = 2\.0: row 1"),
        ([0, 1, 0], A, {"max_abs_error": 0.5}, ValueError, r"max_abs_error = 0\.5: row 1"),
        (["0", "1", "0"], A, {}, TypeError, "errors must be .*dtype"),
        ([0, 1, None], A, {}, TypeError, "errors must be .*object"),
        ([0, 1j, 0], A, {}, TypeError, "errors must be .*complex"),
        (None, A, {}, TypeError, "errors must be"),
        (3, A, {}, TypeError, "errors must be"),
        ([[0], [1], [0]], A, {}, ValueError, r"shape \(3, 1\); pass errors\.ravel"),
        (np.ma.array([0, 1, 0], mask=[0, 1, 0]), A, {}, TypeError, "masked"),
        ([0, 1], A, {}, ValueError, r"errors has 2 rows but columns\['a'\] has 3"),
        ([0, 1, 0], {"a": [0, 1, 0], "b": [0, 1]}, {}, ValueError, r"columns\['b'\] has 2 rows"),
        ([0, 1, 0], {}, {}, ValueError, "at least one column"),
        ([0, 1, 0], np.zeros((3, 0), int), {}, ValueError, "at least one column"),
        ([0, 1, 0], np.zeros((3, 2)), {}, TypeError, "dtype float64"),
        ([0, 1, 0], [0, 1, 0], {}, ValueError, r"got shape \(3,\)"),
        ([0, 1, 0], None, {}, TypeError, "columns must be a mapping"),
        ([0, 1, 0], {1: [0, 1, 0]}, {}, TypeError, "strings for names, got 1"),
        ([0, 1, 0], {"a": [0, -2, -3]}, {}, ValueError, r"columns\['a'\].*row 1 is .*-2.*2 such"),
        ([0, 1, 0], {"a": np.array([0, 1, -7])}, {}, ValueError, r"columns\['a'\].*row 2 is .*-7"),
        ([0, 1, 0], {"a": [0.0, 0.5, 1.0]}, {}, TypeError, r"row 0 is 0\.0"),
        ([0, 1, 0], {"a": np.array([0, 0.5, 1])}, {}, ValueError, r"row 1 is .*0\.5"),
        ([0, 1, 0], {"a": np.array([0, np.inf, 1])}, {}, ValueError, "row 1 is .*inf"),
        ([0, 1, 0], {"a": ["x", 3, "y"]}, {}, TypeError, "row 1 is 3 .int. but row 0 'x', mixed"),
        ([0, 1, 0], {"a": [True, 1, 0]}, {}, TypeError, "mixed"),
        ([0, 1, 0], {"a": [{}, [], "y"]}, {}, (TypeError, ValueError), r"columns\['a'\]"),
        ([0, 1, 0], {"a": [b"x", b"y", b"z"]}, {}, TypeError, "row 0 is b'x'"),
        ([0, 1, 0], {"a": np.array(["2020", "2021", "2022"], "M8[Y]")}, {}, TypeError, "astype"),
        ([0, 1, 0], {"a": [0, 2**63, 1]}, {}, ValueError, "2\\^63"),
        ([0, 1, 0], {"a": "xyz"}, {}, TypeError, r"columns\['a'\]"),
        ([0, 1, 0], {"a": [[0], [1], [0]]}, {}, TypeError, r"row 0 is \[0\] .list"),
        ([0, 1, 0], A, {"max_level": 0}, ValueError, "max_level must be at least 1"),
        ([0, 1, 0], A, {"max_level": 2.0}, TypeError, "max_level must be a whole"),
        ([0, 1, 0], A, {"max_level": True}, TypeError, "max_level must be a whole"),
        ([0, 1, 0], A, {"min_support": 0}, ValueError, "min_support must be"),
        ([0, 1, 0], A, {"min_support": 1.5}, TypeError, "min_support must be"),
        ([0, 1, 0], A, {"confidence": 1.0}, ValueError, "confidence must be above 0 and below 1"),
        ([0, 1, 0], A, {"confidence": "x"}, TypeError, "confidence must be"),
        ([0, 1, 0], A, {"max_abs_error": 0.0}, ValueError, "max_abs_error must be"),
        ([0, 1, 0], A, {"max_abs_error": np.nan}, ValueError, "max_abs_error must be"),
        ([0, 1, 0], A, {"threads": -1}, ValueError, "threads must be"),
        ([0, 1, 0], A, {"progress": 3}, TypeError, "progress must be"),
        ([0, 1, 0], A, {"backend": "gpu"}, ValueError, "backend must be"),
    ],
)
def test_bad_input_is_named(errors, columns, options, error, message):
    with pytest.raises(error, match=message):
        dq.slice_errors(errors, columns, **options)


def test_frames_with_one_name_twice():
    frame = pd.DataFrame(np.zeros((3, 2), int), columns=["a", "a"])
    with pytest.raises(ValueError, match="two columns named 'a'"):
        dq.slice_errors([0, 1, 0], frame)


def test_crossings_beyond_reach_are_refused():
    with pytest.raises(ValueError, match="crossings of columns"):
        dq.slice_errors([0], np.zeros((1, 100), int), max_level=6)
    spec = {str(i): 2**31 - 2 for i in range(5)}
    with pytest.raises(ValueError, match="2\\^128 cells or more; lower max_level"):
        dq.SliceState(spec, max_level=5)
    with pytest.raises(ValueError, match="2\\^128"):
        _cpu.SliceState([2**31 - 2] * 5, max_level=5, error_exponent=0, description="")
    assert len(dq.SliceState(spec, max_level=4).finish()) == 0


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ({}, TypeError, "columns_spec must map"),
        (["a"], TypeError, "columns_spec must map"),
        ({1: 2}, TypeError, "strings for names"),
        ({"a": -1}, ValueError, r"columns_spec\['a'\] must be"),
        ({"a": 2**31}, ValueError, r"columns_spec\['a'\] must be"),
        ({"a": ["x", "y", "x"]}, ValueError, "names category 'x' twice"),
        ({"a": ["x", None]}, ValueError, "missing category"),
        ({"a": ["x", 1]}, TypeError, "mixed"),
    ],
)
def test_bad_spec_is_named(spec, error, message):
    with pytest.raises(error, match=message):
        dq.SliceState(spec)


@pytest.mark.parametrize("dtype", ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"])
def test_kernel_refuses_codes_out_of_range(dtype):
    """Whatever another thread writes there, no code reaches a table unchecked."""
    info = np.iinfo(dtype)
    for bad in {3, info.max, info.min} - {0}:
        codes = np.zeros(2000, dtype)
        codes[1500] = bad
        with pytest.raises(ValueError, match="row 1500, column 0"):
            counts_by(_cpu, np.zeros(2000, np.uint8), [codes], [3])


def test_kernel_refuses_other_types():
    codes = [np.zeros(3, np.int32)]
    for errors in (
        np.zeros(3, np.float32),
        np.zeros(3, np.int64),
        np.zeros((3, 1)),
        np.zeros(3, ">f8"),
    ):
        with pytest.raises(TypeError):
            counts_by(_cpu, errors, codes, [1])
    for bad in (np.zeros(3), np.zeros(3, bool), np.zeros(3, ">i4"), np.zeros((3, 1), int)):
        with pytest.raises(TypeError):
            counts_by(_cpu, np.zeros(3), [bad], [1])
    with pytest.raises(ValueError, match="length"):
        counts_by(_cpu, np.zeros(4), codes, [1])
    with pytest.raises(ValueError, match="as many"):
        counts_by(_cpu, np.zeros(3), codes, [1, 1])
    for value in (-1.0, 1.5, np.nan, np.inf):
        with pytest.raises(ValueError, match="row 1 is"):
            counts_by(_cpu, np.array([0, value, 0]), codes, [1])
    with pytest.raises(ValueError, match="row 2 is 2"):
        counts_by(_cpu, np.array([0, 1, 2], np.uint8), codes, [1])


def test_progress_and_its_exceptions(rng):
    seen = []
    codes = rng.integers(0, 9, (300_000, 6))

    def report(stage, done, total):
        seen.append((stage, done, total))
        raise RuntimeError("stop here")

    try:
        dq.slice_errors(rng.random(300_000), codes, max_level=3, progress=report)
    except RuntimeError as error:
        assert str(error) == "stop here"  # noqa: PT017 - a fast machine may end before a tick
    assert all(stage == "slices" for stage, _, _ in seen)
