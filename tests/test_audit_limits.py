"""An audit within a memory limit: the same findings to the bit, and clear errors where that cannot be."""

import json
import subprocess
import sys
from pathlib import Path

import dqcore as dq
import numpy as np
import pytest
from conftest import SANITIZED
from dqcore import _cpu, joint_passes
from dqcore.audit import projection
from dqcore.audit.cli import main
from dqcore.joint_blocks import Blocks
from dqcore.reference import neighbours
from joint_cases import smooth

N, CLASSES = 1500, 5


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr("dqcore.passes._BLOCK_BYTES", 1 << 14)


@pytest.fixture
def data(tmp_path, rng):
    """The arguments of an audit as arrays and, where files are read in blocks, as paths."""
    labels, p = smooth(rng, N, CLASSES)
    features = rng.normal(size=(CLASSES, 20))[labels] + 0.4 * rng.normal(size=(N, 20))
    features[::60] = features[3]
    held = {
        "features": features,
        "pred_probs": p,
        "columns": {"a": rng.integers(0, 4, N), "b": rng.integers(-1, 90, N)},
        "split": np.where(rng.random(N) < 0.8, "train", "test"),
    }
    filed = dict(held)
    for name in ("features", "pred_probs"):
        np.save(tmp_path / f"{name}.npy", held[name])
        filed[name] = tmp_path / f"{name}.npy"
    filed["columns"] = {}
    for name, values in held["columns"].items():
        np.save(tmp_path / f"{name}.npy", values)
        filed["columns"][name] = tmp_path / f"{name}.npy"
    return labels, held, filed


def found(audit, folder):
    """Return what is saved of an audit, but for when and how it was made."""
    audit.save(folder, parquet=False, page=False)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    del files["report.json"]
    objects = json.loads(files.pop("objects.json"))
    objects.get("graph", {}).pop("stats", None)
    return files | {"objects": objects}


def test_the_same_is_found_within_any_limit(tmp_path, data):
    labels, held, filed = data
    expected = found(dq.audit(labels, **held), tmp_path / "expected")
    for limit, threads, given in (("14MB", 1, held), ("14MB", 3, filed), ("1GB", 2, filed)):
        audit = dq.audit(labels, **given, memory_limit=limit, threads=threads)
        assert found(audit, tmp_path / f"{limit}{threads}") == expected
    run = {"memory_limit": "14MB", "resume": tmp_path / "kept"}
    arrays = filed | {"columns": held["columns"]}
    for name in ("first", "again"):
        assert found(dq.audit(labels, **arrays, **run), tmp_path / name) == expected
    for name in ("features", "pred_probs"):
        only = {name: held[name]}
        audit = dq.audit(labels, **{name: filed[name]}, memory_limit="14MB")
        assert audit.issues.tobytes() == dq.audit(labels, **only).issues.tobytes()


@pytest.mark.threads
@pytest.mark.parametrize("collision", ["argmax", "confident"])
def test_functions_of_probabilities_over_blocks(rng, collision):
    labels, p = smooth(rng, N, 30)
    labels = labels.astype(np.int32)
    run = {"threads": 2, "progress": None}
    thresholds = _cpu.confident_joint(
        labels, p, thresholds=None, weights=None, collision=collision, **run
    )[1]
    given = {"collision": collision, **run}
    for limit in (6_000_000, 1_000_000_000):
        source = dq.Source.of(p.astype(np.float32))
        rows = joint_passes.Rows(_cpu, labels, source, limit, 3, None)
        blocks, p32 = Blocks(rows), p.astype(np.float32)
        np.testing.assert_array_equal(
            blocks.confident_classes(labels, p32, thresholds=thresholds, **given),
            _cpu.confident_classes(labels, p32, thresholds=thresholds, **given),
        )
        for known in (None, thresholds):
            drawn = {"thresholds": known, "replicates": 45, "seed": 7, **given}
            got = blocks.bootstrap_joint(labels, p32, **drawn)
            for one, other in zip(got, _cpu.bootstrap_joint(labels, p32, **drawn), strict=True):
                np.testing.assert_array_equal(one, other)


def test_near_duplicates_are_joined_some_at_a_time(rng, monkeypatch):
    x = rng.integers(0, 3, (400, 3)).astype(float)
    chain = np.cumsum(np.full((300, 1), 1e-3), axis=0) + 50
    graphs = [dq.knn_graph(x, 6), dq.knn_graph(np.vstack([chain, chain[::-1] * 9]), 3)]
    rules = ({}, {"radius": 0.01}, {"radius": 1.5}, {"threshold": 0.0})
    expected = [dq.near_duplicates(graph, **rule) for graph in graphs for rule in rules]
    monkeypatch.setattr(neighbours, "_BLOCK_ROWS", 7)
    got = [dq.near_duplicates(graph, **rule) for graph in graphs for rule in rules]
    for one, other in zip(got, expected, strict=True):
        assert one.group.tobytes() == other.group.tobytes()
        assert one.score.tobytes() == other.score.tobytes()
        assert one.radius == other.radius
    assert max(one.n_groups for one in expected) > 10


