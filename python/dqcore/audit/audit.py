"""The main job: everything the rooms can say about one data set, in one call."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .. import _backend, _check, _columns, _foreign, joint_passes, knn_files, sources
from ..bootstrap import enough_replicates
from ..checkpoint import Checkpoint, kept, stamp, version
from ..knn import METRICS, KnnGraph, knn_disagreement, knn_graph
from ..neighbours import near_duplicates, outliers
from ..slices import SliceTable, slice_errors
from . import findings
from .inputs import labels_and_names, with_split
from .labels import EVIDENCE, LabelEvidence, label_evidence
from .projection import Projection, projection
from .result import Audit
from .rooms import packed, unpacked
from .versions import runtime

# Angles carry more than lengths once there are more than a few columns (cleanlab draws the line here too).
MOST_EUCLIDEAN_COLUMNS = 3
SLICE_LEVEL = 2
# What is held at most while outliers, duplicates and joins are sought in a graph: by row, and by neighbour of each.
_FIXED_BYTES, _ROW_BYTES, _NEIGHBOUR_BYTES = 8 << 20, 200, 6


def audit(
    labels: ArrayLike,
    *,
    features: ArrayLike | None = None,
    pred_probs: ArrayLike | None = None,
    columns: object = None,
    split: ArrayLike | None = None,
    class_names: Sequence[str] | None = None,
    k: int = 10,
    metric: str | None = None,
    sla: float = findings.SLA,
    replicates: int | None = None,
    backend: str = "auto",
    threads: int = 0,
    progress: _check.Progress = None,
    memory_limit: int | str | None = None,
    resume: object = None,
) -> Audit:
    """Find what is wrong with a labelled data set.

    Looks for label errors where `pred_probs` are given (confident learning); where `features` are given, for labels
    that disagree with their neighbours', outliers, near-duplicates, copies with different labels and, with `split`,
    near-duplicates in more than one part of the data; and then for classes that are confused, and values of
    `columns`, and pairs of them, where the errors found gather.

    Parameters
    ----------
    labels : (n,) array_like of int or str
        Here and below, a path or a `Source` may stand for an array; it is read into memory, but for what `memory_limit`
        says. Classes in [0, n_classes), or names.
    features : (n, d) array_like, optional
        Finite numbers in which near rows should have the same label, such as embeddings.
    pred_probs : (n, n_classes) array_like of float, optional
        Probability of each class, from a model that has not seen the row's own label (cross-validated).
    columns : mapping, data frame or (n, m) integer array, optional
        What else is known of each row: annotator, device, source. See `slice_errors`.
    split : (n,) array_like, optional
        Which part of the data a row belongs to ("train", "test"): also one more of `columns`, named "split".
    class_names : sequence of str, optional
        Name of each class. Left out: the sorted distinct labels where those are strings, else the numbers.
    k : int
        Neighbours of each row, 1 <= k < n.
    metric : {None, "euclidean", "cosine"}
        Distance between rows of `features`; None is cosine above 3 columns, else euclidean.
    sla : float in [0, 1]
        Level agreed: the share of right labels that the whole, and each slice of it, has to keep. See `slice_verdict`.
    replicates : int, optional
        Data sets drawn for the intervals of the noise, at least 39; 0 for Wilson's intervals alone. Left out: 200, or 0
        where there are more than 256 classes, each replicate taking time as their square.
    backend : {"auto", "cpu", "cuda", "reference"}
        Where to run; "auto" follows the data.
    threads : int
        0 for all that the process may use.
    progress : callable, optional
        Called as progress(stage, done, total) now and then.
    memory_limit : int or str, optional
        Bytes, or such as "512MB", that may be held at once besides arguments in memory, labels, and what is found:
        `features`, `pred_probs` and columns of numbers are read in blocks, the graph and the slices are those of
        `knn_graph` and `slice_errors` under the limit. The same is found, to the bit. What cannot be found within the
        limit is an error that says what it is and, where it is known, what would do. On the CPU.
    resume : path, optional
        A folder of this call alone, made if it is not there, in which it keeps each stage that it has finished: the same
        call, ended at any moment, goes on from there and finds the same, to the bit. Inputs are told by their content.
        When the call is over, remove the folder.

    Returns
    -------
    Audit
        What was found; `print` it, or `save` it.

    Raises
    ------
    TypeError
        Where an argument has a wrong type or dtype.
    ValueError
        Where lengths differ, a value is out of range (names argument, row, value), or `columns` or `split`
        are given without `pred_probs` or `features`, so that there are no errors to gather; where `resume` is of
        another call (says what differs); where `memory_limit` is too low.
    OSError
        Where a file cannot be read, or `resume` not be written, is damaged or in use by another process.
    BackendError
        Where the backend named cannot run here.

    References
    ----------
    Northcutt, Jiang, Chuang (2021), "Confident learning: estimating uncertainty in dataset labels", JAIR 70.
    Wilson (1972), "Asymptotic properties of nearest neighbor rules using edited data", IEEE Trans. SMC 2(3).
    Sagadeeva, Boehm (2021), "SliceLine: fast, linear-algebra-based slice finding", SIGMOD.

    Examples
    --------
    >>> import dqcore as dq
    >>> features = [[0.0], [0.1], [0.2], [0.3], [9.0], [9.1], [9.2], [9.3]]
    >>> found = dq.audit([0, 0, 0, 1, 1, 1, 1, 1], features=features, k=3)
    >>> found.top(1)["row"], found.top(1)["suggested"]
    (array([3]), array([0], dtype=int32))
    """
    started = time.time()
    limit = _check.memory("memory_limit", memory_limit)
    labels = sources.loaded("labels", labels)
    split = sources.loaded("split", split)
    n_columns = None
    if limit is not None:
        if not joint_passes.supports(_backend.load(backend, pred_probs, features)):
            raise ValueError("memory_limit needs backend='cpu'")
        pred_probs, features, n_columns = _in_blocks(pred_probs, features)
    else:
        pred_probs = sources.loaded("pred_probs", pred_probs)
        features = sources.loaded("features", features)
        if pred_probs is not None:
            n_columns = _check.pred_probs("pred_probs", pred_probs).shape[1]
    if pred_probs is not None:
        class_names = _check.named_classes(pred_probs, labels, class_names)  # type: ignore[assignment]
    given, names = labels_and_names(labels, class_names, n_columns)
    together = with_split(columns, split)
    _check_lengths(len(given), pred_probs=pred_probs, features=features, split=split)
    _check_evidence(together, columns, pred_probs, features)
    level = _check.number("sla", sla, 0.0, 1.0)
    if replicates is not None and _check.integer("replicates", replicates, 0) != 0:
        replicates = enough_replicates(replicates, findings.CONFIDENCE)
    _check.run_options(threads, progress)
    if features is not None:
        if limit is None and not _foreign.on_device(features):
            features = _check.features("features", features)  # once, whatever they come as
        metric = _metric(metric, features)
        if limit is not None:
            _check_room(limit, len(given), _check.integer("k", k, 1))
    run: dict[str, Any] = {"backend": backend, "threads": threads, "progress": progress}
    seconds: dict[str, float] = {}

    part = None if split is None else _columns.encode_column("split", split, "split")

    checkpoint = None
    if resume is not None:
        for name, value in (("features", features), ("pred_probs", pred_probs)):
            if value is not None and _foreign.on_device(value):
                raise ValueError(f"resume: {name} must be in memory, not on a device")
        call = {
            "function": "audit",
            "version": version(),
            "labels": stamp(given) | {"class_names": list(names)},
            "features": _stamp(features),
            "pred_probs": _stamp(pred_probs),
            "columns": [] if together is None else _stamps(together),
            "parameters": {"k": k, "metric": metric, "replicates": replicates, "backend": backend},
        }
        checkpoint = Checkpoint(resume, call)

    evidence = graph = disagreement = slices = far = near = copies = flat = None
    if features is not None:
        with _clock(seconds, "knn"):
            kind = metric or METRICS[0]
            graph = _kept(
                checkpoint,
                "graph",
                KnnGraph,
                lambda: knn_graph(features, k, metric=kind, memory_limit=limit, **run),
            )
            disagreement = knn_disagreement(given, graph, n_classes=max(1, len(names)), **run)
        with _clock(seconds, "neighbours"):
            far, near = outliers(graph), near_duplicates(graph)
            copies = near_duplicates(graph, threshold=0.0)
        with _clock(seconds, "projection"):
            flat = _kept(
                checkpoint,
                "projection",
                Projection,
                lambda: projection(features, graph.metric, limit),
            )
    if pred_probs is not None:
        with _clock(seconds, "joint"):
            evidence = kept(
                checkpoint,
                "joint",
                lambda: label_evidence(
                    given,
                    pred_probs,
                    graph=graph,
                    replicates=replicates,
                    memory_limit=limit,
                    **run,
                ),
                lambda found: packed(**found._asdict()),
                lambda values: LabelEvidence(**unpacked(values, **EVIDENCE)),
            )
    table = findings.issue_table(
        given,
        label_issues=None if evidence is None else evidence.issues,
        disagreement=disagreement,
        outliers=far,
        near=near,
        copies=copies,
        split=None if part is None else part.codes,
    )
    if together is not None:
        with _clock(seconds, "slices"):
            errors = table[findings.main_flag(evidence is not None)]
            slices = _kept(
                checkpoint,
                "slices",
                SliceTable,
                lambda: slice_errors(
                    errors, together, max_level=SLICE_LEVEL, memory_limit=limit, **run
                ),
            )

    return Audit(
        issues=table,
        class_names=names,
        class_counts=np.bincount(given, minlength=len(names)).astype(np.int64),
        joint=None if evidence is None else evidence.joint,
        consistent=None if evidence is None else evidence.consistent,
        intervals=None if evidence is None else evidence.intervals,
        graph=graph,
        disagreement=disagreement,
        slices=slices,
        split_names=None if part is None else _names(part),
        projection=flat,
        provenance={
            "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
            "seconds": seconds | {"all": time.time() - started},
            "parameters": {
                "k": k,
                "metric": metric,
                "slice_level": SLICE_LEVEL,
                "sla": level,
                "replicates": 0
                if evidence is None or evidence.intervals is None
                else evidence.intervals.replicates,
            },
            "run": {"backend": backend, **runtime(threads)},
        },
    )


def _kept(
    checkpoint: Checkpoint | None, name: str, kind: type[Any], compute: Callable[[], Any]
) -> Any:  # noqa: ANN401
    """Return one room's result, from the checkpoint where it is there."""
    return kept(
        checkpoint,
        name,
        compute,
        lambda room: packed(room=room),
        lambda values: unpacked(values, room=kind)["room"],
    )


