"""Rows in files: what is found is what is found in memory, and what is wrong with a file is said, never fatal."""

import json
import os
import pickle
import struct
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dqcore as dq
import numpy as np
import pytest
from conftest import SANITIZED
from dqcore import sources
from dqcore.passes import Order
from dqcore.sources.files import File
from joint_cases import FILTERS, coarse, same, smooth

N, CLASSES = 700, 6


def safetensors(path, arrays, dtypes):
    """Write what the format's description says, the names of dtypes given."""
    header, data = {"__metadata__": {"format": "np"}}, b""
    for name, array in arrays.items():
        raw = np.ascontiguousarray(array).tobytes()
        ends = [len(data), len(data) + len(raw)]
        header[name] = {"dtype": dtypes[name], "shape": list(array.shape), "data_offsets": ends}
        data += raw
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def parquet(path, table, rows):
    pytest.importorskip("pyarrow.parquet").write_table(table, path, row_group_size=rows)


def lists(p, fixed):
    pyarrow = pytest.importorskip("pyarrow")
    flat = pyarrow.array(p.reshape(-1))
    if fixed:
        return pyarrow.FixedSizeListArray.from_arrays(flat, p.shape[1])
    return pyarrow.ListArray.from_arrays(np.arange(len(p) + 1, dtype=np.int32) * p.shape[1], flat)


def written(kind, folder, p):
    """Return what is handed in for `p`, written in a format of a file."""
    path = folder / f"p.{kind.partition(' ')[0]}"
    if kind == "npy":
        np.save(path, p)
    elif kind == "npy, Fortran order":
        np.save(path.with_suffix(".npy"), np.asfortranarray(p))
        return path.with_suffix(".npy")
    elif kind == "npy, big-endian":
        np.save(path.with_suffix(".npy"), p.astype(p.dtype.newbyteorder(">")))
        return path.with_suffix(".npy")
    elif kind == "raw":
        path.write_bytes(b"head" + p.tobytes())
        return dq.Source.raw(path, p.dtype, p.shape, offset=4)
    elif kind == "safetensors":
        names = {"float16": "F16", "float32": "F32", "float64": "F64"}
        safetensors(path, {"y": np.arange(3), "p": p}, {"y": "I64", "p": names[p.dtype.name]})
        return f"{path}:p"
    else:
        pyarrow = pytest.importorskip("pyarrow")
        table = pyarrow.table({"x": np.arange(len(p)), "p": lists(p, "fixed" in kind)})
        if kind.startswith("parquet"):
            parquet(path, table, 130)
        else:
            with pyarrow.ipc.new_file(str(path), table.schema) as file:
                file.write_table(table, max_chunksize=97)
        return f"{path}:p"
    return path


