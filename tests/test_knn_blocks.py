"""Neighbours of queries within a limit, and by the tasks of an executor: the bytes of the graph in memory."""

import json
import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import dqcore as dq
import numpy as np
import pytest
from conftest import SANITIZED
from dqcore import _cpu, knn_blocks
from test_knn_files import clustered

METRICS = ["euclidean", "cosine"]


def same_graph(got, expected):
    np.testing.assert_array_equal(got.indices, expected.indices)
    assert got.distances.tobytes() == expected.distances.tobytes()
    kinds = [(g.metric, g.n_base, g.self_join) for g in (got, expected)]
    assert kinds[0] == kinds[1]


@pytest.mark.threads
@pytest.mark.parametrize("metric", METRICS)
def test_same_bytes_for_limits_and_threads(tmp_path, metric):
    x, q = clustered(2500, 40), clustered(900, 40, seed=5)
    q[:100] = x[:100]
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "q.npy", q)
    expected = dq.knn_graph(x, 6, metric=metric, queries=q, threads=1)
    met = []
    least = _cpu.knn_block_bytes(64, 64, 40, 6)
    some = _cpu.knn_block_bytes(300, 300, 40, 6)
    for threads, limit in ((1, least), (2, some), (3, "64MB")):
        got = dq.knn_graph(
            tmp_path / "x.npy",
            6,
            metric=metric,
            queries=tmp_path / "q.npy",
            memory_limit=limit,
            threads=threads,
        )
        same_graph(got, expected)
        met.append(got.stats["blocks"])
    assert met[0] > met[1] > met[2] == 1


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, np.int16])
def test_arrays_paths_and_sources(tmp_path, kind):
    x, q = ((100 * clustered(n, 30, seed=n) % 50).astype(kind) for n in (700, 300))
    np.save(tmp_path / "x.npy", x)
    expected = dq.knn_graph(x, 4, queries=q)
    limit = _cpu.knn_block_bytes(100, 100, 30, 4)
    views = np.asfortranarray(x), x[::-1][::-1], tmp_path / "x.npy", dq.Source.of(x)
    for given in (x, *views):
        same_graph(dq.knn_graph(given, 4, queries=q, memory_limit=limit), expected)


@pytest.mark.parametrize("shape", [(1, 700), (700, 1), (65, 64), (0, 90)])
def test_blocks_of_every_size(shape, rng, monkeypatch):
    """A row alone, a block and a row more, none at all; blocks of one side are read once where they fit."""
    m, n = shape
    q, x = rng.integers(0, 3, (m, 2)), rng.integers(0, 3, (n, 2))
    expected = dq.knn_graph(x, 1, queries=q)
    for sizes in ((1, 7), (64, 64), (7, n), (max(m, 1), 1)):
        monkeypatch.setattr(knn_blocks, "sizes", lambda *_, sizes=sizes: sizes)
        got = dq.knn_graph(x, 1, queries=q, memory_limit="1GB")
        same_graph(got, expected)
        assert got.stats["blocks"] == -(-m // sizes[0]) * -(-n // sizes[1])


def test_sizes_keep_the_limit():
    def search(m, n, limit, d=50):
        sources = (dq.Source.of(np.zeros((rows, d), np.float16)) for rows in (n, m))
        return knn_blocks.Search(*sources, 5, "euclidean", limit, 1)

    for m, n in ((9000, 9000), (200, 9000), (9000, 200), (90, 90)):
        for limit in (7 << 20, 9 << 20, 20 << 20, 1 << 30):
            rows, base = knn_blocks.sizes(_cpu, search(m, n, limit), m)
            assert 1 <= rows <= m
            assert 1 <= base <= n
            assert _cpu.knn_block_bytes(rows, base, 50, 5) <= limit
            if (rows, base) != (m, n):
                assert _cpu.knn_block_bytes(2 * rows, 2 * base, 50, 5) > limit


@pytest.mark.parametrize("metric", METRICS)
def test_tasks_give_the_same_graph(tmp_path, metric, monkeypatch):
    x, q = clustered(1500, 20), clustered(500, 20, seed=9)
    x[2] = 0.0  # among the lowest, which are all as far from it
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "q.npy", q)
    monkeypatch.setattr("dqcore.passes._TASK_ROWS", 170)
    told = []
    with ThreadPoolExecutor(2) as pool:
        run = {"metric": metric, "executor": pool, "progress": lambda *at: told.append(at)}
        same_graph(dq.knn_graph(tmp_path / "x.npy", 5, **run), dq.knn_graph(x, 5, metric=metric))
        assert told[-1] == ("neighbours", 1500, 1500)
        expected = dq.knn_graph(x, 5, queries=q, metric=metric)
        limit = _cpu.knn_block_bytes(100, 300, 20, 5)
        for queries in (q, tmp_path / "q.npy"):
            for memory_limit in (None, limit):
                run["memory_limit"] = memory_limit
                same_graph(dq.knn_graph(tmp_path / "x.npy", 5, queries=queries, **run), expected)


def test_tasks_in_other_processes(tmp_path):
    x = clustered(800, 10)
    np.save(tmp_path / "x.npy", x)
    spawning = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=spawning) as pool:
        got = dq.knn_graph(tmp_path / "x.npy", 5, executor=pool)
        same_graph(got, dq.knn_graph(x, 5))
        got = dq.knn_graph(tmp_path / "x.npy", 5, queries=x[:99], executor=pool)
        same_graph(got, dq.knn_graph(x, 5, queries=x[:99]))


