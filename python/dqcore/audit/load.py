"""Arrays out of .npy and .npz files that nobody has vouched for.

Everything a file declares is checked before memory is asked for: no pickles, no array larger than its file
can hold or than the limit, no member twice. What fails is a CorruptFileError (the file) or a ValueError (the
choice of key), each naming the file.
"""

from __future__ import annotations

import errno
import lzma
import math
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from ..sources import CorruptFileError, Source
from ..sources.files import regular_file
from ..sources.formats import npy_header
from .text import printable

# What zipfile and its decompressors raise on a damaged archive.
DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    NotImplementedError,
    OverflowError,
    UnicodeDecodeError,
)


def default_limit() -> int:
    """Return the bytes one file may unfold to: three quarters of the machine's memory."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") * 3 // 4
    except (OSError, ValueError):  # no such figure here
        return 1 << 36


class Coded:
    """A column as codes and the names they stand for, -1 for missing; what `slice_errors` asks of a categorical."""

    def __init__(self, name: str, codes: NDArray[Any], categories: NDArray[Any]) -> None:
        bad = (codes < -1) | (codes >= len(categories))
        if bad.any():
            row = int(np.argmax(bad))
            raise ValueError(
                f"codes of column {printable(name)!r} must be in [-1, {len(categories) - 1}]: row {row} "
                f"is {codes[row]} ({np.count_nonzero(bad)} such)"
            )
        self.codes = codes
        self.dtype = SimpleNamespace(categories=categories)


class Archive:
    """The arrays of one .npz file, read when asked for."""

    def __init__(self, path: str | os.PathLike[str], limit: int | None = None) -> None:
        self.path = Path(path)
        self._limit = default_limit() if limit is None else limit
        self._used = 0
        self._sizes: dict[str, int] = {}
        with self._open() as archive:
            for entry in archive.infolist():
                if not entry.filename.endswith(".npy"):
                    continue
                key = entry.filename[: -len(".npy")]
                if key in self._sizes:
                    raise CorruptFileError(f"{self._name()} holds {printable(key)!r} twice")
                self._sizes[key] = entry.file_size

    @property
    def keys(self) -> tuple[str, ...]:
        """The names of the arrays, in the file's order."""
        return tuple(self._sizes)

    def __contains__(self, key: str) -> bool:
        """Return whether there is an array of that name."""
        return key in self._sizes

    def read(self, key: str) -> NDArray[Any]:
        """Return the array `key`."""
        if key not in self._sizes:
            present = ", ".join(printable(k) for k in sorted(self._sizes)) or "nothing"
            raise ValueError(f"{self._name()} has no array {printable(key)!r}; it has: {present}")
        where = f"{self._name()}, array {printable(key)!r}"
        with self._open() as archive:
            entry = archive.getinfo(key + ".npy")
            if entry.flag_bits & 1:
                raise CorruptFileError(f"{where} is encrypted")
            with archive.open(entry) as stream:
                array = _read_npy(stream, self._sizes[key], where, self._limit - self._used)
        self._used += array.nbytes
        return array

    def _name(self) -> str:
        return printable(self.path, 200)

    @contextmanager
    def _open(self) -> Iterator[zipfile.ZipFile]:
        try:
            with regular_file(self.path) as file, zipfile.ZipFile(file) as archive:
                yield archive
        except DAMAGE as error:
            raise CorruptFileError(f"{self._name()} cannot be read as .npz: {error}") from error
        except OSError as error:
            # Without a file name it is the archive that pointed before its own start, or its data.
            if (
                error.filename is None
                and error.errno in (errno.EINVAL, None)
                and type(error) is OSError
            ):
                raise CorruptFileError(f"{self._name()} cannot be read as .npz: {error}") from error
            raise


def read_npy(path: str | os.PathLike[str], limit: int | None = None) -> NDArray[Any]:
    """Return the array of the .npy file at `path`."""
    with regular_file(Path(path)) as file:
        size = os.fstat(file.fileno()).st_size
        most = default_limit() if limit is None else limit
        return _read_npy(file, size, printable(path, 200), most)


def _read_npy(stream: IO[bytes], size: int, where: str, limit: int) -> NDArray[Any]:
    """Read one .npy of `size` bytes from `stream`, having checked what its header declares."""
    shape, fortran, dtype = npy_header(stream, where)
    if dtype.hasobject:
        raise CorruptFileError(
            f"{where} holds Python objects (a pickle), which are never loaded; "
            "save it with a plain dtype, strings as fixed-width unicode"
        )
    if dtype.itemsize == 0 or dtype.subdtype is not None:
        raise CorruptFileError(f"{where} has dtype {dtype}, which holds nothing to audit")
    wanted = math.prod(shape) * dtype.itemsize
    if any(not 0 <= length < 2**62 for length in shape) or wanted > size:
        raise CorruptFileError(
            f"{where} declares shape {shape} of {dtype}, more than its {size} bytes hold"
        )
    if wanted > limit:
        raise ValueError(
            f"{where} unfolds to {wanted:,} bytes; at most {max(limit, 0):,} are allowed"
        )
    array = np.empty(math.prod(shape), dtype)
    view = memoryview(cast("Any", array.view(np.uint8) if wanted else np.empty(0, np.uint8)))
    done = 0
    while done < wanted:
        got = stream.readinto(view[done : done + (1 << 20)])  # type: ignore[attr-defined]
        if not got:
            raise CorruptFileError(f"{where} ends after {done} of {wanted} bytes of data")
        done += got
    return array.reshape(shape, order="F" if fortran else "C")