KINDS = ["npy", "raw", "safetensors", "parquet fixed", "parquet", "arrow fixed", "arrow"]
KINDS += ["npy, Fortran order", "npy, big-endian"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_file_gives_the_bits_of_the_array(tmp_path, rng, kind, dtype, monkeypatch):
    labels, p = coarse(rng, N, CLASSES)
    p = p.astype(dtype)
    monkeypatch.setattr("dqcore.passes._BLOCK_BYTES", 50 * CLASSES * p.itemsize)
    given = written(kind, tmp_path, p)
    assert dq.confident_joint(labels, p).counts.sum() > 0
    for threads in (1, 3):
        joint = dq.confident_joint(labels, given, threads=threads)
        same(joint, dq.confident_joint(labels, p))
        same(dq.label_issues(labels, given, threads=threads), dq.label_issues(labels, p))
    same(
        dq.confident_joint(labels, given, backend="reference"),
        dq.confident_joint(labels, p),
    )


@pytest.mark.threads
@pytest.mark.parametrize("filter_by", FILTERS)
def test_every_filter_and_score_gives_the_bits_of_the_array(tmp_path, filter_by, monkeypatch):
    monkeypatch.setattr("dqcore.passes._BLOCK_BYTES", 4096)
    for make, seed in ((coarse, 1), (smooth, 2)):
        labels, p = make(np.random.default_rng(seed), 900, 7)
        np.save(tmp_path / "p.npy", p)
        np.save(tmp_path / "y.npy", labels)
        joint = dq.confident_joint(labels, p, thresholds=np.full(7, 0.4))
        for options in (
            {},
            {"joint": joint},
            {"rank_by": "normalized_margin", "adjust": True},
            {"joint": joint, "rank_by": "self_confidence", "adjust": True},
            {"rank_by": "confidence_weighted_entropy", "collision": "confident"},
        ):
            found = dq.label_issues(
                tmp_path / "y.npy", tmp_path / "p.npy", filter_by=filter_by, threads=3, **options
            )
            same(found, dq.label_issues(labels, p, filter_by=filter_by, **options))


def test_what_many_selections_hold_is_cut_and_merged(tmp_path, monkeypatch):
    """Many rows, few classes: lists fill, are cut, and those of three workers merge."""
    monkeypatch.setattr("dqcore.passes._BLOCK_BYTES", 20_000)
    rng = np.random.default_rng(5)
    labels, p = smooth(rng, 30_000, 3)
    labels = rng.integers(0, 3, len(labels))
    np.save(tmp_path / "p.npy", p.astype(np.float32))
    for filter_by in ("prune_by_noise_rate", "both"):
        expected = dq.label_issues(labels, p.astype(np.float32), filter_by=filter_by)
        for threads in (1, 3):
            run = {"filter_by": filter_by, "threads": threads}
            same(dq.label_issues(labels, tmp_path / "p.npy", **run), expected)


def test_selections_take_turns_where_the_limit_has_no_room_for_all(tmp_path, monkeypatch):
    monkeypatch.setattr("dqcore.joint_passes._CANDIDATE_BYTES", 1600)
    labels, p = smooth(np.random.default_rng(6), 3000, 5)
    np.save(tmp_path / "p.npy", p)
    for filter_by in ("prune_by_noise_rate", "prune_by_class", "both"):
        told = []
        found = dq.label_issues(
            labels,
            tmp_path / "p.npy",
            filter_by=filter_by,
            memory_limit="3MB",
            threads=2,
            progress=lambda *at, told=told: told.append(at),
        )
        same(found, dq.label_issues(labels, p, filter_by=filter_by))
        assert told.count(("issues", len(p), len(p))) > 1
    with pytest.raises(ValueError, match=r"pairs of classes, of one of which \d+ rows are taken"):
        dq.label_issues(labels, tmp_path / "p.npy", memory_limit="1.2MB")


@pytest.mark.parametrize("filter_by", ["prune_by_class", "prune_by_noise_rate"])
def test_rows_that_do_not_foretell_the_rest_are_looked_at_again(tmp_path, monkeypatch, filter_by):
    """The blocks that come first hold all rows that are clearly wrong: the bars rise too far, for more are taken."""
    monkeypatch.setattr("dqcore.passes._BLOCK_BYTES", 60 * 2 * 8)
    n = 6000
    labels = np.arange(n) % 2
    sure = 0.6 + np.random.default_rng(7).random(n) / 10
    order = Order(0, n, 60, scattered=True)
    for place in range(20):
        sure[slice(*order.block(place))] += 0.25
    p = np.empty((n, 2))
    p[np.arange(n), labels], p[np.arange(n), 1 - labels] = 1 - sure, sure
    np.save(tmp_path / "p.npy", p)
    options = {"filter_by": filter_by, "num_to_remove_per_class": [900, 800]}
    told = []
    found = dq.label_issues(
        labels, tmp_path / "p.npy", threads=1, progress=lambda *at: told.append(at), **options
    )
    same(found, dq.label_issues(labels, p, **options))
    assert 1600 < len(found) < 1800
    assert told.count(("issues", n, n)) > 1


def test_more_is_ranked_than_there_is_memory_for(tmp_path, monkeypatch):
    labels, p = coarse(np.random.default_rng(8), 3000, 3)
    np.save(tmp_path / "p.npy", p)
    monkeypatch.setattr("dqcore.joint_passes._SPARE", 0)
    same(dq.label_issues(labels, tmp_path / "p.npy"), dq.label_issues(labels, p))


def test_weights_names_and_labels_may_be_files(tmp_path, rng):
    labels, p = coarse(rng, N, CLASSES)
    names = [f"class {k}" for k in range(CLASSES)]
    weights = rng.random(N)
    np.save(tmp_path / "p.npy", p)
    np.save(tmp_path / "w.npy", weights)
    np.save(tmp_path / "y.npy", np.array(names)[labels])
    found = dq.confident_joint(tmp_path / "y.npy", tmp_path / "p.npy", weights=tmp_path / "w.npy")
    same(found, dq.confident_joint(np.array(names)[labels], p, weights=weights))
    pyarrow = pytest.importorskip("pyarrow")
    parquet(tmp_path / "t.parquet", pyarrow.table({"y": np.array(names)[labels], "n": labels}), 99)
    for column in ("y", "n"):
        found = dq.confident_joint(f"{tmp_path}/t.parquet:{column}", p, class_names=names)
        same(found, dq.confident_joint(labels, p, class_names=names))


def test_bfloat16_is_widened(tmp_path, rng):
    _, p = smooth(rng, N, CLASSES)
    bits = p.astype(np.float32).view(np.uint32) >> 16
    safetensors(tmp_path / "p.safetensors", {"p": bits.astype(np.uint16)}, {"p": "BF16"})
    wide = (bits << 16).view(np.float32)
    source = dq.Source.open(f"{tmp_path}/p.safetensors:p")
    np.testing.assert_array_equal(source.read(), wide)
    np.testing.assert_array_equal(source.read(13, 17), wide[13:17])


def test_what_lies_in_chunks_is_read_in_blocks(rng):
    labels, p = coarse(rng, N, CLASSES)

    class Chunked:
        shape, dtype, chunks, asked = p.shape, p.dtype, (64, CLASSES), 0

        def __getitem__(self, rows):
            self.asked = max(self.asked, rows.stop - rows.start)
            return p[rows]

    chunked = Chunked()
    limit = (1 << 20) + 24 * CLASSES**2 + 250 * 8 * CLASSES
    same(dq.label_issues(labels, chunked, memory_limit=limit), dq.label_issues(labels, p))
    assert 0 < chunked.asked <= 125
    zarr = pytest.importorskip("zarr")
    same(dq.label_issues(labels, zarr.array(p, chunks=(64, CLASSES))), dq.label_issues(labels, p))


def test_bad_values_and_row_sums_are_told_of_all_rows(tmp_path, rng, monkeypatch):
    monkeypatch.setattr("dqcore.passes._BLOCK_BYTES", 5000)
    labels, p = smooth(rng, N, CLASSES)
    for dtype in (np.float16, np.float32, np.float64):
        bad = p.astype(dtype)
        bad[300, 2], bad[600, 1] = 1.1, np.nan
        np.save(tmp_path / "p.npy", bad)
        for call in (dq.confident_joint, dq.label_issues):
            with pytest.raises(ValueError) as of_array:  # noqa: PT011 - compared
                call(labels, bad)
            with pytest.raises(ValueError) as of_file:  # noqa: PT011
                call(labels, tmp_path / "p.npy", threads=3)
            assert str(of_file.value) == str(of_array.value)
    odd = p.copy()
    odd[[10, 650, 690]] *= np.array([[0.9], [0.5], [0.5]])
    np.save(tmp_path / "p.npy", odd)
    for call in (dq.confident_joint, dq.label_issues):
        with pytest.warns(UserWarning, match="3 rows not summing.*the worst is row 650"):
            call(labels, tmp_path / "p.npy", threads=3)


def test_other_doors_read_files_whole(tmp_path, rng):
    labels, p = smooth(rng, 60, 3)
    features = rng.normal(size=(60, 4)).astype(np.float32)
    codes = rng.integers(0, 3, (60, 2))
    for name, array in {"y": labels, "p": p, "x": features, "c": codes, "e": labels == 1}.items():
        np.save(tmp_path / f"{name}.npy", array)
    y, x, c, e = (tmp_path / f"{name}.npy" for name in "yxce")
    graph, read = dq.knn_graph(features, 3, queries=features), dq.knn_graph(x, 3, queries=x)
    np.testing.assert_array_equal(graph.indices, read.indices)
    np.testing.assert_array_equal(graph.distances, read.distances)
    expected = dq.slice_errors(labels == 1, {"0": codes[:, 0], "1": codes[:, 1]})
    for columns in (c, {"0": codes[:, 0], "1": dq.Source.of(codes[:, 1])}):
        table = dq.slice_errors(e, columns)
        assert table.predicates == expected.predicates
        np.testing.assert_array_equal(table.size, expected.size)
    found = dq.audit(y, features=x, pred_probs=tmp_path / "p.npy", split=y, k=3)
    again = dq.audit(labels, features=features, pred_probs=p, split=labels, k=3)
    assert found.issues.tobytes() == again.issues.tobytes()


# ---- what is wrong with a file ------------------------------------------------------------------


def test_a_file_cut_anywhere_is_an_error(tmp_path, rng):
    labels, p = smooth(rng, 40, 3)
    path = tmp_path / "p.npy"
    np.save(path, p)
    whole = path.read_bytes()
    for length in [*range(256), *range(256, len(whole), 29)]:
        path.write_bytes(whole[:length])
        with pytest.raises(OSError, match=r"p\.npy"):
            dq.confident_joint(labels, path)
    safetensors(tmp_path / "p.safetensors", {"p": p}, {"p": "F64"})
    whole = (tmp_path / "p.safetensors").read_bytes()
    for length in range(0, len(whole), 5):
        (tmp_path / "p.safetensors").write_bytes(whole[:length])
        with pytest.raises(dq.CorruptFileError, match=r"p\.safetensors"):
            dq.confident_joint(labels, f"{tmp_path}/p.safetensors:p")


def test_columns_of_a_damaged_file(tmp_path, rng):
    pyarrow = pytest.importorskip("pyarrow")
    labels, p = smooth(rng, 60, 3)
    table = pyarrow.table({"p": lists(p, fixed=True)})
    parquet(tmp_path / "p.parquet", table, 20)
    with pyarrow.ipc.new_file(str(tmp_path / "p.arrow"), table.schema) as file:
        file.write_table(table, max_chunksize=20)
    for name in ("p.parquet", "p.arrow"):
        whole = (tmp_path / name).read_bytes()
        for length in range(0, len(whole), 37):
            (tmp_path / name).write_bytes(whole[:length])
            with pytest.raises(OSError, match=name):
                dq.confident_joint(labels, f"{tmp_path}/{name}:p")


HEADERS = {
    "negative": "{'descr': '<f8', 'fortran_order': False, 'shape': (-3, 4)}",
    "huge": "{'descr': '<f8', 'fortran_order': False, 'shape': (4611686018427387904, 4)}",
    "float": "{'descr': '<f8', 'fortran_order': False, 'shape': (3.0, 4)}",
    "objects": "{'descr': '|O', 'fortran_order': False, 'shape': (3, 4)}",
    "structured": "{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (3, 4)}",
    "no size": "{'descr': '|V0', 'fortran_order': False, 'shape': (3, 4)}",
    "no shape": "{'descr': '<f8', 'fortran_order': False, 'shape': ()}",
    "code": "{'descr': '<f8', 'fortran_order': False, 'shape': (__import__('os').system('x'), 4)}",
    "nested": "{'descr': '<f8', 'fortran_order': False, 'shape': " + "(" * 500 + ")" * 500 + "}",
    "long": "{'descr': '<f8', 'fortran_order': False, 'shape': (3, 4)}" + " " * 20_000,
    "nothing": "",
}


@pytest.mark.parametrize("header", HEADERS)
def test_hostile_headers(tmp_path, header):
    text = HEADERS[header].encode() + b"\n"
    path = tmp_path / "p.npy"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + bytes(96))
    with pytest.raises(dq.CorruptFileError, match=r"p\.npy"):
        dq.Source.open(path)


