"""The CPU's executor of the CUDA kernels: right kernels run, and what is wrong in one is found."""

import numpy as np
import pytest

_emulated = pytest.importorskip("dqcore._emulated", reason="only a checkout's build has it")

BOTH_ORDERS = pytest.mark.parametrize("backwards", [False, True])

NO_BARRIER = "with no barrier between|that nobody wrote"
HAZARDS = {
    "read after write": NO_BARRIER,
    "write after read": "with no barrier between",
    "write after write": "writes shared byte .* wrote with no barrier between",
    "across warps": "reads shared byte .* wrote with no barrier between",
    "atomic then read": "with no barrier between",
    "unset": "that nobody wrote",
    "copy not awaited": "while a copy to it is under way",
    "copy, no sync": "with no barrier between|while a copy to it is under way",
    "outside": "shared index .* outside a view of 64",
    "misaligned": "is not aligned",
    "divergent barrier": "some threads wait at sync.*, which others never reach",
    "divergent warp": "is at (ballot|shuffle), others at (ballot|shuffle)",
}


@BOTH_ORDERS
def test_the_example_sums_rows(rng, backwards):
    x = rng.integers(0, 2**32, (5, 130), dtype=np.uint32)
    want = [int(row.sum(dtype=np.uint32)) for row in x]
    assert _emulated.row_sums(x, backwards) == [*want, sum(want) % 2**32]


@BOTH_ORDERS
def test_a_right_kernel_passes(backwards):
    _emulated.hazard("none", backwards)


@BOTH_ORDERS
@pytest.mark.parametrize("what", HAZARDS)
def test_a_hazard_is_found(what, backwards):
    with pytest.raises(RuntimeError, match=HAZARDS[what]):
        _emulated.hazard(what, backwards)
