"""Rows counted by other processes: the same bits, also where one of them dies."""

import os
import signal
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import dqcore as dq
import numpy as np
import pytest
from joint_cases import same, smooth

pytestmark = pytest.mark.skipif(
    "san.so" in os.environ.get("LD_PRELOAD", ""), reason="other processes start too slowly"
)


@pytest.fixture
def data(tmp_path, rng, monkeypatch):
    monkeypatch.setattr("dqcore.passes._TASK_ROWS", 300)
    labels, p = smooth(rng, 5000, 6)
    path = tmp_path / "p.npy"
    np.save(path, p.astype(np.float32))
    return labels, p.astype(np.float32), path


def test_processes_give_the_same_bits(data):
    labels, p, path = data
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as executor:
        joint = dq.confident_joint(labels, path, executor=executor)
        same(joint, dq.confident_joint(labels, p))
        told = []
        issues = dq.label_issues(
            labels, path, joint=joint, executor=executor, progress=lambda *t: told.append(t)
        )
        same(issues, dq.label_issues(labels, p))
        assert told[-1] == ("issues", 5000, 5000)


def test_a_file_that_others_find_changed_is_an_error_that_names_it(data):
    labels, p, path = data
    source = dq.Source.open(path)
    np.save(path, p[::-1])
    with (
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor,
        pytest.raises(dq.SourceChangedError, match=r"p\.npy"),
    ):
        dq.confident_joint(labels, source, executor=executor)


class Killing:
    """An executor that kills a worker of the cluster as the fifth task goes out."""

    def __init__(self, executor, workers):
        self.executor, self.workers, self.count = executor, workers, 0

    def submit(self, function, *arguments):
        self.count += 1
        if self.count == 5:
            os.kill(next(iter(self.workers)), signal.SIGKILL)
        return self.executor.submit(function, *arguments)


def test_dask_gives_the_same_bits_though_a_worker_dies(data):
    distributed = pytest.importorskip("distributed")
    labels, p, path = data
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        pids = {info["pid"] for info in client.run(lambda: {"pid": os.getpid()}).values()}
        assert len(pids) == 2
        joint = dq.confident_joint(labels, path, executor=Killing(client, pids))
        same(joint, dq.confident_joint(labels, p))
        issues = dq.label_issues(labels, path, joint=joint, executor=client.get_executor())
        same(issues, dq.label_issues(labels, p))
        assert any(not Path(f"/proc/{pid}").exists() for pid in pids)
