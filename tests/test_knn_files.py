"""The exact graph within a limit: the bytes of the graph in memory, and clear errors where that cannot be."""

import errno
import json
import multiprocessing
import os
import resource
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import dqcore as dq
import numpy as np
import pytest
from conftest import SANITIZED
from dqcore import _cpu, knn_files

METRICS = ["euclidean", "cosine"]


def assert_same(got, expected):
    np.testing.assert_array_equal(got.indices, expected.indices)
    assert got.distances.tobytes() == expected.distances.tobytes()
    assert (got.metric, got.n_base, got.self_join) == (expected.metric, expected.n_base, True)


def enough(x, k=5):
    """Return a limit that is not enough for all in memory."""
    return _cpu.knn_spill_bytes(*x.shape, k)[2] - x.size * 4 - 1


def clustered(n, d, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(40, d))[rng.integers(0, 40, n)] + 0.3 * rng.normal(size=(n, d))
    x[::97] = x[1]  # copies
    x[5::301] = 0.0
    x[3] *= 1e20
    return x.astype(np.float32)


@pytest.mark.threads
@pytest.mark.parametrize("metric", METRICS)
def test_same_bytes_for_limits_and_threads(tmp_path, metric):
    x = clustered(3000, 120)
    np.save(tmp_path / "x.npy", x)
    expected = dq.knn_graph(x, 5, metric=metric, threads=1)
    for threads, limit in ((1, enough(x)), (2, enough(x) - 100_000), (3, enough(x) + 500_000)):
        got = dq.knn_graph(
            tmp_path / "x.npy", 5, metric=metric, memory_limit=limit, threads=threads
        )
        assert_same(got, expected)
        assert got.stats["spilled_bytes"] > 2 * x.nbytes
    got = dq.knn_graph(tmp_path / "x.npy", 5, metric=metric, memory_limit="1GB")
    assert_same(got, expected)
    assert "spilled_bytes" not in got.stats


@pytest.mark.parametrize("head", [-1, 15, 31])
def test_every_plan(head):
    """With and without rotation, by levels that know all coordinates and by those that do not."""
    for d in (33, 400):
        x = clustered(700, d)
        options = {"metric": "euclidean", "threads": 2, "progress": None, "forced_head": head}
        expected = _cpu.knn_graph(x, 7, queries=None, **options)
        with knn_files._room(_cpu.knn_spill_bytes(*x.shape, 7)[0]) as file:
            knn_files._fill(file, dq.Source.of(x), 1 << 20, 1, None)
            got = _cpu.knn_graph_spilled(file, *x.shape, 7, limit=6_000_000, **options)
        np.testing.assert_array_equal(got[0], expected[0])
        assert got[1].tobytes() == expected[1].tobytes()
        assert got[3]["head_dims"] == expected[3]["head_dims"]


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, np.int16])
def test_arrays_maps_paths_and_sources(tmp_path, kind):
    x = (100 * clustered(2500, 120, seed=1) % 50).astype(kind)
    expected = dq.knn_graph(x, 4)
    path = tmp_path / "x.npy"
    np.save(path, x)
    raw = dq.Source.raw(path, kind, x.shape, offset=path.stat().st_size - x.nbytes)
    for given in (x, np.asfortranarray(x), x[::-1][::-1], np.load(path, mmap_mode="r"), path, raw):
        got = dq.knn_graph(given, 4, memory_limit=enough(x, 4))
        assert_same(got, expected)
        assert "spilled_bytes" in got.stats


def test_copies_alone():
    x = np.ones((3000, 120), np.float32)
    assert_same(dq.knn_graph(x, 3, memory_limit=enough(x, 3)), dq.knn_graph(x, 3))


