"""The issue pass in a checkpoint: what it has told of rows is stored once, what it has selected so far over and over."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from .checkpoint import Checkpoint, Values

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .joint_passes import Columns

PREFIX = "issues-"
_PIECE = 1 << 17  # candidates that are copied at once


class Snapshots:
    """What a checkpoint has of one turn of the pass over all rows, block by block in a given order.

    Parameters
    ----------
    checkpoint : Checkpoint or None
        Where None, nothing is kept.
    turn : int
        Its number.
    what : dict
        What has to be the same for a turn to go on: plain values.
    block : callable
        Returns the rows of the block at a place of the order.
    columns : Columns or None
        What is told of each row, where this turn does; loaded and stored block by block.
    """

    def __init__(
        self,
        checkpoint: Checkpoint | None,
        turn: int,
        what: Values,
        block: Callable[[int], tuple[int, int]],
        columns: Columns | None,
    ) -> None:
        self._checkpoint, self._name = checkpoint, f"{PREFIX}turn-{turn}"
        self._what, self._block, self._columns = what, block, columns
        self._files: list[list[int]] = []  # of rows: the places that each holds, first and end
        self.done = 0  # blocks, as far as they are kept

    def load(self) -> Values | None:
        """Return what was stored last, the columns told then being in place again; None where the turn has to begin."""
        if self._checkpoint is None:
            return None
        found = self._checkpoint.load(self._name)
        if found is None or found["what"] != self._what:
            return None
        for begin, end in found["files"]:
            # A turn that others' blocks made begin anew, and that was ended, may have left another in its place.
            if self._checkpoint.load(self._rows_name(begin)) != {"what": self._what, "end": end}:
                return None
            values = self._checkpoint.pieces(self._rows_name(begin))
            for column in self._parts(begin, end):
                column[...] = next(values)
        self._files, self.done = found["files"], found["done"]
        return found

    def due(self) -> bool:
        """Return whether it is time to store."""
        return self._checkpoint is not None and self._checkpoint.due()

    def feed(
        self,
        stream: Any,  # noqa: ANN401
        add: Callable[[tuple[int, int]], object],
        blocks: int,
        part: int,
        *,
        last: bool,
    ) -> None:
        """Have `add` feed a new stream all blocks, `part` of them at a time, from where it was kept on.

        Where it is the `last` turn, it is not kept once it is whole.
        """
        if (found := self.load()) is not None and self._checkpoint is not None:
            _resume(stream, found, self._checkpoint.pieces(self._name))
        for begin in range(self.done, max(blocks, 1), max(part, 1)):
            end = min(begin + part, blocks)
            add((begin, end))
            if self.due() and not (last and end == blocks):
                self.store(end, _values_of(stream), _lists_of(stream))

    def store(self, done: int, values: Values, pieces: Iterable[NDArray[Any]] = ()) -> None:
        """Keep what the first `done` blocks amount to."""
        if self._checkpoint is None:
            return
        if self._columns is not None:
            rows = {"what": self._what, "end": done}
            self._checkpoint.store(self._rows_name(self.done), rows, self._parts(self.done, done))
            self._files.append([self.done, done])
        self.done = done
        head = {"what": self._what, "files": self._files, "done": done}
        self._checkpoint.store(self._name, head | values, pieces)

    def _parts(self, begin: int, end: int) -> Iterator[NDArray[Any]]:
        """Give the columns of each block in turn, as views."""
        if self._columns is not None:
            for place in range(begin, end):
                yield from self._columns.all(slice(*self._block(place)))

    def _rows_name(self, begin: int) -> str:
        return f"{PREFIX}rows-{begin}"


def _resume(stream: Any, found: Values, pieces: Iterator[NDArray[Any]]) -> None:  # noqa: ANN401
    """Give a new stream what `_values_of` and `_lists_of` told of another."""
    sums = found["off"], found["worst"], float.fromhex(found["sum"])
    stream.resume(found["seen"], found["bar_keys"], found["bar_rows"], found["sizes"], sums)
    for keys in pieces:
        stream.put(keys, next(pieces))


def _values_of(stream: Any) -> Values:  # noqa: ANN401
    """Return what a stream holds besides its lists."""
    seen, keys, rows, sizes, (off, worst, total) = stream.marks()
    bars = {"bar_keys": keys, "bar_rows": rows, "sizes": sizes}
    return bars | {"seen": seen, "off": off, "worst": worst, "sum": float(total).hex()}


def _lists_of(stream: Any) -> Iterator[NDArray[Any]]:  # noqa: ANN401
    """Give the stream's lists one after the other, in pieces: keys, rows, keys, rows."""
    begin = 0
    while True:
        keys, rows = stream.copy(begin, _PIECE)
        if len(keys) == 0:
            return
        yield keys
        yield rows
        begin += len(keys)