@pytest.mark.parametrize(
    "header",
    [
        {"p": {"dtype": "F64", "shape": [2, 2], "data_offsets": [0, 31]}},
        {"p": {"dtype": "F64", "shape": [2, 2], "data_offsets": [0, 2**61]}},
        {"p": {"dtype": "F64", "shape": [2**40, 2**40], "data_offsets": [0, 2**83]}},
        {"p": {"dtype": "F64", "shape": [-1, 2], "data_offsets": [32, 16]}},
        {"p": {"dtype": "F8", "shape": [2, 2], "data_offsets": [0, 32]}},
        {"p": {"dtype": "F64", "shape": [2.0, 2], "data_offsets": [0, 32]}},
        {"p": {"dtype": "F64", "shape": [], "data_offsets": [0, 8]}},
        {"p": {"dtype": "F64", "shape": [2, 2], "data_offsets": [8, 40]}},
        {"p": {"dtype": "F64", "shape": [2, 2]}},
        {"p": []},
        [],
        "p",
    ],
)
def test_hostile_headers_of_safetensors(tmp_path, header):
    text = json.dumps(header).encode()
    path = tmp_path / "p.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(32))
    with pytest.raises(dq.CorruptFileError, match=r"p\.safetensors"):
        dq.Source.open(f"{path}:p")


