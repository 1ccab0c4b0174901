"""What other libraries hold becomes what NumPy understands: the same values, no cast, nothing dropped.

Objects are known by what they can do; a library is imported only where an object can be read by no other means.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Foreign = Any  # an object of another library, known by its attributes


_CUDA = (2, 13)  # of DLPack's device types: CUDA, and memory that it manages


def on_device(array: Foreign) -> bool:
    """Return whether `array` lives on a CUDA device."""
    try:
        device = getattr(array, "__dlpack_device__", None)
        if device is not None and device()[0] in _CUDA:
            return True
        return hasattr(array, "__cuda_array_interface__")
    except (TypeError, ValueError, RuntimeError, BufferError, IndexError):
        # Some refuse to tell of what they could not hand over, such as an Arrow array with gaps.
        return False


def detached(value: Foreign) -> Foreign:
    """Return a tensor without its history, which it does not hand over with it; anything else as it is."""
    return value.detach() if _is_tensor(value) else value


def _is_tensor(value: Foreign) -> bool:
    return type(value).__module__.partition(".")[0] == "torch" and hasattr(value, "detach")


def arrow() -> Any:  # noqa: ANN401
    """Return pyarrow, or raise an ImportError that says how to get it."""
    try:
        import pyarrow
    except ImportError as error:
        raise ImportError("this input needs pyarrow: pip install '.[audit]'") from error
    return pyarrow


def readable(name: str, value: Foreign, ndim: int, want: str) -> Foreign:
    """Return `value` in a form that `numpy.asarray` reads as an array of `ndim` dimensions, or as it is."""
    if _is_tensor(value):
        return _tensor(value)
    capsule = hasattr(value, "__arrow_c_array__") or hasattr(value, "__arrow_c_stream__")
    if capsule and not hasattr(value, "__array__"):
        value = _from_capsule(value, ndim)
    return _rows(name, value, want) if ndim == 2 else value


def _tensor(value: Foreign) -> Foreign:
    """Return a tensor that NumPy can read: without its history, and bfloat16, which NumPy lacks, widened."""
    value = value.detach()
    return value.float() if str(value.dtype) == "torch.bfloat16" else value


def _from_capsule(value: Foreign, ndim: int) -> Foreign:
    pyarrow = arrow()
    if not hasattr(value, "__arrow_c_stream__"):
        return pyarrow.array(value)
    if ndim == 2:
        try:
            return pyarrow.table(value)
        except (pyarrow.ArrowInvalid, TypeError, ValueError):
            pass  # a stream of lists, not of records
    return pyarrow.chunked_array(value)


# ---- lists as rows ---------------------------------------------------------------------------------


def _rows(name: str, value: Foreign, want: str) -> Foreign:
    """Return a column of lists of one length as a matrix; anything else as it is."""
    kind = getattr(value, "type", None)
    if hasattr(value, "null_count") and hasattr(kind, "value_type"):  # pyarrow
        storage = getattr(kind, "storage_type", None)
        if storage is not None:
            value = value.cast(storage)
        return _arrow_lists(name, value, want)
    if type(getattr(value, "dtype", None)).__name__ == "List" and hasattr(value, "explode"):
        return _polars_lists(name, value, want)
    return value


def _arrow_lists(name: str, value: Foreign, want: str) -> NDArray[Any]:
    if hasattr(value, "combine_chunks"):
        value = value.combine_chunks()
    if value.null_count:
        _refuse(name, want, int(np.argmax(np.asarray(value.is_null()))), "is missing")
    size = getattr(value.type, "list_size", None)
    if size is None:
        lengths = np.asarray(value.value_lengths())
        size = _one_length(name, lengths, want)
    flat = value.flatten()
    if flat.null_count:
        at = int(np.argmax(np.asarray(flat.is_null())))
        _refuse(name, want, at // size, f"has a missing entry at {at % size}")
    return np.asarray(flat).reshape(len(value), size)


def _polars_lists(name: str, value: Foreign, want: str) -> NDArray[Any]:
    if value.null_count():
        _refuse(name, want, int(np.argmax(value.is_null().to_numpy())), "is missing")
    size = _one_length(name, value.list.len().to_numpy(), want)
    flat = value.explode()
    if size and flat.null_count():
        at = int(np.argmax(flat.is_null().to_numpy()))
        _refuse(name, want, at // size, f"has a missing entry at {at % size}")
    return (
        np.asarray(flat.to_numpy()).reshape(len(value), size) if size else np.empty((len(value), 0))
    )


def stacked(name: str, rows: NDArray[Any], want: str) -> NDArray[Any]:
    """Return an array of objects that are rows of one length as a matrix; anything else as it is."""
    if not len(rows) or not all(isinstance(row, list | tuple | np.ndarray) for row in rows):
        return rows
    arrays = [np.asarray(row) for row in rows]
    if any(row.ndim != 1 for row in arrays):
        return rows
    _one_length(name, np.array([len(row) for row in arrays]), want)
    return np.stack(arrays)


def _one_length(name: str, lengths: NDArray[Any], want: str) -> int:
    if not len(lengths):
        return 0
    differs = lengths != lengths[0]
    if differs.any():
        row = int(np.argmax(differs))
        _refuse(name, want, row, f"has {lengths[row]} entries but row 0 has {lengths[0]}")
    return int(lengths[0])


def _refuse(name: str, want: str, row: int, fault: str) -> None:
    raise ValueError(f"{name} must be {want}: row {row} {fault}")


# ---- frames ----------------------------------------------------------------------------------------


def frame_columns(frame: Foreign) -> Iterable[tuple[Any, Any]] | None:
    """Return the (name, column) pairs of a mapping or a data frame, or None where `frame` is neither."""
    if isinstance(frame, Mapping):
        return frame.items()
    if hasattr(frame, "iloc") and hasattr(frame, "columns"):  # pandas
        return ((key, frame.iloc[:, i]) for i, key in enumerate(frame.columns))
    if hasattr(frame, "get_columns"):  # polars
        return ((column.name, column) for column in frame.get_columns())
    if hasattr(frame, "column_names") and hasattr(frame, "itercolumns"):  # pyarrow
        return zip(frame.column_names, frame.itercolumns(), strict=True)
    if hasattr(frame, "column_names") and hasattr(frame, "with_format"):  # Hugging Face
        return _data_set_columns(frame)
    if hasattr(frame, "__arrow_c_stream__"):
        table = arrow().table(frame)
        return zip(table.column_names, table.itercolumns(), strict=True)
    return None


def _data_set_columns(frame: Foreign) -> Iterator[tuple[Any, Any]]:
    # Its own table forgets what `select` and `filter` have taken away.
    table = frame.with_format("arrow")[:]
    for key in frame.column_names:
        column, names = table[key], getattr(frame.features[key], "names", None)
        if names is not None:  # class labels: whole numbers that stand for names
            codes = column.fill_null(-1).to_numpy()
            dtype = SimpleNamespace(categories=np.array(names, object))
            yield key, SimpleNamespace(codes=codes, dtype=dtype)
        else:
            yield key, column


def column_names(frame: Foreign) -> tuple[str, ...] | None:
    """Return the names of a frame's columns where they all are strings, else None."""
    if not any(hasattr(frame, known) for known in ("columns", "column_names")):
        return None
    names = getattr(frame, "column_names", None)
    names = list(getattr(frame, "columns", ())) if names is None else list(names)
    return tuple(names) if names and all(isinstance(n, str) for n in names) else None
