"""dqcore finds what is wrong with a data set, exactly and fast."""

from ._backend import BackendError
from ._groups import Gap, GroupMetrics

# `audit` is a folder of modules too; the name belongs to the function, see audit/__init__.py.
from .audit.audit import audit
from .audit.result import Audit
from .audit.versions import show_versions
from .bootstrap import Interval, JointIntervals, bootstrap_joint, confident_classes
from .consistent import ConsistentNoise, consistent_noise
from .joint import confident_joint, label_issues, label_quality
from .joint_dataset import label_quality_ensemble, num_label_issues
from .joint_results import ConfidentJoint, LabelIssues
from .joint_states import IssueState, JointState, ThresholdState
from .joint_tables import ClassQuality, OverlappingClasses
from .knn import KnnDisagreement, KnnGraph, KnnState, knn_disagreement, knn_graph
from .metrics import group_metrics
from .multilabel import (
    MultilabelIssues,
    MultilabelJoint,
    multilabel_issues,
    multilabel_joint,
    multilabel_quality,
)
from .neighbours import NearDuplicates, Outliers, near_duplicates, outliers
from .qa import BatchVerdict, SliceVerdict, batch_verdict, slice_verdict, task_scores
from .reference.latent import LatentEstimates
from .sampling import (
    SamplingPlan,
    SequentialPlan,
    StratifiedEstimate,
    neyman_allocation,
    sampling_plan,
    sequential_plan,
    stratified_estimate,
)
from .similar import SimilarRows, find_similar
from .slices import (
    LevelSearch,
    Slice,
    SliceSearch,
    SliceState,
    SliceTable,
    find_slices,
    slice_errors,
)
from .sources import CorruptFileError, Source, SourceChangedError

__all__ = [
    "Audit",
    "BackendError",
    "BatchVerdict",
    "ClassQuality",
    "ConfidentJoint",
    "ConsistentNoise",
    "CorruptFileError",
    "Gap",
    "GroupMetrics",
    "Interval",
    "IssueState",
    "JointIntervals",
    "JointState",
    "KnnDisagreement",
    "KnnGraph",
    "KnnState",
    "LabelIssues",
    "LatentEstimates",
    "LevelSearch",
    "MultilabelIssues",
    "MultilabelJoint",
    "NearDuplicates",
    "Outliers",
    "OverlappingClasses",
    "SamplingPlan",
    "SequentialPlan",
    "SimilarRows",
    "Slice",
    "SliceSearch",
    "SliceState",
    "SliceTable",
    "SliceVerdict",
    "Source",
    "SourceChangedError",
    "StratifiedEstimate",
    "ThresholdState",
    "audit",
    "batch_verdict",
    "bootstrap_joint",
    "confident_classes",
    "confident_joint",
    "consistent_noise",
    "find_similar",
    "find_slices",
    "group_metrics",
    "knn_disagreement",
    "knn_graph",
    "label_issues",
    "label_quality",
    "label_quality_ensemble",
    "multilabel_issues",
    "multilabel_joint",
    "multilabel_quality",
    "near_duplicates",
    "neyman_allocation",
    "num_label_issues",
    "outliers",
    "sampling_plan",
    "sequential_plan",
    "show_versions",
    "slice_errors",
    "slice_verdict",
    "stratified_estimate",
    "task_scores",
]