def test_what_cannot_be(data, monkeypatch):
    labels, _, filed = data
    only = {"pred_probs": filed["pred_probs"]}
    with pytest.raises(
        ValueError, match=r"memory_limit must be at least .* made of the graph of 1500"
    ):
        dq.audit(labels, features=filed["features"], memory_limit="2MB")
    with pytest.raises(ValueError, match=r"memory_limit has no room for the intervals of 9000 rep"):
        dq.audit(labels, **only, replicates=9000, memory_limit="3MB")
    assert dq.audit(labels, **only, replicates=0, memory_limit="3MB").intervals is None
    with pytest.raises(ValueError, match="memory_limit needs backend='cpu'"):
        dq.audit(labels, **only, memory_limit="1GB", backend="reference")
    with pytest.raises(
        ValueError, match=r"memory_limit must be at least .* map of 1500 of the rows"
    ):
        projection.projection(dq.Source.open(filed["features"]), "cosine", 100_000)
    # What watches the cells of the bootstrap, rather than what is known beforehand.
    rows = joint_passes.Rows(
        _cpu, labels.astype(np.int32), dq.Source.open(only["pred_probs"]), 3_000_000, 1, None
    )
    monkeypatch.setattr("dqcore.joint_blocks._ENTRY_BYTES", 1 << 12)
    drawn = {"thresholds": None, "collision": "argmax", "replicates": 45, "seed": 0}
    with pytest.raises(ValueError, match="memory_limit has no room for the intervals"):
        Blocks(rows).bootstrap_joint(labels.astype(np.int32), None, **drawn)


def test_the_command_line_reads_files_in_blocks(tmp_path, data, capsys):
    labels, held, _ = data
    columns = {f"columns/{name}": values for name, values in held["columns"].items()}
    np.savez(tmp_path / "data.npz", labels=labels, split=held["split"], **columns)
    command = ["audit", f"{tmp_path}/data.npz", "--format", "json", "--split", "split"]
    for name in ("features", "pred_probs"):
        command += [f"--{name.replace('_', '-')}", f"{tmp_path}/{name}.npy"]

    def said(*more):
        assert main([*command, *more]) == 0
        told = json.loads(capsys.readouterr().out)
        return {key: value for key, value in told.items() if key != "provenance"}

    assert said("--memory-limit", "20MB") == said()
    assert main([*command, "--memory-limit", "plenty"]) == 2
    assert "memory_limit must be a number of bytes" in capsys.readouterr().err
    (tmp_path / "features.npy").write_bytes(b"")
    assert main([*command, "--memory-limit", "20MB"]) == 3
    assert "features.npy" in capsys.readouterr().err


_HELD = """
import json, sys
import dqcore as dq, numpy as np
def peak():
    return next(int(l.split()[1]) * 1024 for l in open("/proc/self/status") if l.startswith("VmHWM"))
folder, limit = sys.argv[1:]
audit = dq.audit(
    f"{folder}/y.npy", features=f"{folder}/x.npy", pred_probs=f"{folder}/p.npy",
    columns={"a": f"{folder}/a.npy"}, k=5, memory_limit=None if limit == "none" else limit,
)
print(json.dumps([peak(), int(audit.issues["is_label_issue"].sum())]))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's /proc")
@pytest.mark.skipif(SANITIZED, reason="a sanitizer holds memory of its own")
def test_the_peak_holds_the_limit(tmp_path, rng):
    """As the system counts it, in a process of its own: Python and its libraries are within the 64 MB."""
    n, d, k, limit = 30_000, 256, 60, 48_000_000
    y = rng.integers(0, k, n)
    x = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float32, (n, d))
    p = np.lib.format.open_memmap(tmp_path / "p.npy", "w+", np.float64, (n, k))
    base = rng.normal(size=(k, d))
    for begin in range(0, n, 2000):
        at = slice(begin, begin + 2000)
        x[at] = base[y[at]] * rng.uniform(0.5, 2, (2000, 1)) + 0.01 * rng.normal(size=(2000, d))
        p[at] = 0.2 / k
        p[np.arange(begin, begin + 2000), (y[at] + (rng.random(2000) < 0.1)) % k] += 0.8
    np.save(tmp_path / "y.npy", y)
    np.save(tmp_path / "a.npy", y % 7)

    def held(given):
        command = [sys.executable, "-W", "ignore", "-c", _HELD, str(tmp_path), given]
        return json.loads(
            subprocess.run(command, check=True, capture_output=True, text=True).stdout
        )

    most, issues = held(str(limit))
    # Labels twice, and by row: neighbours, what is found of each by each room, and the table of issues.
    results = n * (12 + 5 * 8 + 140 + dq.audit([0, 1], pred_probs=np.eye(2)).issues.itemsize)
    assert most < limit + 64_000_000 + results
    in_memory, same = held("none")
    assert same == issues > 1000
    assert in_memory > limit + 64_000_000 + results
