"""Inputs become typed arrays, or an error that names the argument, the first bad row and what is wanted.

Values of `pred_probs` are checked by the kernels while they read them (a pass of its own would cost as much as the
work); everything else is checked here.
"""

from __future__ import annotations

import math
import operator
import os
import reprlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _foreign

Progress = Callable[[str, int, int], object] | None

MOST_CLASSES = 2**31 - 1
# Of a value in a message: enough to recognise it, however long or deep it is.
_MOST_SHOWN = 100
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _MOST_SHOWN
_LONGEST_PATH = 1 << 15  # longer than any system takes
_MOST_BITS_SHOWN = 1024  # Python refuses to write out numbers of thousands of digits


def such_entries(count: int) -> str:
    """Return in words how many entries are as bad as the first."""
    return "1 such entry" if count == 1 else f"{count} such entries"


def shown(value: object) -> str:
    """Return `value` as a message shows it: its repr, cut short; never an error."""
    if isinstance(value, int) and value.bit_length() > _MOST_BITS_SHOWN:
        return f"a number of {value.bit_length()} bits"
    try:
        text = _SHORT.repr(value)
    except Exception:  # noqa: BLE001 - the caller's own repr; what is wrong is said all the same
        text = f"a {type(value).__name__}"
    return text if len(text) <= 2 * _MOST_SHOWN else text[: 2 * _MOST_SHOWN] + "..."


_MOST_BYTES = 2**60
_BYTES = {"": 1, "b": 1}
for _power, _letter in enumerate("kmgt", 1):
    _BYTES |= {f"{_letter}b": 1000**_power, f"{_letter}ib": 1024**_power}


def integer(name: str, value: object, low: int, high: int | None = None) -> int:
    """Return `value` as an int in [low, high]; a bool or a fraction is a TypeError."""
    if isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be a whole number, got {shown(value)}")
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{name} must be a whole number, got {shown(value)}") from None
    if number < low or (high is not None and number > high):
        wanted = f"at least {low}" if high is None else f"in [{low}, {high}]"
        raise ValueError(f"{name} must be {wanted}, got {shown(number)}")
    return number


def memory(name: str, value: object) -> int | None:
    """Return bytes: None, a whole number of them, or a string such as "512MB", "2GB" or "1.5GiB"."""
    if value is None:
        return None
    if not isinstance(value, str):
        return integer(name, value, 1, _MOST_BYTES)
    text = str.__str__(value).strip()
    unit = text.lstrip("0123456789.")
    try:
        found = float(text[: len(text) - len(unit)]) * _BYTES[unit.strip().lower()]
    except (ValueError, KeyError):
        found = 0.0
    if not 1 <= found <= _MOST_BYTES:
        raise ValueError(
            f"{name} must be a number of bytes, or such as '512MB' or '2GB', got {shown(value)}"
        )
    return int(found)


def number(name: str, value: object, low: float, high: float) -> float:
    """Return `value` as a float in [low, high]."""
    if isinstance(value, bool | np.bool_ | str | bytes):
        raise TypeError(f"{name} must be a number, got {shown(value)}")
    try:
        result = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        raise TypeError(f"{name} must be a number, got {shown(value)}") from None
    if not low <= result <= high:
        raise ValueError(f"{name} must be in [{low}, {high}], got {result}")
    return result


def flag(name: str, value: object) -> bool:
    """Return `value` where it is True or False."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be True or False, got {shown(value)}")
    return bool(value)


def choice(name: str, value: object, options: Sequence[str]) -> str:
    """Return `value` where it is one of `options`."""
    text = str.__str__(value) if isinstance(value, str) else ""  # not a subclass's own ideas
    if text not in options:
        raise ValueError(f"{name} must be one of {list(options)}, got {shown(value)}")
    return text


def path(name: str, value: object) -> str:
    """Return `value` as a path; bytes are decoded as the file system's."""
    if not isinstance(value, str | bytes | os.PathLike):
        raise TypeError(f"{name} must be a path, got {type(value).__name__}")
    result = os.fsdecode(value)
    if not result or "\0" in result or len(result) > _LONGEST_PATH:
        raise ValueError(f"{name} must be a path, got {shown(result)}")
    try:
        os.fsencode(result)
    except UnicodeEncodeError as error:
        raise ValueError(f"{name} must be a path, got {shown(result)}: {error}") from None
    return result


