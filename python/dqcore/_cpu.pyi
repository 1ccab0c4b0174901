"""The compiled rooms. Arrays are of these dtypes exactly, in C order; `_check` makes them so."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

_Progress: TypeAlias = Callable[[str, int, int], object] | None
_Int32: TypeAlias = NDArray[np.int32]
_Int64: TypeAlias = NDArray[np.int64]
_Float32: TypeAlias = NDArray[np.float32]
_Float64: TypeAlias = NDArray[np.float64]
_RowSums: TypeAlias = tuple[int, int, float]  # rows off 1, the worst of them, its sum
_Joint: TypeAlias = tuple[NDArray[Any], _Float64, _Int64, _Float64 | None, _RowSums]
_Issues: TypeAlias = tuple[NDArray[np.bool_], _Int64, _Float64, _Int32, _RowSums]
_Slices: TypeAlias = tuple[
    *tuple[_Int32, _Int32, _Int64, _Float64, _Float64, _Float64, _Float64, _Float64],
    *tuple[int, float, bool, _Float64, _Float64, float, float],
]
_Found: TypeAlias = tuple[_Slices, _Float64, NDArray[np.uint8], int, float, _Int64]

class _Graph(Protocol):
    @property
    def indices(self) -> _Int32: ...
    @property
    def distances(self) -> _Float32: ...

version: str

# ---- knn ----

def knn_graph(
    features: _Float32,
    k: int,
    *,
    metric: str,
    queries: _Float32 | None,
    threads: int,
    progress: _Progress,
) -> tuple[_Int32, _Float32, str, dict[str, Any]]: ...
def knn_graph_spilled(
    file: int,
    n: int,
    d: int,
    k: int,
    *,
    metric: str,
    limit: int,
    threads: int,
    progress: _Progress,
) -> tuple[_Int32, _Float32, str, dict[str, Any]]: ...
def knn_spill_bytes(n: int, d: int, k: int) -> tuple[int, int, int]: ...
def knn_disagreement(
    labels: _Int32,
    graph: _Graph,
    *,
    weights: str,
    class_balanced: bool,
    labelled_only: bool,
    n_classes: int,
    threads: int,
    progress: _Progress,
) -> tuple[_Float64, _Int32, _Float64, _Float64, NDArray[np.uint8], _Int64]: ...
def knn_block_bytes(rows: int, base: int, d: int, k: int) -> int: ...

class KnnRows:
    def __init__(self, rows: int, k: int, metric: str) -> None: ...
    def update(
        self,
        rows: _Float32,
        base: _Float32,
        row_start: int,
        base_start: int,
        threads: int,
        progress: _Progress,
    ) -> dict[str, Any]: ...
    def finish(self, indices: _Int32, distances: _Float32) -> None: ...

class KnnState:
    def __init__(self, n: int, k: int, metric: str) -> None: ...
    def update(
        self,
        rows: _Float32,
        base: _Float32,
        row_start: int,
        base_start: int,
        threads: int,
        progress: _Progress,
    ) -> None: ...
    def merge(self, other: KnnState) -> None: ...
    def finish(self) -> tuple[_Int32, _Float32]: ...
    def to_bytes(self) -> bytes: ...
    @staticmethod
    def from_bytes(data: bytes) -> KnnState: ...
    @property
    def n(self) -> int: ...
    @property
    def k(self) -> int: ...
    @property
    def metric(self) -> str: ...

# ---- joint ----

def confident_joint(
    labels: _Int32,
    pred_probs: NDArray[np.floating],
    *,
    thresholds: _Float64 | None,
    collision: str,
    weights: _Float64 | None,
    threads: int,
    progress: _Progress,
) -> _Joint: ...
@overload
def calibrate(counts: _Int64, class_totals: _Int64) -> _Int64: ...
@overload
def calibrate(counts: _Float64, class_totals: _Float64) -> _Float64: ...
def label_quality(
    labels: _Int32,
    pred_probs: NDArray[np.floating],
    *,
    method: str,
    adjust: bool,
    threads: int,
    progress: _Progress,
) -> _Float64: ...
def confidences(
    labels: _Int32, pred_probs: NDArray[np.floating], *, threads: int, progress: _Progress
) -> tuple[_Float64, _Int32, _Float64]: ...
def label_issues(
    labels: _Int32,
    pred_probs: NDArray[np.floating],
    *,
    filter_by: str,
    rank_by: str,
    joint: _Int64 | None,
    collision: str,
    frac_noise: float,
    num_to_remove_per_class: _Int64 | None,
    min_examples_per_class: int,
    adjust: bool,
    threads: int,
    progress: _Progress,
) -> _Issues: ...
def add_thresholds(
    state: ThresholdState,
    labels: _Int32,
    pred_probs: NDArray[np.floating],
    weights: _Float64 | None,
) -> None: ...
def add_joint(
    state: JointState,
    labels: _Int32,
    pred_probs: NDArray[np.floating],
    weights: _Float64 | None,
) -> _RowSums: ...
def finish_issues(
    state: IssueState,
    quality: _Float64,
    low_score: _Float64,
    suggested: _Int32,
    flags: NDArray[np.uint8],
    spare: int,
) -> tuple[_Int64, _RowSums]: ...
def mark_selections(state: IssueState, flags: NDArray[np.uint8]) -> None: ...
def selections_from_bytes(data: bytes) -> IssueState: ...
def bootstrap_joint(
    labels: _Int32,
    pred_probs: NDArray[np.floating],
    *,
    thresholds: _Float64 | None,
    collision: str,
    replicates: int,
    seed: int,
    threads: int,
    progress: _Progress,
) -> tuple[_Int64, _Int64, _Float64]: ...
def confident_classes(
    labels: _Int32,
    pred_probs: NDArray[np.floating],
    *,
    thresholds: _Float64 | None,
    collision: str,
    threads: int,
    progress: _Progress,
) -> _Int32: ...

class ReplicateSums:
    def __init__(self, n_classes: int, *, replicates: int, seed: int) -> None: ...
    def add(self, labels: _Int32, pred_probs: NDArray[np.floating], row_start: int) -> None: ...
    def merge(self, other: ReplicateSums) -> None: ...
    def finish(self) -> _Float64: ...

class ReplicateCounts:
    def __init__(self, thresholds: _Float64, *, collision: str, seed: int) -> None: ...
    def add(self, labels: _Int32, pred_probs: NDArray[np.floating], row_start: int) -> None: ...
    def merge(self, other: ReplicateCounts) -> None: ...
    def finish(self) -> tuple[_Int64, _Int64, _Float64]: ...
    @property
    def held_bytes(self) -> int: ...

class ThresholdState:
    def __init__(self, n_classes: int, weighted: bool) -> None: ...
    def update(
        self,
        labels: _Int32,
        pred_probs: NDArray[np.floating],
        weights: _Float64 | None,
        threads: int,
        progress: _Progress,
    ) -> None: ...
    def merge(self, other: ThresholdState) -> None: ...
    def finish(self) -> _Float64: ...
    def to_bytes(self) -> bytes: ...
    @staticmethod
    def from_bytes(data: bytes) -> ThresholdState: ...
    @property
    def n_classes(self) -> int: ...
    @property
    def weighted(self) -> bool: ...

class JointState:
    def __init__(self, thresholds: _Float64, collision: str, weighted: bool) -> None: ...
    def update(
        self,
        labels: _Int32,
        pred_probs: NDArray[np.floating],
        weights: _Float64 | None,
        threads: int,
        progress: _Progress,
    ) -> _RowSums: ...
    def merge(self, other: JointState) -> None: ...
    def finish(self) -> _Joint: ...
    def to_bytes(self) -> bytes: ...
    @staticmethod
    def from_bytes(data: bytes) -> JointState: ...
    @property
    def n_classes(self) -> int: ...
    @property
    def thresholds(self) -> _Float64: ...
    @property
    def weighted(self) -> bool: ...

class IssueState:
    def __init__(
        self,
        thresholds: _Float64,
        joint: _Int64,
        class_counts: _Int64,
        filter_by: str,
        rank_by: str,
        collision: str,
        frac_noise: float,
        num_to_remove_per_class: _Int64 | None,
        min_examples_per_class: int,
        adjust: bool,
    ) -> None: ...
    def update(
        self,
        labels: _Int32,
        pred_probs: NDArray[np.floating],
        row_start: int,
        threads: int,
        progress: _Progress,
    ) -> None: ...
    def merge(self, other: IssueState) -> None: ...
    def finish(self) -> _Issues: ...
    def to_bytes(self) -> bytes: ...
    @staticmethod
    def from_bytes(data: bytes) -> IssueState: ...
    @property
    def n_classes(self) -> int: ...

class IssueStream:
    def __init__(
        self, like: IssueState, class_counts: Sequence[int], chosen: NDArray[np.uint8]
    ) -> None: ...
    def add(
        self,
        labels: _Int32,
        pred_probs: NDArray[np.floating],
        row_start: int,
        quality: _Float64,
        low_score: _Float64,
        suggested: _Int32,
        flags: NDArray[np.uint8],
    ) -> None: ...
    def close(self) -> tuple[IssueState, list[int]]: ...
    def marks(self) -> tuple[_Int64, _Float64, _Int64, _Int64, _RowSums]: ...
    def copy(self, begin: int, most: int) -> tuple[_Float64, _Int64]: ...
    def resume(
        self,
        seen: _Int64,
        bar_keys: _Float64,
        bar_rows: _Int64,
        sizes: _Int64,
        row_sums: _RowSums,
    ) -> None: ...
    def put(self, keys: _Float64, rows: _Int64) -> None: ...
    @property
    def takes(self) -> _Int64: ...
    @property
    def wants_low_score(self) -> bool: ...

# ---- slices ----

def slice_errors(
    errors: NDArray[Any],
    codes: Sequence[NDArray[np.integer]],
    n_categories: Sequence[int],
    *,
    max_level: int,
    error_exponent: int,
    min_support: int,
    threads: int,
    progress: _Progress,
) -> _Slices: ...
def group_counts(
    errors: NDArray[Any],
    codes: Sequence[NDArray[np.integer]],
    n_categories: Sequence[int],
    *,
    crossings: Sequence[Sequence[int]],
    error_exponent: int,
    threads: int,
    progress: _Progress,
) -> _Slices: ...
def find_slices(
    errors: NDArray[Any],
    codes: Sequence[NDArray[np.integer]],
    n_categories: Sequence[int],
    *,
    weights: _Float64 | None,
    k: int,
    alpha: float,
    max_level: int,
    min_support: int,
    error_exponent: int,
    weight_exponent: int,
    max_candidates: int,
    time_limit: float,
    most_bytes: int,
    threads: int,
    progress: _Progress,
) -> _Found: ...

class SliceState:
    def __init__(
        self,
        n_categories: Sequence[int],
        *,
        max_level: int,
        error_exponent: int,
        description: str,
        wide_cells: int = 0,
        all_cells: int = 0,
    ) -> None: ...
    def update(
        self,
        errors: NDArray[Any],
        codes: Sequence[NDArray[np.integer]],
        *,
        threads: int,
        progress: _Progress,
    ) -> None: ...
    def add(
        self, errors: NDArray[Any], codes: Sequence[NDArray[np.integer]], *, most_bytes: int
    ) -> bool: ...
    def merge(self, other: SliceState) -> None: ...
    def finish(self, min_support: int, most_bytes: int = 2**63 - 1) -> _Slices: ...
    def to_bytes(self) -> bytes: ...
    @staticmethod
    def from_bytes(data: bytes) -> SliceState: ...
    @property
    def n_categories(self) -> list[int]: ...
    @property
    def max_level(self) -> int: ...
    @property
    def error_exponent(self) -> int: ...
    @property
    def description(self) -> str: ...
    @property
    def n_rows(self) -> int: ...
    @property
    def held_bytes(self) -> int: ...
    @property
    def hash_tables(self) -> int: ...
    def dense_bytes(self, losses: bool) -> int: ...

# ---- the kernel table, the crew, and hooks of the tests ----

def isa() -> str: ...
def isas() -> list[str]: ...
def set_isa(isa: str) -> None: ...
def threads(requested: int) -> int: ...
def run_chunks(
    chunks: int, failing_chunk: int, milliseconds: int, threads: int, progress: _Progress
) -> None: ...
def log(x: ArrayLike) -> Any: ...  # noqa: ANN401 - a float or an array
def exp(x: ArrayLike) -> Any: ...  # noqa: ANN401
def half(bits: ArrayLike) -> Any: ...  # noqa: ANN401
def squared_l2(x: _Float32, y: _Float32) -> float: ...
def dot(x: _Float32, y: _Float32) -> float: ...
