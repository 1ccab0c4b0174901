"""Hostile input, as a cross product: every public call, every argument of it, every value below.

Each case ends in a documented error that names the argument, or in the right result: that of the same values in a plain
array, and that of the reference. A new public call is picked up by itself, and fails until RIGHT has arguments for it.
"""

import array
import collections
import datetime
import decimal
import fractions
import inspect
import itertools
import re
import sys
import time
import warnings
import zlib
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dqcore as dq
import numpy as np
import pytest
from conftest import SANITIZED

pandas = pytest.importorskip("pandas")
polars = pytest.importorskip("polars")
pyarrow = pytest.importorskip("pyarrow")
sparse = pytest.importorskip("scipy.sparse")

if sys.platform == "linux":
    import resource

MOST_CPU_SECONDS = 1.0

N, CLASSES, ROW = 12, 3, 7

LABELS = np.arange(N) % CLASSES
PROBS = np.eye(CLASSES)[LABELS] * 0.7 + 0.1
HAS = (np.arange(CLASSES) <= LABELS[:, None]).astype(np.int64)
FEATURES = np.random.default_rng(0).normal(size=(N, 4)).astype(np.float32)
GRAPH = dq.knn_graph(FEATURES, 3)
ERRORS = (LABELS == 1).astype(np.int64)
COLUMNS = {"a": LABELS, "b": np.arange(N) % 2}
SPEC = {"a": [0, 1, 2], "b": [0, 1]}
JOINT = dq.confident_joint(LABELS, PROBS)
AUDIT = dq.audit(LABELS, features=FEATURES, pred_probs=PROBS, columns=COLUMNS, k=3)
TABLE = dq.slice_errors(ERRORS, COLUMNS)
PLAN, TEST = dq.sampling_plan(0.1, p_good=0.01), dq.sequential_plan(0.01, 0.1)
METRICS = dq.group_metrics(LABELS, LABELS[::-1], {"a": LABELS}, positive=1)
CSR = GRAPH.to_csr()


# ---- the calls -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Right:
    """A public call with right arguments; `make` gives a bound method on an object nobody has used."""

    make: Any
    arguments: dict[str, Any]

    def __call__(self, **changed):
        bound = self.make()
        returned = bound(**{**self.arguments, **changed})
        if returned is None and hasattr(bound, "__self__"):  # a state that has been updated
            owner = bound.__self__
            return owner.to_bytes() if hasattr(owner, "to_bytes") else None
        return returned.to_bytes() if hasattr(returned, "to_bytes") else returned


class Chunked:
    """What a library has that reads arrays piece by piece."""

    shape, dtype, chunks = PROBS.shape, PROBS.dtype, (5, CLASSES)

    def __getitem__(self, rows):
        return PROBS[rows]


