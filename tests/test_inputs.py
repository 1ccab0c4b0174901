"""Input that is hostile beyond its values: too large, damaged bytes of a state, arrays that change while they are read."""

import sys
import warnings
import zlib
from pathlib import Path

import dqcore as dq
import numpy as np
import pytest
from conftest import SANITIZED
from dqcore import _cpu

if sys.platform == "linux":
    import resource


N, CLASSES = 12, 3


LABELS = np.arange(N) % CLASSES
PROBS = np.eye(CLASSES)[LABELS] * 0.7 + 0.1
FEATURES = np.random.default_rng(0).normal(size=(N, 4)).astype(np.float32)
GRAPH = dq.knn_graph(FEATURES, 3)
JOINT = dq.confident_joint(LABELS, PROBS)


@pytest.fixture
def little_memory():
    """At most 4 GB more than there is, so that a demand for more is a MemoryError here and not the machine's end."""
    if SANITIZED or sys.platform != "linux":
        pytest.skip("needs a limit on the address space")
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (4 << 30), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize(
    "demand",
    [
        lambda: dq.KnnState(10**9, 10),
        lambda: dq.KnnState(2**31 - 2, 2**30),
        lambda: dq.ThresholdState(2**31 - 1),
        lambda: dq.JointState(np.zeros(10**6)),
        lambda: dq.knn_disagreement(LABELS, GRAPH, n_classes=10**9),
        lambda: dq.knn_disagreement(LABELS, GRAPH, n_classes=2**31 - 1),
    ],
)
def test_memory_that_cannot_be_had_is_a_memory_error_and_no_harm_is_done(demand):
    with pytest.raises(MemoryError):
        demand()
    dq.knn_graph(FEATURES, 3)


# ---- bytes ---------------------------------------------------------------------------------------

STATES = {
    "KnnState": dq.KnnState(5, 2, "cosine"),
    "ThresholdState": dq.ThresholdState(CLASSES),
    "JointState": dq.JointState(JOINT.thresholds),
    "IssueState": dq.IssueState(JOINT),
    "SliceState": dq.SliceState({"a": ["x", "y"], "b": ["z"]}),
}


@pytest.mark.parametrize("name", STATES)
def test_damaged_bytes_of_a_state_are_refused(name, rng, scaled):
    state = STATES[name]
    data = state.to_bytes()
    assert type(state).from_bytes(data).to_bytes() == data
    damaged = [data[:cut] for cut in range(len(data))][:: max(1, len(data) // 200)]
    damaged += [data + b"\0", b"", b"\0" * len(data)]
    for _ in range(scaled(300)):
        at = int(rng.integers(len(data)))
        damaged.append(data[:at] + bytes([data[at] ^ (1 << int(rng.integers(8)))]) + data[at + 1 :])
    damaged += [other.to_bytes() for key, other in STATES.items() if key != name]
    for bad in damaged:
        with pytest.raises(ValueError, match="data does not hold"):
            type(state).from_bytes(bad)


def with_right_checksum(body):
    return body + zlib.crc32(body).to_bytes(4, "little")


@pytest.mark.parametrize("name", STATES)
def test_bytes_made_to_deceive_are_refused_or_read_without_harm(name, rng, scaled):
    """The checksum guards against accidents; sizes inside it are not trusted either."""
    state = STATES[name]
    body = state.to_bytes()[:-4]
    for _ in range(scaled(2000)):
        bad = bytearray(body)
        at = int(rng.integers(20, len(bad)))
        size = int(rng.choice([1, 2, 4, 8]))
        value = [0, 2**64 - 1, 2**63, 2**62, 2**32, 2**31, int(rng.integers(2**62))][
            int(rng.integers(7))
        ]
        bad[at : at + size] = value.to_bytes(8, "little")[:size]
        if rng.random() < 0.2:
            bad = bad[: int(rng.integers(20, len(bad)))]
        bad[12:20] = (len(bad) - 20).to_bytes(8, "little")
        try:
            read = type(state).from_bytes(with_right_checksum(bytes(bad)))
        except ValueError:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                read.finish()
            except (ValueError, MemoryError):
                continue


# ---- labels that a kernel reads ---------------------------------------------------------------------


@pytest.mark.parametrize("label", [CLASSES, -1, -(2**31), 2**31 - 1])
@pytest.mark.parametrize("row", [0, 5, N - 1])
def test_a_kernel_checks_a_label_as_it_reads_it(label, row):
    """`_check` has looked before; by then another thread may have written to the array."""
    labels = LABELS.astype(np.int32)
    labels[row] = label
    run = {"threads": 2, "progress": None}
    calls = [
        lambda: _cpu.confident_joint(
            labels, PROBS, thresholds=None, collision="argmax", weights=None, **run
        ),
        lambda: _cpu.confident_joint(
            labels, PROBS, thresholds=JOINT.thresholds, collision="argmax", weights=None, **run
        ),
        lambda: _cpu.label_quality(labels, PROBS, method="normalized_margin", adjust=False, **run),
        lambda: _cpu.label_quality(labels, PROBS, method="self_confidence", adjust=False, **run),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=f"labels must be in .*: row {row} is {label}"):
            call()


def test_an_array_written_to_during_the_call_does_no_harm():
    """Any result, a ValueError, or a MemoryError of what wild labels ask for; never a read or a write outside our arrays."""
    import threading

    rng = np.random.default_rng(0)
    n = 20_000
    labels = rng.integers(0, CLASSES, n).astype(np.int32)
    probs = rng.dirichlet(np.ones(CLASSES), n)
    features = rng.normal(size=(600, 3)).astype(np.float32)
    few = labels[:600]
    graph = dq.knn_graph(features, 5)
    stop = threading.Event()

    def scribble():
        while not stop.is_set():
            labels[:] = rng.integers(-5, 2**31 - 1, n)
            features[:] = np.nan
            labels[:] = 0
            features[:] = 1.0

    other = threading.Thread(target=scribble)
    other.start()
    calls = [
        lambda: dq.confident_joint(labels, probs, threads=2),
        lambda: dq.label_issues(labels, probs, threads=2),
        lambda: dq.label_quality(labels, probs, threads=2),
        lambda: dq.slice_errors(probs[:, 0], {"a": labels}, threads=2),
        lambda: dq.knn_graph(features, 5, threads=2),
        lambda: dq.knn_disagreement(few, graph, threads=2),
    ]
    try:
        for call in calls * 5:
            try:
                call()
            except (ValueError, MemoryError):
                continue
    finally:
        stop.set()
        other.join()
