"""The main job: what it finds, how it is saved and loaded, and what it makes of bad input."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import dqcore as dq
import numpy as np
import pytest
from dqcore.audit import load, report, rooms, save, store, text


def small(n=200, seed=0, wrong=20):
    """Two clear groups with `wrong` labels flipped, their probabilities, and two columns."""
    rng = np.random.default_rng(seed)
    true = rng.integers(0, 2, n)
    features = rng.normal(0, 0.3, (n, 2)) + 5 * true[:, None]
    labels = true.copy()
    bad = rng.choice(n, wrong, replace=False)
    labels[bad] = 1 - labels[bad]
    pred_probs = np.where(np.arange(2) == true[:, None], 0.9, 0.1)
    columns = {
        "source": np.where(np.isin(np.arange(n), bad), "b", rng.choice(["a", "b"], n)),
        "day": rng.integers(0, 3, n),
    }
    return labels, features, pred_probs, columns, bad


@pytest.fixture
def full():
    labels, features, pred_probs, columns, _ = small()
    return dq.audit(labels, features=features, pred_probs=pred_probs, columns=columns)


def same(a, b):
    """Whether two audits hold the same, provenance aside."""
    assert a.class_names == b.class_names
    assert a.issues.dtype == b.issues.dtype
    assert a.issues.tobytes() == b.issues.tobytes()
    assert np.array_equal(a.class_counts, b.class_counts)
    assert str(a) == str(b)
    first, second = report.content(a), report.content(b)
    first.pop("provenance"), second.pop("provenance")
    assert report.dumps(first) == report.dumps(second)
    for name in store._ROOMS:
        x, y = getattr(a, name), getattr(b, name)
        assert (x is None) == (y is None)
        if x is not None:
            for (field, value), (_, other) in zip(
                rooms.fields_of(x), rooms.fields_of(y), strict=True
            ):
                if isinstance(value, np.ndarray):
                    assert value.dtype == other.dtype
                    assert value.tobytes() == other.tobytes()
                elif field != "stats":
                    assert value == other


# ---- what it finds ---------------------------------------------------------------------------------


def test_finds_planted_errors_by_either_evidence(full):
    bad = np.zeros(len(full), bool)
    bad[small()[4]] = True
    assert np.array_equal(full.issues["is_label_issue"], bad)
    assert np.array_equal(full.issues["is_disagreement_issue"], bad)
    assert np.array_equal(full.issues["suggested"][bad], 1 - full.issues["given"][bad])
    assert full.noise.rows == pytest.approx(20, abs=1)
    assert full.noise.low < full.noise.rate < full.noise.high
    assert {(c.given, c.suggested) for c in full.confusions} == {(0, 1), (1, 0)}
    assert sum(c.rows for c in full.confusions) == 20
    assert full.slices.predicates[0][0] == ("source", "b")


def test_noise_has_the_outer_ends_of_both_intervals():
    labels, features, pred_probs, _, _ = small()
    found = dq.audit(labels, features=features, pred_probs=pred_probs, replicates=99)
    alone = dq.audit(labels, pred_probs=pred_probs, replicates=0)
    drawn = dq.bootstrap_joint(labels, pred_probs, replicates=99)
    assert found.intervals.replicates == found.provenance["parameters"]["replicates"] == 99
    assert found.intervals.whole.tolist() == [drawn.noise_rate.low, drawn.noise_rate.high]
    assert np.array_equal(found.intervals.classes, drawn.class_noise[1:])
    assert found.noise.low == min(alone.noise.low, drawn.noise_rate.low)
    assert found.noise.high == max(alone.noise.high, drawn.noise_rate.high)
    assert found.noise[:2] == alone.noise[:2]
    assert alone.intervals is None
    assert dq.audit(labels, pred_probs=pred_probs).intervals.replicates == 200
    many = dq.audit([0, 1], pred_probs=np.eye(2, 257))
    assert many.intervals is None
    assert dq.audit([0, 1], pred_probs=np.eye(2, 257), replicates=39).intervals is not None


@pytest.mark.parametrize("replicates", [-1, 38, 10_001, 1.5, "many"])
def test_replicates_that_do_not_do(replicates):
    with pytest.raises((TypeError, ValueError), match=r"^replicates"):
        dq.audit([0, 1], pred_probs=np.eye(2), replicates=replicates)
    with pytest.raises((TypeError, ValueError), match=r"^replicates"):
        dq.audit([0, 1], replicates=replicates)


def test_classes_mixed_up_one_way_are_told_first():
    rng = np.random.default_rng(1)
    true = rng.integers(0, 3, 3000)
    features = rng.normal(0, 0.3, (3000, 2)) + 5.0 * true[:, None]
    labels = true.copy()
    corner = (true == 1) & (features[:, 0] > 5.2)
    labels[corner] = 0  # a rule misread: one kind of 1 is called 0
    both = rng.random(3000) < 0.05
    labels[both & (true != 1)] = (
        2 - true[both & (true != 1)]
    )  # 0 and 2 both ways: nothing of a rule
    pred_probs = np.where(np.arange(3) == true[:, None], 0.9, 0.05)
    found = dq.audit(labels, features=features, pred_probs=pred_probs, class_names=["a", "b", "c"])
    same = dq.consistent_noise(labels, pred_probs, graph=found.graph)
    assert found.consistent.pairs.tobytes() == same.pairs.tobytes()
    assert found.consistent.n_significant == 1
    first = found.consistent.pairs[0]
    assert (first["given"], first["true"], first["rows"]) == (0, 1, corner.sum())
    assert first["joins_q_value"] < 1e-6
    line = next(row for row in found.summary if row.issue == "confusion")
    assert line.rows == corner.sum()
    assert line.verdict.startswith("a that should be b: ")
    told = report.content(found)["consistent_noise"]
    assert told["significant"] == 1
    assert (told["pairs"][0]["given"], told["pairs"][0]["true"]) == ("a", "b")
    assert "mixed up one way" in str(found)


def test_worst_slices_stand_out_and_come_by_their_lower_end():
    rng = np.random.default_rng(0)
    labels = np.zeros(4000, int)
    pred_probs = np.tile([0.9, 0.1], (4000, 1))
    where = rng.integers(0, 40, 4000)  # one hundred rows each
    where[:3] = 41  # three rows, all wrong: a wide interval
    bad = (where == 7) & (rng.random(4000) < 0.6)
    bad[:3] = True
    bad |= rng.random(4000) < 0.01
    labels[bad] = 0
    pred_probs[bad] = [0.05, 0.95]
    labels[rng.choice(np.flatnonzero(~bad), 500, replace=False)] = 1
    pred_probs[labels == 1] = [0.1, 0.9]
    found = dq.audit(labels, pred_probs=pred_probs, columns={"where": where, "free": where % 2})
    worst = found.worst_slices(100)
    assert worst[0].predicate == (("where", 7),)
    assert all(s.q_value <= 0.05 and s.lift > 1 for s in worst)
    assert [s.low for s in worst] == sorted((s.low for s in worst), reverse=True)
    assert len(worst) < len(found.slices) / 10
    assert found.worst_slices(1) == worst[:1]
    assert dq.audit(labels, pred_probs=pred_probs).worst_slices() == []


def test_the_parts_are_those_of_the_rooms(full):
    labels, features, pred_probs, columns, _ = small()
    graph = dq.knn_graph(features, 10)
    assert np.array_equal(full.graph.indices, graph.indices)
    assert np.array_equal(
        full.issues["disagreement"], dq.knn_disagreement(labels, graph).score, equal_nan=True
    )
    assert np.array_equal(full.joint.counts, dq.confident_joint(labels, pred_probs).counts)
    issues = dq.label_issues(labels, pred_probs)
    assert np.array_equal(full.issues["is_label_issue"], issues.mask)
    assert np.array_equal(full.issues["label_quality"], issues.quality)
    slices = dq.slice_errors(issues.mask, columns, max_level=2)
    assert full.slices.predicates == slices.predicates
    assert np.array_equal(full.slices.error_sum, slices.error_sum)


def test_slices_may_fail_the_level_that_the_whole_keeps():
    labels, _, pred_probs, _, bad = small()
    kind = np.full(len(labels), "car", object)
    kind[bad] = "motorcycle"
    arguments = {"pred_probs": pred_probs, "columns": {"kind": kind}}
    found = dq.audit(labels, sla=0.5, **arguments)
    assert found.slice_verdict.whole == "pass"
    assert found.slice_verdict.failing.predicates == ((("kind", "motorcycle"),),)
    (line,) = (line for line in found.summary if line.issue == "failing_slice")
    assert line.rows == len(bad)
    assert line.verdict == "kind = motorcycle below 50 %, not the whole"
    assert "slices with fewer than 50 % right" in str(found)
    told = json.loads(found.to_json())["slices"]["sla"]
    assert (told["level"], told["whole"], told["worst_slice"]) == (0.5, "pass", "fail")
    assert (told["slices_pass"], told["slices_fail"], len(told["failing"])) == (1, 1, 1)
    none = dq.audit(labels, sla=0.0, **arguments)
    assert none.slice_verdict.verdict == "pass"
    assert "fewer than" not in str(none)
    with pytest.raises(ValueError, match="sla must be in"):
        dq.audit(labels, sla=1.5, **arguments)


def test_without_probabilities_the_neighbours_decide():
    labels, features, _, columns, bad = small()
    found = dq.audit(labels, features=features, columns=columns)
    assert found.joint is None
    assert found.noise is None
    assert set(found.top(100)["row"]) == set(bad)
    assert np.isnan(found.issues["label_quality"]).all()
    assert (found.issues["label_suggested"] == -1).all()
    assert found.slices.error_sum.max() == 20
    assert [line.issue for line in found.summary] == [
        "disagreement",
        "confusion",
        "worst_slice",
        "failing_slice",
        "class_imbalance",
        "outlier",
        "near_duplicate",
        "conflicting_duplicate",
    ]
    with pytest.raises(ValueError, match="needs an audit with pred_probs"):
        found.top(by="label")


def test_labels_alone_give_class_counts():
    found = dq.audit(["cat", "dog", "cat"])
    assert found.class_names == ("cat", "dog")
    assert found.class_counts.tolist() == [2, 1]
    assert found.slices is None
    assert found.graph is None
    assert "3 rows, 2 classes" in repr(found)


def test_no_rows():
    found = dq.audit([], pred_probs=np.zeros((0, 3)))
    assert len(found) == 0
    assert found.class_names == ("0", "1", "2")
    assert np.isnan(found.noise.rate)
    assert json.loads(found.to_json())["noise"]["rate"] is None


def test_metric_follows_the_number_of_columns(rng):
    labels = rng.integers(0, 2, 30)
    for columns, metric in ((1, "euclidean"), (3, "euclidean"), (4, "cosine")):
        assert dq.audit(labels, features=rng.normal(size=(30, columns))).graph.metric == metric
    found = dq.audit(labels, features=rng.normal(size=(30, 9)), metric="euclidean", k=4)
    assert (found.graph.metric, found.graph.k) == ("euclidean", 4)


def test_split_is_a_column():
    labels, features, _, columns, _ = small()
    split = np.where(np.arange(len(labels)) < 150, "train", "test")
    found = dq.audit(labels, features=features, columns=columns, split=split)
    assert (("split", "train"),) in found.slices.predicates
    alone = dq.audit(labels, features=features, split=split)
    assert {p[0][0] for p in alone.slices.predicates} == {"split"}


def test_top_ranks_flagged_rows_and_ties_go_to_the_lower_row(full):
    best = full.top(7)
    assert best["is_label_issue"].all()
    assert (np.diff(best["label_quality"]) >= 0).all()
    assert best["row"].tolist() == sorted(small()[4])[:7]  # all have the same quality
    by_neighbours = full.top(1000, by="disagreement")
    assert len(by_neighbours) == 20
    assert (np.diff(by_neighbours["disagreement"]) <= 0).all()


@pytest.mark.threads
def test_same_bytes_for_any_number_of_threads():
    labels, features, pred_probs, columns, _ = small(seed=3)
    args = {"features": features, "pred_probs": pred_probs, "columns": columns}
    one = dq.audit(labels, threads=1, **args)
    for threads in (2, 3, 8):
        same(one, dq.audit(labels, threads=threads, **args))


def test_same_bytes_for_every_instruction_set_and_the_reference(native_isa):
    labels, features, pred_probs, columns, _ = small(n=60, seed=4, wrong=6)
    args = {"features": features, "pred_probs": pred_probs, "columns": columns}
    found = dq.audit(labels, **args)
    assert found.provenance["run"]["isa"] == native_isa
    same(found, dq.audit(labels, backend="reference", **args))


# ---- bad input -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"pred_probs": np.zeros((3, 2))}, ValueError, "labels has 200 rows but pred_probs has 3"),
        ({"features": np.zeros((3, 2))}, ValueError, "labels has 200 rows but features has 3"),
        ({"split": [0, 1]}, ValueError, "labels has 200 rows but split has 2"),
        ({"k": 200}, ValueError, "k must be at most"),
        ({"k": 1.5}, TypeError, "k must be a whole number"),
        ({"metric": "manhattan"}, ValueError, "metric must be one of"),
        ({"threads": -1}, ValueError, "threads must be at least 0"),
        ({"progress": 3}, TypeError, "progress must be None or callable"),
        ({"backend": "abacus"}, ValueError, "backend must be"),
        ({"class_names": ["a"]}, ValueError, "class_names"),
        ({"class_names": ["a", "a"]}, ValueError, "class_names"),
        ({"features": None, "pred_probs": None}, ValueError, "columns needs pred_probs or features"),
        ({"columns": {"split": [0] * 200}, "split": [0] * 200}, ValueError, "already"),
        ({"features": 3}, TypeError, "features"),
    ],
)  # fmt: skip
def test_bad_arguments_are_named(change, error, words):
    labels, features, pred_probs, columns, _ = small()
    args = {"features": features, "pred_probs": pred_probs, "columns": columns}
    with pytest.raises(error, match=words):
        dq.audit(labels, **(args | change))


def test_bad_label_names_its_row():
    with pytest.raises(ValueError, match=r"row 2 is .*5"):
        dq.audit([0, 1, 5], pred_probs=np.full((3, 2), 0.5))


# ---- save and load ---------------------------------------------------------------------------------


@pytest.mark.parametrize("parts", ["all", "features", "pred_probs", "labels"])
def test_round_trip(parts, tmp_path):
    labels, features, pred_probs, columns, _ = small()
    args = {
        "all": {"features": features, "pred_probs": pred_probs, "columns": columns},
        "features": {"features": features},
        "pred_probs": {"pred_probs": pred_probs, "columns": columns},
        "labels": {},
    }[parts]
    found = dq.audit(labels, class_names=["no", "yes"], **args)
    found.save(tmp_path / "deep" / "out")
    again = dq.Audit.load(tmp_path / "deep" / "out")
    same(found, again)
    assert again.provenance == json.loads(found.to_json())["provenance"]
    if found.joint is not None:
        assert np.array_equal(again.joint.calibrated(), found.joint.calibrated())


def test_hostile_names_survive_and_cannot_act(tmp_path):
    names = ["\x1b[2Jgone", "a\nb\u202e<script>"]
    labels, features, pred_probs, _, bad = small()
    column = np.where(np.isin(np.arange(len(labels)), bad), "\x07\r=cmd|", "ok")
    found = dq.audit(
        labels,
        features=features,
        pred_probs=pred_probs,
        columns={"\x1bcolumn": column},
        class_names=names,
    )
    for shown in (str(found), repr(found)):
        assert all(c.isprintable() or c == "\n" for c in shown)
    assert "\\x1b[2Jgone" in str(found)
    found.save(tmp_path / "out")
    written = (tmp_path / "out" / "report.json").read_bytes()
    assert all(32 <= b < 127 or b == 10 for b in written)
    content = json.loads(written)
    assert [c["name"] for c in content["classes"]] == names
    assert content["slices"]["worst"][0]["predicate"][0]["column"] == "\x1bcolumn"
    assert dq.Audit.load(tmp_path / "out").class_names == tuple(names)


def test_lone_surrogate_is_valid_json():
    found = dq.audit([0, 0], class_names=["\ud800"])
    assert json.loads(found.to_json())["classes"][0]["name"] == "\ud800"
    assert "\\ud800" in text.printable("\ud800")


def test_json_has_no_nan_and_no_numpy(full):
    def refuse(name):
        raise AssertionError(name)

    content = json.loads(full.to_json(), parse_constant=refuse)
    assert content["format"] == "dqcore-audit"
    assert content["rows"] == 200
    assert content["summary"][0]["issue"] == "label"
    assert content["summary"][0]["rows"] == 20
    assert content["top"]["label"][0]["row"] == min(small()[4])
    assert len(content["slices"]["worst"]) == min(100, content["slices"]["standing_out"])


def test_result_is_replaced_as_a_whole_and_nothing_else_is_touched(full, tmp_path):
    out = tmp_path / "out"
    full.save(out)
    dq.audit([0, 1, 1]).save(out)
    assert len(dq.Audit.load(out)) == 3
    assert not (out / "joint_counts.npy").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["out"]

    (out / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="not a result"):
        full.save(out)
    assert (out / "notes.txt").read_text() == "mine"
    assert len(dq.Audit.load(out)) == 3

    other = tmp_path / "photos"
    other.mkdir()
    (other / "report.json").write_text("{}")
    with pytest.raises(FileExistsError):
        full.save(other)
    (tmp_path / "file").write_text("x")
    with pytest.raises(NotADirectoryError):
        full.save(tmp_path / "file")
    empty = tmp_path / "empty"
    empty.mkdir()
    full.save(empty)
    assert len(dq.Audit.load(empty)) == 200


def test_replacing_works_where_folders_cannot_be_swapped(full, tmp_path, monkeypatch):
    import ctypes

    class NoSwap:
        def __init__(self, *_, **__):
            pass

    monkeypatch.setattr(ctypes, "CDLL", NoSwap)
    full.save(tmp_path / "out")
    dq.audit([0, 1]).save(tmp_path / "out")
    assert len(dq.Audit.load(tmp_path / "out")) == 2
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_failed_write_leaves_the_old_result(full, tmp_path, monkeypatch):
    dq.audit([0, 1]).save(tmp_path / "out")

    def full_disk(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(store.np.lib.format, "write_array", full_disk)
        with pytest.raises(OSError, match="No space"):
            full.save(tmp_path / "out")
    assert len(dq.Audit.load(tmp_path / "out")) == 2
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def save_and_die(audit, folder, step):
    """Save in a child that is killed at its `step`-th system event; return whether it got to the end."""
    child = os.fork()
    if child == 0:
        left = step

        def hook(*_):
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)  # opening, renaming, removing, listing, calling into the system
        # Without what other libraries write: their imports are a thousand events of no concern.
        audit.save(folder, parquet=False, page=False)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize("swap", [True, False])
def test_killed_at_each_step_it_leaves_a_whole_result(tmp_path, swap, monkeypatch):
    out = tmp_path / "out"
    old, new = dq.audit([0, 1] * 30), dq.audit([0, 1, 1] * 10)
    if not swap:
        monkeypatch.setattr(save, "_exchange", save._two_renames)
    seen, absent, step = [], 0, 0
    old.save(out, parquet=False, page=False)
    while not seen or seen[-1] != "end":
        step += 1
        ended = save_and_die(new, out, step)
        if not swap and not out.exists():
            absent += 1
            whole = [dq.Audit.load(p) for p in tmp_path.glob(".out.*")]
            assert any(len(found) == 60 for found in whole)
        else:
            seen.append(len(dq.Audit.load(out)))
        for path in tmp_path.iterdir():
            shutil.rmtree(path)
        old.save(out, parquet=False, page=False)
        if ended:
            seen.append("end")
    # First the old result, from one step on the new one, and nothing else.
    assert step > 30
    assert seen == [*sorted(seen[:-1], reverse=True), "end"]
    assert set(seen) == {60, 30, "end"}
    assert absent <= 2


WRITER = """
import sys, dqcore as dq
a, b = dq.audit([0, 1] * 3000), dq.audit([0, 1, 1] * 1000)
print("ready", flush=True)
while True:
    a.save(sys.argv[1])
    b.save(sys.argv[1])