def test_paths_that_are_refused(tmp_path):
    (tmp_path / "folder.npy").mkdir()
    os.mkfifo(tmp_path / "pipe.npy")
    (tmp_path / "dangling.npy").symlink_to(tmp_path / "nowhere")
    (tmp_path / "empty.npy").touch()
    for name in ("folder", "pipe", "dangling", "empty", "absent", "new\nline", "é" * 100):
        with pytest.raises(OSError, match=r"\.npy"):
            dq.Source.open(tmp_path / f"{name}.npy")
    for text in ("p.csv", "p.npz:p", "p", "https://x/p"):
        with pytest.raises(ValueError, match="path must be a path that ends in"):
            dq.Source.open(text)
        with pytest.raises(TypeError, match="pred_probs must be an array or a path"):
            dq.confident_joint([0], text)
    safetensors(tmp_path / "p.safetensors", {"p": np.eye(2)}, {"p": "F64"})
    with pytest.raises(ValueError, match="nothing called 'q'; it has 'p'"):
        dq.Source.open(f"{tmp_path}/p.safetensors:q")
    np.save(tmp_path / "whole.npy", np.eye(3, dtype=np.int64))
    with pytest.raises(TypeError, match=r"pred_probs must be .*got int64 in .*whole\.npy"):
        dq.confident_joint([0, 1, 2], tmp_path / "whole.npy")


