"""The kernels of slices, run thread by thread on the CPU, against the reference: the same bits."""

import dqcore as dq
import numpy as np
import pytest
from dqcore import _backend, reference
from joint_cases import same

emulated = pytest.importorskip("dqcore._emulated", reason="built without the CPU's executor")

RUN = {"threads": 1, "progress": None}


@pytest.fixture(autouse=True, params=[False, True], ids=["forwards", "backwards"])
def device(request):
    """Blocks and threads in either order."""
    emulated.set_device(backwards=request.param)
    yield
    emulated.set_device()


def columns(n, n_categories, dtype=np.int32, seed=0):
    """Codes with missing ones where the type has a sign, the last category never seen."""
    rng = np.random.default_rng([seed, n])
    low = -1 if np.issubdtype(dtype, np.signedinteger) else 0
    return [rng.integers(low, max(k - 1, low + 1), n).astype(dtype) for k in n_categories]


def losses(n, exponent):
    rng = np.random.default_rng(n)
    values = rng.random(n) * 2.0**exponent
    values[: n // 5] = 2.0**exponent  # the most a loss can be: its square takes 96 bits
    values[n // 2] = -0.0
    return values


CASES = [
    (1, [2], 1),
    (300, [3, 2, 4], 2),
    (501, [7, 1, 5, 3, 2], 3),
    (400, [150, 120], 2),  # a table that no shared memory holds
    (257, [9, 8, 7, 6, 5, 4], 2),  # several groups of tables
]


@pytest.mark.parametrize(("n", "n_categories", "level"), CASES)
def test_slices(n, n_categories, level):
    codes = columns(n, n_categories)
    options = {"max_level": level, "min_support": 1}
    flags = np.random.default_rng(n).integers(0, 2, n).astype(np.uint8)
    for errors, exponent in [
        (flags, 0),
        (flags.astype(np.float64), 3),
        (np.zeros(n, np.uint8), -2),
        (losses(n, 0), 0),
        (losses(n, 70), 70),
        (losses(n, -90), -90),
    ]:
        call = {**options, "error_exponent": exponent}
        got = emulated.slice_errors(errors, codes, n_categories, **call, **RUN)
        same(got, tuple(reference.slice_errors(errors, codes, n_categories, **call)))


@pytest.mark.parametrize(
    "dtype", [np.int8, np.int16, np.int64, np.uint8, np.uint16, np.uint32, np.uint64]
)
def test_types_strides_and_pieces(dtype):
    n, n_categories = 3000, [3, 4]
    codes = columns(2 * n, n_categories, dtype)
    errors = losses(2 * n, 1)
    emulated.set_device(free_bytes=160_000)  # 1,024 rows at a time
    call = {"max_level": 2, "min_support": 2, "error_exponent": 1}
    strided = [c[::2] for c in codes]
    got = emulated.slice_errors(errors[::2], strided, n_categories, **call, **RUN)
    same(got, tuple(reference.slice_errors(errors[::2], strided, n_categories, **call)))


def test_groups_through_the_public_door(monkeypatch):
    monkeypatch.setitem(_backend._MODULES, "cuda", "dqcore._emulated")
    rng = np.random.default_rng(5)
    table = {"a": rng.integers(0, 4, 400), "b": np.array(["x", "y", "z"])[rng.integers(0, 3, 400)]}
    errors = rng.random(400) < 0.3
    same(
        dq.slice_errors(errors, table, max_level=2, backend="cuda"),
        dq.slice_errors(errors, table, max_level=2, backend="reference"),
    )


def test_faults_are_told_as_on_the_cpu():
    codes = columns(2500, [3, 4])
    errors = losses(2500, 0)
    call = {"max_level": 2, "min_support": 1, "error_exponent": 0}
    codes[1][2200], codes[0][2400] = 4, 7
    with pytest.raises(ValueError, match="row 2400, column 0 is not below 3"):
        emulated.slice_errors(errors, codes, [3, 4], **call, **RUN)
    errors[1500] = np.nan
    with pytest.raises(ValueError, match=r"errors must be 0 or 1.*row 1500 is nan"):
        emulated.slice_errors(errors, codes, [3, 4], **call, **RUN)
    with pytest.raises(ValueError, match="row 3 is 2"):
        emulated.slice_errors(
            np.array([0, 1, 1, 2], np.uint8), [c[:4] for c in codes], [3, 4], **call, **RUN
        )


def test_a_crossing_too_large_is_refused():
    codes = columns(50, [2000, 2000])
    with pytest.raises(RuntimeError, match=r"up to 1048576 cells.*columns 0, 1 is beyond"):
        emulated.slice_errors(
            np.zeros(50, np.uint8),
            codes,
            [2000, 2000],
            max_level=2,
            min_support=1,
            error_exponent=0,
            **RUN,
        )
