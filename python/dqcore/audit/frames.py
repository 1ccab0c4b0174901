"""A data set out of a table: CSV, Parquet or Arrow's own files, read by pyarrow.

Only the columns asked for are read. A CSV file has no types, so nothing is guessed: probabilities and features are numbers,
everything else is text (labels that are all whole numbers are those). An empty cell of it is a missing value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from .. import _foreign
from ..sources import CorruptFileError
from ..sources.files import regular_file
from .load import default_limit
from .text import printable

DELIMITERS = {".csv": ",", ".tsv": "\t"}
PARQUET = (".parquet", ".pq")
ARROW = (".arrow", ".feather", ".ipc")
ALL = "*"  # of --columns: those that nothing else names

_WHOLE = re.compile(r"0|-?[1-9][0-9]{0,17}")  # as a number is written out; 007 is a name

Arrow = Any  # pyarrow has no types


def is_table(path: str | Path) -> bool:
    """Return whether the name says that the file is a table."""
    return Path(path).suffix.lower() in (*DELIMITERS, *PARQUET, *ARROW)


class TableFile:
    """The columns of one file, by name."""

    def __init__(self, path: str | Path, limit: int | None = None) -> None:
        self.path = Path(path)
        self.kind = self.path.suffix.lower()
        self._limit = default_limit() if limit is None else limit
        self._pyarrow = _foreign.arrow()
        with self._open() as file:
            self.schema = self._schema(file)
            self.names: tuple[str, ...] = tuple(self.schema.names)
        for name in self.names:
            if self.names.count(name) > 1:
                raise ValueError(f"{self.said} has two columns named {printable(name)!r}")

    @property
    def said(self) -> str:
        """The file's name, as an error tells it."""
        return printable(self.path, 200)

    @property
    def typed(self) -> bool:
        """Whether the file says what its columns are."""
        return self.kind not in DELIMITERS

    def missing(self, name: str, what: str) -> NoReturn:
        """Raise: there is no column `name`."""
        present = ", ".join(printable(n) for n in self.names[:50])
        raise ValueError(
            f"{self.said} has no column {printable(name)!r} for {what}; it has: {present}"
        )

    def read(self, names: Sequence[str], numbers: Sequence[str]) -> dict[str, Arrow]:
        """Return the columns `names`; where the file has no types, those in `numbers` as float64, the others as text."""
        with self._open() as file:
            if self.typed:
                table = self._read_batches(file, names)
            else:
                table = self._read_csv(file, names, numbers)
            return {name: table.column(name) for name in names}

    @contextmanager
    def _open(self) -> Iterator[IO[bytes]]:
        try:
            with regular_file(self.path) as file:
                yield file
        except CorruptFileError:
            raise
        except (self._pyarrow.ArrowException, OSError, OverflowError, UnicodeDecodeError) as error:
            if isinstance(error, MemoryError) or getattr(error, "filename", None) is not None:
                raise
            raise CorruptFileError(
                f"{self.said} cannot be read: {_plain(error, self.names_of)}"
            ) from error

    def names_of(self, place: int) -> str:
        """Return the name of the column at `place`, as far as it is known."""
        names = getattr(self, "names", ())
        return printable(names[place]) if place < len(names) else f"number {place}"

    def _schema(self, file: IO[bytes]) -> Arrow:
        if self.kind in PARQUET:
            return self._parquet(file).schema_arrow
        if self.kind in ARROW:
            return self._batches(file).schema
        from pyarrow import csv

        one = csv.ReadOptions(use_threads=False)  # then an error knows its row
        return csv.open_csv(file, read_options=one, parse_options=self._csv_layout()).schema

    def _parquet(self, file: IO[bytes]) -> Arrow:
        from pyarrow import parquet

        return parquet.ParquetFile(file, page_checksum_verification=True)

    def _batches(self, file: IO[bytes]) -> Arrow:
        from pyarrow import ipc

        try:
            return ipc.open_file(file)
        except self._pyarrow.ArrowInvalid:
            file.seek(0)
            return ipc.open_stream(file)

    def _read_batches(self, file: IO[bytes], names: Sequence[str]) -> Arrow:
        """Read piece by piece: what a file says of its sizes is no bound, and asking for it may end the process."""
        if self.kind in PARQUET:
            read = self._parquet(file).iter_batches(columns=list(names))
        else:
            opened = self._batches(file)
            count = getattr(opened, "num_record_batches", None)
            read = opened if count is None else map(opened.get_batch, range(count))
        batches, used = [], 0
        for batch in read:
            part = batch.select(list(names))
            part.validate(
                full=True
            )  # before anything looks at it: text that is no UTF-8, offsets that point outside
            batches.append(part)
            used += part.nbytes
            self._within(used)
        schema = self._pyarrow.schema([self.schema.field(name) for name in names])
        return self._pyarrow.Table.from_batches(batches, schema)

    def _csv_layout(self) -> Arrow:
        from pyarrow import csv

        return csv.ParseOptions(delimiter=DELIMITERS[self.kind], newlines_in_values=True)

    def _read_csv(self, file: IO[bytes], names: Sequence[str], numbers: Sequence[str]) -> Arrow:
        from pyarrow import csv

        self._within(self.path.stat().st_size)
        kinds = {
            name: self._pyarrow.float64() if name in numbers else self._pyarrow.string()
            for name in names
        }
        return csv.read_csv(
            file,
            read_options=csv.ReadOptions(use_threads=False),
            parse_options=self._csv_layout(),
            convert_options=csv.ConvertOptions(
                column_types=kinds,
                include_columns=list(names),
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=True,
            ),
        )

    def _within(self, wanted: int) -> None:
        if wanted > self._limit:
            raise ValueError(
                f"{self.said} unfolds to {wanted:,} bytes; at most {max(self._limit, 0):,} are allowed"
            )

    def class_labels(self, name: str) -> tuple[str, ...] | None:
        """Return the names of a column of Hugging Face class labels, which its tables keep beside the schema."""
        try:
            kept = json.loads((self.schema.metadata or {})[b"huggingface"])
            names = kept["info"]["features"][name]["names"]
        except (KeyError, TypeError, ValueError, RecursionError):
            return None
        fits = isinstance(names, list) and all(isinstance(n, str) for n in names)
        return tuple(names) if fits else None


