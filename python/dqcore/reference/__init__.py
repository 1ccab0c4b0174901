"""The definitions: every result of dqcore in NumPy alone, written to be read.

Each function has the signature of its public twin and gives the same bits. Nothing here is tuned.
"""

from .bootstrap import bootstrap_joint, confident_classes
from .joint import calibrate, confident_joint, label_issues, label_quality
from .knn import knn_disagreement, knn_graph
from .metrics import confidences, group_counts
from .neighbours import near_duplicates, outliers
from .similar import find_similar
from .slices import find_slices, slice_errors

__all__ = [
    "bootstrap_joint",
    "calibrate",
    "confidences",
    "confident_classes",
    "confident_joint",
    "find_similar",
    "find_slices",
    "group_counts",
    "knn_disagreement",
    "knn_graph",
    "label_issues",
    "label_quality",
    "near_duplicates",
    "outliers",
    "slice_errors",
]
