"""The command line: what it prints where, and its exit codes."""

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
import warnings

import dqcore as dq
import numpy as np
import pytest
from dqcore.audit import cli, progress


@pytest.fixture
def run(capsys):
    def call(*args):
        code = cli.main([str(a) for a in args])
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture
def data(tmp_path, rng):
    """A file with 200 rows, 20 wrong labels, and a column in each of the two layouts."""
    true = rng.integers(0, 2, 200)
    labels = true.copy()
    labels[:20] = 1 - labels[:20]
    path = tmp_path / "data.npz"
    arrays = {
        "labels": labels,
        "pred_probs": np.where(np.arange(2) == true[:, None], 0.9, 0.1),
        "features": rng.normal(0, 0.3, (200, 2)) + 5 * true[:, None],
        "codes": np.stack([np.arange(200) >= 20, rng.integers(-1, 3, 200)], axis=1).astype(
            np.int16
        ),
        "column_names": np.array(["half", "third"]),
        "category_names": np.array(["early", "late", "x", "y", "z"]),
        "category_offsets": np.array([0, 2, 5]),
        "columns/free": np.array(["p", "q"])[rng.integers(0, 2, 200)],
    }
    np.savez(path, **arrays)
    return path, arrays


# ---- audit -----------------------------------------------------------------------------------------


def test_audit_prints_and_saves_the_same(run, data, tmp_path):
    code, out, err = run("audit", data[0], "--out", tmp_path / "out", "--format", "json")
    assert code == 0
    assert err == f"dqcore: saved in {tmp_path / 'out'}\n"
    printed = json.loads(out)
    saved = json.loads((tmp_path / "out" / "report.json").read_text())
    assert saved.pop("files")
    assert saved.pop("left_out") == []
    assert printed == saved
    assert printed["summary"][0] == {"issue": "label", "rows": 20, "share": 0.1} | {
        "verdict": printed["summary"][0]["verdict"]
    }
    worst = printed["slices"]["worst"][0]
    assert worst["predicate"] == [{"column": "half", "value": "early"}]
    assert (worst["size"], worst["error_sum"]) == (20, 20)
    again = dq.Audit.load(tmp_path / "out")
    assert set(again.slices.column_names) == {"half", "third", "free"}
    assert again.top(100)["row"].tolist() == list(range(20))


def test_audit_text_is_the_result_only(run, data):
    code, out, err = run("audit", data[0], "--top", 3)
    assert code == 0
    assert err == ""
    assert "200 rows, 2 classes, 10 neighbours by euclidean distance" in out
    assert "half = early" in out
    assert out.endswith("\n")


def test_an_audit_is_resumed_and_tells_progress(run, data, tmp_path):
    command = ("audit", data[0], "--columns", "*", "--format", "csv", "--resume", tmp_path / "kept")
    first = run(*command, "--progress", "--threads", 1)
    assert first[0] == 0
    assert "dqcore: issues 100 %\n" in first[2]
    again = run(*command, "--progress")
    assert again[:2] == first[:2]
    assert "issues" not in again[2]
    code, _, err = run(*command, "--k", 3)
    assert code == 2
    assert "is of another call: its parameters k was 10, now it is 3" in err


def test_options_reach_the_audit(run, data):
    code, out, _ = run(
        "audit", data[0], "--k", 3, "--metric", "cosine", "--threads", 1, "--format", "json"
    )
    assert code == 0
    assert json.loads(out)["provenance"]["parameters"]["k"] == 3
    assert json.loads(out)["provenance"]["parameters"]["metric"] == "cosine"


def test_arguments_from_elsewhere(run, data, tmp_path):
    path, arrays = data
    np.savez(tmp_path / "other.npz", y=arrays["labels"], part=np.arange(200) % 2)
    np.save(tmp_path / "names.npy", np.array(["no", "yes"]))
    code, out, _ = run(
        "audit", path, "--labels", f"{tmp_path}/other.npz:y", "--pred-probs", "pred_probs",
        "--class-names", tmp_path / "names.npy", "--split", f"{tmp_path}/other.npz:part",
        "--format", "json",
    )  # fmt: skip
    assert code == 0
    assert [c["name"] for c in json.loads(out)["classes"]] == ["no", "yes"]
    assert any(
        p["column"] == "split" for s in json.loads(out)["slices"]["worst"] for p in s["predicate"]
    )


