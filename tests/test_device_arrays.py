"""Arrays of other libraries on a device: what the backend makes of what they say of themselves, where memory is the host's.

`Fake` speaks both protocols as CuPy and PyTorch do; its memory is declared to be a device's to the CPU's executor, which
has the bindings and kernels of the CUDA backend.
"""

import ctypes
import sys
from types import ModuleType
from typing import ClassVar

import dqcore as dq
import numpy as np
import pytest
from dqcore import _backend
from dqcore.joint_options import FILTERS
from joint_cases import coarse, same

emulated = pytest.importorskip("dqcore._emulated", reason="built without the CPU's executor")

pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
pointer_of.restype, pointer_of.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
# Where fields lie in a DLTensor.
DEVICE_TYPE, DEVICE_ID, NDIM, CODE, BITS, LANES, SHAPE, STRIDES, OFFSET = (
    (8, ctypes.c_int32),
    (12, ctypes.c_int32),
    (16, ctypes.c_int32),
    (20, ctypes.c_uint8),
    (21, ctypes.c_uint8),
    (22, ctypes.c_uint16),
    (24, ctypes.c_void_p),
    (32, ctypes.c_void_p),
    (40, ctypes.c_uint64),
)
DATA = (0, ctypes.c_void_p)
MAJOR = (-32, ctypes.c_uint32)  # of a versioned one, whose tensor comes behind

# Fakes stand on NumPy's capsules, and NumPy makes versioned ones since 2.1.
NUMPY_VERSIONS = np.lib.NumpyVersion(np.__version__) >= "2.1.0"
versioned_only = pytest.mark.skipif(
    not NUMPY_VERSIONS, reason="this NumPy makes no versioned capsules"
)


class Fake:
    """An array on a device. `faults`: fields of its capsule and what they say instead."""

    declared: ClassVar = []  # arrays of the test, kept until it ends: their memory becomes no other's

    def __init__(
        self, values, *, dlpack="newest", interface=True, device=0, bfloat16=False, faults=()
    ):
        if dlpack == "newest":
            dlpack = "versioned" if NUMPY_VERSIONS else "plain"
        self.values, self.device, self.faults = values, device, dict(faults)
        self.dlpack, self.interface, self.asked = dlpack, interface, []
        if bfloat16:
            self.faults = {CODE: 4} | self.faults
        while isinstance(values.base, np.ndarray):  # the whole of the memory it is in
            values = values.base
        if values.size:
            emulated.declare_memory(values.ctypes.data, values.nbytes, device)
            Fake.declared.append(values)

    def __getattribute__(self, name):
        get = object.__getattribute__
        if name in ("__dlpack__", "__dlpack_device__") and get(self, "dlpack") is None:
            raise AttributeError(name)
        if name == "__cuda_array_interface__":
            interface = get(self, "interface")
            if not interface:
                raise AttributeError(name)
            said = dict(get(self, "values").__array_interface__, version=3, stream=7)
            return said | interface if isinstance(interface, dict) else said
        return get(self, name)

    def __dlpack_device__(self):
        return (2, self.device)

    def __dlpack__(self, *, stream=None, **options):
        if self.dlpack == "refuses":
            raise BufferError("cannot export this")
        if self.dlpack == "junk":
            return object()
        if self.dlpack == "plain" and options:
            raise TypeError("unexpected keyword argument 'max_version'")
        self.asked.append(stream)
        capsule = self.values.__dlpack__(**options)
        versioned = self.dlpack == "versioned"
        at = pointer_of(capsule, b"dltensor_versioned" if versioned else b"dltensor")
        for (offset, kind), value in (
            {DEVICE_TYPE: 2, DEVICE_ID: self.device} | self.faults
        ).items():
            kind.from_address(at + 32 * versioned + offset).value = value
        self.capsule = capsule
        return capsule


@pytest.fixture(autouse=True)
def on_the_emulated_device(monkeypatch):
    """The backend "cuda" is the emulated one, and a library of fakes takes results over."""
    monkeypatch.setitem(_backend._MODULES, "cuda", "dqcore._emulated")
    monkeypatch.setitem(sys.modules, "fakes", library := ModuleType("fakes"))
    monkeypatch.setattr(Fake, "__module__", "fakes")
    library.from_dlpack = lambda given: ("taken", given)
    emulated.waited_for()
    yield
    emulated.set_device()
    for values in Fake.declared:
        emulated.declare_memory(values.ctypes.data, 0, -1)
    Fake.declared.clear()


