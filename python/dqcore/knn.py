"""The exact graph of nearest neighbours, and how far their labels disagree with a row's own."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _backend, _check, _device, knn_blocks, knn_files, sources
from .passes import check_executor

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

METRICS = ("euclidean", "cosine")
WEIGHTS = ("uniform", "distance", "gaussian", "similarity")
MOST_ROWS = 2**31 - 2


@dataclass(frozen=True, eq=False)
class KnnGraph:
    """The k nearest neighbours of each row, nearest first.

    Attributes
    ----------
    indices : (n, k) int32
        Row numbers of the neighbours in the base.
    distances : (n, k) float32
        Euclidean distance, or cosine distance 1 - cos in [0, 2].
    metric : {"euclidean", "cosine"}
        What `distances` measure.
    n_base : int
        Rows of the base that the neighbours were sought in.
    self_join : bool
        False where the rows are queries against another base.
    stats : dict
        What the engine did (rows, pairs, seconds); not the same from run to run.
    """

    indices: NDArray[np.int32]
    distances: NDArray[np.float32]
    metric: str
    n_base: int
    self_join: bool = True
    stats: dict[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        """Refuse arrays that do not fit together: whoever takes a graph relies on it."""
        indices = _check.fitting("indices", self.indices, np.int32, (None, None))
        _check.fitting("distances", self.distances, np.float32, indices.shape, "indices")
        _check.choice("metric", self.metric, METRICS)
        n = _check.integer("n_base", self.n_base, 0, MOST_ROWS + 1)
        if _check.flag("self_join", self.self_join):
            _check.same_length("indices", len(indices), "n_base", n)
        if not isinstance(self.stats, dict):
            raise TypeError(f"stats must be a dict, got {type(self.stats).__name__}")
        if indices.size and not 0 <= int(indices.min()) <= int(indices.max()) < n:
            bad = (indices < 0) | (indices >= n)
            raise _check.first_bad("indices", indices, bad, f"row numbers in [0, {n - 1}]")
        if indices.size and not self.distances.min() >= 0:
            bad = ~(self.distances >= 0)
            raise _check.first_bad("distances", self.distances, bad, "at least 0")

    @property
    def k(self) -> int:
        """Neighbours of each row."""
        return int(self.indices.shape[1])

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.indices)

    def __repr__(self) -> str:
        """Return the sizes, not the arrays."""
        kind = "self-join" if self.self_join else f"queries against {self.n_base} rows"
        return f"KnnGraph({len(self)} rows, k={self.k}, {self.metric}, {kind})"

    def to_csr(self) -> csr_matrix:
        """Return a scipy.sparse CSR matrix (rows, n_base): k a row, nearest first, zeros kept.

        The form that scikit-learn and cleanlab's Datalab take as a precomputed graph.

        Raises
        ------
        ImportError
            Where SciPy is not installed.
        """
        from scipy.sparse import csr_matrix

        rows = len(self)
        pointers = np.arange(0, rows * self.k + 1, self.k, dtype=np.int64)
        return csr_matrix(
            (self.distances.ravel(), self.indices.ravel(), pointers), shape=(rows, self.n_base)
        )

    @classmethod
    def from_csr(cls, csr: csr_matrix, *, metric: str = "euclidean") -> KnnGraph:
        """Return the graph held by a square CSR matrix with the same number of entries in each row.

        Entries of a row may stand in any order; they are sorted by (distance, index).

        Raises
        ------
        TypeError
            Where `csr` is not a sparse matrix in CSR format.
        ValueError
            Where it is not square, its rows differ in length, or an entry is out of range; names the row.
        """
        if getattr(csr, "format", None) != "csr":
            raise TypeError(f"csr must be a scipy.sparse CSR matrix, got {type(csr).__name__}")
        shape = getattr(csr, "shape", None)
        if not isinstance(shape, tuple) or len(shape) != 2 or shape[0] != shape[1]:
            raise ValueError(f"csr must be square, (n, n), got shape {_check.shown(shape)}")
        n = int(shape[0])
        pointers = _check.integers("csr.indptr", csr.indptr, "(n + 1,) whole numbers")
        _check.same_length("csr.indptr", len(pointers) - 1, "csr", n)
        counts = np.diff(pointers)
        if n == 0 or counts[0] == 0 or (counts != counts[0]).any():
            row = int(np.argmax(counts != counts[0])) if n and counts[0] else 0
            found = int(counts[row]) if n else 0
            raise ValueError(
                f"csr must hold the same number of neighbours, at least 1, in each row: row {row} has {found}"
            )
        indices = _check.array("csr.indices", csr.indices, 1, "row numbers")
        data = _check.array("csr.data", csr.data, 1, "distances")
        if pointers[0] != 0 or pointers[-1] != len(data) or len(indices) != len(data):
            raise ValueError("csr must be consistent: indptr, indices and data do not fit together")
        return cls._sorted(
            indices.reshape(n, -1), data.reshape(n, -1), metric, ("csr.indices", "csr.data")
        )

    @classmethod
    def from_arrays(
        cls, indices: ArrayLike, distances: ArrayLike, *, metric: str = "euclidean"
    ) -> KnnGraph:
        """Return the graph of n rows given by (n, k) neighbours and their distances.

        Each row is sorted by (distance, index). Distances are rounded to float32.

        Raises
        ------
        TypeError
            Where `indices` are not whole numbers or `distances` not numbers.
        ValueError
            Where shapes differ, an index is outside [0, n), a row is its own neighbour or has one twice, or a
            distance is negative or not finite; names the first such row.

        Examples
        --------
        >>> import dqcore as dq
        >>> dq.KnnGraph.from_arrays([[1], [0], [1]], [[1.0], [1.0], [2.0]])
        KnnGraph(3 rows, k=1, euclidean, self-join)
        """
        return cls._sorted(indices, distances, metric, ("indices", "distances"))

    @classmethod
    def _sorted(
        cls, indices: ArrayLike, distances: ArrayLike, metric: str, names: tuple[str, str]
    ) -> KnnGraph:
        metric = _check.choice("metric", metric, METRICS)
        i, d = _check_neighbours(indices, distances, *names)
        order = np.lexsort((i, d), axis=1)
        i, d = np.take_along_axis(i, order, 1), np.take_along_axis(d, order, 1)
        return cls(i, d, metric, len(i))


def _check_neighbours(
    indices: ArrayLike, distances: ArrayLike, i_name: str, d_name: str
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    want, want_distances = "an (n, k) array of row numbers", "an (n, k) array of distances"
    i = _check.array(i_name, indices, 2, want)
    if i.dtype.kind not in "iu":
        raise TypeError(f"{i_name} must be {want}, got dtype {i.dtype}")
    d = _check.array(d_name, distances, 2, want_distances)
    if d.dtype.kind not in "iuf":
        raise TypeError(f"{d_name} must be {want_distances}, got dtype {d.dtype}")
    if i.shape != d.shape:
        raise ValueError(f"{i_name} has shape {i.shape} but {d_name} {d.shape}; they must be equal")
    n, k = i.shape
    if k < 1 or n > MOST_ROWS:
        raise ValueError(f"{i_name} must be (n, k) with k >= 1 and n <= {MOST_ROWS}, got {i.shape}")
    bad = (i < 0) | (i >= n)
    if bad.any():
        raise _check.first_bad(i_name, i, bad, f"row numbers in [0, {n - 1}]")
    bad = i == np.arange(n)[:, None]
    if bad.any():
        raise _check.first_bad(i_name, i, bad, "other rows than the row itself")
    ordered = np.sort(i, axis=1)
    repeated = np.zeros(i.shape, bool)
    repeated[:, 1:] = ordered[:, 1:] == ordered[:, :-1]
    if repeated.any():
        raise _check.first_bad(i_name, ordered, repeated, "k different rows")
    with np.errstate(over="ignore"):
        rounded = d.astype(np.float32)
    bad = ~((rounded >= 0) & np.isfinite(rounded))
    if bad.any():
        raise _check.first_bad(d_name, d, bad, "finite in float32 and at least 0")
    return i.astype(np.int32), rounded


def _features(module: Any, name: str, value: Any) -> Any:  # noqa: ANN401
    """Return checked features: an array, or where they are on a device what `module` reads there."""
    value = _device.matrix(module, name, value)
    return _device.features(name, value) if _device.is_read(value) else _check.features(name, value)


def knn_graph(
    features: ArrayLike,
    k: int = 10,
    *,
    metric: str = "euclidean",
    queries: ArrayLike | None = None,
    backend: str = "auto",
    threads: int = 0,
    progress: _check.Progress = None,
    memory_limit: int | str | None = None,
    executor: object = None,
) -> KnnGraph:
    """Find the k nearest neighbours of every row, exactly.

    Neighbours are ordered by (distance, index), where the distance is computed in float64 in one fixed order
    of operations: the result is the same, bit for bit, for any number of threads and any instruction set. A
    row is never its own neighbour; a duplicate of it may be.

    Parameters
    ----------
    features : (n, d) array_like
        Finite numbers, each rounded once to float32. Or a path or a `Source`, read into memory but for what
        `memory_limit` says; so `queries`. Floats on a CUDA device, as for `confident_joint`, are read there with backend
        "auto" or "cuda"; the graph is on the host.
    k : int
        Neighbours of each row, 1 <= k < n (1 <= k <= n with `queries`).
    metric : {"euclidean", "cosine"}
        Cosine distance is 1 - cos, clamped to [0, 2]; a row of zeros is at distance 1 from every row.
    queries : (m, d) array_like, optional
        Seek neighbours of these rows among `features`, leaving none out.
    backend : {"auto", "cpu", "cuda", "reference"}
        Where to run; "auto" follows the data. "cuda" takes k up to 1024 and up to 65,536 columns.
    threads : int
        0 for all that the process may use.
    progress : callable, optional
        Called as progress(stage, done, total) now and then.
    memory_limit : int or str, optional
        Bytes, or such as "512MB", that may be resident at once besides `features` in memory and the result, with 64 MB
        for Python and its libraries. Where all does not fit, the rows, as they are and rotated, and the lists lie in a
        file without a name in the folder for temporary files (TMPDIR), of about 8 n d + 12 n k bytes, all taken
        before any work; on a tmpfs that is memory too. What remains, some 500 bytes a row for k = 10, must fit. With
        `queries` or an `executor`, blocks of rows meet blocks of `features` instead, which are read once for each block
        of rows; there is no such file. The result is the same to the bit. On the CPU alone.
    executor : optional
        Anything with `submit`, as for `confident_joint`: other processes or machines seek the neighbours of a range
        of rows each, on one thread unless `threads` says otherwise and within a `memory_limit` of its own. Each reads
        all of `features`, a path or a source that it can see; without `queries` that is twice the work of one process.

    Returns
    -------
    KnnGraph
        `indices` (m, k) int32 and `distances` (m, k) float32, where m = n without `queries`. A distance above
        float32's range is infinity.

    Raises
    ------
    TypeError
        Where an argument has a wrong type or dtype.
    ValueError
        Where a shape or k is out of range or a feature is not finite; names the row. Where `memory_limit` is too low;
        says what would do.
    OSError
        Where a file cannot be read or changed meanwhile, or the one for what does not fit has no room.
    BackendError
        Where the backend named cannot run here.

    References
    ----------
    The filter before the exact distances rests on the rounding bound of Higham, "Accuracy and Stability of
    Numerical Algorithms" (2002), section 3.1.

    Examples
    --------
    >>> import dqcore as dq
    >>> dq.knn_graph([[0.0], [1.0], [5.0]], k=1).indices.ravel()
    array([1, 0, 1], dtype=int32)
    """
    limit = _check.memory("memory_limit", memory_limit)
    check_executor(executor)
    if executor is not None or (limit is not None and queries is not None):
        run = backend, threads, progress
        return _in_blocks(limit, features, k, metric, queries, run, executor)
    if limit is not None:
        return _within(limit, features, k, metric, backend, threads, progress)
    features, queries = sources.loaded("features", features), sources.loaded("queries", queries)
    module = _backend.load(backend, features, queries)
    x = _features(module, "features", features)
    _check.choice("metric", metric, METRICS)
    threads, progress = _check.run_options(threads, progress)
    n = len(x)
    q = None
    if queries is not None:
        q = _features(module, "queries", queries)
        _same_columns(q.shape, x.shape)
    k = _check_k(k, n, q is None)
    indices, distances, _, *stats = module.knn_graph(
        x, k, metric=metric, queries=q, threads=threads, progress=progress
    )
    return KnnGraph(indices, distances, metric, n, q is None, *stats)


def _within(
    limit: int,
    features: ArrayLike,
    k: int,
    metric: str,
    backend: str,
    threads: int,
    progress: _check.Progress,
) -> KnnGraph:
    """Return the graph of `knn_graph` within `limit` bytes."""
    module = _backend.load(backend, features)
    if not hasattr(module, "knn_graph_spilled"):
        raise ValueError("memory_limit needs backend='cpu'")
    source = knn_files.source_of("features", features)
    _check.choice("metric", metric, METRICS)
    threads, progress = _check.run_options(threads, progress)
    k = _check_k(k, len(source), True)
    if knn_files.fits(module, source, k, limit):
        return knn_graph(
            source._load(), k, metric=metric, backend=backend, threads=threads, progress=progress
        )
    indices, distances, _, stats = knn_files.self_graph(
        module, source, k, metric=metric, limit=limit, threads=threads, progress=progress
    )
    return KnnGraph(indices, distances, metric, len(source), True, stats)


def _in_blocks(
    limit: int | None,
    features: ArrayLike,
    k: int,
    metric: str,
    queries: ArrayLike | None,
    run: tuple[str, int, _check.Progress],
    executor: object,
) -> KnnGraph:
    """Return the graph of `knn_graph`, by blocks of rows against blocks of features."""
    backend, threads, progress = run
    module = _backend.load(backend, features, queries)
    if not hasattr(module, "KnnRows"):
        name = "memory_limit" if executor is None else "executor"
        raise ValueError(f"{name} needs backend='cpu'")
    base = knn_files.source_of("features", features)
    rows = None if queries is None else knn_files.source_of("queries", queries)
    _check.choice("metric", metric, METRICS)
    threads, progress = _check.run_options(threads, progress)
    if rows is not None:
        _same_columns(rows.shape, base.shape)
    k = _check_k(k, len(base), rows is None)
    search = knn_blocks.Search(base, rows, k, metric, limit, threads, progress)
    indices, distances, met = knn_blocks.graph(module, search, executor)
    return KnnGraph(indices, distances, metric, len(base), rows is None, {"blocks": met})


def _same_columns(queries: tuple[int, ...], features: tuple[int, ...]) -> None:
    if queries[1] != features[1]:
        raise ValueError(
            f"queries have {queries[1]} columns but features {features[1]}; they must be equal"
        )


def _check_k(k: object, n: int, self_join: bool) -> int:
    """Return k where n rows of features have so many neighbours."""
    if n > MOST_ROWS:
        raise ValueError(f"features has {n} rows; at most {MOST_ROWS} fit")
    most = n - 1 if self_join else n
    number = _check.integer("k", k, 1)
    if number > most:
        rows = "other rows" if self_join else "rows"
        raise ValueError(
            f"k must be at most the number of {rows} of features, {most} (n = {n}), "
            f"got {_check.shown(number)}"
        )
    return number


@dataclass(frozen=True, eq=False)
class KnnDisagreement:
    """How far the labels of each row's neighbours disagree with its own.

    Attributes
    ----------
    score : (n,) float64
        Share of the votes that go to other classes, in [0, 1]; NaN where unlabelled or without voters.
    suggested : (n,) int32
        Class with most votes; the given one where it is tied, then the lowest; -1 without voters.
    margin : (n,) float64
        (Most votes of another class - votes of the given one) / all votes, in [-1, 1]; NaN as `score`.
    entropy : (n,) float64
        Entropy of the votes over ln(n_classes), in [0, 1]; NaN without voters.
    flags : (n,) uint8
        Sum of UNLABELLED, NO_VOTERS, SINGLETON (no other row has the label) and ZERO_WEIGHTS (no weight was
        above 0, so votes were counted as equal).
    confusion : (n_classes, n_classes) int64
        confusion[a, b] neighbours labelled b of rows labelled a, unweighted.
    """

    score: NDArray[np.float64]
    suggested: NDArray[np.int32]
    margin: NDArray[np.float64]
    entropy: NDArray[np.float64]
    flags: NDArray[np.uint8]
    confusion: NDArray[np.int64]

    UNLABELLED = 1
    NO_VOTERS = 2
    SINGLETON = 4
    ZERO_WEIGHTS = 8

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.score)

    def __repr__(self) -> str:
        """Return the sizes, not the arrays."""
        differ = int(np.count_nonzero(self.score > 0.5))
        return f"KnnDisagreement({len(self)} rows, {differ} with a score above 0.5)"


def knn_disagreement(
    labels: ArrayLike,
    graph: KnnGraph,
    *,
    weights: str = "uniform",
    class_balanced: bool = False,
    labelled_only: bool = False,
    n_classes: int | None = None,
    backend: str = "auto",
    threads: int = 0,
    progress: _check.Progress = None,
) -> KnnDisagreement:
    """Score each row by the share of its neighbours' votes that go to other classes than its label.

    Parameters
    ----------
    labels : (n,) array_like of int
        Classes in [0, n_classes), or -1 for unlabelled: such a row does not vote and has no score.
    graph : KnnGraph
        Neighbours of the same n rows (a self-join).
    weights : {"uniform", "distance", "gaussian", "similarity"}
        A vote counts 1; 1 / (d + 1e-12); exp(-d^2 / 2 s^2) with s the distance to the k-th neighbour; or
        1 - d (cosine graphs only). Weights of 0 and below do not count.
    class_balanced : bool
        Divide each class's votes by the number of rows, other than this one, that could have cast them.
    labelled_only : bool
        Let s be the distance to the last labelled neighbour instead of the last.
    n_classes : int, optional
        Number of classes; the largest label + 1 where left out.
    backend, threads, progress
        As for `knn_graph`.

    Returns
    -------
    KnnDisagreement
        Arrays of n rows and the (n_classes, n_classes) neighbour confusion.

    Raises
    ------
    TypeError
        Where an argument has a wrong type.
    ValueError
        Where a label is out of range (names the row), lengths differ, the graph was made from queries, or
        "similarity" meets a graph that is not cosine.

    References
    ----------
    Wilson (1972), "Asymptotic properties of nearest neighbor rules using edited data", IEEE Trans. SMC 2(3);
    Zhu, Dong, Liu (2022), "Detecting corrupted labels without training a model to predict", ICML.

    Examples
    --------
    >>> import dqcore as dq
    >>> graph = dq.knn_graph([[0.0], [0.1], [0.2], [9.0]], k=2)
    >>> dq.knn_disagreement([0, 0, 1, 1], graph).score
    array([0.5, 0.5, 1. , 0.5])
    """
    if not isinstance(graph, KnnGraph):
        raise TypeError(
            f"graph must be a KnnGraph, got {type(graph).__name__}; see KnnGraph.from_csr"
        )
    if not graph.self_join:
        raise ValueError(
            "graph was made from queries; a graph of the labelled rows themselves is wanted"
        )
    _check.choice("weights", weights, WEIGHTS)
    if weights == "similarity" and graph.metric != "cosine":
        raise ValueError(f"weights 'similarity' need a cosine graph, got {graph.metric}")
    balanced = _check.flag("class_balanced", class_balanced)
    only = _check.flag("labelled_only", labelled_only)
    classes = None if n_classes is None else _check.integer("n_classes", n_classes, 1, 2**31 - 1)
    threads, progress = _check.run_options(threads, progress)
    module = _backend.load(backend, labels)
    labels = _device.column(module, "labels", labels)
    y = _check.labels("labels", labels, classes, unlabelled=True, counted_by="n_classes")
    _check.same_length("labels", len(y), "graph", len(graph))
    if classes is None:
        classes = max(1, int(y.max(initial=0)) + 1)
    result = module.knn_disagreement(
        y,
        graph,
        weights=weights,
        class_balanced=balanced,
        labelled_only=only,
        n_classes=classes,
        threads=threads,
        progress=progress,
    )
    return KnnDisagreement(*result)


class KnnState:
    """Neighbour lists that grow as blocks of rows meet blocks of base rows.

    Any split into blocks, any order and any merge tree give the same graph as one `knn_graph` call. A row is
    never its own neighbour, by its global number; a pair met twice counts once.

    Parameters
    ----------
    n : int
        Rows of the whole data set.
    k : int
        Neighbours of each row, 1 <= k < n.
    metric : {"euclidean", "cosine"}
        As for `knn_graph`.

    Examples
    --------
    >>> import dqcore as dq, numpy as np
    >>> x = np.array([[0.0], [1.0], [5.0]], np.float32)
    >>> state = dq.KnnState(3, 1, "euclidean")
    >>> state.update(x, x[:2], row_start=0, base_start=0)
    >>> state.update(x, x[2:], row_start=0, base_start=2)
    >>> state.finish().indices.ravel()
    array([1, 0, 1], dtype=int32)
    """

    def __init__(self, n: int, k: int = 10, metric: str = "euclidean") -> None:
        """Start with empty lists."""
        n = _check.integer("n", n, 2, MOST_ROWS)
        k = _check.integer("k", k, 1)
        if k >= n:
            raise ValueError(
                f"k must be at most the number of other rows, {n - 1} (n = {n}), "
                f"got {_check.shown(k)}"
            )
        metric = _check.choice("metric", metric, METRICS)
        self._state = _backend.load("cpu").KnnState(n, k, metric)
        self._lock = threading.Lock()

    def update(
        self,
        rows: ArrayLike,
        base: ArrayLike,
        *,
        row_start: int,
        base_start: int,
        threads: int = 0,
        progress: _check.Progress = None,
    ) -> None:
        """Let rows row_start, row_start + 1, ... of the data meet rows base_start, ... of it.

        Raises
        ------
        TypeError, ValueError
            Where an array or a range does not fit; the state is unchanged then.
        """
        x, y = _check.features("rows", rows), _check.features("base", base)
        if x.shape[1] != y.shape[1]:
            raise ValueError(
                f"rows have {x.shape[1]} columns but base {y.shape[1]}; they must be equal"
            )
        n = self._state.n
        row_start = _check.integer("row_start", row_start, 0, max(0, n - len(x)))
        base_start = _check.integer("base_start", base_start, 0, max(0, n - len(y)))
        for name, array in (("rows", x), ("base", y)):
            if len(array) > n:
                raise ValueError(f"{name} has {len(array)} rows, more than the state's n = {n}")
        threads, progress = _check.run_options(threads, progress)
        if len(x) and len(y):
            with self._lock:
                self._state.update(
                    x,
                    y,
                    row_start=row_start,
                    base_start=base_start,
                    threads=threads,
                    progress=progress,
                )

    def merge(self, other: KnnState) -> None:
        """Take over the neighbours that `other` has seen.

        Raises
        ------
        TypeError
            Where `other` is not a KnnState.
        ValueError
            Where n, k or metric differ.
        """
        if not isinstance(other, KnnState):
            raise TypeError(f"other must be a KnnState, got {type(other).__name__}")
        if other is self:
            return
        for name in ("n", "k", "metric"):
            mine, its = getattr(self._state, name), getattr(other._state, name)
            if mine != its:
                raise ValueError(f"states differ in {name}: {mine!r} and {its!r}")
        # Through bytes: the two locks are never held together, so merges cannot wait for each other.
        data = other.to_bytes()
        with self._lock:
            self._state.merge(type(self._state).from_bytes(data))

    def finish(self) -> KnnGraph:
        """Return the graph.

        Raises
        ------
        ValueError
            Where a row has met fewer than k others; names the first.
        """
        with self._lock:
            indices, distances = self._state.finish()
        return KnnGraph(indices, distances, self._state.metric, self._state.n)

    def to_bytes(self) -> bytes:
        """Return the state as versioned, checksummed bytes."""
        with self._lock:
            return bytes(self._state.to_bytes())

    @classmethod
    def from_bytes(cls, data: bytes) -> KnnState:
        """Return the state held by `data`.

        Raises
        ------
        ValueError
            Where the bytes are damaged, of another kind or of another version.
        """
        if not isinstance(data, bytes):
            raise TypeError(f"data must be bytes, got {type(data).__name__}")
        state = cls.__new__(cls)
        state._state = _backend.load("cpu").KnnState.from_bytes(data)
        state._lock = threading.Lock()
        return state