@pytest.mark.parametrize(
    ("bound", "code"),
    [("label>5%", 1), ("label>0.1", 0), ("label>=10%", 1), ("noise>50%", 0), ("noise > 5 %", 1),
     ("disagreement>=0.02", 1), ("disagreement>99%", 0), ("outlier>=0%", 1), ("near_duplicate>99%", 0),
     ("conflicting_duplicate>0", 0), ("conflicting_duplicate>=0", 1)],
)  # fmt: skip
def test_fail_on(run, data, tmp_path, bound, code):
    found, out, err = run("audit", data[0], "--out", tmp_path / "out", "--fail-on", bound)
    assert found == code
    assert ("--fail-on says" in err) == bool(code)
    assert "200 rows" in out
    assert (tmp_path / "out" / "report.json").exists()  # saved all the same


def test_the_level_agreed_is_a_share(run, data):
    for text in ("99%", "0.99"):
        code, out, _ = run("audit", data[0], "--sla", text, "--format", "json")
        assert code == 0
        assert json.loads(out)["provenance"]["parameters"]["sla"] == 0.99
    for text in ("101%", "nan", "most"):
        code, _, err = run("audit", data[0], "--sla", text)
        assert code == 2
        assert f"{text!r} is no share" in err


def test_fail_on_a_leak(run, data, tmp_path):
    np.savez(tmp_path / "parts.npz", part=np.arange(200) % 2)
    code, _, err = run("audit", data[0], "--fail-on", "split_leak>0")
    assert code == 2
    assert "--fail-on 'split_leak>0' needs features and split" in err
    arguments = ("audit", data[0], "--split", f"{tmp_path / 'parts.npz'}:part")
    assert run(*arguments, "--fail-on", "split_leak>100%")[0] == 0
    assert run(*arguments, "--fail-on", "split_leak>=0")[0] == 1


def test_csv_on_stdout_is_that_of_the_folder(run, data, tmp_path):
    code, out, _ = run("audit", data[0], "--format", "csv", "--out", tmp_path / "out")
    assert code == 0
    assert out == (tmp_path / "out" / "findings.csv").read_bytes().decode()
    assert len(out.splitlines()) == 201


@pytest.mark.parametrize("bound", ["noise", "noise>", "noise>5", "noise>101%", "speed>5%", ">5%", "label<5%",
                                   "noise>nan", "noise>-1%"])  # fmt: skip
def test_bounds_that_are_none(run, data, bound):
    code, out, err = run("audit", data[0], "--fail-on", bound)
    assert (code, out) == (2, "")
    assert "is no bound; want one of noise, label, disagreement" in err


def test_a_bound_on_what_is_not_there(run, tmp_path):
    np.savez(tmp_path / "a.npz", labels=np.array([0, 1]))
    code, _, err = run("audit", tmp_path / "a.npz", "--fail-on", "noise>5%")
    assert code == 2
    assert "needs pred_probs" in err


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ({"labels": None}, 2, "no array 'labels'; it has: "),
        ({"labels": np.zeros(3, int)}, 2, "labels has 3 rows but pred_probs has 200"),
        ({"labels": np.array([None] * 200)}, 3, "Python objects"),
        ({"pred_probs": np.full((200, 2), np.nan)}, 2, "pred_probs"),
        ({"category_offsets": np.array([0, 2])}, 2, "do not fit"),
        ({"category_offsets": np.array([0, 2, 4])}, 2, "category_offsets end at 4"),
        ({"category_offsets": np.array([0, 6, 5])}, 2, "never fall"),
        ({"codes": np.full((200, 2), 7)}, 2, "codes of column 'half' must be in [-1, 1]: row 0 is 7"),
        ({"columns/half": np.zeros(200, int)}, 2, "column 'half' is there twice"),
    ],
)  # fmt: skip
def test_bad_files(run, data, tmp_path, change, code, words):
    arrays = {k: v for k, v in (data[1] | change).items() if v is not None}
    np.savez(tmp_path / "bad.npz", **arrays)
    found, out, err = run("audit", tmp_path / "bad.npz", "--out", tmp_path / "out")
    assert (found, out) == (code, "")
    assert words in err
    assert err.startswith("dqcore: error: ")
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_files_that_cannot_be_read_or_written(run, data, tmp_path):
    code, out, err = run("audit", tmp_path / "none.npz")
    assert (code, out) == (3, "")
    assert err == f"dqcore: error: No such file or directory: {tmp_path / 'none.npz'}\n"
    (tmp_path / "junk.npz").write_bytes(b"not a zip file")
    code, _, err = run("audit", tmp_path / "junk.npz")
    assert code == 3
    assert "cannot be read as .npz" in err
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    code, out, err = run("audit", data[0], "--out", tmp_path / "mine")
    assert (code, out) == (3, "")
    assert "not a result of dqcore" in err


