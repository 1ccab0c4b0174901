"""Rows that lie somewhere else than in memory, read range by range."""

from __future__ import annotations

import math
import mmap
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .. import _check
from .errors import CorruptFileError
from .files import File


class Source:
    """An array that is read in ranges of rows: what `confident_joint` and others take where an array does not fit.

    `Source.open` gives one for a file, `Source.raw` for bytes without a header, `Source.of` for anything with `shape`,
    `dtype` and slices. A path is taken wherever a source is. Files are read by position into blocks of a bounded size;
    one that changes meanwhile is a SourceChangedError. Sources can be pickled, for other processes that see the same
    files.

    Attributes
    ----------
    name : str
        What errors call it.
    shape : tuple of int
        Rows first.
    dtype : numpy.dtype
        Of what is read, in native byte order.

    Examples
    --------
    >>> import dqcore as dq, numpy as np, pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "p.npy"
    >>> np.save(path, np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]], np.float32))
    >>> dq.Source.open(path).shape
    (3, 2)
    >>> dq.confident_joint([0, 1, 1], path).counts
    array([[1, 0],
           [0, 1]])
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @staticmethod
    def open(path: str | os.PathLike[str]) -> Source:
        """Return the source at `path`, by how it ends.

        Parameters
        ----------
        path : str or path
            "FILE.npy", "FILE.safetensors:NAME", "FILE.parquet:COLUMN", "FILE.arrow:COLUMN" (also .feather and .ipc; as
            these, need pyarrow), "FOLDER.zarr" or "FOLDER.zarr:NAME" (needs zarr).

        Raises
        ------
        ValueError
            Where the path does not end so, or names an array that is not there.
        OSError
            Where it cannot be read; CorruptFileError where it does not hold what it says.
        ImportError
            Where a library is missing; says which extra brings it.
        """
        from . import formats

        return formats.open_path("path", path)

    @staticmethod
    def raw(
        path: str | os.PathLike[str],
        dtype: DTypeLike,
        shape: tuple[int, ...],
        *,
        offset: int = 0,
    ) -> Source:
        """Return `shape` numbers of `dtype` (of any byte order), in C order from byte `offset` of the file on.

        Raises
        ------
        TypeError, ValueError
            Where an argument does not fit.
        CorruptFileError
            Where the file is too short.
        """
        file = File(_check.path("path", path))
        try:
            kind = np.dtype(dtype)
        except Exception:  # noqa: BLE001 - of whatever was given
            kind = np.dtype(object)
        if kind.kind not in "biuf" or kind.itemsize == 0:
            raise TypeError(f"dtype must be of numbers or bool, got {_check.shown(dtype)}")
        if not isinstance(shape, tuple | list):
            raise TypeError(f"shape must be a tuple of sizes, got {_check.shown(shape)}")
        sizes = tuple(_check.integer("shape", size, 0, 2**60) for size in shape)
        if not sizes:
            raise ValueError("shape must have at least one size, got none")
        return FileRows(file, _check.integer("offset", offset, 0, 2**60), sizes, kind)

    @staticmethod
    def of(array: Any) -> Source:  # noqa: ANN401
        """Return a source of anything with `shape`, `dtype` and slices of rows: an array of zarr or h5py, a memory map."""
        if isinstance(array, Source):
            return array
        if isinstance(array, np.ma.MaskedArray):
            raise TypeError("array must be without a mask, got a masked array")
        plain = isinstance(array, np.ndarray)
        source: Source = ArrayRows(array) if plain else SlicedRows(array)
        if not source.shape or source.dtype.kind not in "biuf":
            raise TypeError(
                f"array must have rows of numbers, got {source.dtype} of shape {source.shape}"
            )
        return source

    def __len__(self) -> int:
        """Return the number of rows."""
        return self.shape[0]

    def __repr__(self) -> str:
        """Return what it is, not what it holds."""
        return f"<Source {self.name}: {self.shape} of {self.dtype}>"

    def read(self, begin: int = 0, end: int | None = None) -> NDArray[Any]:
        """Return rows [begin, end) as an array in memory; `end` None is all there are.

        Raises
        ------
        TypeError, ValueError
            Where the range is none of the rows.
        OSError
            Where the file cannot be read, or is not what it was.
        """
        first = _check.integer("begin", begin, 0, len(self))
        last = len(self) if end is None else _check.integer("end", end, first, len(self))
        self._unchanged()
        part = self._rows(first, last, self._buffer(last - first))
        self._unchanged()
        return part.copy() if isinstance(self, ArrayRows) else part

    @property
    def _row_bytes(self) -> int:
        """Bytes of a row, as it is read."""
        return max(math.prod(self.shape[1:]) * self.dtype.itemsize, 1)

    def _buffer(self, rows: int) -> NDArray[Any]:
        """Return memory that `rows` rows may be read to."""
        return np.empty((rows, *self.shape[1:]), self.dtype)

    def _rows(self, begin: int, end: int, into: NDArray[Any]) -> NDArray[Any]:
        """Return rows [begin, end) as an array; it may use the memory of `into`, a `buffer` of as many rows or more."""
        raise NotImplementedError

    def _unchanged(self) -> None:
        """Raise SourceChangedError where it is not what it was when it was opened."""

    @property
    def _any_order(self) -> bool:
        """Whether rows cost the same in any order."""
        return False

    def _stamp(self) -> dict[str, Any]:
        """Return what tells it from others, and from what it may become."""
        raise ValueError(f"resume: {self.name} cannot be told from others; name a file")

    def _held_bytes(self) -> int:
        """Return the most bytes that it holds besides what is read to."""
        return 0

    def _forget(self) -> None:
        """Give memory back that reading has taken."""

    def _load(self) -> Any:  # noqa: ANN401
        """Return all rows as what the doors take."""
        return self.read()


class FileRows(Source):
    """Rows of numbers that lie one after the other in a file, or column after column."""

    def __init__(
        self,
        file: File,
        offset: int,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        *,
        fortran: bool = False,
        name: str = "",
    ) -> None:
        self.name = name or str(file.path)
        self._file, self._offset = file, offset
        # One row after the other is both, where rows are single numbers.
        self._fortran = fortran and len(shape) > 1
        self._swapped = not dtype.isnative
        self.shape, self.dtype = shape, dtype.newbyteorder("=")
        if fortran and len(shape) > 2:
            raise ValueError(
                f"{self.name} is in Fortran order with {len(shape)} dimensions; save it in C order"
            )
        need = math.prod(shape) * dtype.itemsize
        if need > file.size - offset:
            raise CorruptFileError(
                f"{self.name} ends too early: shape {shape} of {dtype} takes {need} bytes from offset {offset} on; "
                f"the file has {file.size} bytes"
            )

    def _stamp(self) -> dict[str, Any]:
        """Return what tells it from others, and from what it may become."""
        return {
            "shape": list(self.shape),
            "dtype": self.dtype.str,
            "offset": self._offset,
            **self._file.stamp(),
        }

    def _buffer(self, rows: int) -> NDArray[Any]:
        """Return memory laid out as the rows are."""
        return np.empty((rows, *self.shape[1:]), self.dtype, order="F" if self._fortran else "C")

    def _rows(self, begin: int, end: int, into: NDArray[Any]) -> NDArray[Any]:
        """Return rows [begin, end)."""
        part = into[: end - begin]
        if part.size:
            if self._fortran:
                n, size = len(self), self.dtype.itemsize
                for column in range(self.shape[1]):
                    at = self._offset + (column * n + begin) * size
                    self._file.read(at, _bytes(part[:, column]))
            else:
                self._file.read(self._offset + begin * self._row_bytes, _bytes(part))
        if self._swapped:
            part.byteswap(inplace=True)
        return part

    @property
    def _any_order(self) -> bool:
        """Whether rows cost the same in any order."""
        return True

    def _unchanged(self) -> None:
        """Ask the file."""
        self._file.unchanged()


def _bytes(part: NDArray[Any]) -> memoryview:
    return memoryview(part.reshape(-1).view(np.uint8))  # type: ignore[arg-type]


class Bfloat16Rows(Source):
    """Rows of bfloat16, which NumPy lacks, widened to float32; exact."""

    def __init__(self, halves: FileRows) -> None:
        self.name, self.shape, self.dtype = halves.name, halves.shape, np.dtype(np.float32)
        self._halves = halves

    def _rows(self, begin: int, end: int, into: NDArray[Any]) -> NDArray[Any]:
        """Return rows [begin, end)."""
        part = into[: end - begin]
        words = part.view(np.uint32)
        # The halves are read to the second half of the words' memory: they go to their places from the front.
        halves = part.reshape(-1).view(np.uint16)[part.size :].reshape(part.shape)
        words[...] = self._halves._rows(begin, end, halves)
        words <<= 16
        return part

    def _stamp(self) -> dict[str, Any]:
        """Return what tells it from others, and from what it may become."""
        return self._halves._stamp()

    @property
    def _any_order(self) -> bool:
        """Whether rows cost the same in any order."""
        return True

    def _unchanged(self) -> None:
        """Ask the file."""
        self._halves._unchanged()


class ArrayRows(Source):
    """Rows of an array in memory, read where they lie; of a memory map, whose pages are given back."""

    def __init__(self, array: NDArray[Any]) -> None:
        self.name, self.shape, self.dtype = "the array", array.shape, array.dtype
        self.array = array
        self._map = _shared_map(array)

    def _buffer(self, rows: int) -> NDArray[Any]:  # noqa: ARG002
        """Return memory laid out as the rows are."""
        return np.empty(0, self.dtype)

    def _rows(self, begin: int, end: int, into: NDArray[Any]) -> NDArray[Any]:  # noqa: ARG002
        """Return rows [begin, end)."""
        return self.array[begin:end]

    @property
    def _any_order(self) -> bool:
        """Whether rows cost the same in any order."""
        return True

    def _stamp(self) -> dict[str, Any]:
        """Return what tells it from others."""
        from ..checkpoint import stamp

        return dict(stamp(self.array))

    def _forget(self) -> None:
        """Give the pages of a map back."""
        if self._map is not None:
            self._map.madvise(mmap.MADV_DONTNEED)

    def _load(self) -> NDArray[Any]:
        """Return the array itself."""
        return self.array


def _shared_map(array: NDArray[Any]) -> mmap.mmap | None:
    """Return the map that `array` views, where its pages can be dropped: a file's own, not a private copy."""
    if not hasattr(mmap, "MADV_DONTNEED"):
        return None
    shared = False  # a map of its own does not tell; dropping the pages of a private one would lose what they hold
    for owner in _owners(array):
        if isinstance(owner, np.memmap):
            shared = owner.mode in ("r", "r+", "w+")
        if isinstance(owner, mmap.mmap):
            return owner if shared else None
    return None


def _owners(array: object) -> Iterator[object]:
    while array is not None:
        yield array
        array = array.obj if isinstance(array, memoryview) else getattr(array, "base", None)


class SlicedRows(Source):
    """Rows of anything with `shape`, `dtype` and slices."""

    def __init__(self, array: Any, name: str = "") -> None:  # noqa: ANN401
        self.name = name or f"the array ({type(array).__name__})"
        try:
            self.shape = tuple(int(size) for size in array.shape)
            self.dtype = np.dtype(array.dtype).newbyteorder("=")
        except (AttributeError, TypeError, ValueError) as error:
            raise TypeError(
                f"array must have shape, dtype and slices, got {type(array).__name__}"
            ) from error
        if not hasattr(array, "__getitem__"):
            raise TypeError(f"array must have slices of rows, got {type(array).__name__}")
        self._array = array

    def _rows(self, begin: int, end: int, into: NDArray[Any]) -> NDArray[Any]:
        """Return rows [begin, end)."""
        part = into[: end - begin]
        found = np.asarray(self._array[begin:end])
        if found.shape != part.shape:
            raise ValueError(
                f"{self.name} gave shape {found.shape} for rows {begin} to {end - 1}, want {part.shape}"
            )
        part[...] = found
        return part
