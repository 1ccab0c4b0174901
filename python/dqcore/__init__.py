"""dqcore finds what is wrong with a data set, exactly and fast."""

from ._backend import BackendError
from .knn import KnnDisagreement, KnnGraph, KnnState, knn_disagreement, knn_graph

__all__ = [
    "BackendError",
    "KnnDisagreement",
    "KnnGraph",
    "KnnState",
    "knn_disagreement",
    "knn_graph",
]