class Meddler:
    """A callable for progress that changes the file in the middle of a pass."""

    def __init__(self, change):
        self.change = change

    def __call__(self, *_):
        if self.change is not None:
            change, self.change = self.change, None
            change()


def cut(path, _):
    os.truncate(path, 5000)


def grow(path, _):
    with path.open("ab") as file:
        file.write(b"x")


def replace(path, other):
    other.replace(path)


def touch(path, _):
    os.utime(path, ns=(1, 1))


def remove(path, _):
    path.unlink()


@pytest.mark.parametrize("change", [cut, grow, replace, touch, remove])
def test_a_file_that_changes_is_an_error_that_names_it(tmp_path, rng, change):
    labels, p = smooth(rng, 4000, 5)
    path, other = tmp_path / "p.npy", tmp_path / "other.npy"
    np.save(path, p)
    np.save(other, p)
    with pytest.raises(dq.SourceChangedError, match=r"p\.npy"):
        dq.confident_joint(labels, path, progress=Meddler(lambda: change(path, other)))


def test_a_file_cut_while_it_is_read_does_not_end_the_process(tmp_path):
    """Mapped, it would: SIGBUS. Here the reader is at work while the file shrinks."""
    code = """
import sys, threading, dqcore as dq, numpy as np, os, time
path = sys.argv[1]
source = dq.Source.open(path)
threading.Timer(0.05, os.truncate, (path, 1000)).start()
labels = np.zeros(len(source), np.int32)
try:
    while True:
        dq.confident_joint(labels, source)
except dq.SourceChangedError as error:
    assert path in str(error), error
    print("told")
"""
    np.save(tmp_path / "p.npy", np.full((200_000, 4), 0.25, np.float32))
    out = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "p.npy"], capture_output=True, text=True, check=True
    )
    assert out.stdout == "told\n"


