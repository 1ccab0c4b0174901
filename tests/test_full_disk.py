"""Disks that are full: an error, the old result as it was, and nothing left over."""

import resource
import subprocess
import sys
from pathlib import Path

import dqcore as dq
import full_disk
import numpy as np
import pytest
from conftest import SANITIZED


@pytest.mark.skipif(SANITIZED, reason="ASan comes first")
@pytest.mark.skipif(full_disk.missing() is not None, reason=str(full_disk.missing()))
def test_calls_that_are_refused(tmp_path):
    """A few of what tests/full_disk.py refuses one by one."""
    for name, (count, survived) in full_disk.refused(tmp_path, 61).items():
        assert 0 < count == survived, name


@pytest.mark.parametrize("most", [50, 300, 1000, 2000, 3000, 5000, 9000])
def test_a_limit_of_file_sizes_tears_no_saved_audit(tmp_path, rng, most):
    """Refusals within C's streams too, which no library comes before."""
    audits = []
    for n in (400, 450):
        x = rng.normal(size=(n, 3))
        audits.append(dq.audit(rng.integers(0, 3, n), features=x, k=2))
    where = tmp_path / "out"
    audits[0].save(where, page=False, parquet=False)
    old = {path.name: path.read_bytes() for path in where.iterdir()}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            audits[1].save(where, page=False, parquet=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert {path.name: path.read_bytes() for path in where.iterdir()} == old
    assert list(tmp_path.iterdir()) == [where]


@pytest.mark.parametrize("function", ["audit", "confident_joint", "label_issues"])
def test_a_checkpoint_may_be_taken_up_where_the_error_is_still_held(tmp_path, rng, function):
    """As a notebook holds the last one."""
    labels, p = rng.integers(0, 3, 200), rng.dirichlet(np.ones(3), 200)

    def full(*_):
        raise OSError("full")

    def call(**run):
        run["pred_probs"] = p
        return getattr(dq, function)(labels, **run)

    with pytest.raises(OSError, match="full") as held:
        call(resume=tmp_path / "kept", progress=full)
    found = call(resume=tmp_path / "kept")
    assert held.value.__traceback__ is not None
    assert repr(found) == repr(call())


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux's /dev/full")
def test_the_command_line_tells_that_its_output_is_not_whole():
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "dqcore", "info"]
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert ended.returncode == 3
    assert ended.stderr.count("\n") == 1
    assert "No space left on device" in ended.stderr
