"""Calls that are ended at any moment and go on: the same bytes, and no checkpoint of another call."""

import contextlib
import dataclasses
import os
import sys
from concurrent.futures import ThreadPoolExecutor

import dqcore as dq
import kills
import numpy as np
import pytest
from dqcore import _cpu, checkpoint
from dqcore.passes import Order
from dqcore.sources.source import FileRows
from joint_cases import same, smooth

N, CLASSES = 4000, 5


@pytest.fixture
def data(tmp_path, rng, monkeypatch):
    """Labels and a file of probabilities, read in many blocks of which each is a part that is kept."""
    monkeypatch.setattr("dqcore.passes._BLOCK_BYTES", 4096)
    monkeypatch.setattr("dqcore.joint_passes._PART_BLOCKS", 1)
    monkeypatch.setattr(checkpoint, "EVERY_S", 0.0)
    monkeypatch.setattr(os, "fsync", lambda _: None)  # of hundreds of parts
    labels, p = smooth(rng, N, CLASSES)
    np.save(tmp_path / "p.npy", p)
    return labels, p, tmp_path / "p.npy"


class Stopped(Exception):
    """What ends a call in the middle."""


def stop_at(stage, rows):
    def told(now, done, _):
        if now == stage and done >= rows:
            raise Stopped

    return told


@pytest.mark.parametrize("stage", ["thresholds", "joint", "issues"])
@pytest.mark.parametrize("executor", [False, True])
def test_a_call_goes_on_where_it_was_stopped(data, tmp_path, stage, executor, monkeypatch):
    monkeypatch.setattr("dqcore.passes._TASK_ROWS", 500)
    labels, p, path = data
    with ThreadPoolExecutor(2) as pool:
        run = {"resume": tmp_path / "kept", "executor": pool if executor else None}
        with pytest.raises(Stopped):
            dq.label_issues(labels, path, progress=stop_at(stage, 2000), **run)
        told = []
        found = dq.label_issues(labels, path, progress=lambda *at: told.append(at), **run)
        same(found, dq.label_issues(labels, p))
        if stage != "thresholds":
            assert "thresholds" not in {at[0] for at in told}
        if stage != "issues" and not executor:
            assert min(at[1] for at in told if at[0] == stage) > 1000
        told.clear()
        same(dq.label_issues(labels, path, progress=lambda *at: told.append(at), **run), found)
        assert told == []


class Reads:
    """The blocks of a file that are read, in order."""

    def __init__(self, monkeypatch):
        self.blocks = []
        rows = FileRows._rows

        def read(source, begin, end, into):
            self.blocks.append((begin, end))
            return rows(source, begin, end, into)

        monkeypatch.setattr(FileRows, "_rows", read)

    def taken(self):
        blocks, self.blocks = self.blocks, []
        return blocks


def stop_at_issues(rows, turn=0):
    """Stop the issue pass's given turn after so many rows."""
    before = [0, 0]  # rows told last, turns begun

    def told(now, done, _):
        if now != "issues":
            return
        before[1] += done < before[0]
        before[0] = done
        if before[1] == turn and done >= rows:
            raise Stopped

    return told


