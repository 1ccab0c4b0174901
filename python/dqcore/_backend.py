"""The one place that knows which backends exist and how one is chosen.

A backend is a module with the functions of `dqcore.reference`: `_cpu` and `_cuda` are compiled. They take what
`_check` has made of the caller's arguments and give plain arrays back.
"""

from __future__ import annotations

import importlib
from types import ModuleType

from . import _check
from ._foreign import on_device

_MODULES = {"cpu": "dqcore._cpu", "cuda": "dqcore._cuda", "reference": "dqcore.reference"}


_asked: set[ModuleType] = set()  # modules that found a device


class BackendError(RuntimeError):
    """The backend asked for cannot run here; the message says why."""


class NoKernelError(BackendError, AttributeError):
    """The backend runs here but has no such function."""


def load(backend: str, *arrays: object) -> ModuleType:
    """Return the module for `backend`, or raise BackendError; never another one instead.

    "auto" follows the data: the GPU where one of `arrays` is on it, else the CPU.
    """
    if not isinstance(backend, str):
        raise TypeError(
            f"backend must be 'auto' or one of {list(_MODULES)}, got {_check.shown(backend)}"
        )
    backend = str.__str__(backend)  # not a subclass's own ideas of what it is equal to
    if backend == "auto":
        backend = "cuda" if any(on_device(a) for a in arrays) else "cpu"
    if backend not in _MODULES:
        raise ValueError(
            f"backend must be 'auto' or one of {list(_MODULES)}, got {_check.shown(backend)}"
        )
    try:
        module = importlib.import_module(_MODULES[backend])
    except ImportError as error:
        advice = "" if backend != "cuda" else "; a build with nvcc on PATH has it (DQCORE_CUDA=ON)"
        raise BackendError(f"backend {backend!r} cannot run here: {error}{advice}") from error
    if (
        backend == "cuda" and module not in _asked
    ):  # once: to ask for devices takes longer than a call
        if reason := module.status()[3]:
            raise BackendError(f"backend 'cuda' cannot run here: {reason}")
        _asked.add(module)
    return module


def available() -> dict[str, str]:
    """Return each backend's name with "" where it runs here, else the reason why not."""
    reasons = {}
    for name in _MODULES:
        try:
            load(name)
            reasons[name] = ""
        except BackendError as error:
            reasons[name] = str(error)
    return reasons
