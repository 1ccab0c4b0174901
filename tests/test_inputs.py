"""Hostile input, as a cross product: every public function, every argument, every value below.

Each call ends in a documented error that names the argument, or in a result; and the next right call works.
"""

import inspect
import os
import sys
import warnings
import zlib
from pathlib import Path
from types import SimpleNamespace

import dqcore as dq
import numpy as np
import pytest
from dqcore import _cpu

if sys.platform == "linux":
    import resource

SANITIZED = "san.so" in os.environ.get("LD_PRELOAD", "")

N, CLASSES = 12, 3


class Raises:
    """Says that it is an array, and is none."""

    @property
    def __array_interface__(self):
        return {"shape": (2**62,), "typestr": "<f8", "version": 3, "data": (0, True)}

    def __len__(self):
        return 2**62


class OwnError(Exception):
    pass


class ProducerFails:
    def __array__(self, *_, **__):
        raise OwnError("the producer's own")

    def __len__(self):
        return N


def hostile():
    ragged = [[1.0], [1.0, 2.0]]
    masked = np.ma.masked_array(np.zeros(N), mask=np.arange(N) == 3)
    structured = np.zeros(N, [("a", "f4"), ("b", "i4")])
    return {
        "None": None,
        "True": True,
        "0": 0,
        "-1": -1,
        "2": 2,
        "10^30": 10**30,
        "-10^30": -(10**30),
        "2.5": 2.5,
        "2.0": 2.0,
        "nan": float("nan"),
        "inf": float("inf"),
        "1j": 1j,
        "empty string": "",
        "string": "no such thing",
        "surrogate": "\ud800",
        "bytes": b"DQST",
        "empty list": [],
        "list of lists": [[]],
        "ragged": ragged,
        "dict": {},
        "dict of none": {"a": None},
        "set": {1, 2},
        "generator": (i for i in range(N)),
        "range": range(N),
        "object": object(),
        "function": len,
        "class": dict,
        "nothing": np.zeros(0),
        "no rows": np.zeros((0, CLASSES)),
        "no columns": np.zeros((N, 0)),
        "one column": np.zeros((N, 1)),
        "one row": np.zeros((1, CLASSES)),
        "three dimensions": np.zeros((N, CLASSES, 2)),
        "no dimension": np.array(1.0),
        "NaN": np.full((N, CLASSES), np.nan),
        "NaN row": np.full(N, np.nan),
        "infinite": np.full((N, CLASSES), np.inf),
        "negative": np.full((N, CLASSES), -1.0),
        "negative row": np.full(N, -2),
        "huge": np.full((N, CLASSES), 1e300),
        "huge row": np.full(N, 2**63, np.uint64),
        "halves": np.full(N, 0.5),
        "one row more": np.zeros(N + 1, np.int64),
        "one row of probabilities more": np.full((N + 1, CLASSES), 1 / CLASSES),
        "objects": np.array([object()] * N),
        "object numbers": np.array([1] * N, object),
        "strings": np.array(["a", "b", "c"] * (N // 3)),
        "strings and None": np.array(["a", None, "c"] * (N // 3), object),
        "byte strings": np.array([b"a", b"b", b"c"] * (N // 3)),
        "complex": np.zeros((N, CLASSES), complex),
        "bool": np.zeros((N, CLASSES), bool),
        "times": np.zeros(N, "M8[s]"),
        "durations": np.zeros((N, CLASSES), "m8[s]"),
        "structured": structured,
        "a field of it": structured["a"],
        "masked": masked,
        "matrix": np.asmatrix(np.zeros((N, CLASSES))),
        "long double": np.zeros((N, CLASSES), np.longdouble),
        "a claim of 2^62 rows": Raises(),
        "a producer that fails": ProducerFails(),
        "memory view": memoryview(b"abc"),
    }


LABELS = np.arange(N) % CLASSES
PROBS = np.eye(CLASSES)[LABELS] * 0.7 + 0.1
FEATURES = np.random.default_rng(0).normal(size=(N, 4)).astype(np.float32)
GRAPH = dq.knn_graph(FEATURES, 3)
CSR = SimpleNamespace(  # all that is read of a sparse matrix
    format="csr",
    shape=(N, N),
    indptr=np.arange(0, 3 * N + 1, 3),
    indices=GRAPH.indices.ravel(),
    data=GRAPH.distances.ravel(),
)
ERRORS = (LABELS == 1).astype(np.int64)
COLUMNS = {"a": LABELS, "b": np.arange(N) % 2}
JOINT = dq.confident_joint(LABELS, PROBS)

# Each call and right arguments for it.
CALLS = {
    "knn_graph": (dq.knn_graph, {"features": FEATURES, "k": 3}),
    "knn_disagreement": (dq.knn_disagreement, {"labels": LABELS, "graph": GRAPH}),
    "KnnGraph.from_arrays": (
        dq.KnnGraph.from_arrays,
        {"indices": GRAPH.indices, "distances": GRAPH.distances},
    ),
    "KnnGraph.from_csr": (dq.KnnGraph.from_csr, {"csr": CSR}),
    "KnnState": (dq.KnnState, {"n": N, "k": 3, "metric": "euclidean"}),
    "KnnState.update": (
        dq.KnnState(N, 3, "euclidean").update,
        {"rows": FEATURES, "base": FEATURES, "row_start": 0, "base_start": 0},
    ),
    "KnnState.merge": (
        dq.KnnState(N, 3, "euclidean").merge,
        {"other": dq.KnnState(N, 3, "euclidean")},
    ),
    "KnnState.from_bytes": (dq.KnnState.from_bytes, {"data": dq.KnnState(N, 3).to_bytes()}),
    "confident_joint": (dq.confident_joint, {"labels": LABELS, "pred_probs": PROBS}),
    "label_quality": (dq.label_quality, {"labels": LABELS, "pred_probs": PROBS}),
    "label_issues": (dq.label_issues, {"labels": LABELS, "pred_probs": PROBS}),
    "ThresholdState": (dq.ThresholdState, {"n_classes": CLASSES}),
    "ThresholdState.update": (
        dq.ThresholdState(CLASSES).update,
        {"labels": LABELS, "pred_probs": PROBS},
    ),
    "ThresholdState.from_bytes": (
        dq.ThresholdState.from_bytes,
        {"data": dq.ThresholdState(CLASSES).to_bytes()},
    ),
    "JointState": (dq.JointState, {"thresholds": JOINT.thresholds}),
    "JointState.update": (
        dq.JointState(JOINT.thresholds).update,
        {"labels": LABELS, "pred_probs": PROBS},
    ),
    "JointState.from_bytes": (
        dq.JointState.from_bytes,
        {"data": dq.JointState(JOINT.thresholds).to_bytes()},
    ),
    "IssueState": (dq.IssueState, {"joint": JOINT}),
    "IssueState.from_bytes": (dq.IssueState.from_bytes, {"data": dq.IssueState(JOINT).to_bytes()}),
    "slice_errors": (dq.slice_errors, {"errors": ERRORS, "columns": COLUMNS}),
    "SliceState": (dq.SliceState, {"columns_spec": {"a": [0, 1, 2], "b": [0, 1]}}),
    "SliceState.update": (
        dq.SliceState({"a": [0, 1, 2], "b": [0, 1]}).update,
        {"errors": ERRORS, "columns": COLUMNS},
    ),
    "audit": (
        dq.audit,
        {"labels": LABELS, "features": FEATURES, "pred_probs": PROBS, "columns": COLUMNS, "k": 3},
    ),
}


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


def cases():
    for name, (function, right) in CALLS.items():
        for parameter in inspect.signature(function).parameters.values():
            if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
                yield pytest.param(function, right, parameter.name, id=f"{name}-{parameter.name}")


@pytest.mark.filterwarnings(
    "ignore"
)  # rows that do not sum to 1, and what NumPy says of such casts
@pytest.mark.parametrize(("function", "right", "argument"), list(cases()))
def test_hostile_values_end_in_an_error_that_names_the_argument(function, right, argument):
    wrong = []
    for what, value in hostile().items():
        if argument == "progress" and callable(value):
            continue  # what a callable of the caller's raises is the caller's
        try:
            function(**{**right, argument: value})
        except OwnError:
            assert what == "a producer that fails"
        except (ValueError, TypeError, OverflowError, dq.BackendError) as error:
            if not any(name in str(error) for name in (argument, *right)):
                wrong.append(f"{what}: {type(error).__name__}: {error}")
        except Exception as error:  # noqa: BLE001 - anything else is not documented
            wrong.append(f"{what}: {type(error).__name__}: {error}")
    assert not wrong, "\n".join(wrong)
    function(**right)


@pytest.mark.parametrize("name", CALLS)
def test_an_unknown_argument_is_refused(name):
    function, right = CALLS[name]
    with pytest.raises(TypeError, match="no_such_argument"):
        function(**right, no_such_argument=1)


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


# ---- what is only read ---------------------------------------------------------------------------


def test_inputs_are_never_written():
    arrays = {
        "features": FEATURES,
        "labels": LABELS,
        "pred_probs": PROBS,
        "errors": ERRORS,
        "a": COLUMNS["a"],
    }
    before = {name: array.tobytes() for name, array in arrays.items()}
    for array in arrays.values():
        array.flags.writeable = False
    try:
        for function, right in CALLS.values():
            function(**right)
    finally:
        for array in arrays.values():
            array.flags.writeable = True
    assert {name: array.tobytes() for name, array in arrays.items()} == before


def test_an_array_written_to_during_the_call_does_no_harm():
    """Any result, or a ValueError; never a read or a write outside our arrays."""
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
            except ValueError:
                continue
    finally:
        stop.set()
        other.join()
