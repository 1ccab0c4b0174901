"""What the probabilities say of the labels: joint, issues, intervals and consistent noise, each input read once for all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import _backend, _check, joint_passes
from ..bootstrap import intervals_of
from ..consistent import ConsistentNoise, noise_of, options_of
from ..joint_blocks import Blocks
from ..joint_options import inputs, issue_options, rows_inputs, warn_row_sums
from ..joint_results import ConfidentJoint, LabelIssues
from ..knn import KnnGraph
from ..sources import ArrayRows, Source
from .findings import CONFIDENCE, FALSE_DISCOVERIES

# A confusion this many times as frequent as its reverse, beyond the classes' sizes, is no longer the model's own.
RATIO = 2.0
# Drawn where the caller does not say. Each replicate estimates anew from a matrix of all pairs of classes.
REPLICATES, MOST_CLASSES = 200, 256


@dataclass(frozen=True, eq=False)
class NoiseIntervals:
    """How far the draw of the rows alone moves the share of wrong labels, by `bootstrap_joint`.

    Attributes
    ----------
    whole : (2,) float64
        Low and high end for all rows.
    classes : (2, n_classes) float64
        Low and high end for the rows of each given class.
    confidence : float
        What share of such intervals holds the estimate's expectation, nearly.
    replicates : int
        Data sets that were drawn.
    """

    whole: NDArray[np.float64]
    classes: NDArray[np.float64]
    confidence: float
    replicates: int


class LabelEvidence(NamedTuple):
    """What the probabilities say of the labels."""

    joint: ConfidentJoint
    issues: LabelIssues
    consistent: ConsistentNoise
    intervals: NoiseIntervals | None


EVIDENCE: dict[str, type[Any]] = {
    "joint": ConfidentJoint,
    "issues": LabelIssues,
    "consistent": ConsistentNoise,
    "intervals": NoiseIntervals,
}


def label_evidence(
    labels: ArrayLike,
    pred_probs: ArrayLike,
    *,
    graph: KnnGraph | None,
    replicates: int | None,
    backend: str,
    threads: int,
    progress: _check.Progress,
    memory_limit: int | None = None,
) -> LabelEvidence:
    """Return all that `pred_probs` say of `labels`, with one warning about their rows, at the caller's caller."""
    module: Any = _backend.load(backend, labels, pred_probs)
    threads, progress = _check.run_options(threads, progress)
    if memory_limit is None:
        y, p, names = inputs(labels, pred_probs, None)
    else:
        y, given, names = rows_inputs(labels, pred_probs, None)
        source = given if isinstance(given, Source) else ArrayRows(given)
        # Nobody looks at more of the probabilities than their shape, but for the blocks.
        p = np.broadcast_to(np.zeros((), source.dtype), source.shape)
        module = Blocks(joint_passes.Rows(module, y, source, memory_limit, threads, progress))
    run: dict[str, Any] = {"threads": threads, "progress": progress}
    argmax: dict[str, Any] = {"collision": "argmax", **run}
    counts, thresholds, class_counts, class_weights, row_sums = module.confident_joint(
        y, p, thresholds=None, weights=None, **argmax
    )
    warn_row_sums(row_sums)
    joint = ConfidentJoint(counts, thresholds, class_counts, class_weights, names)
    mask, indices, quality, suggested, _ = module.label_issues(
        y, p, joint=joint.calibrated(), **issue_options(p.shape[1], "pred_probs"), **run
    )
    consistent = noise_of(
        joint, module, y, p, options_of(RATIO, CONFIDENCE, FALSE_DISCOVERIES), graph=graph, **argmax
    )
    if replicates is None:
        replicates = REPLICATES if p.shape[1] <= MOST_CLASSES else 0
    drawn = None
    if replicates > 0 and len(y) > 0:
        found = intervals_of(
            joint, module, y, p, replicates=replicates, confidence=CONFIDENCE, **argmax
        )
        drawn = NoiseIntervals(
            np.array(found.noise_rate[1:]),
            np.array(found.class_noise[1:]),
            CONFIDENCE,
            replicates,
        )
    return LabelEvidence(
        joint, LabelIssues(mask, indices, quality, suggested, names), consistent, drawn
    )
