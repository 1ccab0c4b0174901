"""Slices within a memory limit: the bytes of those in memory, for any source, and clear errors where that cannot be."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import dqcore as dq
import numpy as np
import pytest
from conftest import SANITIZED
from dqcore import slice_passes

N = 3000


def same(got, expected):
    for field in dataclasses.fields(dq.SliceTable):
        one, other = getattr(got, field.name), getattr(expected, field.name)
        if isinstance(other, np.ndarray):
            assert (one.dtype, one.tobytes()) == (other.dtype, other.tobytes()), field.name
        else:
            assert one == other, field.name


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr("dqcore.passes._BLOCK_BYTES", 1 << 15)


@pytest.fixture
def columns(rng):
    large = rng.integers(-1, 40, N) * 3001
    halves = rng.integers(0, 7, N).astype(np.float32)
    halves[rng.random(N) < 0.1] = np.nan
    return {
        "codes": rng.integers(-1, 5, N),
        "bytes": rng.integers(0, 3, N).astype(np.uint8),
        "large": np.where(large < 0, -1, large),
        "floats": halves,
        "bools": rng.random(N) < 0.5,
        "text": rng.choice(["a", "b", "c"], N),
    }


def saved(folder, columns):
    """Return columns of numbers as paths; and text in a Parquet file."""
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    paths = {}
    for name, values in columns.items():
        if values.dtype.kind == "U":
            parquet.write_table(pyarrow.table({name: values.tolist()}), folder / f"{name}.parquet")
            paths[name] = f"{folder}/{name}.parquet:{name}"
        else:
            np.save(folder / f"{name}.npy", values)
            paths[name] = folder / f"{name}.npy"
    return paths


@pytest.mark.parametrize("kind", [bool, np.int64, np.float16, np.float64])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_same_bytes_for_any_source_limit_and_threads(tmp_path, rng, columns, kind, weighted):
    errors = rng.random(N) * (3 if kind is np.float64 else 1)
    errors = (errors < 0.2).astype(kind) if kind in (bool, np.int64) else errors.astype(kind)
    np.save(tmp_path / "errors.npy", errors)
    weights = rng.random(N) * 5 if weighted else None
    paths = saved(tmp_path, columns)
    for level, missing in ((1, "leave_out"), (3, "category")):
        run = {"max_level": level, "missing": missing, "weights": weights, "min_support": 3}
        expected = dq.slice_errors(errors, columns, **run)
        for limit, threads in (("12MB", 1), ("30MB", 2), ("1GB", 3)):
            for e, c in ((tmp_path / "errors.npy", paths), (errors, columns)):
                same(dq.slice_errors(e, c, memory_limit=limit, threads=threads, **run), expected)


def test_matrices_frames_and_odd_layouts(tmp_path, rng, columns):
    pandas = pytest.importorskip("pandas")
    errors = rng.random(N) < 0.1
    matrix = rng.integers(-1, 4, (N, 3)).astype(np.int16)
    np.save(tmp_path / "rows.npy", matrix)
    np.save(tmp_path / "columns.npy", np.asfortranarray(matrix))
    expected = dq.slice_errors(errors, matrix, max_level=2)
    swapped = matrix.astype(">i4")
    for given in (
        matrix,
        tmp_path / "rows.npy",
        tmp_path / "columns.npy",
        swapped,
        matrix[::-1][::-1],
    ):
        same(dq.slice_errors(errors, given, max_level=2, memory_limit="4MB"), expected)
    frame = pandas.DataFrame({**columns, "kind": pandas.Categorical(columns["text"])})
    for given in (frame, {"text": columns["text"].tolist()}, {"kind": frame["kind"]}):
        same(dq.slice_errors(errors, given, memory_limit="8MB"), dq.slice_errors(errors, given))
    none = {"a": np.zeros(0, np.int64)}
    same(dq.slice_errors(np.zeros(0), none, memory_limit="4MB"), dq.slice_errors(np.zeros(0), none))


@pytest.mark.threads
def test_crossings_of_which_only_the_cells_that_occur_are_held(rng, monkeypatch):
    """Columns of many categories: tables that grow, by one worker where several have no room."""
    monkeypatch.setattr(slice_passes, "_LEAST_HASH_BYTES", 1)
    errors = rng.random(N)
    wide = {name: rng.integers(0, 2500, N) for name in "abc"}
    expected = dq.slice_errors(errors, wide, max_level=2)
    for threads in (1, 3):
        for limit in ("24MB", "200MB"):
            got = dq.slice_errors(errors, wide, max_level=2, memory_limit=limit, threads=threads)
            same(got, expected)
    with pytest.raises(ValueError, match="memory_limit has no room for the crossings"):
        dq.slice_errors(errors, wide, max_level=2, memory_limit="3MB")
    with pytest.raises(ValueError, match="memory_limit has no room for the slices"):
        dq.slice_errors(errors, wide, max_level=2, memory_limit="6MB")
    few = dq.slice_errors(errors, wide, max_level=2, min_support=4, memory_limit="6MB")
    same(few, dq.slice_errors(errors, wide, max_level=2, min_support=4))


def test_a_state_counts_in_place_what_it_counts_by_parts(rng):
    from dqcore import _cpu

    codes = [rng.integers(-1, 5, N), rng.integers(-1, 2500, N), rng.integers(-1, 2500, N)]
    errors = np.where(np.arange(N) < 2000, (rng.random(N) < 0.5).astype(float), rng.random(N))
    for cells in ({}, {"wide_cells": 1}, {"wide_cells": 1, "all_cells": 1}):
        make = {"max_level": 2, "error_exponent": 0, "description": "", **cells}
        whole, parts = (_cpu.SliceState([5, 2500, 2500], **make) for _ in range(2))
        whole.update(errors, codes, threads=1, progress=None)
        for begin in range(0, N, 700):
            at = slice(begin, begin + 700)
            assert parts.add(errors[at], [c[at] for c in codes], most_bytes=2**40)
        assert parts.to_bytes() == whole.to_bytes()

        assert parts.held_bytes >= parts.dense_bytes(True) or parts.hash_tables
        if parts.hash_tables:
            assert not parts.add(errors, codes, most_bytes=1)


def test_bad_values_are_named_as_in_memory(tmp_path, rng):
    good = rng.integers(0, 4, N)

    def at(values, row, bad):
        changed = values.copy()
        changed[[row, row + 900]] = bad
        return changed

    cases = [
        (good == 1, {"a": good, "b": at(good, 1500, -2)}),
        (good == 1, {"a": at(good.astype(float), 7, 0.5)}),
        (good == 1, {"a": at(good.astype(float), 7, np.inf)}),
        (at(good * 0, 2000, 2), {"a": good}),
        (at(good * 0.0, 1999, np.nan), {"a": good}),
        (at(good * 0.0, 1999, -1.0), {"a": good}),
        (good == 1, {"a": good[:-1]}),
    ]
    for number, (errors, columns) in enumerate(cases):
        np.save(tmp_path / "e.npy", errors)
        paths = {}
        for name, values in columns.items():
            paths[name] = tmp_path / f"{name}{number}.npy"
            np.save(paths[name], values)
        for e, c in ((errors, columns), (tmp_path / "e.npy", paths)):
            with pytest.raises(ValueError) as in_memory:  # noqa: PT011 - compared
                dq.slice_errors(errors, columns)
            with pytest.raises(ValueError) as in_blocks:  # noqa: PT011
                dq.slice_errors(e, c, memory_limit="8MB", threads=3)
            if number < len(cases) - 1:
                assert str(in_blocks.value) == str(in_memory.value)
    bad = good * 0.25
    bad[5] = 2.5
    with pytest.raises(ValueError, match=r"max_abs_error = 2.0: row 5 is .*2\.5\)? \(1 such"):
        dq.slice_errors(bad, {"a": good}, max_abs_error=2.0, memory_limit="8MB")


def test_what_cannot_be(tmp_path, rng):
    errors, codes = rng.random(N) < 0.1, rng.integers(0, 3, N)
    with pytest.raises(
        ValueError, match=r"memory_limit must be at least \d+ bytes for 1 columns"
    ) as e:
        dq.slice_errors(errors, {"a": codes}, memory_limit="100kB")
    least = int(str(e.value).split("at least ")[1].split()[0])
    same(
        dq.slice_errors(errors, {"a": codes}, memory_limit=least),
        dq.slice_errors(errors, {"a": codes}),
    )
    many = np.arange(20_000) * 70_000
    with pytest.raises(ValueError, match=r"distinct values of columns\['a'\]"):
        dq.slice_errors(many == 0, {"a": many}, memory_limit=least + 150_000)
    text = ["some text"] * 20_000
    with pytest.raises(ValueError, match=r"memory_limit must be .* to encode columns\['a'\]"):
        dq.slice_errors(np.zeros(20_000), {"a": text}, memory_limit="4MB")
    with pytest.raises(ValueError, match="memory_limit needs backend='cpu'"):
        dq.slice_errors(errors, {"a": codes}, memory_limit="1GB", backend="reference")
    np.save(tmp_path / "a.npy", codes.astype(float).reshape(-1, 1))
    with pytest.raises(TypeError, match="columns must be"):
        dq.slice_errors(errors, tmp_path / "a.npy", memory_limit="1GB")


def test_a_file_that_changes_is_an_error_that_names_it(tmp_path, rng):
    path = tmp_path / "a.npy"
    np.save(path, rng.integers(0, 3, N))

    def change(stage, *_):
        if stage == "categories":
            os.utime(path, ns=(1, 1))

    with pytest.raises(dq.SourceChangedError, match=r"a\.npy"):
        dq.slice_errors(rng.random(N), {"a": path}, memory_limit="8MB", progress=change)


_HELD = """
import json, sys
import dqcore as dq
def peak():
    return next(int(l.split()[1]) * 1024 for l in open("/proc/self/status") if l.startswith("VmHWM"))
folder, limit = sys.argv[1:]
columns = {name: f"{folder}/{name}.npy" for name in "abcd"}
table = dq.slice_errors(f"{folder}/e.npy", columns, max_level=2, memory_limit=None if limit == "none" else limit)
print(json.dumps([peak(), len(table)]))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's /proc")
@pytest.mark.skipif(SANITIZED, reason="a sanitizer holds memory of its own")
def test_the_peak_holds_the_limit(tmp_path, rng):
    """As the system counts it, in a process of its own: Python and its libraries are within the 64 MB."""
    n = 2_500_000
    np.save(tmp_path / "e.npy", rng.random(n).astype(np.float32))
    for name, most in (("a", 4), ("b", 300), ("c", 7), ("d", 50)):
        np.save(tmp_path / f"{name}.npy", rng.integers(0, most, n))

    def held(limit):
        command = [sys.executable, "-c", _HELD, str(tmp_path), limit]
        return json.loads(
            subprocess.run(command, check=True, capture_output=True, text=True).stdout
        )

    most, slices = held("32MB")
    assert most < 32_000_000 + 64_000_000 + 150 * slices
    assert held("none")[0] > 140_000_000
