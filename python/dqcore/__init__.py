"""dqcore finds what is wrong with a data set, exactly and fast."""

from ._backend import BackendError
from .knn import KnnDisagreement, KnnGraph, KnnState, knn_disagreement, knn_graph
from .slices import Slice, SliceState, SliceTable, slice_errors

__all__ = [
    "BackendError",
    "KnnDisagreement",
    "KnnGraph",
    "KnnState",
    "Slice",
    "SliceState",
    "SliceTable",
    "knn_disagreement",
    "knn_graph",
    "slice_errors",
]