def run_options(threads: object, progress: object) -> tuple[int, Progress]:
    """Return checked `threads` and `progress`."""
    count = integer("threads", threads, 0)
    if progress is not None and not callable(progress):
        raise TypeError(f"progress must be None or callable, got {shown(progress)}")
    return count, progress


def array(name: str, value: object, ndim: int, want: str) -> NDArray[Any]:
    """Return `value` as an array of `ndim` dimensions in native byte order, without a cast."""
    if isinstance(value, np.ma.MaskedArray) and (masked := int(np.count_nonzero(value.mask))):
        raise TypeError(
            f"{name} is a masked array with {masked} masked entries; want {want}; "
            "fill or drop them first"
        )
    if isinstance(value, np.matrix):
        raise TypeError(f"{name} is a numpy.matrix; want {want}; pass numpy.asarray({name})")
    if isinstance(value, str | bytes | dict | set) or value is None:
        raise TypeError(f"{name} must be {want}, got {type(value).__name__}")
    if _foreign.on_device(value):
        raise TypeError(
            f"{name} is on a device, and is read from the host alone here: bring it there, "
            f"with {name}.get() (CuPy) or {name}.cpu() (torch)"
        )
    try:
        value = _foreign.readable(name, value, ndim, want)
        if not hasattr(value, "__array__") and not hasattr(value, "__len__"):
            raise TypeError(f"{name} must be {want}, got {type(value).__name__}")
        result = np.asarray(value)
        if ndim == 2 and result.ndim == 1 and result.dtype == object:
            result = _foreign.stacked(name, result, want)
    except (ValueError, TypeError, RuntimeError) as error:  # torch raises the last
        if str(error).startswith(f"{name} must be"):
            raise
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{name} must be {want}: {error}") from error
    if result.ndim != ndim:
        advice = ""
        if ndim == 1 and result.ndim == 2 and 1 in result.shape:
            advice = f"; pass {name}.ravel()"
        raise ValueError(f"{name} must be {want}, got shape {result.shape}{advice}")
    if not result.dtype.isnative:
        result = result.astype(result.dtype.newbyteorder("="))
    return result


def contiguous(values: NDArray[Any], dtype: type[Any]) -> NDArray[Any]:
    """Return `values` as the kernels read them: `dtype`, C order, each element at an address that fits."""
    return np.require(values, dtype, ["C_CONTIGUOUS", "ALIGNED"])


def fitting(
    name: str, value: object, dtype: type[Any], shape: tuple[int | None, ...], like: str = ""
) -> NDArray[Any]:
    """Return `value` where it is an array as our results hold it: `dtype`, `shape` (None: any), C order.

    `like` is the argument that the shape comes from.
    """
    as_ = f", as {like}" if like else ""
    sizes = ", ".join("any" if size is None else str(size) for size in shape)
    want = f"a ({sizes}) array of {np.dtype(dtype)} in C order{as_}"
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{name} must be {want}, got {type(value).__name__}")
    if value.dtype != dtype or not (value.flags.c_contiguous and value.flags.aligned):
        raise TypeError(f"{name} must be {want}, got {value.dtype} {value.shape}")
    fits = value.ndim == len(shape) and all(
        size in (None, got) for size, got in zip(shape, value.shape, strict=True)
    )
    if not fits:
        raise ValueError(f"{name} must be {want}, got shape {value.shape}")
    return value