RIGHT = {
    "Audit.load": Right(lambda: dq.Audit.load, {"folder": "saved"}),
    "Audit.more_like": Right(
        lambda: AUDIT.more_like,
        {"rows": np.array([0, 4]), "n": 5, "true_labels": np.array([1, 2])},
    ),
    "Audit.save": Right(lambda: AUDIT.save, {"folder": "saved"}),
    "Audit.to_html": Right(lambda: AUDIT.to_html, {"path": "report.html"}),
    "Audit.top": Right(lambda: AUDIT.top, {"n": 5, "by": "label"}),
    "Audit.worst_slices": Right(lambda: AUDIT.worst_slices, {"n": 5}),
    "ConfidentJoint": Right(
        lambda: dq.ConfidentJoint,
        {
            "counts": JOINT.counts,
            "thresholds": JOINT.thresholds,
            "class_counts": JOINT.class_counts,
        },
    ),
    "ConfidentJoint.latent_estimates": Right(
        lambda: JOINT.latent_estimates, {"method": "cnt", "converge": True}
    ),
    "ConfidentJoint.overlapping_classes": Right(
        lambda: JOINT.overlapping_classes, {"ordered": True}
    ),
    "ConfidentJoint.prior": Right(lambda: JOINT.prior, {"method": "cnt"}),
    "ConsistentNoise.from_counts": Right(
        lambda: dq.ConsistentNoise.from_counts, {"counts": JOINT.counts}
    ),
    "GroupMetrics.difference": Right(lambda: METRICS.difference, {"names": "a"}),
    "GroupMetrics.parity": Right(lambda: METRICS.parity, {"names": "a"}),
    "GroupMetrics.ratio": Right(lambda: METRICS.ratio, {"names": "a"}),
    "IssueState": Right(lambda: dq.IssueState, {"joint": JOINT}),
    "IssueState.from_bytes": Right(
        lambda: dq.IssueState.from_bytes, {"data": dq.IssueState(JOINT).to_bytes()}
    ),
    "IssueState.merge": Right(lambda: dq.IssueState(JOINT).merge, {"other": dq.IssueState(JOINT)}),
    "IssueState.update": Right(
        lambda: dq.IssueState(JOINT).update,
        {"labels": LABELS, "pred_probs": PROBS, "row_start": 0},
    ),
    "JointState": Right(lambda: dq.JointState, {"thresholds": JOINT.thresholds}),
    "JointState.from_bytes": Right(
        lambda: dq.JointState.from_bytes, {"data": dq.JointState(JOINT.thresholds).to_bytes()}
    ),
    "JointState.merge": Right(
        lambda: dq.JointState(JOINT.thresholds).merge, {"other": dq.JointState(JOINT.thresholds)}
    ),
    "JointState.update": Right(
        lambda: dq.JointState(JOINT.thresholds, weighted=True).update,
        {"labels": LABELS, "pred_probs": PROBS, "weights": np.ones(N)},
    ),
    "KnnGraph": Right(
        lambda: dq.KnnGraph,
        {
            "indices": GRAPH.indices,
            "distances": GRAPH.distances,
            "metric": "euclidean",
            "n_base": N,
        },
    ),
    "KnnGraph.from_arrays": Right(
        lambda: dq.KnnGraph.from_arrays,
        {"indices": GRAPH.indices, "distances": GRAPH.distances, "metric": "euclidean"},
    ),
    "KnnGraph.from_csr": Right(lambda: dq.KnnGraph.from_csr, {"csr": CSR, "metric": "euclidean"}),
    "KnnState": Right(lambda: dq.KnnState, {"n": N, "k": 3, "metric": "euclidean"}),
    "KnnState.from_bytes": Right(
        lambda: dq.KnnState.from_bytes, {"data": dq.KnnState(N, 3).to_bytes()}
    ),
    "KnnState.merge": Right(lambda: dq.KnnState(N, 3).merge, {"other": dq.KnnState(N, 3)}),
    "KnnState.update": Right(
        lambda: dq.KnnState(N, 3).update,
        {"rows": FEATURES, "base": FEATURES, "row_start": 0, "base_start": 0},
    ),
    "SliceState": Right(lambda: dq.SliceState, {"columns_spec": SPEC}),
    "SliceState.finish": Right(lambda: dq.SliceState(SPEC).finish, {}),
    "SliceState.from_bytes": Right(
        lambda: dq.SliceState.from_bytes, {"data": dq.SliceState(SPEC).to_bytes()}
    ),
    "SliceState.merge": Right(lambda: dq.SliceState(SPEC).merge, {"other": dq.SliceState(SPEC)}),
    "SliceState.update": Right(
        lambda: dq.SliceState(SPEC).update, {"errors": ERRORS, "columns": COLUMNS}
    ),
    "SliceTable.__getitem__": Right(lambda: TABLE.__getitem__, {"index": 0}),
    "Source.of": Right(lambda: lambda **given: dq.Source.of(**given).read(), {"array": Chunked()}),
    "Source.open": Right(
        lambda: lambda **given: dq.Source.open(**given).read(), {"path": "probs.npy"}
    ),
    "Source.raw": Right(
        lambda: lambda **given: dq.Source.raw(**given).read(),
        {"path": "probs.npy", "dtype": "f8", "shape": (N, CLASSES), "offset": 128},
    ),
    "Source.read": Right(lambda: dq.Source.of(PROBS).read, {"begin": 0, "end": N}),
    "ThresholdState": Right(lambda: dq.ThresholdState, {"n_classes": CLASSES}),
    "ThresholdState.from_bytes": Right(
        lambda: dq.ThresholdState.from_bytes, {"data": dq.ThresholdState(CLASSES).to_bytes()}
    ),
    "ThresholdState.merge": Right(
        lambda: dq.ThresholdState(CLASSES).merge, {"other": dq.ThresholdState(CLASSES)}
    ),
    "ThresholdState.update": Right(
        lambda: dq.ThresholdState(CLASSES, weighted=True).update,
        {"labels": LABELS, "pred_probs": PROBS, "weights": np.ones(N)},
    ),
    "SamplingPlan.acceptance": Right(lambda: PLAN.acceptance, {"rate": 0.1}),
    "SamplingPlan.decide": Right(lambda: PLAN.decide, {"n_errors": 1}),
    "SequentialPlan.decide": Right(lambda: TEST.decide, {"n_errors": 1, "n_reviewed": 9}),
    "SequentialPlan.log_ratio": Right(lambda: TEST.log_ratio, {"n_errors": 1, "n_reviewed": 9}),
    "audit": Right(
        lambda: dq.audit,
        {
            "labels": LABELS,
            "features": FEATURES,
            "pred_probs": PROBS,
            "columns": COLUMNS,
            "split": LABELS % 2,
            "class_names": ["x", "y", "z"],
            "k": 3,
        },
    ),
    "bootstrap_joint": Right(
        lambda: dq.bootstrap_joint,
        {
            "labels": LABELS,
            "pred_probs": PROBS,
            "thresholds": JOINT.thresholds,
            "replicates": 7,
            "confidence": 0.5,
        },
    ),
    "confident_classes": Right(
        lambda: dq.confident_classes,
        {"labels": LABELS, "pred_probs": PROBS, "thresholds": JOINT.thresholds},
    ),
    "batch_verdict": Right(
        lambda: dq.batch_verdict,
        {"scores": np.linspace(0.5, 1, N), "sla": 0.9, "weights": np.ones(N)},
    ),
    "neyman_allocation": Right(
        lambda: dq.neyman_allocation,
        {"n": 20, "sizes": np.array([9, 30, 5]), "rates": np.array([0.1, 0.5, 0.2])},
    ),
    "sampling_plan": Right(
        lambda: dq.sampling_plan, {"p_bad": 0.2, "p_good": 0.05, "lot_size": 200}
    ),
    "sequential_plan": Right(lambda: dq.sequential_plan, {"p_good": 0.05, "p_bad": 0.2}),
    "slice_verdict": Right(lambda: dq.slice_verdict, {"table": TABLE, "sla": 0.9}),
    "stratified_estimate": Right(
        lambda: dq.stratified_estimate,
        {
            "n_errors": np.array([1, 2, 0]),
            "n_reviewed": np.array([5, 9, 3]),
            "sizes": np.array([9, 30, 5]),
        },
    ),
    "task_scores": Right(
        lambda: dq.task_scores,
        {"n_items": np.array([5, 9, 3]), "errors": {"minor": [1, 0, 2]}, "weights": {"minor": 0.5}},
    ),
    "confident_joint": Right(
        lambda: dq.confident_joint,
        {
            "labels": LABELS,
            "pred_probs": PROBS,
            "thresholds": JOINT.thresholds,
            "weights": np.ones(N),
        },
    ),
    "consistent_noise": Right(
        lambda: dq.consistent_noise,
        {
            "labels": LABELS,
            "pred_probs": PROBS,
            "graph": GRAPH,
            "sources": LABELS.tolist(),
            "thresholds": JOINT.thresholds,
        },
    ),
    "find_slices": Right(
        lambda: dq.find_slices,
        {"errors": ERRORS, "columns": COLUMNS, "weights": np.ones(N), "min_support": 1},
    ),
    "find_similar": Right(
        lambda: dq.find_similar,
        {
            "rows": np.array([0, 4]),
            "labels": LABELS.tolist(),
            "graph": GRAPH,
            "true_labels": np.array([1, 2]),
            "suggested": (LABELS + 1) % CLASSES,
            "quality": np.linspace(0, 1, N),
        },
    ),
    "group_metrics": Right(
        lambda: dq.group_metrics,
        {
            "labels": LABELS,
            "predictions": LABELS[::-1],
            "columns": COLUMNS,
            "pred_probs": PROBS,
            "positive": 1,
        },
    ),
    "knn_disagreement": Right(
        lambda: dq.knn_disagreement, {"labels": LABELS, "graph": GRAPH, "n_classes": CLASSES}
    ),
    "knn_graph": Right(lambda: dq.knn_graph, {"features": FEATURES, "k": 3, "queries": FEATURES}),
    "label_issues": Right(
        lambda: dq.label_issues,
        {
            "labels": LABELS,
            "pred_probs": PROBS,
            "joint": JOINT.calibrated(),
            "num_to_remove_per_class": np.ones(CLASSES, np.int64),
        },
    ),
    "label_quality": Right(lambda: dq.label_quality, {"labels": LABELS, "pred_probs": PROBS}),
    "label_quality_ensemble": Right(
        lambda: dq.label_quality_ensemble,
        {"labels": LABELS, "pred_probs_list": [PROBS, PROBS**2], "weight_by": np.array([0.5, 1.0])},
    ),
    "MultilabelJoint.of_class": Right(lambda: dq.multilabel_joint(HAS, PROBS).of_class, {"c": 1}),
    "multilabel_issues": Right(lambda: dq.multilabel_issues, {"labels": HAS, "pred_probs": PROBS}),
    "multilabel_joint": Right(lambda: dq.multilabel_joint, {"labels": HAS, "pred_probs": PROBS}),
    "multilabel_quality": Right(
        lambda: dq.multilabel_quality, {"labels": HAS, "pred_probs": PROBS}
    ),
    "near_duplicates": Right(
        lambda: dq.near_duplicates, {"graph": GRAPH, "threshold": 0.13, "radius": 0.5}
    ),
    "num_label_issues": Right(lambda: dq.num_label_issues, {"labels": LABELS, "pred_probs": PROBS}),
    "outliers": Right(lambda: dq.outliers, {"graph": GRAPH, "iqr_factor": 1.7}),
    "slice_errors": Right(lambda: dq.slice_errors, {"errors": ERRORS, "columns": COLUMNS}),
}