def test_bad_rows_are_named_as_in_memory(tmp_path):
    x, q = clustered(900, 20), clustered(500, 20)
    x[800, 7] = np.nan
    q[450, 2], q[499] = np.inf, np.nan
    np.save(tmp_path / "x.npy", x)
    limit = _cpu.knn_block_bytes(100, 100, 20, 3)
    for base, queries in ((x, x[:99]), (x[:700], q), (x[:700].astype(float), q.astype(float))):
        with pytest.raises(ValueError, match="finite") as in_memory:
            dq.knn_graph(base, 3, queries=queries)
        with pytest.raises(ValueError, match="finite") as in_blocks:
            dq.knn_graph(base, 3, queries=queries, memory_limit=limit)
        assert str(in_blocks.value) == str(in_memory.value)
    with ThreadPoolExecutor(1) as pool, pytest.raises(ValueError, match="row 800, column 7"):
        dq.knn_graph(tmp_path / "x.npy", 3, executor=pool)


def test_what_cannot_be(tmp_path):
    x = clustered(300, 20)
    np.save(tmp_path / "x.npy", x)
    path = tmp_path / "x.npy"
    with pytest.raises(ValueError, match=r"memory_limit must be at least (\d+) bytes") as error:
        dq.knn_graph(path, 3, queries=path, memory_limit="1MB")
    enough = int(str(error.value).split("at least ")[1].split()[0])
    same_graph(
        dq.knn_graph(path, 3, queries=path, memory_limit=enough), dq.knn_graph(x, 3, queries=x)
    )
    with pytest.raises(ValueError, match="queries have 19 columns but features 20"):
        dq.knn_graph(path, 3, queries=x[:, 1:], memory_limit="1GB")
    with pytest.raises(ValueError, match=r"k must be at most the number of rows of features, 300"):
        dq.knn_graph(path, 301, queries=x, memory_limit="1GB")
    with ThreadPoolExecutor(1) as pool:
        with pytest.raises(ValueError, match="features must be a path or a source where there is"):
            dq.knn_graph(x, 3, executor=pool)
        with pytest.raises(ValueError, match="executor needs backend='cpu'"):
            dq.knn_graph(path, 3, executor=pool, backend="reference")
        with pytest.raises(ValueError, match=r"other rows of features, 299"):
            dq.knn_graph(path, 300, executor=pool)
    with pytest.raises(ValueError, match="memory_limit needs backend='cpu'"):
        dq.knn_graph(x, 3, queries=x, backend="reference", memory_limit="1GB")
    with pytest.raises(TypeError, match="executor must have a method submit"):
        dq.knn_graph(path, 3, executor=3)


def test_a_file_that_changes_meanwhile(tmp_path):
    x = clustered(600, 20)
    path = tmp_path / "x.npy"
    np.save(path, x)

    def touch(_, done, __):
        if done:
            os.utime(path, ns=(1, 1))

    limit = _cpu.knn_block_bytes(100, 100, 20, 3)
    with pytest.raises(dq.SourceChangedError):
        dq.knn_graph(path, 3, queries=x, memory_limit=limit, progress=touch)


def test_lists_refuse_other_shapes(rng):
    lists = _cpu.KnnRows(5, 2, "euclidean")
    x = rng.normal(size=(6, 3)).astype(np.float32)
    for rows, base in ((x, x), (x[:5], x[:, 1:].copy())):
        with pytest.raises(ValueError, match="another shape"):
            lists.update(rows, base, -1, 0, 1, None)
    lists.update(x[:5], x[:1], -1, 0, 1, None)
    result = np.zeros((5, 2), np.int32), np.zeros((5, 2), np.float32)
    with pytest.raises(ValueError, match="has no k nearest"):
        lists.finish(*result)
    lists.update(x[:5], x[1:], -1, 1, 1, None)
    with pytest.raises(ValueError, match="another shape"):
        lists.finish(result[0][1:], result[1][1:])
    lists.finish(*result)
    np.testing.assert_array_equal(result[0][:, 0], range(5))


_HELD = """
import json, sys
import dqcore as dq, numpy as np
def status(name):
    return next(int(l.split()[1]) * 1024 for l in open("/proc/self/status") if l.startswith(name))
limit = None if sys.argv[2] == "none" else int(sys.argv[2])
graph = dq.knn_graph(sys.argv[1] + "/x.npy", 5, queries=sys.argv[1] + "/q.npy", memory_limit=limit)
print(json.dumps([status("VmHWM"), graph.stats.get("blocks")]))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's /proc")
@pytest.mark.skipif(SANITIZED, reason="ASan holds more")
def test_the_peak_holds_the_limit(tmp_path):
    rng = np.random.default_rng(3)
    base = rng.normal(size=(30, 512))
    for name, n in (("x", 24_000), ("q", 3000)):
        rows = base[rng.integers(0, 30, n)] + 0.01 * rng.normal(size=(n, 512))
        np.save(tmp_path / f"{name}.npy", rows.astype(np.float16))

    def held(given):
        command = [sys.executable, "-c", _HELD, str(tmp_path), given]
        return json.loads(
            subprocess.run(command, check=True, capture_output=True, text=True).stdout
        )

    limit = 40_000_000
    most, blocks = held(str(limit))
    assert blocks > 1
    assert most < limit + 64_000_000 + 3000 * 5 * 8
    assert held("none")[0] > 1.5 * limit + 64_000_000