@pytest.mark.parametrize("executor", [False, True])
@pytest.mark.parametrize("filter_by", ["both", "confident_learning", "low_self_confidence"])
def test_blocks_of_the_issue_pass_are_read_once(data, tmp_path, monkeypatch, filter_by, executor):
    labels, p, path = data
    p[17] *= 0.5
    np.save(path, p)
    monkeypatch.setattr("dqcore.passes._TASK_ROWS", 500)
    joint = dq.confident_joint(labels, np.round(p, 6) / np.round(p, 6).sum(axis=1, keepdims=True))
    options = {"filter_by": filter_by, "rank_by": "normalized_margin", "joint": joint}
    reads = Reads(monkeypatch)
    with ThreadPoolExecutor(1) as pool:
        run = options | {"resume": tmp_path / "kept", "executor": pool if executor else None}
        for rows in (1500, 3000):
            with pytest.raises(Stopped):
                dq.label_issues(labels, path, progress=stop_at_issues(rows), **run)
        reads.taken()
        with pytest.warns(UserWarning, match="1 row not summing.*row 17"):
            found = dq.label_issues(labels, path, **run)
    read = sum(end - begin for begin, end in reads.taken())
    with pytest.warns(UserWarning, match="1 row not"):
        same(found, dq.label_issues(labels, p, **options))
    assert 0 < read <= N - 3000 + (500 if executor else 2 * 4096 // (8 * CLASSES))
    assert not list((tmp_path / "kept").glob("issues-*"))


@pytest.mark.parametrize("turn", [0, 1, 2])
def test_turns_of_the_issue_pass_go_on(data, tmp_path, monkeypatch, turn):
    """Where the limit has no room for the lists of all pairs of classes at once."""
    monkeypatch.setattr("dqcore.joint_passes._CANDIDATE_BYTES", 1600)
    labels, p, path = data
    run = {"memory_limit": "3MB", "resume": tmp_path / "kept", "threads": 2}
    reads = Reads(monkeypatch)
    with pytest.raises(Stopped):
        dq.label_issues(labels, path, progress=stop_at_issues(2000, turn), **run)
    first = len(reads.taken())
    same(dq.label_issues(labels, path, **run), dq.label_issues(labels, p))
    again = len(reads.taken())
    dq.label_issues(labels, path, **run | {"resume": None})
    assert first + again <= len(reads.taken()) + 2


@pytest.mark.parametrize("turn", [0, 1])
def test_rows_that_are_looked_at_again_go_on(data, tmp_path, turn):
    """The blocks that come first hold all rows that are clearly wrong: bars rise too far, before and after the stop."""
    labels, _, path = data
    labels = np.arange(N) % 2
    sure = 0.6 + np.random.default_rng(7).random(N) / 10
    order = Order(0, N, 4096 // 16, scattered=True)
    for place in range(4):
        sure[slice(*order.block(place))] += 0.25
    p = np.empty((N, 2))
    p[np.arange(N), labels], p[np.arange(N), 1 - labels] = 1 - sure, sure
    np.save(path, p)
    run = {"num_to_remove_per_class": [700, 600], "threads": 1}
    wanted = dq.label_issues(labels, p, **run)
    stops = 0
    for rows in (1000, 2000, 3000):
        with contextlib.suppress(Stopped):
            run["progress"] = stop_at_issues(rows, turn)
            dq.label_issues(labels, path, resume=tmp_path / "kept", **run)
            stops -= 1
        stops += 1
    assert stops > 0
    run["progress"] = None
    same(dq.label_issues(labels, path, resume=tmp_path / "kept", **run), wanted)


def test_an_issue_pass_of_other_blocks_begins_anew(data, tmp_path, monkeypatch):
    labels, p, path = data
    run = {"resume": tmp_path / "kept", "threads": 1}
    for block in (4096, 6000, 4096, 6000):
        monkeypatch.setattr("dqcore.passes._BLOCK_BYTES", block)
        with pytest.raises(Stopped):
            dq.label_issues(labels, path, progress=stop_at_issues(2500), **run)
    # Ended between its first rows and what names them, in the midst of those of 6000 bytes.
    monkeypatch.setattr("dqcore.passes._BLOCK_BYTES", 4096)
    store = checkpoint.Checkpoint.store

    def ended(self, name, *values):
        if name == "issues-turn-0":
            raise Stopped
        store(self, name, *values)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint.Checkpoint, "store", ended)
        with pytest.raises(Stopped):
            dq.label_issues(labels, path, **run)
    monkeypatch.setattr("dqcore.passes._BLOCK_BYTES", 6000)
    same(dq.label_issues(labels, path, **run), dq.label_issues(labels, p))


def test_damaged_parts_of_the_issue_pass_are_refused(data, tmp_path):
    labels, _, path = data
    run = {"resume": tmp_path / "kept", "threads": 1}
    with pytest.raises(Stopped):
        dq.label_issues(labels, path, progress=stop_at_issues(1000), **run)
    for part in sorted((tmp_path / "kept").glob("issues-*"))[-2:]:
        whole = part.read_bytes()
        for at in (0, 40, len(whole) // 2, len(whole) - 1):
            part.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
            with pytest.raises(dq.CorruptFileError, match="is damaged"):
                dq.label_issues(labels, path, **run)
        part.write_bytes(whole)


def test_streams_refuse_what_no_stream_tells(rng):
    labels, p = smooth(rng, 500, 3)
    state = dq.IssueState(dq.confident_joint(labels, p))._state
    all_of_them = np.zeros(0, np.uint8)

    def stream():
        return _cpu.IssueStream(state, [], all_of_them)

    def columns(n):
        return np.empty(n), np.empty(0), np.empty(n, np.int32), np.empty(n, np.uint8)

    y = labels.astype(np.int32)
    fed = stream()
    fed.add(y, p, 0, *columns(500))
    seen, keys, rows, sizes, sums = fed.marks()
    lists = fed.copy(0, 10_000)
    assert len(lists[0]) == sizes.sum() > 10
    for wrong in (
        (seen[:-1], keys, rows, sizes, sums),
        (seen - 1000, keys, rows, sizes, sums),
        (seen, keys[:-1], rows[:-1], sizes, sums),
        (seen, keys * np.nan, rows, sizes, sums),
        (seen, keys, rows, sizes + 2**40, sums),
        (seen, keys, rows, sizes - 2**40, sums),
        (seen, keys, rows, sizes[:-1], sums),
        (seen, keys, rows, sizes, (-1, 0, 1.0)),
        (seen, keys, rows, sizes, (1, 0, np.inf)),
    ):
        with pytest.raises(ValueError, match="not those of such a stream"):
            stream().resume(*wrong)
    with pytest.raises(ValueError, match="has rows"):
        fed.resume(seen, keys, rows, sizes, sums)
    with pytest.raises(ValueError, match="not been resumed"):
        fed.put(*lists)
    other = stream()
    other.resume(seen, keys, rows, sizes, sums)
    for bad in ((lists[0] * np.nan, lists[1]), (lists[0], lists[1] - 1000)):
        with pytest.raises(ValueError, match="not those of such a stream"):
            other.put(*bad)
    other.put(lists[0][:-1], lists[1][:-1])
    with pytest.raises(ValueError, match="candidates are missing"):
        other.close()
    other.put(lists[0][-1:], lists[1][-1:])
    with pytest.raises(ValueError, match="not those of such a stream"):
        other.put(lists[0][:1], lists[1][:1])
    closed = [each.close()[0].to_bytes() for each in (other, fed)]
    assert closed[0] == closed[1]


def test_the_joint_goes_on_with_weights_and_warns_of_all_rows(data, tmp_path, rng):
    labels, p, path = data
    p[[10, 3900]] *= np.array([[0.5], [0.9]])
    np.save(path, p)
    weights = rng.random(N)
    run = {"weights": weights, "resume": str(tmp_path / "kept")}
    with pytest.raises(Stopped):
        dq.confident_joint(labels, path, progress=stop_at("joint", 3000), **run)
    for _ in range(2):
        with pytest.warns(UserWarning, match="2 rows not summing.*the worst is row 10"):
            found = dq.confident_joint(labels, path, threads=3, memory_limit="2MB", **run)
        with pytest.warns(UserWarning, match="2 rows"):
            same(found, dq.confident_joint(labels, p, weights=weights))


def test_a_checkpoint_of_another_call_is_refused(data, tmp_path, monkeypatch):
    labels, p, path = data
    kept = tmp_path / "kept"
    found = dq.label_issues(labels, path, resume=kept)
    other = labels.copy()
    other[7] = (other[7] + 1) % CLASSES
    for words, call in {
        "its labels content was": lambda: dq.label_issues(other, path, resume=kept),
        "its parameters filter_by was": lambda: dq.label_issues(
            labels, path, filter_by="both", resume=kept
        ),
        "parameters": lambda: dq.confident_joint(labels, path, resume=kept),
        "pred_probs": lambda: dq.label_issues(labels, p, resume=kept),
    }.items():
        with pytest.raises(ValueError, match=f"resume: .*kept is of another call: .*{words}"):
            call()
    monkeypatch.setattr("dqcore.joint.version", lambda: "0.0")
    with pytest.raises(ValueError, match=r"its version was .*, now it is \"0\.0\""):
        dq.label_issues(labels, path, resume=kept)
    monkeypatch.undo()
    os.utime(path, ns=(1, 1))
    with pytest.raises(ValueError, match="its pred_probs mtime_ns was"):
        dq.label_issues(labels, path, resume=kept)
    same(dq.label_issues(labels, p, resume=tmp_path / "more"), found)
    same(dq.label_issues(labels, p.copy(), resume=tmp_path / "more"), found)


def test_damaged_checkpoints_are_refused(data, tmp_path):
    labels, _, path = data
    kept = tmp_path / "kept"
    dq.confident_joint(labels, path, resume=kept)
    for part in sorted(kept.iterdir()):
        whole = part.read_bytes()
        for at in sorted({*range(0, len(whole), max(1, len(whole) // 20)), *range(0, 44, 5)}):
            part.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
            with pytest.raises(dq.CorruptFileError, match="is damaged"):
                dq.confident_joint(labels, path, resume=kept)
        for end in (0, 3, 20, len(whole) - 1):
            part.write_bytes(whole[:end])
            with pytest.raises(dq.CorruptFileError, match="is damaged"):
                dq.confident_joint(labels, path, resume=kept)
        part.write_bytes(whole)
    dq.confident_joint(labels, path, resume=kept)


def test_folders_that_are_refused(data, tmp_path):
    labels, p, path = data
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").write_text("mine")
    with pytest.raises(FileExistsError, match="holds something else"):
        dq.confident_joint(labels, path, resume=tmp_path / "other")
    held = checkpoint.Checkpoint(tmp_path / "held", {})
    with pytest.raises(BlockingIOError, match="another process"):
        dq.confident_joint(labels, path, resume=tmp_path / "held")
    del held
    with pytest.raises(ValueError, match="resume needs backend='cpu'"):
        dq.confident_joint(labels, p, resume=tmp_path / "new", backend="reference")
    with pytest.raises(ValueError, match="cannot be told from others"):
        dq.confident_joint(labels, dq.Source.of(Sliced()), resume=tmp_path / "n")
    with pytest.raises(TypeError, match="resume must be"):
        dq.confident_joint(labels, path, resume=3)


class Sliced:
    shape, dtype = (N, CLASSES), np.dtype(np.float64)

    def __getitem__(self, rows):
        raise AssertionError


# ---- audits ------------------------------------------------------------------------------------------


@pytest.fixture
def case(rng, tmp_path):
    """A data set in a file, and the arguments of its audit."""
    n = 300
    arrays = {
        "labels": rng.integers(0, 3, n),
        "features": rng.normal(size=(n, 4)),
        "pred_probs": rng.dirichlet(np.ones(3), n),
        "columns/a": rng.integers(0, 3, n),
        "columns/b": np.array(list("xyz"))[rng.integers(0, 3, n)],
        "split": np.array(["t", "u"])[rng.integers(0, 2, n)],
    }
    np.savez(tmp_path / "data.npz", **arrays)
    names = ("labels", "features", "pred_probs", "split")
    columns = {"a": arrays["columns/a"], "b": arrays["columns/b"]}
    return {name: arrays[name] for name in names} | {"columns": columns}


STAGES = ("graph", "projection", "joint", "slices")


@pytest.mark.parametrize("stages", range(5))
def test_an_audit_goes_on_after_any_stage(case, tmp_path, monkeypatch, stages):
    """Ended before it can keep what comes next; what has been kept is not computed again."""
    expected = dq.audit(**case)
    store = checkpoint.Checkpoint.store

    def ended(self, name, values):
        if name in STAGES[stages:]:
            raise Stopped
        store(self, name, values)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint.Checkpoint, "store", ended)
        with pytest.raises(Stopped) if stages < len(STAGES) else contextlib.nullcontext():
            dq.audit(**case, resume=tmp_path / "kept")
    if stages == len(STAGES):
        for name in ("knn_graph", "projection", "label_evidence", "slice_errors"):
            monkeypatch.setattr(sys.modules["dqcore.audit.audit"], name, None)
    audits = expected, dq.audit(**case, resume=tmp_path / "kept")
    assert_same_bytes(*audits, tmp_path)


def assert_same_bytes(a, b, tmp_path):
    """Two audits are saved the same, but for when they were made and how long that took."""
    same_times = dict(a.provenance)
    for name, audit in (("a", a), ("b", b)):
        graph = dataclasses.replace(audit.graph, stats={})
        saved = dataclasses.replace(audit, provenance=same_times, graph=graph)
        saved.save(tmp_path / name)
    for path in sorted((tmp_path / "a").iterdir()):
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name


def test_an_audit_of_something_else_is_refused(case, tmp_path):
    dq.audit(**case, resume=tmp_path / "kept")
    for change, words in (
        ({"k": 5}, "parameters k was 10, now it is 5"),
        ({"split": None}, "columns"),
        ({"features": case["features"] + 1}, "features content"),
        ({"pred_probs": None}, "pred_probs"),
        ({"class_names": ["p", "q", "r"]}, "class_names"),
    ):
        with pytest.raises(ValueError, match=f"is of another call: .*{words}"):
            dq.audit(**{**case, **change}, resume=tmp_path / "kept")


def test_kills_of_the_command_line_leave_the_same_bytes(case, tmp_path):  # noqa: ARG001
    """A few of what tests/kills.py does by the hundred."""
    assert kills.saves(tmp_path / "saves", 3) == 3
    assert kills.resumes(tmp_path / "resumes", 2) == 2