# Read by the row, or by the class; each holds numbers, some of which must be refused wherever they stand.
REFUSED = {
    "labels": [-2, CLASSES, 2**31 - 1, np.nan, np.inf, 0.5],
    "predictions": [-2, CLASSES, 2**31 - 1, np.nan, np.inf, 0.5],
    "pred_probs": [np.nan, np.inf, -np.inf, -1.0, 2.5, -0.01, 1e300],
    "features": [np.nan, np.inf, -np.inf, 1e300],
    "queries": [np.nan, np.inf, -np.inf, 1e300],
    "rows": [np.nan, np.inf, -np.inf, 1e300],
    "base": [np.nan, np.inf, -np.inf, 1e300],
    "weights": [np.nan, np.inf, -1.0, 2.0**31],
    "weight_by": [np.nan, np.inf, -1.0],
    "class_counts": [-1, 2**53 + 1],
    "counts": [-1, 2**53 + 1],
    "thresholds": [np.nan, np.inf, -np.inf],
    "errors": [np.nan, np.inf, -1.0, -1, 2],
    "indices": [-1, N, 2**62],
    "distances": [np.nan, -1.0],
    "num_to_remove_per_class": [-1, 0.5, np.nan],
    "joint": [-1, 0.5, np.nan],
    "split": [-2, 0.5, np.inf],
    "true_labels": [-1, 2**31 - 1, 0.5, np.nan],
    "suggested": [-2, 2**31 - 1, 0.5, np.nan],
    "quality": [-0.1, 2.0, np.nan],
    "columns": [-2, 0.5, np.inf],
    "scores": [-0.1, 2.0, np.inf],
    "n_items": [-1, 0.5, np.nan],
    "n_errors": [-1, 0.5, np.nan, 100],
    "n_reviewed": [-1, 0.5, np.nan, 100],
    "sizes": [-1, 0.5, np.nan, 2**53],
    "rates": [-0.1, 2.0, np.nan],
}


# Made for callers, never taken from them; what a caller may make and hand in checks what it is made of.
GIVEN = {
    "Audit",
    "ClassQuality",
    "ConsistentNoise",
    "Interval",
    "JointIntervals",
    "BatchVerdict",
    "Gap",
    "SamplingPlan",
    "SequentialPlan",
    "SliceVerdict",
    "StratifiedEstimate",
    "GroupMetrics",
    "KnnDisagreement",
    "LabelIssues",
    "LatentEstimates",
    "MultilabelIssues",
    "MultilabelJoint",
    "NearDuplicates",
    "Outliers",
    "OverlappingClasses",
    "SimilarRows",
    "LevelSearch",
    "Slice",
    "SliceSearch",
    "SliceTable",
}
# Take arrays as they hold them, and no others.
EXACT = {"ConfidentJoint", "KnnGraph"}


def public_calls():
    """Return every public call with arguments by name: functions, states to make, and methods."""
    found = {}
    for name in dq.__all__:
        thing = getattr(dq, name)
        if inspect.isfunction(thing):
            found[name] = thing
        elif inspect.isclass(thing) and not issubclass(thing, Exception):
            if name not in GIVEN:
                found[name] = thing
            for member, value in inspect.getmembers(thing, callable):
                inherited = hasattr(object, member) or hasattr(tuple, member)
                if (member == "__getitem__" or not member.startswith("_")) and (
                    member in vars(thing) or not inherited
                ):
                    found[f"{name}.{member}"] = value
    return {name: call for name, call in found.items() if parameters(call)}