def test_short_reads_are_gone_on_with(tmp_path, monkeypatch):
    (tmp_path / "x").write_bytes(bytes(range(100)))
    whole = os.preadv
    asked = []

    def short(descriptor, buffers, at):
        asked.append(at)
        return whole(descriptor, [buffers[0][:7]], at)

    monkeypatch.setattr(os, "preadv", short)
    into = bytearray(50)
    File(tmp_path / "x").read(20, memoryview(into))
    assert bytes(into) == bytes(range(20, 70))
    assert asked == list(range(20, 70, 7))


def test_an_error_in_the_middle_of_reading_reaches_the_caller(tmp_path, rng, monkeypatch):
    labels, p = smooth(rng, 400, 3)
    np.save(tmp_path / "p.npy", p)
    source = dq.Source.open(tmp_path / "p.npy")
    whole = os.preadv

    def failing(descriptor, buffers, at):
        if at > 5000:
            raise OSError(5, "Input/output error")
        return whole(descriptor, buffers, at)

    monkeypatch.setattr("dqcore.passes._BLOCK_BYTES", 1000)
    monkeypatch.setattr(os, "preadv", failing)
    before = threading.active_count()
    with pytest.raises(OSError, match="Input/output error"):
        dq.confident_joint(labels, source, threads=3)
    assert threading.active_count() == before


def test_files_are_not_left_open(tmp_path, rng):
    labels, p = smooth(rng, 100, 3)
    np.save(tmp_path / "p.npy", p)
    dq.confident_joint(labels, tmp_path / "p.npy")
    open_files = Path("/proc/self/fd")
    if not open_files.is_dir():
        pytest.skip("the system does not tell")
    before = len(list(open_files.iterdir()))
    for _ in range(30):
        dq.label_issues(labels, tmp_path / "p.npy")
    assert len(list(open_files.iterdir())) <= before + 1


# ---- limits and other processes -----------------------------------------------------------------


@pytest.mark.skipif(SANITIZED, reason="a sanitizer holds memory of its own")
@pytest.mark.skipif(sys.platform != "linux", reason="the system does not tell")
def test_no_more_is_held_than_the_limit(tmp_path):
    """A file of 320 MB; under 64 MB, with 64 MB for all else, and the results."""
    code = """
import sys, dqcore as dq, numpy as np
def most():
    return next(1024 * int(l.split()[1]) for l in open("/proc/self/status") if l.startswith("VmHWM"))
n = len(dq.Source.open(sys.argv[1]))
labels = np.arange(n, dtype=np.int32) % 4
dq.label_issues(labels[:8], np.full((8, 4), 0.25))
before = most()
joint = dq.confident_joint(labels, sys.argv[1], memory_limit="64MB")
found = dq.label_issues(labels, sys.argv[1], joint=joint, memory_limit="64MB")
print(most() - before - sum(a.nbytes for a in (found.mask, found.indices, found.quality, found.suggested)))
"""
    shape = (1_000_000, 80)
    p = np.lib.format.open_memmap(tmp_path / "p.npy", "w+", np.float32, shape)
    p[:] = 1 / 80
    p[::5, 7] = 0.5
    p.flush()
    command = [sys.executable, "-W", "ignore", "-c", code, tmp_path / "p.npy"]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert 0 < int(out) < 128e6


