"""What a path leads to: a source for each format. Headers are read by well-kept libraries, or are plain."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from .. import _check
from .errors import CorruptFileError
from .files import File
from .source import Bfloat16Rows, FileRows, SlicedRows, Source

# Python literals in a .npy header cost more to parse than they take to store; NumPy's own bound.
MOST_HEADER_BYTES = 10_000
_MOST_SAFETENSORS_HEADER = 100_000_000  # the format's own bound


def open_path(name: str, value: object) -> Source:
    """Return the source that `value`, a path, leads to; `name` is what the caller calls it."""
    text = _check.path(name, value)
    file, key = text, ""
    if not text.endswith(tuple(_FORMATS)):
        file, _, key = text.rpartition(":")
    for ending, opened in _FORMATS.items():
        if file.endswith(ending):
            return opened(file, key)
    raise UnknownFormatError(f"{name} must be {WANT}, got {_check.shown(text)}")


class UnknownFormatError(ValueError):
    """A path that does not end as one of a format that is known."""


WANT = (
    "a path that ends in .npy, .safetensors:NAME, .parquet:COLUMN, .arrow:COLUMN or .zarr, or "
    "dqcore.Source.raw(path, dtype, shape)"
)


def npy_header(stream: IO[bytes], where: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return shape, whether in Fortran order, and dtype that a .npy declares; `stream` then stands at its first number."""
    try:
        version = npy.read_magic(stream)
        read_header = {
            (1, 0): npy.read_array_header_1_0,
            (2, 0): npy.read_array_header_2_0,
        }.get(version)
        if read_header is None:
            raise ValueError(f"format version {version} is not supported")
        declared: tuple[tuple[int, ...], bool, np.dtype[Any]] = read_header(
            stream, max_header_size=MOST_HEADER_BYTES
        )
    except (ValueError, TypeError, SyntaxError, RecursionError) as error:
        raise CorruptFileError(f"{where}: not a .npy array: {error}") from error
    return declared


def _npy(path: str, key: str) -> Source:
    if key:
        raise ValueError(f"{path} holds one array, none called {_check.shown(key)}")
    file = File(path)
    with file.stream() as stream:
        shape, fortran, dtype = npy_header(stream, path)
        offset = stream.tell()
    if dtype.hasobject:
        raise CorruptFileError(f"{path} holds Python objects (a pickle), which are never loaded")
    if dtype.itemsize == 0 or dtype.subdtype is not None or dtype.names is not None or not shape:
        raise CorruptFileError(
            f"{path} has shape {shape} and dtype {dtype}, which are no rows of numbers"
        )
    if any(not 0 <= size < 2**62 for size in shape):
        raise CorruptFileError(f"{path} declares shape {shape}")
    return FileRows(file, offset, shape, dtype, fortran=fortran)


_SAFETENSORS_DTYPES = {
    "BOOL": "?",
    "U8": "<u1",
    "I8": "<i1",
    "I16": "<i2",
    "U16": "<u2",
    "I32": "<i4",
    "U32": "<u4",
    "I64": "<i8",
    "U64": "<u8",
    "F16": "<f2",
    "BF16": "<u2",
    "F32": "<f4",
    "F64": "<f8",
}


def _safetensors(path: str, key: str) -> Source:
    # 8 bytes: the length of a JSON object {name: {dtype, shape, data_offsets}}, after which the numbers lie. Source:
    # github.com/huggingface/safetensors, "Format". Its own reader maps the file.
    file = File(path)
    try:
        size = int.from_bytes(_header(file, 0, 8), "little")
        if size > min(_MOST_SAFETENSORS_HEADER, file.size - 8):
            raise ValueError(f"a header of {size} bytes")
        tensors = json.loads(_header(file, 8, size))
        tensors.pop("__metadata__", None)
        found = _named(path, key, tensors)
        kind, shape, (start, end) = found["dtype"], tuple(found["shape"]), found["data_offsets"]
        sizes = [*shape, start, end]
        if not shape or not all(type(n) is int and 0 <= n < 2**60 for n in sizes):
            raise ValueError(f"shape {shape} at {start} to {end}")
        dtype = np.dtype(_SAFETENSORS_DTYPES[kind])
        if math.prod(shape) * dtype.itemsize != end - start:
            raise ValueError(f"{end - start} bytes for shape {shape} of {kind}")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        if isinstance(error, _NoSuchArrayError):
            raise
        raise CorruptFileError(f"{path}: not a .safetensors file: {error}") from error
    rows = FileRows(file, 8 + size + start, shape, dtype, name=f"{path}:{key}")
    return Bfloat16Rows(rows) if kind == "BF16" else rows


def _header(file: File, at: int, size: int) -> bytes:
    if size > file.size - at:
        raise ValueError(f"it ends after {file.size} bytes")
    found = bytearray(size)
    file.read(at, memoryview(found))
    return bytes(found)


class _NoSuchArrayError(ValueError):
    """A name that the file does not have."""


def _named(path: str, key: str, known: dict[str, Any]) -> Any:  # noqa: ANN401
    if key not in known:
        names = ", ".join(map(_check.shown, list(known)[:20])) or "nothing"
        raise _NoSuchArrayError(
            f"{path} has nothing called {_check.shown(key)}; it has {names}; write {path}:NAME"
        )
    return known[key]


def _parquet(path: str, key: str) -> Source:
    from .arrow import ParquetColumn

    return ParquetColumn(File(path), key)


def _arrow(path: str, key: str) -> Source:
    from .arrow import ArrowColumn

    return ArrowColumn(File(path), key)


def _zarr(path: str, key: str) -> Source:
    try:
        import zarr
    except ImportError as error:
        raise ImportError(f"{path} needs zarr: pip install '.[zarr]'", name="zarr") from error
    place = os.path.join(path, key) if key else path  # noqa: PTH118 - a URL too
    try:
        return SlicedRows(zarr.open_array(place, mode="r"), place)
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptFileError(f"{place} cannot be read as an array of zarr: {error}") from error


_FORMATS: dict[str, Callable[[str, str], Source]] = {
    ".npy": _npy,
    ".safetensors": _safetensors,
    ".parquet": _parquet,
    ".arrow": _arrow,
    ".feather": _arrow,
    ".ipc": _arrow,
    ".zarr": _zarr,
}
