"""Multi-label data, as `cleanlab.multilabel_classification` takes them: a list of the classes of each row."""

from . import dataset, filter, rank
from .rank import get_label_quality_scores

__all__ = ["dataset", "filter", "get_label_quality_scores", "rank"]