"""


def test_killed_at_any_time_it_leaves_a_whole_result(tmp_path):
    out = tmp_path / "out"
    dq.audit([0, 1] * 3000).save(out)
    rng = np.random.default_rng(1)
    for _ in range(5):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(out)], stdout=subprocess.PIPE, env=os.environ
        )
        assert writer.stdout.readline() == b"ready\n"
        writer.stdout.close()
        for _ in range(
            5
        ):  # stopped, looked at, and on: five more moments at which a reader may come
            time.sleep(rng.uniform(0, 0.01))
            writer.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, writer.pid, os.WSTOPPED | os.WNOWAIT)
            assert len(dq.Audit.load(out)) in (6000, 3000)
            writer.send_signal(signal.SIGCONT)
        writer.kill()
        writer.wait()
        assert len(dq.Audit.load(out)) in (6000, 3000)
    # What killed writers left is swept once it is old enough.
    for left in tmp_path.glob(".out.*"):
        os.utime(left, (0, 0))
    dq.audit([0]).save(out)
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_a_living_writers_folder_is_not_swept(tmp_path):
    theirs = tmp_path / ".out.1.1.tmp"
    theirs.mkdir()
    os.utime(theirs, (0, 0))
    descriptor = os.open(theirs, os.O_RDONLY)
    assert save._lock(descriptor)
    dq.audit([0]).save(tmp_path / "out")
    assert theirs.exists()
    os.close(descriptor)
    dq.audit([0]).save(tmp_path / "out")
    assert not theirs.exists()


def test_a_forged_result_is_refused_or_harmless(full, tmp_path):
    """Hashes that fit, so that only the content speaks."""
    full.save(tmp_path / "out")
    written = tmp_path / "out" / "report.json"
    forgeries = {
        "issues": [np.zeros(3), full.issues[["row"]], np.array([full.issues])],
        "class_counts": [np.array([None, 1], object)],
    }
    wild = full.issues.copy()
    wild["given"][4] = 2
    forgeries["issues"].append(wild)
    for field in ("suggested", "split", "near_duplicate_group", "row", "duplicate_group"):
        wild = full.issues.copy()
        wild[field][4] = 200
        forgeries["issues"].append(wild)
    wild = full.issues.copy()
    wild["is_split_leak_issue"][4] = True
    forgeries["issues"].append(wild)
    forgeries["class_counts"].append(full.class_counts + 1)
    wild = full.consistent.pairs.copy()
    wild["true"][0] = 2
    forgeries["consistent_pairs"] = [wild, wild["rows"].copy()]
    backward = full.intervals.classes[::-1].copy()
    forgeries["intervals_classes"] = [backward, full.intervals.classes[:, :1], backward * np.nan]
    forgeries["intervals_whole"] = [full.intervals.whole + 1, full.intervals.whole[:1]]
    forgeries["graph_indices"] = [full.graph.indices[:-1], full.graph.indices + 1]
    forgeries["disagreement_score"] = [full.disagreement.score[:-1]]
    for name, arrays in forgeries.items():
        for array in arrays:
            path = tmp_path / "out" / f"{name}.npy"
            before = path.read_bytes()
            np.save(path, array, allow_pickle=True)
            content = json.loads(written.read_text())
            content["files"][path.name] = store._fingerprint(path)
            written.write_text(json.dumps(content))
            with pytest.raises(dq.CorruptFileError):
                dq.Audit.load(tmp_path / "out")
            path.write_bytes(before)


@pytest.mark.parametrize(
    "damage", ["cut", "flip", "missing", "version", "old", "json", "format", "name"]
)
def test_damaged_results_are_refused(full, tmp_path, damage):
    out = tmp_path / "out"
    full.save(out)
    issues, written = out / "issues.npy", out / "report.json"
    content = json.loads(written.read_text())
    if damage == "cut":
        issues.write_bytes(issues.read_bytes()[:-1])
    elif damage == "flip":
        data = bytearray(issues.read_bytes())
        data[-1] ^= 1
        issues.write_bytes(data)
    elif damage == "missing":
        issues.unlink()
    elif damage == "json":
        written.write_text("{")
    else:
        key, value = {
            "version": ("format_version", 99),
            "old": ("format_version", 1),
            "format": ("format", "other"),
            "name": ("files", {"../report.json": {}}),
        }[damage]
        written.write_text(json.dumps(content | {key: value}))
    with pytest.raises(
        OSError,
        match=r"issues|damaged|version 99|version 1;.*audit the data again|not JSON|not a result",
    ):
        dq.Audit.load(out)


# ---- files of others -------------------------------------------------------------------------------


def write_npz(path, **arrays):
    np.savez(path, **arrays)
    return path


def test_archive_names_the_keys_it_has(tmp_path):
    archive = load.Archive(write_npz(tmp_path / "a.npz", y=np.arange(3), x=np.eye(2)))
    assert archive.keys == ("y", "x")
    assert np.array_equal(archive.read("x"), np.eye(2))
    with pytest.raises(ValueError, match="no array 'labels'; it has: x, y"):
        archive.read("labels")


@pytest.mark.parametrize(
    "array",
    [np.arange(12).reshape(3, 4), np.asfortranarray(np.arange(12.0).reshape(3, 4)), np.array(3),
     np.zeros((0, 5)), np.array(["a", "bcd"]), np.arange(4, dtype=">i2"), np.array([True, False]),
     np.zeros(2, [("a", "i4"), ("b", "f8")])],
)  # fmt: skip
def test_arrays_come_back_as_numpy_reads_them(array, tmp_path):
    np.savez_compressed(tmp_path / "a.npz", a=array)
    np.save(tmp_path / "a.npy", array)
    for got in (load.Archive(tmp_path / "a.npz").read("a"), load.read_npy(tmp_path / "a.npy")):
        want = np.load(tmp_path / "a.npy")
        assert got.dtype == want.dtype
        assert got.shape == want.shape
        assert np.array_equal(got, want)


def test_pickles_are_never_loaded(tmp_path):
    class Canary:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "canary",))

    objects = np.array([Canary(), None], dtype=object)
    np.savez(tmp_path / "a.npz", labels=objects)
    np.save(tmp_path / "a.npy", objects)
    with pytest.raises(OSError, match="array 'labels' holds Python objects"):
        load.Archive(tmp_path / "a.npz").read("labels")
    with pytest.raises(OSError, match="holds Python objects"):
        load.read_npy(tmp_path / "a.npy")
    assert not (tmp_path / "canary").exists()


def test_size_is_checked_before_memory_is_asked_for(tmp_path):
    path = write_npz(tmp_path / "a.npz", a=np.zeros(1000))
    with pytest.raises(ValueError, match="unfolds to 8,000 bytes; at most 100"):
        load.Archive(path, limit=100).read("a")
    both = load.Archive(write_npz(tmp_path / "b.npz", a=np.zeros(10), b=np.zeros(10)), limit=120)
    both.read("a")
    with pytest.raises(ValueError, match="at most 40 are allowed"):
        both.read("b")
    header = b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little")
    for shape in ("(4611686018427387904,)", "(-1,)", "(3, 99)", "(2, 2), 'x': (1,)"):
        text_ = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}"
        lie = header + text_.ljust(117).encode() + b"\n" + bytes(16)
        (tmp_path / "lie.npy").write_bytes(lie)
        with pytest.raises(OSError, match=r"declares shape|not a .npy"):
            load.read_npy(tmp_path / "lie.npy")


def test_every_cut_and_every_flip_is_an_array_or_a_named_error(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, labels=np.arange(300) % 7)
    data = path.read_bytes()
    damaged = tmp_path / "d.npz"
    rng = np.random.default_rng(0)
    cases = [data[:i] for i in range(0, len(data), 7)]
    for _ in range(400):
        flipped = bytearray(data)
        flipped[rng.integers(len(data))] ^= 1 << rng.integers(8)
        cases.append(bytes(flipped))
    refused = 0
    for case in cases:
        damaged.write_bytes(case)
        try:
            archive = load.Archive(damaged)
            if "labels" in archive:
                assert len(archive.read("labels")) == 300
        except dq.CorruptFileError:
            refused += 1
    assert refused > len(cases) / 2


def test_members_twice_and_encrypted_are_refused(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, a=np.arange(3))
    member = zipfile.ZipFile(path).read("a.npy")
    with zipfile.ZipFile(tmp_path / "twice.npz", "w") as archive:
        archive.writestr("a.npy", member)
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a.npy", member)
    with pytest.raises(OSError, match="twice"):
        load.Archive(tmp_path / "twice.npz")
    data = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + offset] |= 1
    path.write_bytes(data)
    with pytest.raises(OSError, match="encrypted"):
        load.Archive(path).read("a")


def test_only_regular_files_are_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.npz")
    with pytest.raises(OSError, match="not a regular file"):
        load.Archive(tmp_path / "pipe.npz")
    with pytest.raises(OSError, match=r"directory|regular"):
        load.Archive(tmp_path)
    with pytest.raises(FileNotFoundError):
        load.Archive(tmp_path / "none.npz")


# ---- the house -------------------------------------------------------------------------------------

IMPORTS = """
import sys, numpy
before = set(sys.modules)
import dqcore
print(*sorted(m for m in set(sys.modules) - before if not m.startswith(("dqcore", "numpy"))))
"""


def test_import_loads_little_and_only_of_the_standard_library():
    out = subprocess.run(
        [sys.executable, "-c", IMPORTS], capture_output=True, text=True, check=True, env=os.environ
    ).stdout.split()
    tops = {name.partition(".")[0] for name in out}
    assert tops <= set(sys.stdlib_module_names) | {"org"}
    assert not tops & {"argparse", "pathlib", "zipfile", "hashlib", "socket", "ssl"}


def test_the_name_is_the_function_whatever_is_imported_later():
    code = (
        "import dqcore, dqcore.audit.cli, dqcore.audit.demo\n"
        "from dqcore.audit import report\n"
        "import inspect, pickle\n"
        "assert inspect.isfunction(dqcore.audit)\n"
        "assert pickle.loads(pickle.dumps(dqcore.audit)) is dqcore.audit\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ)


def test_printable_escapes_what_a_terminal_acts_on():
    assert text.printable("plain é 漢") == "plain é 漢"
    assert text.printable("\x1b[31m\n\u202e\x9b") == "\\x1b[31m\\x0a\\u202e\\x9b"
    assert text.printable("x" * 100) == "x" * 59 + "…"
    assert text.width("漢e\u0301") == 3
    assert text.table(("a", "b"), [("x", "1"), ("漢", "20")]) == "  a    b\n  x    1\n  漢  20"