def test_names_cannot_act_on_the_terminal(run, tmp_path):
    name = "\x1b[2Jevil"
    np.savez(tmp_path / "a.npz", **{"labels": np.array([name, "b"]), f"x{name}": np.zeros(1)})
    code, out, err = run("audit", tmp_path / "a.npz", "--labels", "nokey")
    assert code == 2
    assert "\x1b" not in out + err
    assert "\\x1b[2Jevil" in err


@pytest.mark.parametrize(
    "args",
    [[], ["audit"], ["fly"], ["demo", "--seed", "-1"], ["demo", "--seed", "x"], ["audit", "a", "--k", "0"],
     ["audit", "a", "--metric", "taxi"], ["demo", "--backend", "abacus"], ["info", "extra"]],
)  # fmt: skip
def test_usage_errors(run, args):
    code, out, err = run(*args)
    assert (code, out) == (2, "")
    assert "usage: dqcore" in err


def test_help_is_on_stdout(run):
    code, out, err = run("audit", "--help")
    assert (code, err) == (0, "")
    assert "category_offsets" in out


def test_missing_backend(run, data, monkeypatch):
    monkeypatch.setitem(dq._backend._MODULES, "cuda", "dqcore._no_such_module")
    code, out, err = run("audit", data[0], "--backend", "cuda")
    assert (code, out) == (4, "")
    assert "backend 'cuda' cannot run here" in err


@pytest.mark.parametrize(
    ("error", "code"),
    [(KeyboardInterrupt(), 130), (MemoryError(), 3), (ZeroDivisionError(), 70), (OSError(5, "x"), 3)],
)  # fmt: skip
def test_exit_codes(run, monkeypatch, error, code):
    def fail(_):
        raise error

    monkeypatch.setattr(cli, "_info", fail)
    found, out, err = run("info")
    assert (found, out) == (code, "")
    assert err


def test_warnings_go_to_stderr_once(run, data, tmp_path):
    arrays = data[1] | {"pred_probs": data[1]["pred_probs"] * 0.9}
    np.savez(tmp_path / "a.npz", **arrays)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        code, out, err = run("audit", tmp_path / "a.npz")
    assert code == 0
    assert "200 rows, 2 classes" in out
    assert err.count("dqcore: warning: pred_probs") == 1


# ---- the others ------------------------------------------------------------------------------------


def test_demo_prints_planted_and_found(run, tmp_path):
    code, out, err = run("demo", "--seed", 1, "--out", tmp_path / "out", "--threads", 1)
    assert code == 0
    assert "planted" in out
    assert "false alarms" in out
    assert "saved in" in err
    assert len(dq.Audit.load(tmp_path / "out")) == 1797
    code, out, _ = run("demo", "--seed", 1, "--format", "json")
    assert code == 0
    assert json.loads(out)["found"]["pair_rank"] == 1


def test_info(run):
    code, out, _ = run("info", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["numpy"] == np.__version__
    assert found["isa"] in found["isas"]
    assert found["threads"] >= 1
    assert found["backends"]["cpu"] == {"runs": True, "reason": ""}
    assert found["backends"]["reference"]["runs"]
    code, out, _ = run("info")
    assert code == 0
    assert "backend cpu" in out


def test_show_versions(capsys):
    dq.show_versions()
    assert capsys.readouterr().out.startswith("dqcore ")


def test_as_a_process():
    command = [sys.executable, "-m", "dqcore"]
    done = subprocess.run(
        [*command, "info", "--json"], capture_output=True, check=False, env=os.environ
    )
    assert done.returncode == 0
    assert json.loads(done.stdout)["dqcore"]
    assert done.stderr == b""
    full = subprocess.run(f"'{sys.executable}' -m dqcore info > /dev/full", shell=True, check=False, env=os.environ,
                          capture_output=True)  # fmt: skip
    if sys.platform == "linux":
        assert full.returncode == 3
    gone = subprocess.run(["bash", "-c", f"set -o pipefail; '{sys.executable}' -m dqcore info | true"],
                          env=os.environ, check=False, capture_output=True)  # fmt: skip
    assert gone.returncode in (0, 3)
    assert b"Traceback" not in gone.stderr


INTERRUPTED = """
import signal, sys
from dqcore.audit import audit, cli
# A shell starts what it puts in the background with SIGINT ignored, and Python leaves it so.
signal.signal(signal.SIGINT, signal.default_int_handler)
def slow(*_, **__):
    print("ready", flush=True)
    import time
    time.sleep(60)
audit.audit = slow
sys.exit(cli.main(["audit", sys.argv[1]]))
"""


def test_ctrl_c(data):
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(data[0])],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ,
    )  # fmt: skip
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err == b"dqcore: interrupted\n"