def _in_blocks(pred_probs: Any, features: Any) -> tuple[Any, Any, int | None]:  # noqa: ANN401
    """Return what is read in blocks, a source where it is one, and the number of classes if it is known."""
    n_columns = None
    if pred_probs is not None:
        source = sources.found("pred_probs", pred_probs)
        if source is None:
            n_columns = _check.pred_probs("pred_probs", pred_probs).shape[1]
        else:
            pred_probs = source
            n_columns = source.shape[1] if len(source.shape) == 2 else None
    if features is not None:
        features = knn_files.source_of("features", features)
    return pred_probs, features, n_columns


def _check_room(limit: int, n: int, k: int) -> None:
    """Refuse a limit that what is made of the graph of n rows would break: outliers, duplicates and joins."""
    need = _FIXED_BYTES + n * (_ROW_BYTES + _NEIGHBOUR_BYTES * k)
    if limit < need:
        raise ValueError(
            f"memory_limit must be at least {need} bytes for what is made of the graph of {n} rows and k = {k}, got {limit}"
        )


def _stamp(rows: Any) -> Any:  # noqa: ANN401
    if isinstance(rows, sources.Source):
        return rows._stamp()
    return stamp(None if rows is None else np.asarray(rows))


def _stamps(columns: object) -> list[Any]:
    return [
        [column.name, stamp(column.codes), repr(column.values)]
        for column in _columns.encode(columns)
    ]


def _names(part: _columns.Column) -> tuple[str, ...]:
    values = range(part.n_categories) if part.values is None else part.values
    return tuple(str(value) for value in values)


def _check_lengths(n: int, **arrays: object) -> None:
    for name, value in arrays.items():
        if value is not None:
            _check.same_length("labels", n, name, _check.rows(name, value))


def _check_evidence(
    together: object, columns: object, pred_probs: object, features: object
) -> None:
    if together is not None and pred_probs is None and features is None:
        name = "split" if columns is None else "columns"
        raise ValueError(
            f"{name} needs pred_probs or features: slices gather the errors those show"
        )


def _metric(metric: str | None, features: ArrayLike) -> str:
    if metric is not None:
        return _check.choice("metric", metric, METRICS)
    shape = np.shape(features)
    return "cosine" if len(shape) == 2 and shape[1] > MOST_EUCLIDEAN_COLUMNS else "euclidean"


@contextmanager
def _clock(seconds: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[stage] = time.perf_counter() - start
