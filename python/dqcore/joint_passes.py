"""Confident learning over sources: three passes over blocks of rows, with the bits of one call on them all."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _backend, _check
from .checkpoint import Checkpoint, as_array, kept, stamp
from .issue_snapshots import PREFIX, Snapshots
from .passes import Passes, results, spans
from .sources import ArrayRows, Source

_BASE_BYTES = 1 << 20  # what workers hold, and some
# Of a selection: its bar, its list's head, its plan; of a row that it may take: a candidate, and a quarter more; and some.
_SELECTION_BYTES, _CANDIDATE_BYTES, _MOST_SLACK = 128, 16, 24
_SPARE = 2**62  # bytes, where there is no limit
_ALL = np.zeros(0, np.uint8)  # of the selections
_PART_BLOCKS = 512  # that are counted between two looks at the clock, where there is a checkpoint
_TOLERANCE = 1e-6  # of a probability outside [0, 1], as the kernels'

RowSums = tuple[int, int, float]


def supports(module: ModuleType) -> bool:
    """Return whether `module` counts rows in blocks."""
    return hasattr(module, "IssueStream")


@dataclass
class Rows:
    """Labels and probabilities, and how to go over them.

    Attributes
    ----------
    labels, weights
        In memory, checked.
    source
        Of the probabilities.
    limit, threads, progress, executor
        As the callers of `confident_joint` give them, checked.
    """

    module: ModuleType
    labels: NDArray[np.int32]
    source: Source
    limit: int | None
    threads: int
    progress: _check.Progress
    weights: NDArray[np.float64] | None = None
    executor: Any = None
    checkpoint: Checkpoint | None = None

    def __post_init__(self) -> None:
        """Refuse a limit that the tables of classes alone would break, and arrays where paths are wanted."""
        n_classes = self.source.shape[1]
        table = n_classes**2 * (8 + (16 if self.weights is not None else 0))
        # The counts of all rows and calibrated ones; then those of each worker.
        fixed = 2 * table + _BASE_BYTES
        least = fixed + table + self.source._row_bytes
        if self.limit is not None and self.limit < least:
            raise ValueError(
                f"memory_limit must be at least {least} bytes for {n_classes} classes, got {self.limit}"
            )
        if self.executor is not None and isinstance(self.source, ArrayRows):
            raise ValueError(
                "pred_probs must be a path or a source where there is an executor: others cannot see an array"
            )
        threads = _backend.load("cpu").threads(self.threads)
        self.passes = Passes(
            self.source, self.limit, threads, self.progress, fixed=fixed, each=table
        )

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return self.source.shape[1]

    def close(self) -> None:
        """Let others have the checkpoint."""
        if self.checkpoint is not None:
            self.checkpoint.close()

    def part(self, begin: int, end: int) -> Rows:
        """Return what a task of rows [begin, end) needs, in another process."""
        w = None if self.weights is None else self.weights[begin:end]
        return Rows(
            self.module, self.labels[begin:end], self.source, self.limit, self.threads or 1, None, w
        )

    def __getstate__(self) -> dict[str, Any]:
        """Name the module."""
        state = self.__dict__ | {"checkpoint": None}
        del state["module"], state["passes"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Load the module; what has travelled may lie at any address."""
        self.__dict__.update(state, module=_backend.load("cpu"))
        self.labels = _check.contiguous(self.labels, np.int32)
        if self.weights is not None:
            self.weights = _check.contiguous(self.weights, np.float64)
        self.__post_init__()


# ---- one pass over a range of rows, in this process -----------------------------------------------
#
# `shift` is the number of the first row that `rows` has labels of: 0, but for a task's.


def _count_thresholds(
    rows: Rows,
    span: tuple[int, int] | None,
    shift: int,
    places: tuple[int, int] | None = None,
) -> Any:  # noqa: ANN401
    def count(state: Any, begin: int, end: int, p: NDArray[Any]) -> None:  # noqa: ANN401
        at = slice(begin - shift, end - shift)
        w = None if rows.weights is None else rows.weights[at]
        rows.module.add_thresholds(state, rows.labels[at], p, w)

    def make() -> Any:  # noqa: ANN401
        return rows.module.ThresholdState(rows.n_classes, weighted=rows.weights is not None)

    return _merged(rows.passes.over("thresholds", make, count, span, places=places))


