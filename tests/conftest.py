import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from dqcore import _cpu

# A shell has Ctrl-C ignored by what it runs in the background, and so by all that starts from there.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Cases of the loops that only count: a sanitizer's run asks for fewer through this factor.
SCALE = float(os.environ.get("DQCORE_TEST_SCALE", "1"))

# Whether a sanitizer comes before all else.
SANITIZED = "san.so" in os.environ.get("LD_PRELOAD", "")


def examples(count):
    """Return the number of examples to try where `count` is the full one."""
    return max(10, int(count * SCALE))


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


@pytest.fixture
def scaled():
    """Return the number of cases to run where `count` is the full one."""
    return lambda count: max(1, int(count * SCALE))


@pytest.fixture
def fresh_python(tmp_path):
    """Run a script in an interpreter of its own and return what it printed; it must exit with 0."""

    def run(script, *args, timeout=120, **env):
        path = tmp_path / "script.py"
        path.write_text(script)
        done = subprocess.run(
            [sys.executable, "-P", str(path), *map(str, args)],
            env={**os.environ, **env},
            check=False,
            capture_output=True,
            text=True,
            timeout=timeout,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run