def parameters(call):
    names = [p.name for p in inspect.signature(call).parameters.values()]
    return [name for name in names if name != "self"]


CALLS = public_calls()


def test_every_public_call_has_right_arguments():
    assert sorted(RIGHT) == sorted(CALLS)  # a result that is only given belongs in GIVEN


def arguments():
    for name in RIGHT:
        if name in CALLS:
            for argument in parameters(CALLS[name]):
                yield pytest.param(name, argument, id=f"{name}-{argument}")


def number_arguments():
    for name, right in RIGHT.items():
        for argument, value in right.arguments.items():
            if isinstance(value, np.ndarray):
                yield pytest.param(name, argument, id=f"{name}-{argument}")


# ---- what may come out ---------------------------------------------------------------------------

DOCUMENTED = (ValueError, TypeError, MemoryError, OSError, IndexError, dq.BackendError)
# A merge tells the parameter that differs.
NAMED = {"other": r"\bother\b|^ValueError: states differ in "}
# How to run, and when to stop: what the reference takes no notice of.
RUN = {
    "backend",
    "threads",
    "progress",
    "memory_limit",
    "executor",
    "resume",
    "time_limit",
    "max_candidates",
}
NOT_COMPARED = {"stats", "provenance", "levels"}  # of a search: the reference has none


class OwnError(Exception):
    """What a caller's own object raises."""


def same(a, b):
    """Return whether two results are equal to the bit, but for what is told not to be."""
    if isinstance(a, np.ndarray):
        if not isinstance(b, np.ndarray) or a.dtype != b.dtype or a.shape != b.shape:
            return False
        return bool(np.array_equal(a, b) or a.tobytes() == b.tobytes())
    if is_dataclass(a):
        names = [f.name for f in fields(a) if f.name not in NOT_COMPARED]
        return type(a) is type(b) and all(same(getattr(a, n), getattr(b, n)) for n in names)
    if isinstance(a, tuple | list):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return bool(type(a) is type(b) and (a == b or repr(a) == repr(b)))


def plain(value):
    """Return the same entries in a contiguous array of NumPy's own, or `value` where they are in none."""
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf" and value.size < 1000:
        return np.array(value.tolist(), value.dtype.newbyteorder("=")).reshape(value.shape)
    return value


def judge(name, argument, value, *, expected=None, refused=None, accepted=False):
    """Return what is wrong with how the call takes `value`, or None.

    `expected` is the result it must have where it has one; without, that of the reference with a plain array.
    """
    right = RIGHT[name]
    started = time.process_time()
    try:
        got = right(**{argument: value})
    except OwnError:
        return None
    except DOCUMENTED as error:
        said = f"{type(error).__name__}: {error}"
        if accepted:
            return f"refused: {said}"
        of_a_file = isinstance(error, OSError) and argument in (
            "folder",
            "path",
        )  # it names the path
        if not (
            isinstance(error, MemoryError)
            or of_a_file
            or re.search(NAMED.get(argument, rf"\b{argument}\b"), said)
        ):
            return f"does not name {argument}: {said}"
        if refused is not None and not re.search(refused, said):
            return f"does not say {refused}: {said}"
        if len(said) > 3000:
            return f"says too much: {len(said)} characters"
        got = error
    except Exception as error:  # noqa: BLE001 - anything else is not documented
        return f"not documented: {type(error).__name__}: {error}"
    if time.process_time() - started > MOST_CPU_SECONDS and not SANITIZED:
        return "takes more than a second"
    if isinstance(got, Exception):
        return None
    if refused is not None:
        return f"accepted: {got!r}"[:300]
    if expected is None and argument not in RUN:
        reference = {"backend": "reference"} if "backend" in parameters(CALLS[name]) else {}
        expected = right(**{argument: plain(value)}, **reference)
    if expected is not None and not same(got, expected):
        return f"gives another result: {got!r}, not {expected!r}"[:1000]
    return None