def test_row_groups_that_break_the_limit_are_told(tmp_path, rng):
    pyarrow = pytest.importorskip("pyarrow")
    labels, p = smooth(rng, 90_000, 5)
    parquet(tmp_path / "p.parquet", pyarrow.table({"p": lists(p, fixed=True)}), 90_000)
    with pytest.raises(ValueError, match=r"memory_limit must be at least.*row groups"):
        dq.confident_joint(labels, f"{tmp_path}/p.parquet:p", memory_limit="4MB")


def test_progress_and_interrupts(tmp_path, rng, monkeypatch):
    monkeypatch.setattr("dqcore.passes._BLOCK_BYTES", 1000)
    labels, p = smooth(rng, 3000, 5)
    np.save(tmp_path / "p.npy", p)
    told = []
    dq.label_issues(labels, tmp_path / "p.npy", progress=lambda *t: told.append(t), threads=2)
    for stage in ("thresholds", "joint", "issues"):
        done = [d for s, d, _ in told if s == stage]
        assert done == sorted(done)
        assert done[-1] == len(p)

    def interrupted(*_):
        raise KeyboardInterrupt

    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        dq.label_issues(labels, tmp_path / "p.npy", progress=interrupted)
    assert threading.active_count() == before


def test_a_source_travels_and_is_the_same_file_there(tmp_path, rng):
    _, p = smooth(rng, N, CLASSES)
    for kind in KINDS:
        folder = tmp_path / kind.replace(", ", "_").replace(" ", "_")
        folder.mkdir()
        given = written(kind, folder, p)
        source = given if isinstance(given, dq.Source) else dq.Source.open(given)
        again = pickle.loads(pickle.dumps(source))
        np.testing.assert_array_equal(again.read(), p)
        assert len(pickle.dumps(source)) < 2000
    source = dq.Source.open(tmp_path / "npy" / "p.npy")
    sent = pickle.dumps(source)
    np.save(tmp_path / "npy" / "p.npy", p)
    with pytest.raises(dq.SourceChangedError):
        pickle.loads(sent).read()


@pytest.mark.parametrize("filter_by", ["prune_by_noise_rate", "low_normalized_margin"])
def test_an_executor_gives_the_same_bits(tmp_path, rng, filter_by, monkeypatch):
    monkeypatch.setattr("dqcore.passes._TASK_ROWS", 90)
    labels, p = coarse(rng, N, CLASSES)
    weights = rng.random(N)
    np.save(tmp_path / "p.npy", p)
    with ThreadPoolExecutor(3) as executor:
        run = {"executor": executor, "memory_limit": "2MB"}
        found = dq.confident_joint(labels, tmp_path / "p.npy", weights=weights, **run)
        same(found, dq.confident_joint(labels, p, weights=weights))
        found = dq.label_issues(
            labels, tmp_path / "p.npy", filter_by=filter_by, rank_by="self_confidence", **run
        )
        same(found, dq.label_issues(labels, p, filter_by=filter_by, rank_by="self_confidence"))
        with pytest.raises(ValueError, match="pred_probs must be a path or a source"):
            dq.confident_joint(labels, p, executor=executor)
        p[400, 3] = np.nan
        np.save(tmp_path / "p.npy", p)
        with pytest.raises(ValueError, match=r"row 400, column 3 is nan \(1 such entry\)"):
            dq.label_issues(labels, tmp_path / "p.npy", **run)
    with pytest.raises(TypeError, match="executor must have a method submit"):
        dq.confident_joint(labels, p, executor=3)


def test_found_leaves_arrays_alone():
    for value in (np.eye(2), [1, 2], None, 3.0):
        assert sources.found("x", value) is None
