"""SIGKILL, SIGTERM and Ctrl-C at random moments: while audits are saved, and while audits and passes over a file are made
with `resume`.

    PYTHONPATH=build/dev python tests/kills.py [--saves 300] [--resumes 100]

A save that was killed has to leave the old folder or the new one, whole, and nothing that the next save trips over. A call
that was killed, as often as it takes, and then goes on has to end with the bytes of one that was not. Prints how many
survived.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import dqcore as dq
import numpy as np

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)

# Each process tells when it begins what is to be killed, and when that is done; then it begins anew until it is killed. One
# that was started in the background would ignore Ctrl-C.
SAVE = """
import signal, sys, dqcore as dq
signal.signal(signal.SIGINT, signal.default_int_handler)
old, new = (dq.Audit.load(path) for path in sys.argv[1:3])
print("ready", flush=True)
while True:
    for audit in (new, old):
        audit.save(sys.argv[3], page=False, parquet=False)
"""
RESUME = """
import hashlib, signal, sys, dqcore as dq, numpy as np
from dqcore import checkpoint, joint_passes, passes
signal.signal(signal.SIGINT, signal.default_int_handler)
passes._BLOCK_BYTES, joint_passes._PART_BLOCKS, checkpoint.EVERY_S = 8192, 1, 0.0
folder, kept = sys.argv[1:]
print("ready", flush=True)
y = np.load(folder + "/y.npy")
joint = dq.confident_joint(y, folder + "/p.npy", resume=kept + "/joint", threads=2)
found = dq.label_issues(y, folder + "/p.npy", resume=kept + "/issues", threads=2)
audit = dq.audit(y, pred_probs=folder + "/p.npy", features=folder + "/x.npy", resume=kept + "/audit", k=5)
digest = hashlib.sha256()
for values in (joint.counts, joint.thresholds, found.mask, found.indices, found.quality, found.suggested, audit.issues,
               audit.graph.indices, audit.graph.distances, audit.joint.counts, audit.intervals.classes):
    digest.update(np.ascontiguousarray(values).tobytes())
print(digest.hexdigest(), flush=True)
"""


def _start(code: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "ignore", "-c", code, *map(str, arguments)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=os.environ
    )


def saves(folder: Path, kills: int, seed: int = 0) -> int:
    """Return how many kills left the old audit or the new one, whole."""
    folder.mkdir()
    rng = np.random.default_rng(seed)
    draw = random.Random(seed)
    wanted = {}
    for name, n in (("old", 300), ("new", 400)):
        y, x = rng.integers(0, 3, n), rng.normal(size=(n, 3))
        audit = dq.audit(y, features=x, pred_probs=rng.dirichlet(np.ones(3), n))
        audit.save(folder / name, page=False, parquet=False)
        wanted[n] = _content(folder / name)
    dq.Audit.load(folder / "old").save(folder / "out", page=False, parquet=False)
    survived = 0
    for kill in range(kills):
        process = _start(SAVE, folder / "old", folder / "new", folder / "out")
        process.stdout.readline()  # type: ignore[union-attr]
        time.sleep(draw.random() * 0.15)
        process.send_signal(SIGNALS[kill % len(SIGNALS)])
        process.communicate()
        try:
            found = _content(folder / "out")
            survived += found == wanted[len(dq.Audit.load(folder / "out"))]
        except (OSError, KeyError) as error:
            print(f"torn: {error}", file=sys.stderr)
    return survived


def _content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def resumes(folder: Path, kills: int, seed: int = 0, rows: int = 3000) -> int:
    """Return after how many kills a call that went on ended with the bytes of one that was never killed."""
    folder.mkdir()
    rng = np.random.default_rng(seed)
    draw = random.Random(seed)
    np.save(folder / "y.npy", rng.integers(0, 5, rows))
    np.save(folder / "p.npy", rng.dirichlet(np.ones(5), rows))
    np.save(folder / "x.npy", rng.normal(size=(rows, 8)).astype(np.float32))
    whole = _start(RESUME, folder, folder / "whole")
    whole.stdout.readline()  # type: ignore[union-attr]
    began = time.perf_counter()
    wanted = whole.communicate()[0]
    length = time.perf_counter() - began
    survived = pending = done = 0
    while done < kills:
        kept = folder / f"kept{done}"
        while True:  # a call, killed until it comes to its end
            process = _start(RESUME, folder, kept)
            process.stdout.readline()  # type: ignore[union-attr]
            if pending < 3 and done < kills:
                try:
                    process.wait(draw.random() * length)
                except subprocess.TimeoutExpired:
                    process.send_signal(SIGNALS[done % len(SIGNALS)])
                    process.communicate()
                    pending, done = pending + 1, done + 1
                    continue
            survived += pending if process.communicate()[0] == wanted else 0
            pending = 0
            break
    return survived


def main() -> None:
    """Print how many kills were survived."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--saves", type=int, default=300)
    parser.add_argument("--resumes", type=int, default=100)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        saved = saves(Path(folder) / "saves", args.saves)
        print(f"killed while saving: {saved} of {args.saves} survived", flush=True)
        resumed = resumes(Path(folder) / "resumes", args.resumes)
        print(f"killed and resumed: {resumed} of {args.resumes} survived", flush=True)
    sys.exit(saved < args.saves or resumed < args.resumes)


if __name__ == "__main__":
    main()
