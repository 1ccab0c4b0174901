"""The gate of the CUDA backend: what is said where the module, the driver or a device is missing."""

import importlib.util
import sys
from types import ModuleType

import dqcore as dq
import pytest
from dqcore import _backend

BUILT = importlib.util.find_spec("dqcore._cuda") is not None


class OnDevice:
    """What a caller's array on a GPU looks like from afar."""

    @property
    def __cuda_array_interface__(self):
        return {"shape": (3, 2), "typestr": "<f4", "data": (0, False), "version": 3}


def test_a_build_without_the_module_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "dqcore._cuda", None)
    with pytest.raises(dq.BackendError, match=r"'cuda' cannot run here: .*_cuda.*DQCORE_CUDA=ON"):
        _backend.load("cuda")
    assert "_cuda" in _backend.available()["cuda"]


def test_what_is_missing_is_said_with_versions(monkeypatch, capsys):
    module = ModuleType("dqcore._cuda")
    reason = "no NVIDIA driver on this machine (built with CUDA runtime 13.0; driver found: none)"
    module.status = lambda: ("13.0", "", [], reason)
    monkeypatch.setitem(sys.modules, "dqcore._cuda", module)
    with pytest.raises(
        dq.BackendError, match=r"no NVIDIA driver.*runtime 13.0; driver found: none"
    ):
        dq.confident_joint([0, 1, 0], [[1.0, 0.0]] * 3, backend="cuda")
    # Data on a device stay there: they are not brought to the CPU in silence.
    with pytest.raises(dq.BackendError, match="no NVIDIA driver"):
        dq.confident_joint([0, 1, 0], OnDevice())
    module.status = lambda: ("13.0", "13.0", ["a device (9.0)"], "")
    assert _backend.load("cuda") is module
    assert not _backend.available()["cuda"]
    dq.show_versions()
    assert "runs on a device (9.0) (CUDA runtime 13.0, driver for 13.0)" in capsys.readouterr().out


def test_an_array_on_a_device_is_refused_with_advice():
    for backend in ("cpu", "reference"):
        with pytest.raises(TypeError, match=r"pred_probs is on a device.*pred_probs\.get\(\)"):
            dq.confident_joint([0, 1, 0], OnDevice(), backend=backend)


@pytest.mark.skipif(not BUILT, reason="built without the CUDA backend")
def test_the_module_tells_what_it_found():
    module = importlib.import_module("dqcore._cuda")
    assert not hasattr(module, "find_slices")
    with pytest.raises(dq.BackendError, match="'cuda' has no find_slices"):
        module.find_slices([])
    runtime, driver, devices, reason = module.status()
    assert float(runtime) >= 12
    assert bool(reason) == (not devices or not driver)
    if reason:
        assert f"built with CUDA runtime {runtime}; driver found: {driver or 'none'}" in reason
