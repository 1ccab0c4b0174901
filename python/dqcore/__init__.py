"""dqcore finds what is wrong with a data set, exactly and fast."""

from ._backend import BackendError
from .joint import (
    ConfidentJoint,
    IssueState,
    JointState,
    LabelIssues,
    ThresholdState,
    confident_joint,
    label_issues,
    label_quality,
)
from .knn import KnnDisagreement, KnnGraph, KnnState, knn_disagreement, knn_graph
from .slices import Slice, SliceState, SliceTable, slice_errors

__all__ = [
    "BackendError",
    "ConfidentJoint",
    "IssueState",
    "JointState",
    "KnnDisagreement",
    "KnnGraph",
    "KnnState",
    "LabelIssues",
    "Slice",
    "SliceState",
    "SliceTable",
    "ThresholdState",
    "confident_joint",
    "knn_disagreement",
    "knn_graph",
    "label_issues",
    "label_quality",
    "slice_errors",
]
