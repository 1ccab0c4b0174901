"""Speed of find_slices against sliceline, its growth with rows and columns, and what both find in real tables.

DQCORE_DATA=folder python bench/bench_find_slices.py [compare] [large] [growth] [worst]

The scores of both are compared first. sliceline is given the same rows, support, alpha and level; where it is not
installed its columns stay empty.
"""

from __future__ import annotations

import importlib.util
import resource
import sys
import time
import warnings

import dqcore as dq
import numpy as np
from data import folder
from timing import median_seconds

LEVEL, ALPHA, BEST = 3, 0.95, 10


def load(name: str) -> dict[str, np.ndarray]:
    """Return the arrays of a data set."""
    with np.load(folder() / f"{name}.npz", allow_pickle=False) as data:
        return dict(data)


def by_sliceline(
    codes: np.ndarray, errors: np.ndarray, support: int, k: int = BEST
) -> tuple[float, list[tuple[float, int, tuple]]]:
    """Return the seconds sliceline takes, and (score, size, ((column, code), ...)) of its slices."""
    from sliceline.slicefinder import Slicefinder

    x, e = codes.astype(np.int64) + 1, errors.astype(float)  # its own codes start from 1
    finder = Slicefinder(alpha=ALPHA, k=k, max_l=LEVEL, min_sup=support, verbose=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        started = time.perf_counter()
        finder.fit(x, e)
        took = time.perf_counter() - started
    found = [
        (
            told["slice_score"],
            int(told["slice_size"]),
            tuple((j, int(v) - 1) for j, v in enumerate(row) if v is not None),
        )
        for row, told in zip(finder.top_slices_, finder.top_slices_statistics_, strict=True)
    ]
    return took, found


def search(codes: np.ndarray, errors: np.ndarray, support: int, **options: object) -> dq.SliceTable:
    """Find the worst slices of an (n, m) array of codes."""
    options = {"k": BEST, "alpha": ALPHA, "max_level": LEVEL} | options
    return dq.find_slices(errors, codes, min_support=support, **options)


def levels(table: dq.SliceTable) -> str:
    """Tell what became of the candidates of each level."""
    return "; ".join(
        f"level {at.level}: {at.candidates:,} candidates, {at.evaluated:,} counted, "
        f"{at.settled:,} settled by their errors, {at.kept:,} kept"
        for at in table.search.levels
    )


def compare() -> None:
    """100,000 rows of 8 columns, next to sliceline."""
    d = load("census_kdd")
    codes = np.ascontiguousarray(d["codes"][:100_000, :8])
    for kind in ("0/1", "loss"):
        errors = (d["error"] if kind == "0/1" else d["logloss"].astype(float))[:100_000]
        for support in (1000, 100):
            table = search(codes, errors, support)
            assert table.search.complete
            took = median_seconds(lambda e=errors, s=support: search(codes, e, s), 9)
            print(
                f"\ncensus_kdd, 100,000 rows, 8 columns, {kind}, support {support}: {1e3 * took:.1f} ms"
            )
            print(f"  {levels(table)}")
            if importlib.util.find_spec("sliceline") is None:
                continue
            seconds, found = by_sliceline(codes, errors, support)
            theirs = sorted((score for score, _, _ in found), reverse=True)[:BEST]
            np.testing.assert_allclose(table.score, theirs, rtol=1e-9)
            print(f"  sliceline {seconds:.2f} s: {seconds / took:,.0f}x; the same scores")


def large() -> None:
    """5,000,000 rows of 20 columns, and the memory that takes."""
    d = load("census_kdd")
    rows = np.resize(np.arange(len(d["error"])), 5_000_000)
    codes, errors = d["codes"][rows, :20], d["error"][rows]
    losses = d["logloss"][rows].astype(float)
    for kind, values in (("0/1", errors), ("loss", losses)):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        started = time.perf_counter()
        table = search(codes, values, 50_000)
        took = time.perf_counter() - started
        more = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert table.search.complete
        print(
            f"\n5,000,000 rows, 20 columns, {kind}: {took:.2f} s, {more / 1024:,.0f} MB more than before"
        )
        print(f"  {levels(table)}")


def growth() -> None:
    """How the time grows with rows and with columns, at a support of one row in a hundred."""
    d = load("census_kdd")
    for n, m in (
        (100_000, 20),
        (299_285, 20),
        (1_000_000, 20),
        (299_285, 5),
        (299_285, 10),
        (299_285, 40),
    ):
        rows = np.resize(np.arange(len(d["error"])), n)
        codes, errors = np.ascontiguousarray(d["codes"][rows, :m]), d["error"][rows]
        took = median_seconds(lambda c=codes, e=errors, s=n // 100: search(c, e, s), 3)
        table = search(codes, errors, n // 100)
        print(f"{n:>9,} rows {m:>3} columns {1e3 * took:9.1f} ms  {levels(table)}")


def worst() -> None:
    """Print the worst slices of each table, with intervals, next to those of sliceline."""
    for name in ("adult", "compas", "census_kdd"):
        d = load(name)
        n = len(d["error"])
        codes, errors, support = d["codes"][:, :12], d["error"], max(32, n // 100)
        names = d["column_names"][:12].tolist()
        columns = {c: codes[:, j] for j, c in enumerate(names)}
        table = dq.find_slices(
            errors, columns, k=5, alpha=ALPHA, max_level=LEVEL, min_support=support
        )
        print(
            f"\n{name}: {n:,} rows, 12 columns, error {table.overall_error_rate:.4f}, support {support}"
        )
        for row, same in zip(table, table.redundant, strict=True):
            predicate = tuple((names.index(c), v) for c, v in row.predicate)
            print(
                f"  {row.score:7.4f} {row.size:7,} {row.error_rate:.3f} [{row.low:.3f}, {row.high:.3f}] "
                f"{'as a parent ' if same else ''}{predicate}"
            )
        if importlib.util.find_spec("sliceline") is None or n > 100_000:
            continue
        seconds, found = by_sliceline(codes, errors, support, 5)
        print(f"  sliceline, {seconds:.1f} s:")
        for score, size, predicate in found:
            print(f"  {score:7.4f} {size:7,} {predicate}")


if __name__ == "__main__":
    parts = {"compare": compare, "large": large, "growth": growth, "worst": worst}
    for part in sys.argv[1:] or parts:
        parts[part]()