def rows(name: str, value: object) -> int:
    """Return how many rows `value` says it has; whether it is right is seen when it is read."""
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and shape and isinstance(shape[0], int):
        return shape[0]
    try:
        return len(np.asarray(value) if hasattr(value, "__array__") else value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise TypeError(
            f"{name} must have a row for each label, got {type(value).__name__}"
        ) from None


def same_length(name: str, n: int, other_name: str, other_n: int) -> None:
    """Raise where two arguments that go row by row differ in length."""
    if n != other_n:
        raise ValueError(f"{name} has {n} rows but {other_name} has {other_n}; they must be equal")


def first_bad(name: str, values: NDArray[Any], bad: NDArray[np.bool_], want: str) -> ValueError:
    """Return the error for entries of `values` marked in `bad` (at least one)."""
    where = tuple(int(i) for i in np.unravel_index(int(np.argmax(bad)), bad.shape))
    count = int(np.count_nonzero(bad))
    place = f"row {where[0]}" + (f", column {where[1]}" if len(where) > 1 else "")
    return ValueError(
        f"{name} must be {want}: {place} is {shown(values[where])} ({such_entries(count)})"
    )


def other_dtype(name: str, values: NDArray[Any], want: str) -> Exception:
    """Return the error for an array of another dtype than is wanted; objects may be numbers with gaps."""
    if values.dtype == object:
        bad = np.fromiter(map(is_missing, values.flat), bool, values.size).reshape(values.shape)
        if bad.any():
            return first_bad(name, values, bad, f"{want}, none missing")
    return TypeError(f"{name} must be {want}, got dtype {values.dtype}")


def is_missing(item: object) -> bool:
    """Return whether `item` stands for no value: None, NaN, pandas' NA and NaT."""
    return (
        item is None
        or (isinstance(item, float) and math.isnan(item))
        or type(item).__name__ in ("NAType", "NaTType")
    )


def integers(name: str, value: object, want: str, ndim: int = 1) -> NDArray[np.int64]:
    """Return an array of whole numbers as int64; floats only where every value is whole."""
    values = array(name, value, ndim, want)
    if values.dtype.kind == "b":
        raise TypeError(f"{name} must be {want}, got bool; pass {name}.astype(int)")
    if values.dtype.kind == "f":
        bad = ~(np.abs(values) < 2.0**63) | (np.floor(values) != values)
        if bad.any():
            raise first_bad(name, values, bad, want)
    elif values.dtype.kind == "u":
        bad = values > np.uint64(2**63 - 1)
        if bad.any():
            raise first_bad(name, values, bad, want)
    elif values.dtype.kind != "i":
        if values.size == 0:
            return np.zeros(0, np.int64)
        raise other_dtype(name, values, want)
    return values.astype(np.int64, copy=False)


def labels(
    name: str,
    value: object,
    n_classes: int | None = None,
    *,
    unlabelled: bool = False,
    counted_by: str = "",
) -> NDArray[np.int32]:
    """Return integer labels as contiguous (n,) int32 in [0, n_classes), or -1 where `unlabelled`.

    `counted_by` is the argument that n_classes comes from; an error names it too.
    """
    low = -1 if unlabelled else 0
    high = (n_classes if n_classes is not None else MOST_CLASSES) - 1
    extra = " or -1 for unlabelled" if unlabelled else ""
    by = f", the classes of {counted_by}" if counted_by and n_classes is not None else ""
    want = f"(n,) whole numbers in [0, {high}]{extra}{by}"
    given = array(name, value, 1, want)
    if given.dtype.kind in "iu" and given.size and low <= given.min() and given.max() <= high:
        return contiguous(given, np.int32)
    values = integers(name, given, want)
    bad = (values < low) | (values > high)
    if bad.any():
        raise first_bad(name, values, bad, want)
    return contiguous(values, np.int32)


def another_number_of_classes(name: str, found: int, n_classes: int, counted_by: str) -> ValueError:
    """Return the error for an argument that goes class by class and has too few or too many entries."""
    entries = "1 entry" if found == 1 else f"{found} entries"
    classes = "1 class" if n_classes == 1 else f"{n_classes} classes"
    source = f"{counted_by} has" if counted_by else "there are"
    return ValueError(f"{name} has {entries} but {source} {classes}; they must be equal")


def class_names(
    name: str, value: object, n_classes: int | None = None, counted_by: str = ""
) -> tuple[str, ...]:
    """Return unique, non-empty names, one for each class where `n_classes` is known."""
    want = "unique, non-empty strings, one for each class"
    refused = TypeError(f"{name} must be {want}, got {type(value).__name__}")
    if isinstance(value, str | bytes) or not hasattr(value, "__iter__"):
        raise refused
    try:
        names = tuple(value)
    except TypeError:
        raise refused from None
    seen: dict[str, int] = {}
    for i, entry in enumerate(names):
        if not isinstance(entry, str):
            raise TypeError(f"{name} must be {want}: entry {i} is {shown(entry)}")
        if not entry:
            raise ValueError(f"{name} must be {want}: entry {i} is empty")
        if entry in seen:
            raise ValueError(
                f"{name} must be {want}: entries {seen[entry]} and {i} are {shown(entry)}"
            )
        seen[str(entry)] = i
    if n_classes is not None and len(names) != n_classes:
        raise another_number_of_classes(name, len(names), n_classes, counted_by)
    return tuple(seen)


def named_classes(pred_probs: object, labels: object, names: object) -> object:
    """Return class names: `names`, or those that the columns of a frame of probabilities have.

    A frame says itself which column is which class. Names of columns that no label has are no names of classes.
    """
    columns = _foreign.column_names(pred_probs)
    if columns is None or len(set(columns)) != len(columns):
        return names
    if names is None:
        if getattr(getattr(labels, "dtype", None), "kind", "O") in "biuf":
            return None
        try:
            entries = np.asarray(labels, object).ravel().tolist()
        except (
            TypeError,
            ValueError,
            RuntimeError,
        ):  # no labels; `encode_labels` says what is wrong
            return None
        found = {entry for entry in entries if isinstance(entry, str)}
        return columns if found & set(columns) else None
    wanted = class_names("class_names", names)
    if set(wanted) == set(columns) and wanted != columns:
        raise ValueError(
            f"pred_probs has its columns in another order than class_names: "
            f"{shown(list(columns))} and {shown(list(wanted))}"
        )
    return names


def encode_labels(
    name: str,
    value: object,
    names: object = None,
    n_classes: int | None = None,
    *,
    unlabelled: bool = False,
    counted_by: str = "",
) -> tuple[NDArray[np.int32], tuple[str, ...] | None]:
    """Return labels as (n,) int32 codes, and the class names where there are any.

    Strings (also as objects, categoricals, Arrow columns) are numbered by `names`, else by the sorted names that occur
    (of a categorical: its categories). Whole numbers go through `labels`; `names` only names them.
    """
    if isinstance(value, list | tuple) and any(isinstance(v, str) for v in value):
        entries = np.empty(len(value), object)  # NumPy would make strings of the other entries too
        entries[:] = value
        value = entries
    values = array(name, value, 1, "(n,) whole numbers or strings")
    if values.dtype.kind == "O":
        is_text = np.fromiter((isinstance(v, str) for v in values), bool, len(values))
        if is_text.any() and not is_text.all():
            row = int(np.argmin(is_text))
            entry, count = values[row], int(np.count_nonzero(~is_text))
            raise (ValueError if is_missing(entry) else TypeError)(
                f"{name} must be strings, none missing: row {row} is {shown(entry)} ({count} such)"
            )
        text = bool(is_text.any())
    else:
        text = values.dtype.kind in "UT"
    known = None if names is None else class_names("class_names", names, n_classes, counted_by)
    if not text:
        if known is not None and n_classes is None:
            n_classes, counted_by = len(known), "class_names"
        codes = labels(name, values, n_classes, unlabelled=unlabelled, counted_by=counted_by)
        return codes, known
    return _encode_strings(name, value, values, known, n_classes, counted_by)


def _encode_strings(
    name: str,
    value: object,
    values: NDArray[Any],
    names: tuple[str, ...] | None,
    n_classes: int | None,
    counted_by: str,
) -> tuple[NDArray[np.int32], tuple[str, ...]]:
    found, inverse = np.unique(values, return_inverse=True)
    if names is None:
        categories = getattr(getattr(value, "dtype", None), "categories", None)
        names = tuple(sorted(str(c) for c in (found if categories is None else categories)))
        if n_classes is not None and len(names) != n_classes:
            raise ValueError(
                f"{name} has {len(names)} different strings but "
                f"{f'{counted_by} has' if counted_by else 'there are'} {n_classes} classes; "
                "pass class_names="
            )
        if "" in names:
            raise ValueError(
                f"{name} must be non-empty strings: row {int(np.argmax(values == ''))} is empty"
            )
    number_of = {entry: i for i, entry in enumerate(names)}
    codes = np.array([number_of.get(str(entry), -1) for entry in found], np.int32)
    if (codes < 0).any():
        raise first_bad(name, values, codes[inverse] < 0, "one of class_names")
    return codes[inverse], names


def weights(name: str, value: object, n: int) -> NDArray[np.float64]:
    """Return (n,) float64 weights, finite, at least 0 and below 2^31."""
    want = "(n,) numbers in [0, 2^31)"
    values = array(name, value, 1, want)
    if values.dtype.kind not in "iuf":
        raise TypeError(f"{name} must be {want}, got dtype {values.dtype}")
    same_length(name, len(values), "labels", n)
    bad = ~((values >= 0) & (values < 2.0**31))
    if bad.any():
        raise first_bad(name, values, bad, want)
    return contiguous(values, np.float64)


def pred_probs(name: str, value: object) -> NDArray[Any]:
    """Return (n, n_classes) float16, float32 or float64 of any strides; values are left to the kernel."""
    want = "an (n, n_classes) array of float16, float32 or float64"
    values = array(name, value, 2, want)
    if values.dtype.kind in "iu":  # a list of one-hot rows arrives as integers
        values = values.astype(np.float64)
    if values.dtype not in (np.float16, np.float32, np.float64):
        raise other_dtype(name, values, want)
    if values.shape[1] == 0:
        raise ValueError(f"{name} must be {want} with at least one class, got shape {values.shape}")
    if values.shape[1] > MOST_CLASSES:
        raise ValueError(f"{name} has {values.shape[1]} classes; at most {MOST_CLASSES} fit")
    return values


def features(name: str, value: object) -> NDArray[np.float32]:
    """Return finite C-contiguous (n, d) float32: each value rounded once, to the nearest."""
    want = "an (n, d) array of finite numbers"
    values = array(name, value, 2, want)
    if values.dtype.kind not in "iuf":
        if values.dtype.kind == "b":
            raise TypeError(f"{name} must be {want}, got bool; pass {name}.astype('float32')")
        raise other_dtype(name, values, want)
    if values.shape[1] == 0:
        raise ValueError(
            f"{name} must be {want} with at least one column, got shape {values.shape}"
        )
    with np.errstate(over="ignore"):
        rounded = contiguous(values, np.float32)
    # A sum is finite only where all its terms are; the converse may fail by overflow, then we look closer.
    with np.errstate(over="ignore", invalid="ignore"):
        suspicious = not np.isfinite(rounded.sum(dtype=np.float64))
    if suspicious:
        bad = ~np.isfinite(rounded)
        if bad.any():
            raise first_bad(name, values, bad, want + " within float32's range")
    return rounded