def _count_joint(
    rows: Rows,
    thresholds: NDArray[np.float64],
    collision: str,
    span: tuple[int, int] | None,
    shift: int,
    places: tuple[int, int] | None = None,
) -> tuple[Any, RowSums]:
    def count(pair: list[Any], begin: int, end: int, p: NDArray[Any]) -> None:
        at = slice(begin - shift, end - shift)
        w = None if rows.weights is None else rows.weights[at]
        off, worst, total = rows.module.add_joint(pair[0], rows.labels[at], p, w)
        pair[1] = together(pair[1], (off, begin + worst, total))

    def make() -> list[Any]:
        weighted = rows.weights is not None
        return [rows.module.JointState(thresholds, collision=collision, weighted=weighted), NO_SUMS]

    pairs = rows.passes.over("joint", make, count, span, places=places)
    sums = NO_SUMS
    for _, more in pairs:
        sums = together(sums, more)
    return _merged([state for state, _ in pairs]), sums


class Columns:
    """What label issues tell of each row."""

    def __init__(self, n: int, wants_low_score: bool) -> None:
        self.quality = np.empty(n, np.float64)
        self.low_score = np.empty(n if wants_low_score else 0, np.float64)
        self.suggested = np.empty(n, np.int32)
        self.flags = np.empty(n, np.uint8)

    def all(self, at: slice = slice(None)) -> tuple[NDArray[Any], ...]:
        """Return the columns' rows `at`, as the compiled functions take them."""
        return self.quality[at], self.low_score[at], self.suggested[at], self.flags[at]


NO_COLUMNS = Columns(0, wants_low_score=False)


def _count_issues(
    rows: Rows,
    like: Any,  # noqa: ANN401
    columns: Columns,
    span: tuple[int, int] | None,
    shift: int,
) -> Iterator[Any]:
    """Give states of some selections each, as many as the limit has room for; the first tells of row sums."""

    def count(stream: Any, begin: int, end: int, p: NDArray[Any]) -> None:  # noqa: ANN401
        at = slice(begin - shift, end - shift)
        stream.add(rows.labels[at], p, begin, *into.all(at))

    def add(places: tuple[int, int]) -> None:
        passes.over("issues", lambda: stream, count, span, scattered=evenly, places=places)

    # Of all rows, in an order of their own, a part foretells the rest.
    evenly = span is None and rows.source._any_order
    known = np.bincount(rows.labels, minlength=rows.n_classes).tolist() if evenly else []
    takes = rows.module.IssueStream(like, [], _ALL).takes
    passes, groups = _groups(rows, takes)
    into, todo = columns, deque((chosen, known) for chosen in groups)
    order = passes.order(span, evenly)
    for turn in itertools.count():
        if not todo:
            return
        chosen, class_counts = todo.popleft()
        stream = rows.module.IssueStream(like, class_counts, chosen)
        what = {"block_rows": order.block_rows, "evenly": evenly, "known": bool(class_counts)}
        snapshots = Snapshots(
            rows.checkpoint,
            turn,
            what | {"chosen": stamp(chosen)},
            order.block,
            None if into is NO_COLUMNS else into,
        )
        part = order.blocks if rows.checkpoint is None else _PART_BLOCKS
        # Once the last turn is over, what follows is soon kept as a whole.
        snapshots.feed(stream, add, order.blocks, part, last=not todo)
        state, lacking = stream.close()
        yield state
        if lacking:
            again = np.zeros(len(takes), np.uint8)
            again[lacking] = 1
            todo.append((again, []))
        into = NO_COLUMNS


