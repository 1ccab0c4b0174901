"""Speed of slice_errors against pandas' groupby, DuckDB's grouping sets and polars' group_by, in one run.

python bench/bench_slices.py [rows]

The answer is compared first. "share" is of the bytes of codes and errors that one thread can sum in
the same time: the pass can never take less.
"""

from __future__ import annotations

import importlib.util
import itertools
import sys

import dqcore as dq
import numpy as np
from timing import median_seconds

CARDINALITIES = (10, 50, 5, 100, 3)


def by_pandas(frame: object, names: list[str]) -> dict[tuple, tuple]:
    """Return (count, sum, max) by predicate."""
    found = {}
    for level in (1, 2):
        for chosen in itertools.combinations(names, level):
            counts = frame.groupby(list(chosen), sort=False)["error"].agg(["count", "sum", "max"])
            for key, row in zip(counts.index, counts.itertuples(index=False), strict=True):
                key = key if isinstance(key, tuple) else (key,)
                found[tuple(zip(chosen, key, strict=True))] = (row[0], row[1], row[2])
    return found


def pandas_only(frame: object, names: list[str]) -> None:
    """Do what is timed of pandas."""
    for level in (1, 2):
        for chosen in itertools.combinations(names, level):
            frame.groupby(list(chosen), sort=False)["error"].agg(["count", "sum", "max"])


def main(rows: int) -> None:
    """Compare and time 0/1 errors and losses."""
    import pandas as pd

    rng = np.random.default_rng(0)
    columns = {
        f"c{j}": rng.integers(0, k, rows).astype(np.int16) for j, k in enumerate(CARDINALITIES)
    }
    names = list(columns)
    for kind in ("0/1", "loss"):
        errors = (
            (rng.random(rows) < 0.1).astype(np.uint8)
            if kind == "0/1"
            else rng.exponential(size=rows)
        )
        frame = pd.DataFrame({**columns, "error": errors})
        table = dq.slice_errors(errors, columns, max_level=2)
        expected = by_pandas(frame, names)
        assert len(table) == len(expected)
        for row in table:
            size, total, largest = expected[row.predicate]
            assert (row.size, row.max_error) == (size, largest)
            assert abs(row.error_sum - total) <= 1e-9 * max(1.0, total)

        print(f"\n{rows:,} rows, {len(names)} columns, {kind}, {len(table):,} slices of level 1, 2")
        peers = {"pandas": lambda f=frame: pandas_only(f, names)}
        if importlib.util.find_spec("duckdb"):
            import duckdb

            sets = [s for k in (1, 2) for s in itertools.combinations(names, k)]
            text = ", ".join(f"({', '.join(s)})" for s in sets)
            query = (
                f"select {', '.join(names)}, count(*), sum(error), max(error) from frame "
                f"group by grouping sets ({text})"
            )
            connection = duckdb.connect()
            connection.register("frame", frame)
            peers["duckdb"] = lambda c=connection, q=query: c.sql(q).fetchnumpy()
        if importlib.util.find_spec("polars"):
            import polars

            own = polars.DataFrame({**columns, "error": errors})
            error = polars.col("error")
            wanted = [polars.len(), error.sum().alias("sum"), error.max().alias("max")]
            peers["polars"] = lambda f=own, w=wanted: [
                f.group_by(list(chosen)).agg(w)
                for level in (1, 2)
                for chosen in itertools.combinations(names, level)
            ]
        seconds = {name: median_seconds(call, 3) for name, call in peers.items()}
        arrays = [*columns.values(), errors]
        ceiling = sum(
            median_seconds(
                lambda a=a: np.sum(a.view(np.uint8)[: a.nbytes // 8 * 8].view(np.int64)), 7
            )
            for a in arrays
        )
        for threads in (1, 0):
            t = median_seconds(
                lambda e=errors, k=threads: dq.slice_errors(e, columns, max_level=2, threads=k),
                7,
            )
            ratios = ", ".join(f"{s / t:.1f}x {name}" for name, s in seconds.items())
            label = "all" if threads == 0 else threads
            print(f"threads {label:>3}: {t * 1e3:8.1f} ms  {ratios}  share {ceiling / t:.2f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5_000_000)