# ---- a data set ------------------------------------------------------------------------------------


def data_set(
    path: str | os.PathLike[str],
    elsewhere: Mapping[str, str],
    columns: Sequence[str] = (),
    *,
    in_blocks: bool = False,
) -> dict[str, Any]:
    """Return the arguments of `audit` that the file at `path` holds: a table (see `frames`), or an .npz file.

    The latter holds `labels`, and any of `pred_probs`, `features`, `class_names`, and columns: `codes` (n, m) with
    `column_names`, `category_names` and `category_offsets`, or one array for each column, `columns/NAME`.
    `elsewhere` says where an argument is instead: "KEY" of the same file, "FILE.npz:KEY" or "FILE.npy". `columns`
    are the names, alone or with commas between them, of the columns to take; of .npz, all where there are none. Where
    wanted `in_blocks`, probabilities and features in .npy files stay there, as sources.
    """
    from . import frames

    def other(name: str, place: str) -> NDArray[Any] | Source:
        if in_blocks and name in ("pred_probs", "features") and place.endswith(".npy"):
            return Source.open(place)
        return _from_file(place)

    if frames.is_table(os.fspath(path)):
        return frames.data_set(os.fspath(path), elsewhere, columns, other)
    archive = Archive(path)
    found: dict[str, Any] = {}
    for name in ("labels", "pred_probs", "features", "class_names", "split"):
        if name in elsewhere:
            found[name] = _elsewhere(archive, name, elsewhere[name], other)
        elif name == "labels" or (name != "split" and name in archive):
            found[name] = archive.read(name)
    if "class_names" in found:
        found["class_names"] = found["class_names"].tolist()
    if present := _columns(archive):
        found["columns"] = _chosen(present, columns, archive) if columns else present
    elif columns:
        raise ValueError(f"{printable(path, 200)} holds no columns")
    return found


def _chosen(present: dict[str, Any], columns: Sequence[str], archive: Archive) -> dict[str, Any]:
    chosen: dict[str, Any] = {}
    for entry in columns:
        names = [entry] if entry in present else entry.split(",")
        for name in present if entry == "*" else names:
            if name not in present:
                known = ", ".join(printable(n) for n in present)
                raise ValueError(
                    f"{printable(archive.path, 200)} has no column {printable(name)!r}; it has: {known}"
                )
            chosen[name] = present[name]
    return chosen


def _elsewhere(archive: Archive, name: str, place: str, other: Callable[[str, str], Any]) -> Any:  # noqa: ANN401
    if place in archive:
        return archive.read(place)
    if place.endswith(".npy") or place.rpartition(":")[0]:
        return other(name, place)
    return archive.read(place.removeprefix(":"))


def _from_file(place: str) -> NDArray[Any]:
    """Return the array at "FILE.npy" or "FILE.npz:KEY"."""
    if place.endswith(".npy"):
        return read_npy(place)
    file, _, key = place.rpartition(":")
    return Archive(file).read(key)


def _columns(archive: Archive) -> dict[str, Any]:
    """Return the columns by name; a coded column keeps its codes beside the names they stand for."""
    found: dict[str, Any] = {}
    for key in archive.keys:
        if key.startswith("columns/"):
            found[key.removeprefix("columns/")] = archive.read(key)
    if "codes" not in archive:
        return found
    codes = archive.read("codes")
    names, categories, offsets = (
        archive.read(key) for key in ("column_names", "category_names", "category_offsets")
    )
    if codes.dtype.kind not in "iu" or names.dtype.kind != "U":
        raise TypeError(
            f"codes must be whole numbers and column_names strings, got {codes.dtype} and {names.dtype}"
        )
    if codes.ndim != 2 or names.shape != codes.shape[1:] or offsets.shape != (len(names) + 1,):
        raise ValueError(
            f"codes {codes.shape}, column_names {names.shape} and category_offsets {offsets.shape} "
            "do not fit; want (n, m), (m,) and (m + 1,)"
        )
    if (
        offsets.dtype.kind not in "iu"
        or offsets[0] != 0
        or (np.diff(offsets.astype(np.int64)) < 0).any()
    ):
        raise ValueError("category_offsets must be whole numbers that start at 0 and never fall")
    if int(offsets[-1]) != len(categories):
        raise ValueError(
            f"category_offsets end at {int(offsets[-1])} but category_names has {len(categories)} names"
        )
    for j, name in enumerate(str(name) for name in names):
        if name in found:
            raise ValueError(f"column {printable(name)!r} is there twice")
        found[name] = Coded(name, codes[:, j], categories[int(offsets[j]) : int(offsets[j + 1])])
    return found
