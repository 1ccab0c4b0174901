"""dqcore finds what is wrong with a data set, exactly and fast."""

from ._backend import BackendError

# `audit` is a folder of modules too; the name belongs to the function, see audit/__init__.py.
from .audit.audit import audit
from .audit.errors import CorruptFileError
from .audit.result import Audit
from .audit.versions import show_versions
from .joint import (
    ConfidentJoint,
    LabelIssues,
    confident_joint,
    label_issues,
    label_quality,
)
from .joint_states import IssueState, JointState, ThresholdState
from .knn import KnnDisagreement, KnnGraph, KnnState, knn_disagreement, knn_graph
from .neighbours import NearDuplicates, Outliers, near_duplicates, outliers
from .similar import SimilarRows, find_similar
from .slices import Slice, SliceState, SliceTable, slice_errors

__all__ = [
    "Audit",
    "BackendError",
    "ConfidentJoint",
    "CorruptFileError",
    "IssueState",
    "JointState",
    "KnnDisagreement",
    "KnnGraph",
    "KnnState",
    "LabelIssues",
    "NearDuplicates",
    "Outliers",
    "SimilarRows",
    "Slice",
    "SliceState",
    "SliceTable",
    "ThresholdState",
    "audit",
    "confident_joint",
    "find_similar",
    "knn_disagreement",
    "knn_graph",
    "label_issues",
    "label_quality",
    "near_duplicates",
    "outliers",
    "show_versions",
    "slice_errors",
]