def _plain(error: Exception, name_of: Any) -> str:  # noqa: ANN401
    """Return pyarrow's message with our names of columns, and rows counted from 0 as everywhere."""
    text = re.sub(r"CSV column #(\d+)", lambda m: f"column {name_of(int(m[1]))!r}", str(error))
    return re.sub(r"Row #(\d+)", lambda m: f"row {int(m[1]) - 2}", text)


# ---- a data set ------------------------------------------------------------------------------------


def data_set(
    path: str | Path,
    elsewhere: Mapping[str, str],
    columns: Sequence[str] = (),
    other: Any = None,  # noqa: ANN401
) -> dict[str, Any]:
    """Return the arguments of `audit` that the table at `path` holds; docs/inputs.md tells the rules.

    `elsewhere` names the column of an argument, the beginning of its columns' names, or, by `other`, another file.
    """
    table = TableFile(path)
    found: dict[str, Any] = {}
    single: dict[str, str] = {}
    many: dict[str, tuple[str, ...]] = {}
    rests: tuple[str, ...] = ()
    for name in ("labels", "split", "class_names"):
        place = elsewhere.get(name) or ("" if name != "labels" else _label_column(table))
        if place in table.names and name != "class_names":
            single[name] = place
        elif place:
            found[name] = _other(table, name, place, other)
    for name in ("pred_probs", "features"):
        asked = elsewhere.get(name)
        group, rest = _matrix(table, name if asked is None else asked, named=asked is not None)
        if group:
            many[name] = group
            rests = rest if name == "pred_probs" else rests
        elif asked is not None:
            found[name] = _other(table, name, asked, other)
    used = {*single.values(), *(n for group in many.values() for n in group)}
    chosen = _chosen(table, columns, used)
    numbers = [n for group in many.values() for n in group]
    read = table.read(list(dict.fromkeys([*single.values(), *numbers, *chosen])), numbers)

    for name, group in many.items():
        found[name] = _joined(table, group, read)
    if "labels" in single:
        found["labels"] = _labels(read[single["labels"]], typed=table.typed)
        names = table.class_labels(single["labels"])
        if names is not None and "class_names" not in found:
            found["class_names"] = list(names)
    if "split" in single:
        found["split"] = read[single["split"]]
    if "class_names" in found:
        found["class_names"] = np.asarray(found["class_names"]).tolist()
    if rests:
        _order_classes(table, found, rests)
    if chosen:
        found["columns"] = {name: read[name] for name in chosen}
    return found