# ---- progress --------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("with_tqdm", [True, False])
def test_a_terminal_shows_each_stage_and_is_clean_after_it(with_tqdm, monkeypatch):
    if not with_tqdm:
        monkeypatch.setitem(sys.modules, "tqdm", None)
    terminal, threads = Terminal(), threading.active_count()
    show = progress.bar(terminal)
    for stage in ("knn", "joint"):
        for done in range(0, 101, 50):
            show(stage, done, 100)
            time.sleep(1.1 * progress.DELAY)
    text = terminal.getvalue()
    assert "knn" in text
    assert "50 %" in text
    assert threading.active_count() == threads
    last = text.split("\r")[-1]
    assert last.replace("\x1b[K", "").strip() == ""


def test_elsewhere_nothing_is_shown():
    assert progress.bar(io.StringIO()) is None


# ---- states and results in files ---------------------------------------------------------------


@pytest.fixture
def shards(tmp_path, rng):
    """Three files of a joint's states, and the state of all rows."""
    labels, p = rng.integers(0, 3, 90), rng.dirichlet(np.ones(3), 90)
    paths, whole = [], dq.JointState([0.4] * 3)
    whole.update(labels, p)
    for i, rows in enumerate((slice(50, 90), slice(0, 0), slice(0, 50))):
        state = dq.JointState([0.4] * 3)
        state.update(labels[rows], p[rows])
        paths.append(tmp_path / f"{i}.state")
        paths[-1].write_bytes(state.to_bytes())
    return paths, whole


def test_merge_gives_the_bytes_of_all_rows(run, shards, tmp_path):
    paths, whole = shards
    code, out, err = run("merge", tmp_path / "all.state", *paths)
    assert (code, out) == (0, "")
    assert "JointState of 3 files" in err
    assert (tmp_path / "all.state").read_bytes() == whole.to_bytes()


def test_states_that_do_not_go_together_are_refused_and_nothing_is_written(run, shards, tmp_path):
    paths, _ = shards
    out = tmp_path / "all.state"
    (tmp_path / "other").write_bytes(dq.JointState([0.5] * 3).to_bytes())
    (tmp_path / "kind").write_bytes(dq.ThresholdState(3).to_bytes())
    (tmp_path / "torn").write_bytes(paths[0].read_bytes()[:-7])
    for name, code, said in (
        ("other", 2, "states differ in thresholds"),
        ("kind", 2, "holds a ThresholdState"),
        ("torn", 3, "data does not hold a state"),
        ("absent", 3, "No such file"),
    ):
        got, _, err = run("merge", out, paths[0], tmp_path / name)
        assert got == code
        assert said in err
        assert name in err
        assert not out.exists()


def test_verify_tells_what_is_whole(run, shards, tmp_path):
    paths, _ = shards
    dq.audit([0, 1, 0, 1], pred_probs=np.eye(2)[[0, 1, 0, 1]]).save(
        tmp_path / "audit", parquet=False, page=False
    )
    code, out, _ = run("verify", paths[0], tmp_path / "audit")
    assert code == 0
    assert out.splitlines() == [
        f"{paths[0]}: a JointState, whole",
        f"{tmp_path / 'audit'}: an audit of 4 rows, whole",
    ]
    (tmp_path / "empty").touch()
    (tmp_path / "text").write_text("no state of ours")
    damaged = paths[0].read_bytes()
    (tmp_path / "bit").write_bytes(damaged[:40] + bytes([damaged[40] ^ 1]) + damaged[41:])
    for name in ("empty", "text", "bit"):
        code, out, err = run("verify", tmp_path / name)
        assert (code, out) == (3, "")
        assert name in err
    issues = tmp_path / "audit" / "issues.npy"
    issues.write_bytes(issues.read_bytes()[:-1])
    code, _, err = run("verify", tmp_path / "audit")
    assert code == 3
    assert "issues.npy" in err