@pytest.fixture
def case(rng):
    labels, p = coarse(rng, 90, 4)
    return labels, p.astype(np.float32)


WAYS = {
    "versioned": {"dlpack": "versioned", "interface": False},
    "unversioned": {"dlpack": "plain", "interface": False},
    "interface": {"dlpack": None},
    "interface where DLPack refuses": {"dlpack": "refuses"},
}
each_way = pytest.mark.parametrize(
    "way", [pytest.param(way, marks=[versioned_only] * (way == "versioned")) for way in WAYS]
)


@each_way
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_joint_room_reads_them_where_they_are(case, way, dtype):
    labels, p = case[0], case[1].astype(dtype)
    wide = np.repeat(p, 3, axis=0)[::3]
    for layout in (p, np.asfortranarray(p), p[::-1][::-1], wide, np.flip(np.flip(p, 1).copy(), 1)):
        fake = Fake(layout, **WAYS[way])
        same(dq.confident_joint(labels, fake), dq.confident_joint(labels, p))
        same(dq.label_issues(labels, fake), dq.label_issues(labels, p))
        # Once for each call, before anything is read.
        assert emulated.waited_for() == ([7, 7] if "interface" in way else [1, 1])
    library, quality = dq.label_quality(labels, fake)
    assert library == "taken"
    np.testing.assert_array_equal(quality.to_host(), dq.label_quality(labels, p))


def test_every_filter_and_score(case):
    labels, p = case
    fake = Fake(p)
    for filter_by in FILTERS:
        options = {"filter_by": filter_by, "rank_by": "normalized_margin", "adjust": True}
        emulated.set_device(free_bytes=9_000)  # pieces, and rows brought back in pieces
        got = dq.label_issues(labels, fake, **options)
        same(got, dq.label_issues(labels, p, **options))
    for method in ("normalized_margin", "confidence_weighted_entropy"):
        got = dq.label_quality(labels, fake, method=method)[1].to_host()
        np.testing.assert_array_equal(got, dq.label_quality(labels, p, method=method))
    # Labels and weights beside it may be there too.
    w = np.arange(90.0)
    got = dq.confident_joint(Fake(labels), fake, weights=Fake(w[::-1]))
    same(got, dq.confident_joint(labels, p, weights=w[::-1]))


def test_bfloat16(case):
    labels, p = case
    bits = p.view(np.uint32) >> 16
    p = (bits << 16).view(np.float32)
    fake = Fake(bits.astype(np.uint16), bfloat16=True, interface=False)
    same(dq.confident_joint(labels, fake), dq.confident_joint(labels, p))
    for filter_by in ("both", "confident_learning"):
        got = dq.label_issues(labels, fake, filter_by=filter_by)
        same(got, dq.label_issues(labels, p, filter_by=filter_by))
    for method in ("self_confidence", "confidence_weighted_entropy"):
        got = dq.label_quality(labels, fake, method=method)[1].to_host()
        np.testing.assert_array_equal(got, dq.label_quality(labels, p, method=method))


@each_way
def test_graphs(rng, way):
    x = rng.standard_normal((150, 6)).astype(np.float32)
    want = dq.knn_graph(x, 3, queries=x[:40])
    for layout in (x, x.astype(np.float64), np.asfortranarray(x)):
        got = dq.knn_graph(Fake(layout, **WAYS[way]), 3, queries=x[:40])
        np.testing.assert_array_equal(got.indices, want.indices)
        np.testing.assert_array_equal(got.distances, want.distances)
    got = dq.knn_graph(x, 3, queries=Fake(x[:40], **WAYS[way]), backend="cuda")
    np.testing.assert_array_equal(got.indices, want.indices)
    halves = x.astype(np.float16)
    got, want = (dq.knn_graph(a, 2, metric="cosine") for a in (Fake(halves), halves))
    np.testing.assert_array_equal(got.distances, want.distances)
    with pytest.raises(ValueError, match="queries are on device 1 but features on device 0"):
        dq.knn_graph(Fake(x), 3, queries=Fake(x[:40].copy(), device=1))