@pytest.mark.threads
def test_guesses_too_low_are_swept_again():
    """Of rows enough for guesses, which fail for those in a corner of their own."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=(9000, 24)).astype(np.float32)
    x[:100] = 4.0 + 1e-3 * x[:100] * np.arange(100)[:, None]
    expected = dq.knn_graph(x, 3, threads=2)
    got = dq.knn_graph(x, 3, memory_limit=enough(x, 3), threads=2)
    assert got.stats["rows_again"] > 0
    assert_same(got, expected)


def test_bad_rows_are_named_as_in_memory(tmp_path):
    x = clustered(2000, 300)
    x[1500, 7] = np.nan
    x[1999, :4] = np.inf
    np.save(tmp_path / "x.npy", x)
    for given in (x, x.astype(np.float64), tmp_path / "x.npy"):
        with pytest.raises(ValueError, match="finite") as in_memory:
            dq.knn_graph(given, 3)
        with pytest.raises(ValueError, match="finite") as spilled:
            dq.knn_graph(given, 3, memory_limit=3_000_000)
        assert str(spilled.value) == str(in_memory.value)
    huge = np.ones((2000, 300))
    huge[9, 8] = -1e39
    with pytest.raises(ValueError, match=r"within float32's range: row 9, column 8 is .*\(1 such"):
        dq.knn_graph(huge, 3, memory_limit=3_000_000)


def test_what_cannot_be(tmp_path):
    x = clustered(3000, 120)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "row.npy", x[0])
    np.save(tmp_path / "text.npy", np.full((9, 2), "a"))
    with pytest.raises(ValueError, match=r"memory_limit must be at least \d+ bytes for 3000 rows"):
        dq.knn_graph(x, 3, memory_limit="100kB")
    least = _cpu.knn_spill_bytes(*x.shape, 3)[1]
    with pytest.raises(ValueError, match=r"at least \d+ bytes for these features and k") as error:
        dq.knn_graph(x, 3, memory_limit=least)
    enough_now = int(str(error.value).split("at least ")[1].split()[0])
    assert_same(dq.knn_graph(x, 3, memory_limit=enough_now), dq.knn_graph(x, 3))
    with pytest.raises(ValueError, match="backend='cpu'"):
        dq.knn_graph(x, 3, backend="reference", memory_limit="1GB")
    with pytest.raises(ValueError, match=r"k must be at most .* 2999"):
        dq.knn_graph(tmp_path / "x.npy", 3000, memory_limit=least)
    with pytest.raises(ValueError, match="shape"):
        dq.knn_graph(tmp_path / "row.npy", 3, memory_limit=least)
    with pytest.raises((TypeError, dq.CorruptFileError)):
        dq.knn_graph(tmp_path / "text.npy", 3, memory_limit=least)


def test_a_full_disk_is_an_error_before_any_work(monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    x = clustered(3000, 120)
    monkeypatch.setattr(knn_files, "_reserve", full)
    monkeypatch.setattr(knn_files, "_fill", None)
    with pytest.raises(OSError, match=r"no room for a file of \d+ bytes.*TMPDIR") as error:
        dq.knn_graph(x, 3, memory_limit=enough(x, 3))
    assert error.value.errno == errno.ENOSPC


def test_a_limit_of_file_sizes_is_an_error():
    """A real refusal of the system's, in the middle of taking the blocks."""
    x = clustered(3000, 120)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (x.nbytes, hard))
    try:
        with pytest.raises(OSError, match="no room for a file"):
            dq.knn_graph(x, 3, memory_limit=enough(x, 3))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_an_interrupt_ends_it_and_leaves_nothing(tmp_path, monkeypatch):
    x = clustered(3000, 120)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    open_files = Path("/proc/self/fd")
    stages = []

    def stop(stage, *_):
        stages.append(stage)
        if stage != "read":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dq.knn_graph(x, 5, memory_limit=enough(x), progress=stop)
    assert stages[0] == "read"
    assert not list(tmp_path.iterdir())
    if (
        open_files.is_dir()
    ):  # the file has no name, but the system still tells which folder it was in
        held = [str(link.readlink()) for link in open_files.iterdir() if link.is_symlink()]
        assert not [name for name in held if name.startswith(str(tmp_path))]
    assert_same(dq.knn_graph(x, 5, memory_limit=enough(x)), dq.knn_graph(x, 5))


def compare(source, begin, start):
    """Return the lists of a block of rows after it has met another, as bytes; a task of the test below."""
    n = len(source)
    state = dq.KnnState(n, 5)
    rows, base = (source.read(at, min(at + 700, n)) for at in (begin, start))
    state.update(rows, base, row_start=begin, base_start=start, threads=1)
    return state.to_bytes()


def test_shards_in_other_processes_merge_to_the_same_graph(tmp_path):
    x = clustered(2000, 20)
    np.save(tmp_path / "x.npy", x)
    source = dq.Source.open(tmp_path / "x.npy")
    total = dq.KnnState(len(x), 5)
    blocks = range(0, len(x), 700)
    spawning = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=spawning) as executor:
        tasks = [executor.submit(compare, source, a, b) for a in blocks for b in blocks]
        for task in reversed(tasks):
            total.merge(dq.KnnState.from_bytes(task.result()))
    assert_same(total.finish(), dq.knn_graph(x, 5))


_HELD = """
import json, sys
import dqcore as dq, numpy as np
def status(name):
    return next(int(l.split()[1]) * 1024 for l in open("/proc/self/status") if l.startswith(name))
n, limit = int(sys.argv[2]), sys.argv[3]
graph = dq.knn_graph(sys.argv[1], 5, memory_limit=None if limit == "none" else int(limit))
print(json.dumps([status("VmHWM"), "spilled_bytes" in graph.stats]))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's /proc")
@pytest.mark.skipif(SANITIZED, reason="ASan holds more")
def test_the_peak_holds_the_limit(tmp_path):
    """As the system counts it, in a process of its own: Python and its libraries are within the 64 MB."""
    n, d, limit = 30_000, 768, 40_000_000
    x = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float16, (n, d))
    rng = np.random.default_rng(3)
    base = rng.normal(size=(30, d))
    for begin in range(0, n, 1000):
        some = base[rng.integers(0, 30, 1000)] * rng.uniform(0.5, 2, (1000, 1))
        x[begin : begin + 1000] = some + 0.01 * rng.normal(size=(1000, d))
    x.flush()

    def held(given):
        command = [sys.executable, "-c", _HELD, str(tmp_path / "x.npy"), str(n), given]
        return json.loads(
            subprocess.run(command, check=True, capture_output=True, text=True).stdout
        )

    most, spilled = held(str(limit))
    assert spilled
    assert most < limit + 64_000_000 + n * 5 * 8
    in_memory, _ = held("none")
    assert in_memory > 2 * limit + 64_000_000
