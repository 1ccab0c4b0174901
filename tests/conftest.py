import numpy as np
import pytest
from dqcore import _cpu


@pytest.fixture(params=_cpu.isas())
def native_isa(request):
    """Each instruction set of this machine in turn, in force and read back from the library."""
    before = _cpu.isa()
    _cpu.set_isa(request.param)
    assert _cpu.isa() == request.param
    yield request.param
    _cpu.set_isa(before)


@pytest.fixture
def rng():
    return np.random.default_rng(0)