def test_slices(rng):
    errors, codes = rng.random(200) < 0.3, rng.integers(-1, 5, (200, 3))
    want = dq.slice_errors(errors, codes, max_level=2)
    same(dq.slice_errors(Fake(errors), Fake(codes), max_level=2), want)
    columns = {str(j): Fake(codes[:, j]) for j in range(3)}
    same(dq.slice_errors(errors, columns, max_level=2, backend="cuda"), want)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_is_not_finite_is_told(rng, dtype):
    x = rng.standard_normal((50, 7)).astype(dtype)
    x[37, 6], x[20, 3] = np.inf, np.nan
    match = r"features must be .* float32's range: row 20, column 3 is nan \(2 such entries\)"
    with pytest.raises(ValueError, match=match):
        dq.knn_graph(Fake(x), 3)
    if dtype == np.float64:
        x[20, 3], x[37, 6] = 0.0, 1e300
        with pytest.raises(ValueError, match=r"row 37, column 6 is 1e\+300 \(1 such entry\)"):
            dq.knn_graph(Fake(x.T.copy().T), 3)


def test_faults_of_probabilities_are_told_as_on_the_host(case):
    labels, p = case
    p[41, 2] = 1.5
    for call in (dq.confident_joint, dq.label_issues):
        with pytest.raises(ValueError, match=r"row 41, column 2 is 1.5"):
            call(labels, Fake(p))


def test_no_rows():
    got = dq.confident_joint([], Fake(np.zeros((0, 3), np.float32)))
    same(got, dq.confident_joint([], np.zeros((0, 3), np.float32)))
    assert dq.label_quality([], Fake(np.zeros((0, 3), np.float32)))[1].to_host().shape == (0,)
    empty = {"dlpack": None, "interface": {"data": (0, False)}}
    assert dq.confident_joint([], Fake(np.zeros((0, 3), np.float32), **empty)).n == 0


def test_read_only_is_read(case):
    labels, p = case
    p.flags.writeable = False
    same(dq.confident_joint(labels, Fake(p)), dq.confident_joint(labels, p))


BIG = 2**62
CAPSULES = {
    "another device": ({DEVICE_TYPE: 10}, ValueError, "device type 10"),
    "another GPU": ({DEVICE_ID: 3}, ValueError, "on device 3 but lies on device 0"),
    "version": ({MAJOR: 2}, ValueError, "DLPack 2.0, and version 1 is read"),
    "null": ({DATA: None}, ValueError, "pointer is null"),
    "no shape": ({SHAPE: None}, ValueError, "no shape"),
    "dimensions": ({NDIM: -1}, ValueError, "-1 dimensions"),
    "many dimensions": ({NDIM: 2**30}, ValueError, "dimensions"),
    "offset": ({OFFSET: 2**64 - 16}, ValueError, "offset|no memory of a device|can be addressed"),
    "crooked offset": ({OFFSET: 2}, ValueError, "not aligned"),
    "beyond": ({OFFSET: 64}, ValueError, "other memory than its first"),
    "lanes": ({LANES: 4}, TypeError, "4 lanes"),
    "bits": ({BITS: 4}, TypeError, "4 bits"),
    "complex": ({CODE: 5}, TypeError, "type 5"),
    "integers": ({CODE: 0}, TypeError, "got int32 on a device"),
}


@pytest.mark.parametrize(
    "fault", [pytest.param(f, marks=[versioned_only] * (f == "version")) for f in CAPSULES]
)
def test_hostile_capsules_are_refused(case, fault):
    labels, p = case
    faults, kind, match = CAPSULES[fault]
    with pytest.raises(kind, match=rf"^pred_probs .*({match})"):
        dq.confident_joint(labels, Fake(p, faults=faults, interface=False))


