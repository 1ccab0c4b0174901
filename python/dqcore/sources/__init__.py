"""Sources: rows that need not fit in memory."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from .. import _check
from . import formats
from .errors import CorruptFileError, SourceChangedError
from .source import ArrayRows, Source

__all__ = ["ArrayRows", "CorruptFileError", "Source", "SourceChangedError", "found", "loaded"]


def found(name: str, value: object) -> Source | None:
    """Return the source that `value` is, or leads to as a path; None where it is something else."""
    if isinstance(value, Source):
        return value
    if isinstance(value, str | os.PathLike):
        try:
            return formats.open_path(name, value)
        except formats.UnknownFormatError:
            raise TypeError(
                f"{name} must be an array or {formats.WANT}, got {_check.shown(value)}"
            ) from None
    # What lies in chunks says so: arrays of zarr, h5py, dask. An array in memory does not.
    if (
        not isinstance(value, np.ndarray)
        and isinstance(getattr(value, "dtype", None), np.dtype)
        and isinstance(getattr(value, "shape", None), tuple)
        and hasattr(value, "chunks")
        and not isinstance(value, type)
    ):
        return Source.of(value)
    return None


def loaded(name: str, value: Any) -> Any:  # noqa: ANN401
    """Return `value`, or where it is a source or a path what that holds, in memory."""
    source = found(name, value)
    return value if source is None else source._load()