@pytest.fixture(autouse=True)
def _little_memory():
    """A demand for more than there is ends in a MemoryError, on any machine."""
    if SANITIZED or sys.platform != "linux":
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (4 << 30), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.fixture(autouse=True)
def _aside(tmp_path, monkeypatch, request):
    """Whatever is taken for a path lies in a folder of its own; what NumPy warns of is not the matter here."""
    monkeypatch.chdir(tmp_path)
    if "Audit.load" in request.node.name:
        AUDIT.save("saved", parquet=False, page=False)
    if "Source." in request.node.name:
        np.save("probs.npy", PROBS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


# ---- values of any kind --------------------------------------------------------------------------


class LyingInterface:
    """Says that it is an array, and is none."""

    @property
    def __array_interface__(self):
        return {"shape": (2**62,), "typestr": "<f8", "version": 3, "data": (0, True)}

    def __len__(self):
        return 2**62


class FailingArray:
    def __array__(self, *_, **__):
        raise OwnError("the producer's own")

    def __len__(self):
        return N


class NoArrayAtAll:
    def __array__(self, *_, **__):
        return "not an array"

    def __len__(self):
        return N


class FailingLength:
    def __len__(self):
        raise OwnError("the length's own")

    def __getitem__(self, at):
        raise OwnError("the entry's own")


class LyingLength(list):
    def __len__(self):
        return 2**40


class FailingNumber:
    def __index__(self):
        raise OwnError("the number's own")

    __float__ = __int__ = __index__


class FailingComparison:
    def __eq__(self, other):
        raise OwnError("the comparison's own")

    __hash__ = None


class EndlessText(str):
    __slots__ = ()

    def __eq__(self, other):
        return True

    __hash__ = str.__hash__


class OtherMapping(collections.abc.Mapping):
    def __getitem__(self, key):
        raise OwnError("the mapping's own")

    def __len__(self):
        return 1

    def __iter__(self):
        return iter(["a"])


class FailingIterator:
    def __iter__(self):
        yield "a"
        raise OwnError("the iterator's own")


class LyingStream:
    def __arrow_c_stream__(self, requested_schema=None):
        return "no capsule"


def itself():
    value = []
    value.append(value)
    return value


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


def masked():
    return np.ma.masked_array(np.zeros(N), mask=np.arange(N) == 3)


VALUES = {
    "None": lambda: None,
    "Ellipsis": lambda: ...,
    "NotImplemented": lambda: NotImplemented,
    "True": lambda: True,
    "numpy True": lambda: np.True_,
    "0": lambda: 0,
    "-1": lambda: -1,
    "2": lambda: 2,
    "2^31": lambda: 2**31,
    "2^53": lambda: 2**53,
    "2^63": lambda: 2**63,
    "-2^63 - 1": lambda: -(2**63) - 1,
    "10^5000": lambda: 10**5000,
    "numpy int8": lambda: np.int8(2),
    "numpy uint64": lambda: np.uint64(2**64 - 1),
    "2.0": lambda: 2.0,
    "2.5": lambda: 2.5,
    "nan": lambda: float("nan"),
    "inf": lambda: float("inf"),
    "-inf": lambda: -float("inf"),
    "least": lambda: 5e-324,
    "greatest": lambda: 1.7e308,
    "numpy float16": lambda: np.float16(0.5),
    "complex": lambda: 1j,
    "Decimal": lambda: decimal.Decimal(2),
    "Decimal NaN": lambda: decimal.Decimal("sNaN"),
    "Fraction": lambda: fractions.Fraction(1, 2),
    "date": lambda: datetime.date(2020, 1, 1),
    "NaT": lambda: np.datetime64("NaT"),
    "NA": lambda: pandas.NA,
    "arrow null": lambda: pyarrow.scalar(None),
    "empty string": lambda: "",
    "string": lambda: "no such thing",
    "digits": lambda: "2",
    "string with a null": lambda: "a\0b",
    "null": lambda: "\0",
    "surrogate": lambda: "\ud800",
    "escape codes": lambda: "\x1b[2J\u202e",
    "long string": lambda: "x" * 1_000_000,
    "string equal to all": lambda: EndlessText("x"),
    "bytes": lambda: b"DQST",
    "no bytes": lambda: b"",
    "bytearray": lambda: bytearray(b"DQST"),
    "memoryview": lambda: memoryview(b"abc"),
    "empty list": list,
    "list of lists": lambda: [[]],
    "ragged": lambda: [[1.0], [1.0, 2.0]],
    "list of None": lambda: [None] * N,
    "list of all sorts": lambda: [1, "a", None, 2.5, b"x", (), {}, object(), True, 1j, 2**70, N],
    "list of itself": itself,
    "nested 60 deep": lambda: nested(60),
    "nested 100,000 deep": lambda: nested(100_000),
    "list that lies": LyingLength,
    "deque": lambda: collections.deque(range(N)),
    "dict": dict,
    "dict of none": lambda: {"a": None},
    "dict of scalars": lambda: {"a": 1},
    "dict of empty": lambda: {"a": []},
    "dict by numbers": lambda: {1: LABELS},
    "dict by null": lambda: {"\0": LABELS, "\ud800": LABELS},
    "dict by nothing": lambda: {"": LABELS},
    "mapping that fails": OtherMapping,
    "set": lambda: {1, 2},
    "range": lambda: range(N),
    "generator": lambda: (i for i in range(N)),
    "iterator that fails": FailingIterator,
    "object": object,
    "function": lambda: len,
    "class": lambda: dict,
    "module": lambda: np,
    "exception": lambda: ValueError("x"),
    "namespace": SimpleNamespace,
    "slice": lambda: slice(None, None, 0),
    "lying interface": LyingInterface,
    "lying stream": LyingStream,
    "array that fails": FailingArray,
    "array that is none": NoArrayAtAll,
    "length that fails": FailingLength,
    "number that fails": FailingNumber,
    "comparison that fails": FailingComparison,
    "nothing": lambda: np.zeros(0),
    "no dimension": lambda: np.array(1.0),
    "no dimension, an object": lambda: np.array(None),
    "no rows": lambda: np.zeros((0, CLASSES)),
    "no columns": lambda: np.zeros((N, 0)),
    "one column": lambda: np.zeros((N, 1)),
    "one row": lambda: np.zeros((1, CLASSES)),
    "one entry": lambda: np.zeros(1),
    "three dimensions": lambda: np.zeros((N, CLASSES, 2)),
    "64 dimensions": lambda: np.zeros((1,) * 32),
    "too many, of stride 0": lambda: np.broadcast_to(np.float32(0), (2**40, CLASSES)),
    "one row more": lambda: np.zeros(N + 1, np.int64),
    "one row less": lambda: np.zeros(N - 1, np.int64),
    "one row of probabilities more": lambda: np.full((N + 1, CLASSES), 1 / CLASSES),
    "one class more": lambda: np.full((N, CLASSES + 1), 1 / (CLASSES + 1)),
    "zeros": lambda: np.zeros(N),
    "zeros, two dimensions": lambda: np.zeros((N, CLASSES)),
    "subnormals": lambda: np.full((N, CLASSES), 1e-310),
    "NaN": lambda: np.full((N, CLASSES), np.nan),
    "NaN, one dimension": lambda: np.full(N, np.nan),
    "infinite": lambda: np.full((N, CLASSES), np.inf),
    "negative": lambda: np.full((N, CLASSES), -1.0),
    "negative, one dimension": lambda: np.full(N, -2),
    "huge": lambda: np.full((N, CLASSES), 1e300),
    "huge, one dimension": lambda: np.full(N, 2**63, np.uint64),
    "halves": lambda: np.full(N, 0.5),
    "objects": lambda: np.array([object()] * N),
    "object numbers": lambda: np.array([1] * N, object),
    "huge object numbers": lambda: np.array([2**70] * N, object),
    "strings": lambda: np.array(["a", "b", "c"] * (N // 3)),
    "strings with nulls": lambda: np.array(["a\0", "b\0b", "\0"] * (N // 3), object),
    "strings and None": lambda: np.array(["a", None, "c"] * (N // 3), object),
    "strings and numbers": lambda: ["a", 1, "c"] * (N // 3),
    "digits as strings": lambda: np.array(["0", "1", "2"] * (N // 3)),
    "byte strings": lambda: np.array([b"a", b"b", b"c"] * (N // 3)),
    "complex numbers": lambda: np.zeros((N, CLASSES), complex),
    "bools": lambda: np.zeros((N, CLASSES), bool),
    "bools, one dimension": lambda: np.zeros(N, bool),
    "times": lambda: np.zeros(N, "M8[s]"),
    "durations": lambda: np.zeros((N, CLASSES), "m8[s]"),
    "structured": lambda: np.zeros(N, [("a", "f4"), ("b", "i4")]),
    "records": lambda: np.zeros(N, [("a", "i4")]).view(np.recarray),
    "void": lambda: np.zeros(N, "V8"),
    "masked": masked,
    "masked entry": lambda: np.ma.masked,
    "matrix": lambda: np.asmatrix(np.zeros((N, CLASSES))),
    "sparse matrix": lambda: sparse.csr_matrix(np.eye(N)),
    "sparse, with itself": lambda: sparse.csr_array(np.ones((N, N))),
    "sparse, other format": lambda: sparse.coo_array(np.eye(N)),
    "sparse, not square": lambda: sparse.csr_array(np.ones((N, 2))),
    "sparse, empty": lambda: sparse.csr_array((N, N)),
    "sparse, complex": lambda: sparse.csr_array(np.eye(N, k=1) * 1j),
    "nullable numbers": lambda: pandas.array([1, None, 2] * (N // 3), "Int64"),
    "nullable floats": lambda: pandas.array([0.5, None, 0.25] * (N // 3), "Float64"),
    "categorical with missing": lambda: pandas.Categorical(["a", None, "b"] * (N // 3)),
    "pandas times": lambda: pandas.Series(pandas.date_range("2020", periods=N)),
    "empty frame": pandas.DataFrame,
    "frame of one name twice": lambda: pandas.DataFrame(np.zeros((N, 2), int), columns=["a", "a"]),
    "frame by numbers": lambda: pandas.DataFrame(np.zeros((N, 2), int)),
    "frame of all sorts": lambda: pandas.DataFrame({"a": LABELS, "b": ["x"] * N}),
    "polars nulls": lambda: polars.Series([1, None, 2] * (N // 3)),
    "polars lists": lambda: polars.Series([[1, 2], [1], []] * (N // 3)),
    "polars structs": lambda: polars.Series([{"a": 1}] * N),
    "arrow nulls": lambda: pyarrow.array([1, None, 2] * (N // 3)),
    "arrow lists": lambda: pyarrow.array([[1, 2], [1], None] * (N // 3)),
    "arrow decimals": lambda: pyarrow.array([decimal.Decimal("1.5")] * N),
    "arrow of no chunks": lambda: pyarrow.chunked_array([], pyarrow.int64()),
    "arrow null type": lambda: pyarrow.nulls(N),
    "lazy frame": lambda: polars.LazyFrame({"a": [1]}),
}


def csr(**changed):
    """A sparse matrix whose parts do not fit."""
    whole = {"format": "csr", "shape": (N, N)}
    whole |= {"indptr": CSR.indptr, "indices": CSR.indices, "data": CSR.data}
    return SimpleNamespace(**{**whole, **changed})


def with_entry(value, at, entry):
    changed = value.copy()
    changed[at] = entry
    return changed


# What one argument alone can be wrong in.
VALUES_OF = {
    "graph": {
        "of queries": lambda: dq.knn_graph(FEATURES, 3, queries=FEATURES),
        "fewer rows": lambda: dq.knn_graph(FEATURES[:-1], 3),
    },
    "joint": {
        "another number of classes": lambda: dq.confident_joint([0, 1], np.eye(2)),
        "with weights": lambda: dq.confident_joint(LABELS, PROBS, weights=np.ones(N)),
    },
    "other": {
        "thresholds of more classes": lambda: dq.ThresholdState(CLASSES + 1),
        "thresholds, weighted": lambda: dq.ThresholdState(CLASSES, weighted=True),
        "other thresholds": lambda: dq.JointState(JOINT.thresholds / 2),
        "other issues": lambda: dq.IssueState(JOINT, "both"),
        "more neighbours": lambda: dq.KnnState(N, 4),
        "more rows": lambda: dq.KnnState(N + 1, 3),
        "another metric": lambda: dq.KnnState(N, 3, "cosine"),
        "other columns": lambda: dq.SliceState({"a": [0, 1, 2]}),
        "other categories": lambda: dq.SliceState({"a": [0, 1, 3], "b": [0, 1]}),
        "deeper": lambda: dq.SliceState(SPEC, max_level=2),
        "another unit": lambda: dq.SliceState(SPEC, max_abs_error=4.0),
    },
    "csr": {
        "pointers that fall": lambda: csr(indptr=CSR.indptr[::-1]),
        "pointers that pass the end": lambda: csr(indptr=CSR.indptr + 3),
        "pointers negative": lambda: csr(indptr=CSR.indptr - 3),
        "pointers too few": lambda: csr(indptr=CSR.indptr[:-1]),
        "pointers none": lambda: csr(indptr=None),
        "pointers of another type": lambda: csr(indptr=["a"] * (N + 1)),
        "pointers of halves": lambda: csr(indptr=CSR.indptr + 0.5),
        "indices too few": lambda: csr(indices=CSR.indices[:-1]),
        "indices none": lambda: csr(indices=None),
        "index too high": lambda: csr(indices=with_entry(CSR.indices, ROW, N)),
        "data too few": lambda: csr(data=CSR.data[:-1]),
        "data none": lambda: csr(data=None),
        "data NaN": lambda: csr(data=with_entry(CSR.data, ROW, np.nan)),
        "data complex": lambda: csr(data=CSR.data * 1j),
        "shape of one": lambda: csr(shape=(N,)),
        "shape none": lambda: csr(shape=None),
        "shape huge": lambda: csr(shape=(2**62, 2**62)),
    },
    "columns_spec": {
        "too many crossings": lambda: {str(j): 2**20 for j in range(2000)},
        "twice": lambda: {"a": [0, 0]},
        "missing": lambda: {"a": [0, None]},
        "negative": lambda: {"a": -1},
        "huge": lambda: {"a": 2**40},
        "all sorts": lambda: {"a": [0, "x"]},
        "a string": lambda: {"a": "abc"},
        "itself": lambda: {"a": itself()},
    },
    "class_names": {
        "twice": lambda: ["x", "x", "z"],
        "too few": lambda: ["x", "y"],
        "too many": lambda: ["x", "y", "z", "w"],
        "empty": lambda: ["x", "", "z"],
        "numbers": lambda: [1, 2, 3],
        "bytes": lambda: [b"x", b"y", b"z"],
    },
    "data": {
        "another state": lambda: dq.SliceState({"q": 1}).to_bytes()[:-1],
        "array": lambda: np.frombuffer(dq.KnnState(N, 3).to_bytes(), np.uint8),
    },
    "index": {
        "past the end": lambda: len(TABLE),
        "before the start": lambda: -len(TABLE) - 1,
        "mask too long": lambda: np.ones(len(TABLE) + 1, bool),
        "numbers past the end": lambda: np.array([0, len(TABLE)]),
        "numbers past the end, a list": lambda: [0, len(TABLE)],
    },
}


@pytest.mark.parametrize(("name", "argument"), list(arguments()))
def test_any_value_ends_in_an_error_that_names_the_argument_or_in_the_right_result(
    name, argument, scaled
):
    wrong = []
    values = list({**VALUES, **VALUES_OF.get(argument, {})}.items())
    # Where only some are tried, other ones for each argument.
    some = max(1, len(values) // scaled(len(values)))
    for what, make in values[zlib.crc32(f"{name} {argument}".encode()) % some :: some]:
        value = make()
        if argument == "progress" and callable(value):
            continue  # what a callable of the caller's raises is the caller's
        if complaint := judge(name, argument, value):
            wrong.append(f"{what}: {complaint}")
    assert not wrong, "\n".join(wrong)
    assert same(RIGHT[name](), RIGHT[name]())


@pytest.mark.parametrize("name", RIGHT)
def test_an_unknown_argument_is_refused(name):
    with pytest.raises(TypeError, match="no_such_argument"):
        RIGHT[name](no_such_argument=1)


# ---- the right values with a wrong one among them ------------------------------------------------


def test_every_argument_of_numbers_has_numbers_that_it_refuses():
    named = {
        argument
        for right in RIGHT.values()
        for argument, value in right.arguments.items()
        if isinstance(value, np.ndarray)
    }
    assert named <= set(REFUSED)


@pytest.mark.parametrize(("name", "argument"), list(number_arguments()))
def test_one_wrong_entry_is_refused_by_its_row(name, argument):
    right = RIGHT[name].arguments[argument]
    row = min(ROW, len(right) - 1)
    wrong = []
    for bad in REFUSED[argument]:
        whole = isinstance(bad, int)
        if whole and right.dtype.kind == "f":
            continue
        dtype = right.dtype if name in EXACT else np.int64 if whole else np.float64
        with np.errstate(over="ignore"):
            value = right.astype(dtype)
            if np.asarray(bad).astype(dtype) != bad and not np.isnan(bad):
                continue  # it cannot be there
        value[row] = bad
        if complaint := judge(name, argument, value, refused=rf"\brow {row}\b"):
            wrong.append(f"{bad!r}: {complaint}")
    assert not wrong, "\n".join(wrong)


# Arrays whose length nothing else has to share.
ALONE = {"knn_graph", "KnnState.update", "JointState"}


@pytest.mark.parametrize(("name", "argument"), list(number_arguments()))
def test_a_row_too_few_or_too_many_is_refused(name, argument):
    value = RIGHT[name].arguments[argument]
    wrong = []
    for what, other in {
        "fewer": value[:-1].copy(),
        "more": np.concatenate([value, value[:1]]),
        "none": value[:0].copy(),
    }.items():
        refused = None if name in ALONE else ""
        if complaint := judge(name, argument, other, refused=refused):
            wrong.append(f"{what}: {complaint}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", [name for name in RIGHT if "columns" in RIGHT[name].arguments])
def test_one_wrong_entry_of_a_column_is_refused_by_its_row(name):
    entries = [*REFUSED["columns"], b"x", 1j, object(), (), "text", 2**70]
    wrong = []
    for bad in entries:
        column = LABELS.astype(object)
        column[ROW] = bad
        forms = {"objects": column, "list": column.tolist()}
        if isinstance(bad, int | float) and abs(bad) < 2**62:
            forms["array"] = np.array(column.tolist())
        for form, value in forms.items():
            columns = {**COLUMNS, "a": value}
            if complaint := judge(name, "columns", columns, refused=rf"\brow {ROW}\b|2\^63"):
                wrong.append(f"{bad!r} in {form}: {complaint}")
    assert not wrong, "\n".join(wrong)


# ---- the right values in another form ------------------------------------------------------------


class Subclass(np.ndarray):
    pass


class ArrayAlone:
    """Known by `__array__` alone."""

    def __init__(self, value):
        self.value = value

    def __array__(self, dtype=None, copy=None):
        return np.array(self.value, dtype)


class InterfaceAlone:
    """Known by its interface and its length alone."""

    def __init__(self, value):
        self.value = value
        self.__array_interface__ = value.__array_interface__

    def __len__(self):
        return len(self.value)


FRESH = itertools.count()


def unaligned(value):
    raw = np.zeros(value.nbytes + 1, np.uint8)
    odd = raw[1:].view(value.dtype).reshape(value.shape)
    odd[...] = value
    return odd


def read_only(value):
    fixed = value.copy()
    fixed.flags.writeable = False
    return fixed


def every_second(value):
    wide = np.full((*value.shape[:-1], 2 * value.shape[-1]), 99, value.dtype)
    wide[..., ::2] = value
    return wide[..., ::2]


def a_field(value):
    records = np.zeros(value.shape, [("before", "i1"), ("value", value.dtype), ("after", "i2")])
    records["value"] = value
    return records["value"]


def memory_map(value):
    path = f"mapped{next(FRESH)}"
    value.tofile(path)
    return np.memmap(path, value.dtype, "r", shape=value.shape)


def frame(value):
    return {str(j): value[:, j] for j in range(value.shape[1])}


def chunked(value):
    half = len(value) // 2
    return pyarrow.chunked_array([value[:half], value[half:half], value[half:]])


FORMS = {  # these must be taken
    "Fortran order": np.asfortranarray,
    "reversed": lambda v: np.ascontiguousarray(v[::-1])[::-1],
    "every second": every_second,
    "unaligned": unaligned,
    "other byte order": lambda v: v.astype(v.dtype.newbyteorder()),
    "read-only": read_only,
    "memory map": memory_map,
    "field of records": a_field,
    "subclass": lambda v: v.view(Subclass),
    "masked array without a mask": np.ma.masked_array,
    "masked array with nothing masked": lambda v: np.ma.masked_array(v, np.zeros(v.shape, bool)),
    "array alone": ArrayAlone,
    "interface alone": InterfaceAlone,
    "memoryview": memoryview,
    "list": lambda v: v.tolist(),
    "tuple": lambda v: tuple(map(tuple, v.tolist())) if v.ndim == 2 else tuple(v.tolist()),
    "list of rows": list,
    "wider": lambda v: v.astype(np.float64 if v.dtype.kind == "f" else np.int64),
}
FORMS_OF_ONE_DIMENSION = {
    "pandas": pandas.Series,
    "pandas, odd index": lambda v: pandas.Series(v, index=range(len(v), 0, -1)),
    "pandas, nullable": lambda v: pandas.Series(v).convert_dtypes(),
    "pandas, arrow": lambda v: pandas.Series(v).convert_dtypes(dtype_backend="pyarrow"),
    "polars": polars.Series,
    "arrow": pyarrow.array,
    "arrow, sliced": lambda v: pyarrow.array(np.concatenate([v[:1], v, v[:1]]))[1:-1],
    "arrow, chunks": chunked,
    "array.array": lambda v: array.array("d" if v.dtype.kind == "f" else "q", v.tolist()),
}
FORMS_OF_TWO_DIMENSIONS = {
    "pandas": lambda v: pandas.DataFrame(frame(v)),
    "polars": lambda v: polars.DataFrame(frame(v)),
    "arrow": lambda v: pyarrow.table(frame(v)),
    "rows of pandas": lambda v: [pandas.Series(row) for row in v],
}
MAY_BE_REFUSED = {
    "matrix": np.asmatrix,
    "objects": lambda v: v.astype(object),
    "long double": lambda v: v.astype(np.longdouble),
    "strings": lambda v: v.astype(str),
    "complex": lambda v: v.astype(complex),
    "sparse": lambda v: sparse.csr_array(np.atleast_2d(v)),
    "generator": iter,
}


@pytest.mark.parametrize(("name", "argument"), list(number_arguments()))
def test_the_same_numbers_in_any_form_give_the_same_result(name, argument):
    value = RIGHT[name].arguments[argument]
    expected = RIGHT[name](**{argument: np.ascontiguousarray(value)})
    wrong = []
    forms = FORMS | (FORMS_OF_ONE_DIMENSION if value.ndim == 1 else FORMS_OF_TWO_DIMENSIONS)
    for form, make in forms.items():
        if complaint := judge(
            name, argument, make(value), expected=expected, accepted=name not in EXACT
        ):
            wrong.append(f"{form}: {complaint}")
    for form, make in MAY_BE_REFUSED.items():
        if form == "strings" and argument in ("labels", "split"):
            continue  # names, where there were numbers
        if complaint := judge(name, argument, make(value), expected=expected):
            wrong.append(f"{form}: {complaint}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", [name for name in RIGHT if "columns" in RIGHT[name].arguments])
def test_the_same_columns_in_any_form_give_the_same_result(name):
    expected = RIGHT[name]()
    wrong = []
    for form, make in (FORMS | FORMS_OF_ONE_DIMENSION).items():
        columns = {key: make(value) for key, value in COLUMNS.items()}
        if complaint := judge(name, "columns", columns, expected=expected, accepted=True):
            wrong.append(f"{form}: {complaint}")
    for form, make in {
        "pandas": pandas.DataFrame,
        "polars": polars.DataFrame,
        "arrow": pyarrow.table,
    }.items():
        if complaint := judge(name, "columns", make(COLUMNS), expected=expected, accepted=True):
            wrong.append(f"{form}: {complaint}")
    assert not wrong, "\n".join(wrong)


# ---- what is only read ---------------------------------------------------------------------------


def fixed(value):
    """Return arguments that cannot be written to."""
    if isinstance(value, dict):
        return {key: fixed(entry) for key, entry in value.items()}
    if isinstance(value, dq.KnnGraph | dq.ConfidentJoint):
        return replace(value, **fixed({f.name: getattr(value, f.name) for f in fields(value)}))
    return read_only(value) if isinstance(value, np.ndarray) else value


@pytest.mark.parametrize("name", RIGHT)
def test_arguments_are_never_written(name):
    assert same(RIGHT[name](**fixed(RIGHT[name].arguments)), RIGHT[name]())