SHAPES = [
    ({"shape": (-1, 4)}, ValueError, r"shape\[0\] must be in \[0, "),
    ({"shape": (2**63, 4)}, ValueError, r"shape\[0\] must be in \[0, "),
    ({"shape": (BIG, 4)}, ValueError, "leave what can be addressed"),
    ({"shape": (BIG, 4), "strides": (BIG, 4)}, ValueError, "leave what can be addressed"),
    ({"shape": (90, 4), "strides": (-BIG, 4)}, ValueError, "leave what can be addressed"),
    # Eight strides come round to nothing.
    ({"shape": (9, 4), "strides": (2**61, 4)}, ValueError, "leave what can be addressed"),
    ({"shape": (90, 4), "strides": (-16, 4)}, ValueError, "no memory of a device"),
    ({"shape": (91, 4)}, ValueError, "other memory than its first"),
    ({"shape": (90, 4), "strides": (16, 2)}, ValueError, "stride of 2 bytes is no multiple"),
    ({"shape": (90, 4), "strides": (16,)}, ValueError, "2 dimensions and 1 strides"),
    ({"shape": (90, 4.0)}, TypeError, "must be a whole number"),
    ({"shape": None}, TypeError, "shape must be a tuple"),
    ({"shape": (360,)}, ValueError, r"got shape \(360,\)"),
    ({"shape": (90, 0)}, ValueError, "at least one class"),
    ({"data": (0, False)}, ValueError, "pointer is null"),
    ({"data": (2**63, False)}, ValueError, "pointer must be in"),
    ({"data": (64, False)}, ValueError, "no memory of a device"),
    ({"data": 64}, ValueError, "must have data"),
    ({"typestr": ">f4"}, TypeError, "typestr '>f4'"),
    ({"typestr": "<c8"}, TypeError, "typestr '<c8'"),
    ({"typestr": "<f0"}, TypeError, "typestr '<f0'"),
    ({"typestr": 4}, TypeError, "typestr 4"),
    ({"typestr": "<i4"}, TypeError, "got int32 on a device"),
    ({"version": 1}, ValueError, "version 1; 2 and 3 are read"),
    ({"version": "3"}, ValueError, "version '3'"),
    ({"stream": 0}, ValueError, "stream must be in"),
    ({"stream": "x"}, TypeError, "stream must be a whole number"),
    ({"mask": object()}, TypeError, "has a mask"),
]


@pytest.mark.parametrize(("said", "kind", "match"), SHAPES)
def test_hostile_interfaces_are_refused(case, said, kind, match):
    labels, p = case
    with pytest.raises(kind, match=rf"^pred_probs .*{match}"):
        dq.confident_joint(labels, Fake(p, dlpack=None, interface=said))


def test_a_producer_that_fails(case):
    labels, p = case
    with pytest.raises(ValueError, match=r"pred_probs cannot be read .* cannot export this"):
        dq.confident_joint(labels, Fake(p, dlpack="refuses", interface=False))
    with pytest.raises(ValueError, match="gave no capsule, or one that somebody has used"):
        dq.confident_joint(labels, Fake(p, dlpack="junk"))
    with pytest.raises(TypeError, match="must be a dict, got list"):
        dq.confident_joint(labels, type("Bad", (), {"__cuda_array_interface__": []})())


def test_a_capsule_is_used_up_and_let_go(case):
    labels, p = case
    fake = Fake(p, interface=False)
    before = sys.getrefcount(p)
    dq.confident_joint(labels, fake)
    assert fake.asked == [1]
    with pytest.raises(ValueError, match="PyCapsule_GetPointer"):
        pointer_of(fake.capsule, b"dltensor_versioned" if NUMPY_VERSIONS else b"dltensor")
    del fake.capsule
    assert sys.getrefcount(p) == before


def test_versions_of_the_interface_and_their_streams(case):
    labels, p = case
    for said, waited in (
        ({"version": 2, "stream": None}, []),
        ({"stream": None}, []),
        ({"stream": 2}, [2]),
    ):
        dq.confident_joint(labels, Fake(p, dlpack=None, interface=said))
        assert emulated.waited_for() == waited


def test_the_cpu_takes_none(case):
    labels, p = case
    for fake in (Fake(p), Fake(p, interface=False)):
        for backend in ("cpu", "reference"):
            with pytest.raises(TypeError, match=r"pred_probs is on a device.*pred_probs\.get\(\)"):
                dq.confident_joint(labels, fake, backend=backend)
        with pytest.raises(TypeError, match="features is on a device"):
            dq.knn_graph(fake, 2, backend="cpu")


def test_results_are_arrays_of_the_library_or_of_numpy(case, monkeypatch):
    labels, p = case
    _, quality = dq.label_quality(labels, Fake(p))
    assert quality.__dlpack_device__() == (2, 0)
    again = dq.knn_graph(p, 2).indices  # memory goes back and comes again
    said = quality.__cuda_array_interface__
    assert said["shape"] == (90,)
    assert said["version"] == 3
    assert emulated.DeviceArray.from_dlpack("x", quality.__dlpack__(stream=1), 0).shape == (90,)
    assert quality.__dlpack__() is not None  # one that nobody takes
    assert len(again) == len(quality)
    monkeypatch.delitem(sys.modules, "fakes")
    got = dq.label_quality(labels, Fake(p))
    assert type(got) is np.ndarray
    np.testing.assert_array_equal(got, dq.label_quality(labels, p))