def _label_column(table: TableFile) -> str:
    known = [name for name in ("labels", "label") if name in table.names]
    if len(known) == 2:
        raise ValueError(f"{table.said} has columns 'labels' and 'label'; say --labels COLUMN")
    return known[0] if known else table.missing("labels", "labels; say --labels COLUMN")


def _other(table: TableFile, name: str, place: str, other: Any) -> Any:  # noqa: ANN401
    looks_like_file = place.endswith(".npy") or ":" in place
    if other is None or not looks_like_file:
        table.missing(place, name)
    return other(name, place)


def _matrix(
    table: TableFile, place: str, *, named: bool
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the columns of a matrix, and what their names say beyond `place`; nothing where there are none."""
    if place in table.names:
        return (place,), ()
    start = place if named else f"{place}_"
    group = tuple(name for name in table.names if start and name.startswith(start))
    return group, tuple(name.removeprefix(start) for name in group)


def _chosen(table: TableFile, columns: Sequence[str], used: set[str]) -> list[str]:
    chosen: dict[str, None] = {}
    for entry in columns:
        if entry == ALL and ALL not in table.names:
            chosen |= dict.fromkeys(name for name in table.names if name not in used)
            continue
        for name in [entry] if entry in table.names else entry.split(","):
            if name not in table.names:
                table.missing(name, "columns")
            chosen[name] = None
    return list(chosen)


def _joined(table: TableFile, group: Sequence[str], read: Mapping[str, Arrow]) -> Any:  # noqa: ANN401
    """Return one column of lists as it is, and columns of numbers side by side."""
    first = read[group[0]]
    if (
        len(group) == 1
        and hasattr(first.type, "value_type")
        and not hasattr(first.type, "index_type")
    ):
        return first
    parts: list[NDArray[Any]] = []
    for name in group:
        said = f"{table.said}, column {printable(name)!r}"
        column = read[name]
        if column.null_count:
            row = int(np.argmax(np.asarray(column.is_null())))
            raise ValueError(
                f"{said} must be numbers, none missing: row {row} is missing ({column.null_count} such)"
            )
        values = np.asarray(column)
        if values.dtype.kind not in "iuf":
            raise TypeError(f"{said} must be numbers, got {column.type}")
        parts.append(values)
    return np.stack(parts, axis=1)


def _labels(column: Arrow, *, typed: bool) -> Any:  # noqa: ANN401
    if typed or column.null_count:
        return column
    distinct = column.unique().to_pylist()
    if distinct and all(_WHOLE.fullmatch(entry) for entry in distinct):
        return np.asarray(column.cast("int64"))
    return column


def _order_classes(table: TableFile, found: dict[str, Any], rests: tuple[str, ...]) -> None:
    """Let each column of probabilities be that of the class it is named after."""
    k = len(rests)
    said = f"{table.said}: the columns of pred_probs, named {printable(', '.join(rests), 200)},"
    if sorted(rests) == sorted(map(str, range(k))):
        order = np.argsort([int(rest) for rest in rests])
    elif "class_names" in found:
        names = found["class_names"]
        if sorted(rests) != sorted(map(str, names)):
            raise ValueError(
                f"{said} must be named after the classes {printable(names, 200)} or 0 to {k - 1}"
            )
        order = np.array([rests.index(str(name)) for name in names])
    elif _is_text(found["labels"]):
        found["class_names"] = list(rests)
        return
    else:
        raise ValueError(
            f"{said} must be named 0 to {k - 1} where labels are numbers; or give --class-names"
        )
    found["pred_probs"] = np.ascontiguousarray(found["pred_probs"][:, order])


def _is_text(labels: Any) -> bool:  # noqa: ANN401
    kind = getattr(labels, "type", None)
    if kind is None:
        return np.asarray(labels).dtype.kind in "UTO"
    return str(getattr(kind, "value_type", kind)).endswith(("string", "string_view"))