def _groups(rows: Rows, takes: NDArray[np.int64]) -> tuple[Passes, list[NDArray[np.uint8]]]:
    """Return how to go over the rows, and which selections at a time, so that their lists keep the limit."""
    fixed = _BASE_BYTES + 3 * 8 * rows.n_classes**2 + _SELECTION_BYTES * len(takes)
    most = np.minimum(takes, len(rows.labels))
    lists = _CANDIDATE_BYTES * (most + most // 4 + np.minimum(most, _MOST_SLACK))
    groups = [_ALL]
    if rows.limit is not None and len(takes):
        room = 3 * (rows.limit - fixed - rows.source._held_bytes()) // 4  # the rest is for blocks
        if room < lists.max():
            least = fixed + rows.source._held_bytes() + -(-4 * int(lists.max()) // 3)
            raise ValueError(
                f"memory_limit must be at least {least} bytes for {len(takes)} pairs of classes, of one of which "
                f"{int(takes.max())} rows are taken, got {rows.limit}"
            )
        if lists.sum() > room:
            groups = [at.astype(np.uint8) for at in _filled(lists, room)]
            lists = np.array([room])
    fixed += int(lists.sum())
    return Passes(rows.source, rows.limit, rows.passes.most, rows.progress, fixed=fixed), groups


def _filled(sizes: NDArray[np.int64], room: int) -> Iterator[NDArray[np.bool_]]:
    """Give parts of `sizes`, none larger together than `room`, one after the other."""
    begin, numbers = 0, np.arange(len(sizes))
    ends = np.cumsum(sizes)
    while begin < len(sizes):
        before = 0 if begin == 0 else int(ends[begin - 1])
        end = int(np.searchsorted(ends, before + room, side="right"))
        yield (numbers >= begin) & (numbers < end)
        begin = end


def _merged(states: list[Any]) -> Any:  # noqa: ANN401
    for other in states[1:]:
        states[0].merge(other)
    return states[0]


def wants_low_score(rows: Rows, like: Any) -> bool:  # noqa: ANN401
    """Return whether a filter goes by a score that it does not rank by."""
    return bool(rows.module.IssueStream(like, [], _ALL).wants_low_score)


NO_SUMS: RowSums = (0, -1, 1.0)


def together(a: RowSums, b: RowSums) -> RowSums:
    """Add row sums: the first of the worst stays, in any order."""
    if a[0] == 0 or b[0] == 0:
        return b if a[0] == 0 else a
    worst = min(a, b, key=lambda sums: (-abs(sums[2] - 1.0), sums[1]))
    return a[0] + b[0], worst[1], worst[2]


# ---- the same of a task, as bytes that travel -------------------------------------------------------


def thresholds_task(rows: Rows, begin: int, end: int) -> tuple[bytes, RowSums]:
    """Return the ThresholdState of rows [begin, end), and no sums, for it sees no whole rows."""
    return bytes(_count_thresholds(rows, (begin, end), begin).to_bytes()), NO_SUMS


def joint_task(
    rows: Rows, begin: int, end: int, thresholds: NDArray[np.float64], collision: str
) -> tuple[bytes, RowSums]:
    """Return the JointState of rows [begin, end), and their sums."""
    thresholds = _check.contiguous(thresholds, np.float64)
    state, sums = _count_joint(rows, thresholds, collision, (begin, end), begin)
    return bytes(state.to_bytes()), sums


def issues_task(rows: Rows, begin: int, end: int, like: bytes) -> tuple[bytes, Columns]:
    """Return what is selected of rows [begin, end), and their columns."""
    empty = rows.module.IssueState.from_bytes(like)
    columns = Columns(end - begin, wants_low_score(rows, empty))
    state = _merged(list(_count_issues(rows, empty, columns, (begin, end), begin)))
    return bytes(state.to_bytes()), columns


def _gathered(
    rows: Rows,
    stage: str,
    task: Any,  # noqa: ANN401
    *parameters: Any,  # noqa: ANN401
    ranges: list[tuple[int, int]] | None = None,
) -> Any:  # noqa: ANN401
    """Return an iterator of (first row, end, result), task by task."""
    if ranges is None:
        ranges = list(spans(len(rows.labels), rows.source._row_bytes))
    work = ((b - a, task, (rows.part(a, b), a, b, *parameters)) for a, b in ranges)
    found = results(rows.executor, stage, len(rows.labels), work, rows.progress)
    return ((a, b, result) for (a, b), result in zip(ranges, found, strict=True))


# ---- the passes -------------------------------------------------------------------------------------


def _all_thresholds(rows: Rows) -> NDArray[np.float64]:
    state = _added_up(rows, "thresholds")[0]
    found: NDArray[np.float64] = state.finish()
    return found


def _all_joint(rows: Rows, thresholds: NDArray[np.float64], collision: str) -> tuple[Any, RowSums]:
    return _added_up(rows, "joint", thresholds, collision)


def _added_up(rows: Rows, stage: str, *parameters: Any) -> tuple[Any, RowSums]:  # noqa: ANN401
    """Return the state of all rows and their sums, counted part by part; a checkpoint has what has been counted."""
    kind = rows.module.ThresholdState if stage == "thresholds" else rows.module.JointState
    state, sums, done = None, NO_SUMS, 0
    step = _step_of(rows)
    found = None if rows.checkpoint is None else rows.checkpoint.load(stage)
    # Parts of another size are not those that were counted; but all together are all.
    if found is not None and (found["step"] == step or found["left"] == 0):
        state, done = kind.from_bytes(found["state"].tobytes()), found["done"]
        sums = (found["off"], found["worst"], float.fromhex(found["sum"]))
        if found["left"] == 0:
            return state, sums
    for left, (more, more_sums) in _parts(rows, stage, done, parameters):
        if state is None:
            state = more
        else:
            state.merge(more)
        sums, done = together(sums, more_sums), done + 1
        if rows.checkpoint is not None and (left == 0 or rows.checkpoint.due()):
            rows.checkpoint.store(
                stage,
                {
                    "step": step,
                    "done": done,
                    "left": left,
                    "state": as_array(state.to_bytes()),
                    "off": sums[0],
                    "worst": sums[1],
                    "sum": float(sums[2]).hex(),
                },
            )
    return state, sums


def _step_of(rows: Rows) -> list[int]:
    """Return what tells whether two calls have the same parts."""
    if rows.executor is not None:
        return [0, next(iter(spans(len(rows.labels), rows.source._row_bytes)), (0, 0))[1]]
    return [1, rows.passes.block_rows]


def _parts(
    rows: Rows, stage: str, done: int, parameters: tuple[Any, ...]
) -> Iterator[tuple[int, tuple[Any, RowSums]]]:
    """Give the number of parts that are left, and a part's state and sums; the first `done` have been counted."""
    if rows.executor is not None:
        task, kind = (
            (thresholds_task, rows.module.ThresholdState)
            if stage == "thresholds"
            else (joint_task, rows.module.JointState)
        )
        ranges = list(spans(len(rows.labels), rows.source._row_bytes)) or [(0, 0)]
        for at, (_, _, (data, sums)) in enumerate(
            _gathered(rows, stage, task, *parameters, ranges=ranges[done:]), done + 1
        ):
            yield len(ranges) - at, (kind.from_bytes(data), sums)
        return
    blocks = rows.passes.blocks()
    each = blocks if rows.checkpoint is None else _PART_BLOCKS
    parts = max(1, -(-blocks // max(each, 1)))
    for part in range(done, parts):
        places = part * each, min((part + 1) * each, blocks)
        if stage == "thresholds":
            yield parts - part - 1, (_count_thresholds(rows, None, 0, places), NO_SUMS)
        else:
            thresholds, collision = parameters
            counted = _count_joint(rows, thresholds, collision, None, 0, places)
            yield parts - part - 1, counted


def _kept_issues(rows: Rows, like: Any) -> tuple[NDArray[np.int64], RowSums, Columns]:  # noqa: ANN401
    """Return indices, sums and columns, with the mask for flags; a checkpoint has them once they are whole."""

    def compute() -> tuple[NDArray[np.int64], RowSums, Columns]:
        state, columns = _all_issues(rows, like)
        spare = _SPARE if rows.limit is None else rows.limit
        indices, sums = rows.module.finish_issues(state, *columns.all(), spare)
        return indices, sums, columns

    def pack(result: tuple[NDArray[np.int64], RowSums, Columns]) -> dict[str, Any]:
        indices, (off, worst, total), c = result
        sums = {"off": off, "worst": worst, "sum": float(total).hex()}
        return sums | {"i": indices, "q": c.quality, "s": c.suggested, "mask": c.flags}

    def unpack(found: dict[str, Any]) -> tuple[NDArray[np.int64], RowSums, Columns]:
        columns = Columns(0, wants_low_score=False)
        columns.quality, columns.suggested, columns.flags = found["q"], found["s"], found["mask"]
        sums = found["off"], found["worst"], float.fromhex(found["sum"])
        return found["i"], sums, columns

    result: tuple[NDArray[np.int64], RowSums, Columns]
    result = kept(rows.checkpoint, "issues", compute, pack, unpack)
    if rows.checkpoint is not None:
        rows.checkpoint.drop(PREFIX)
    return result


def _all_issues(rows: Rows, like: Any) -> tuple[Any, Columns]:  # noqa: ANN401
    columns = Columns(len(rows.labels), wants_low_score(rows, like))
    state = like
    if rows.executor is None:
        for part in _count_issues(rows, like, columns, None, 0):
            rows.module.mark_selections(part, columns.flags)
            state = part if state is like else state
        return state, columns
    ranges = list(spans(len(rows.labels), rows.source._row_bytes))
    what = {"tasks": [list(span) for span in ranges[:1]]}
    snapshots = Snapshots(rows.checkpoint, 0, what, ranges.__getitem__, columns)
    if (found := snapshots.load()) is not None:
        state = rows.module.selections_from_bytes(found["state"].tobytes())
    left = ranges[snapshots.done :]
    for done, (begin, end, (data, part)) in enumerate(
        _gathered(rows, "issues", issues_task, bytes(like.to_bytes()), ranges=left),
        snapshots.done + 1,
    ):
        state.merge(rows.module.selections_from_bytes(data))
        for to, values in zip(columns.all(slice(begin, end)), part.all(), strict=True):
            to[...] = values
        if snapshots.due() and done < len(ranges):
            snapshots.store(done, {"state": as_array(state.to_bytes())})
    return state, columns


def confident_joint(
    rows: Rows, *, thresholds: NDArray[np.float64] | None, collision: str
) -> tuple[Any, ...]:
    """Return what `module.confident_joint` returns."""
    try:
        used = _all_thresholds(rows) if thresholds is None else thresholds
        state, sums = _all_joint(rows, used, collision)
    except ValueError:
        _tell_bad_values(rows)
        raise
    finally:
        rows.close()
    counts, class_counts, class_weights = state.finish()
    return counts, used, class_counts, class_weights, sums


def label_issues(
    rows: Rows, *, joint: NDArray[np.int64] | None, options: dict[str, Any], prunes: bool
) -> tuple[Any, ...]:
    """Return what `module.label_issues` returns."""
    n_classes = rows.n_classes
    class_counts = np.bincount(rows.labels, minlength=n_classes).astype(np.int64)
    calibrated = joint if prunes else np.zeros((n_classes, n_classes), np.int64)
    try:
        # What a joint chooses by counts does not look at thresholds.
        blind = prunes and joint is not None and not options["adjust"]
        thresholds = np.full(n_classes, 2.0) if blind else _all_thresholds(rows)
        if calibrated is None:
            state, _ = _all_joint(rows, thresholds, options["collision"])
            calibrated = rows.module.calibrate(state.finish()[0], class_counts)
            del state
        like = rows.module.IssueState(
            thresholds, joint=calibrated, class_counts=class_counts, **options
        )
        indices, sums, columns = _kept_issues(rows, like)
    except ValueError:
        _tell_bad_values(rows)
        raise
    finally:
        rows.close()
    return columns.flags.view(np.bool_), indices, columns.quality, columns.suggested, sums


# ---- what is wrong with the values -------------------------------------------------------------------


def _tell_bad_values(rows: Rows) -> None:
    """Raise for all bad values, as the kernels do for an array: the first by row and class, and how many there are."""

    def bad(_: int, p: NDArray[Any]) -> NDArray[np.bool_]:
        wide = p.astype(np.float64)
        return ~((wide >= -_TOLERANCE) & (wide <= 1.0 + _TOLERANCE))

    if (found := rows.passes.first_bad("values", bad)) is None:
        return
    row, column, value, entries = found
    raise ValueError(
        f"pred_probs must be probabilities in [0, 1] (within 1e-6): row {row}, column {column} is "
        f"{_shortest(value)} ({entries})"
    ) from None


def _shortest(value: Any) -> str:  # noqa: ANN401
    """Return the fewest digits that tell the value apart, as the kernels write it."""
    kind = np.float64 if value.dtype == np.float64 else np.float32
    for digits in range(1, 18):
        text = f"{float(value):.{digits}g}"
        if kind(text) == kind(value) or value != value:  # noqa: PLR0124 - NaN
            break
    return text
