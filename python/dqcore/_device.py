"""Arrays of other libraries in the memory of a device: what they say of themselves becomes what a backend reads there.

Only a backend that has a device can do so; it checks where the memory lies before it reads any. Sources of the two
protocols: DLPack's Python specification, and version 3 of the CUDA Array Interface.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from . import _check, _foreign

_LEGACY_STREAM = 1  # of CUDA, which every library knows how to order its work before
_VERSIONS = (2, 3)  # of the CUDA Array Interface
_MOST = 2**63 - 1
_FLOATS = ("float16", "bfloat16", "float32", "float64")

_kinds: set[type] = set()  # the DeviceArray of each backend asked so far


def is_read(value: object) -> bool:
    """Return whether `value` is an array as a backend reads it on its device."""
    return type(value) in _kinds


def matrix(module: ModuleType, name: str, value: Any) -> Any:  # noqa: ANN401
    """Return what `module` reads of an array on a device, or `value` as it is where it is not on one."""
    if not hasattr(module, "DeviceArray") or not _foreign.on_device(value):
        return value
    _kinds.add(module.DeviceArray)
    return _read(module.DeviceArray, name, _foreign.detached(value))


def column(module: ModuleType, name: str, value: Any) -> Any:  # noqa: ANN401
    """Return an array on a device as one on the host: what goes row by row beside a matrix is checked there."""
    read = matrix(module, name, value)
    return read.to_host() if is_read(read) else value


def columns(module: ModuleType, name: str, value: Any) -> Any:  # noqa: ANN401
    """Return columns of which some, or a matrix of all, are on a device as columns on the host."""
    if not isinstance(value, dict):
        return column(module, name, value)
    return {key: column(module, f"{name}[{_check.shown(key)}]", v) for key, v in value.items()}


def pred_probs(name: str, value: Any) -> Any:  # noqa: ANN401
    """Return what `matrix` has read where it may be probabilities; their values are left to the kernel."""
    return _floats(name, value, "n_classes", "class")


def features(name: str, value: Any) -> Any:  # noqa: ANN401
    """Return what `matrix` has read where it may be features; the kernel that rounds them finds what is not finite."""
    return _floats(name, value, "d", "column")


def _floats(name: str, value: Any, columns: str, one: str) -> Any:  # noqa: ANN401
    want = f"an (n, {columns}) array of {', '.join(_FLOATS)}"
    if len(value.shape) != 2 or value.shape[1] == 0:
        raise ValueError(f"{name} must be {want} with at least one {one}, got shape {value.shape}")
    if value.dtype not in _FLOATS:
        raise TypeError(f"{name} must be {want}, got {value.dtype} on a device")
    return value


def as_given(value: object, result: Any) -> Any:  # noqa: ANN401
    """Return `result`, memory of a device, as an array of the library that `value` is of; NumPy's where it takes none."""
    if not hasattr(result, "__dlpack__") or not _foreign.on_device(result):
        return result
    library = sys.modules.get(type(value).__module__.partition(".")[0])
    take: Callable[[Any], Any] | None = getattr(library, "from_dlpack", None)
    return result.to_host() if take is None else take(result)


def _read(kind: Any, name: str, value: Any) -> Any:  # noqa: ANN401
    capsule = said = refused = None
    if getattr(value, "__dlpack__", None) is not None:
        try:
            capsule = _capsule(value)
        except Exception as error:  # noqa: BLE001 - the producer's own
            refused = error
    if capsule is not None:
        return kind.from_dlpack(name, capsule, _LEGACY_STREAM)
    try:
        said = value.__cuda_array_interface__
    except Exception as error:  # noqa: BLE001 - as above
        refused = refused or error
    if said is None:
        raise ValueError(f"{name} cannot be read from its device: {refused}") from refused
    return _from_interface(kind, name, said, value)


def _capsule(value: Any) -> Any:  # noqa: ANN401
    try:
        return value.__dlpack__(stream=_LEGACY_STREAM, max_version=(1, 0))
    except TypeError:  # from before versions were told
        return value.__dlpack__(stream=_LEGACY_STREAM)


def _from_interface(kind: Any, name: str, said: Any, owner: object) -> Any:  # noqa: ANN401
    cannot = f"{name} cannot be read from its device: its __cuda_array_interface__"
    if not isinstance(said, dict):
        raise TypeError(f"{cannot} must be a dict, got {type(said).__name__}")
    version = said.get("version")
    if version not in _VERSIONS:
        raise ValueError(f"{cannot} has version {_check.shown(version)}; 2 and 3 are read")
    if said.get("mask") is not None:
        raise TypeError(f"{cannot} has a mask; fill or drop masked entries first")
    typestr = said.get("typestr")
    known = (
        re.fullmatch(r"[<|=]([fiub])([1-9][0-9]?)", typestr) if isinstance(typestr, str) else None
    )
    if known is None:
        raise TypeError(f"{cannot} has typestr {_check.shown(typestr)}; want little-endian numbers")
    data = said.get("data")
    if not isinstance(data, tuple) or len(data) != 2:
        raise ValueError(f"{cannot} must have data (pointer, read only), got {_check.shown(data)}")
    strides = said.get("strides")
    # Before version 3 there was no word of streams: the producer works on the default one.
    stream = said.get("stream", None if version == 3 else _LEGACY_STREAM)
    return kind.from_interface(
        name,
        _check.integer(f"{cannot}'s pointer", data[0] or 0, 0, _MOST),
        known[1],
        int(known[2]),
        _sizes(f"{cannot}'s shape", said.get("shape"), 0),
        None if strides is None else _sizes(f"{cannot}'s strides", strides, -_MOST),
        0 if stream is None else _check.integer(f"{cannot}'s stream", stream, 1, _MOST),
        owner,
    )


def _sizes(name: str, value: object, low: int) -> list[int]:
    if not isinstance(value, tuple | list):
        raise TypeError(f"{name} must be a tuple, got {_check.shown(value)}")
    return [_check.integer(f"{name}[{i}]", size, low, _MOST) for i, size in enumerate(value)]
