"""Confident learning: the joint of given and true labels, the quality of labels, and which are likely wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _backend, _check, _device, joint_passes, sources
from .checkpoint import Checkpoint, stamp, version
from .joint_options import (
    COLLISIONS,
    PRUNE_FILTERS,
    QUALITIES,
    calibrated_counts,
    check_adjust,
    inputs,
    issue_options,
    rows_inputs,
    threshold_values,
    warn_row_sums,
)
from .joint_results import ConfidentJoint, LabelIssues
from .passes import check_executor


def confident_joint(
    labels: ArrayLike,
    pred_probs: ArrayLike,
    *,
    thresholds: ArrayLike | None = None,
    collision: str = "argmax",
    weights: ArrayLike | None = None,
    class_names: object = None,
    backend: str = "auto",
    threads: int = 0,
    progress: _check.Progress = None,
    memory_limit: int | str | None = None,
    executor: object = None,
    resume: object = None,
) -> ConfidentJoint:
    """Count the rows of each given class that confidently belong to each true class.

    A row confidently belongs to a class where its probability reaches the class's threshold (less 1e-6): the mean
    probability of the class over the rows labelled with it.

    Parameters
    ----------
    labels : (n,) whole numbers in [0, n_classes), or strings
        Given labels, or the path of a file that holds them.
    pred_probs : (n, n_classes) float16, float32 or float64
        Out-of-sample predicted probabilities, in any memory layout; not copied. Or a path or a `Source`, read in
        blocks: they need not fit in memory. Or on a CUDA device, bfloat16 too, and read there with backend "auto" or
        "cuda": what tells of itself by DLPack or `__cuda_array_interface__`, as CuPy's and PyTorch's arrays do. Labels
        and weights on a device are brought to the host.
    thresholds : (n_classes,) numbers, optional
        Thresholds to use instead of the classes' means.
    collision : {"argmax", "confident"}
        What a row counts as that is confident of several classes: its most probable class, confident or not (as
        cleanlab does), or the most probable of the confident ones (as the paper does).
    weights : (n,) numbers in [0, 2^31), optional
        What each row counts; thresholds become weighted means. A weight of 2 is the row twice.
    class_names : sequence of str, optional
        Names of the classes in the order of the columns; without, strings in `labels` are sorted.
    backend, threads, progress
        As everywhere: where to run, on how many threads (0: all), and a callable (stage, done, total).
    memory_limit : int or str, optional
        Bytes, or such as "2GB", that the call's tables of classes, its lists of rows that a filter may take and its
        blocks of `pred_probs` may hold; the pages of a memory-mapped array are given back. Labels in memory and results
        come on top. The result is the same to the bit.
    executor : optional
        What has `submit(function, *arguments)`, such as those of concurrent.futures or of a Dask client: ranges of the
        rows of a path or a source are counted there, each with `memory_limit` and on `threads` (0: one). The result is
        the same to the bit.
    resume : path, optional
        A folder of this call alone, made if it is not there, in which it keeps what it has finished: the same call, ended
        at any moment, goes on from there, with the same bits. `memory_limit`, `threads` and `executor` may differ. What is
        in memory is told by its content, a file by path, size, time and inode. Not for backend="reference". When the call
        is over, remove the folder.

    Returns
    -------
    ConfidentJoint

    Raises
    ------
    TypeError, ValueError
        Where `resume` is of another call (says what differs), or an argument does not fit, naming it with the first bad row, its value and how many there are: a label
        out of range, a probability that is NaN or outside [-1e-6, 1 + 1e-6], a negative weight, lengths that differ.
    OSError
        Where a file cannot be read: CorruptFileError where it does not hold what it says, SourceChangedError where it
        is not what it was when the call began; where `resume` is in use by another process.
    BackendError
        Where the backend cannot run.

    Warns
    -----
    UserWarning
        Once, where rows of `pred_probs` do not sum to 1 within 1e-3.

    References
    ----------
    Northcutt, Jiang and Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels", JAIR 70 (2021).

    Examples
    --------
    >>> import dqcore as dq
    >>> p = [[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.8, 0.2]]
    >>> joint = dq.confident_joint([0, 0, 1, 1], p)
    >>> joint.counts
    array([[1, 0],
           [0, 1]])
    >>> joint.thresholds
    array([0.85, 0.55])
    """
    module = _backend.load(backend, labels, pred_probs)
    labels, weights = (
        _device.column(module, "labels", labels),
        _device.column(module, "weights", weights),
    )
    pred_probs = _device.matrix(module, "pred_probs", pred_probs)
    y, p, names = rows_inputs(labels, pred_probs, class_names)
    t = None if thresholds is None else threshold_values("thresholds", thresholds, p.shape[1])
    _check.choice("collision", collision, COLLISIONS)
    weights = sources.loaded("weights", weights)
    w = None if weights is None else _check.weights("weights", weights, len(y))
    parameters = {"function": "confident_joint", "collision": collision, "thresholds": stamp(t)}
    rows = _rows(module, y, p, w, threads, progress, memory_limit, executor, resume, parameters)
    if isinstance(rows, joint_passes.Rows):
        result = joint_passes.confident_joint(rows, thresholds=t, collision=collision)
    else:
        result = module.confident_joint(
            y,
            rows,
            thresholds=t,
            collision=collision,
            weights=w,
            threads=threads,
            progress=progress,
        )
    counts, found, class_counts, class_weights, row_sums = result
    warn_row_sums(row_sums)
    return ConfidentJoint(counts, found, class_counts, class_weights, names)


def _rows(
    module: Any,  # noqa: ANN401
    labels: NDArray[np.int32],
    pred_probs: NDArray[Any] | sources.Source,
    weights: NDArray[np.float64] | None,
    threads: object,
    progress: object,
    memory_limit: object,
    executor: object,
    resume: object,
    parameters: dict[str, Any],
) -> Any:  # noqa: ANN401
    """Return the rows to go over in blocks, or the probabilities as an array where blocks are not wanted."""
    count, tell = _check.run_options(threads, progress)
    limit = _check.memory("memory_limit", memory_limit)
    check_executor(executor)
    if not joint_passes.supports(module):
        if executor is not None:
            raise ValueError("executor needs backend='cpu'")
        if resume is not None:
            raise ValueError("resume needs backend='cpu'")
        return pred_probs._load() if isinstance(pred_probs, sources.Source) else pred_probs
    if isinstance(pred_probs, sources.Source):
        source = pred_probs
    elif limit is None and executor is None and resume is None:
        return pred_probs
    else:
        source = sources.ArrayRows(pred_probs)
    rows = joint_passes.Rows(module, labels, source, limit, count, tell, weights, executor)
    if resume is not None:
        call = {
            "version": version(),
            "pred_probs": source._stamp(),
            "labels": stamp(labels),
            "weights": stamp(weights),
            "parameters": parameters,
        }
        rows.checkpoint = Checkpoint(resume, call)
    return rows


def label_quality(
    labels: ArrayLike,
    pred_probs: ArrayLike,
    *,
    method: str = "self_confidence",
    adjust: bool = False,
    class_names: object = None,
    backend: str = "auto",
    threads: int = 0,
    progress: _check.Progress = None,
) -> NDArray[np.float64]:
    """Score how much the predictions agree with each given label.

    Parameters
    ----------
    labels, pred_probs, class_names, backend, threads, progress
        As for `confident_joint`. A score reads, and checks, only the probabilities that it needs.
    method : {"self_confidence", "normalized_margin", "confidence_weighted_entropy"}
        The probability p of the given label; (p - greatest other probability + 1) / 2, where a single class has the
        rival 0; ln(1 + q) / q with q the entropy over ln(n_classes), divided by p (at least 1e-6), and 1, its limit,
        where q is below 1e-6.
    adjust : bool
        First take each class's threshold off its probabilities, add the greatest threshold and rescale rows to sum
        to 1, so that rare classes are not all suspect. A row that then has no mass scores as if all were 0. Not for
        the entropy.

    Returns
    -------
    (n,) float64
        Higher is better; in [0, 1] for probabilities in [0, 1]. Where `pred_probs` is on a device, an array there, of
        the same library.

    Raises
    ------
    TypeError, ValueError
        As for `confident_joint`, and where `adjust` is asked for with the entropy.
    BackendError
        Where the backend cannot run.

    References
    ----------
    Kuan and Mueller, "Model-agnostic label quality scoring to detect real-world label errors", ICML DataPerf workshop
    (2022).

    Examples
    --------
    >>> import dqcore as dq
    >>> dq.label_quality([0, 1], [[0.75, 0.25], [0.75, 0.25]], method="normalized_margin")
    array([0.75, 0.25])
    """
    module = _backend.load(backend, labels, pred_probs)
    labels = _device.column(module, "labels", labels)
    y, p, _ = inputs(labels, _device.matrix(module, "pred_probs", pred_probs), class_names)
    _check.choice("method", method, QUALITIES)
    check_adjust("method", method, _check.flag("adjust", adjust))
    threads, progress = _check.run_options(threads, progress)
    quality = module.label_quality(
        y, p, method=method, adjust=adjust, threads=threads, progress=progress
    )
    result: NDArray[np.float64] = _device.as_given(pred_probs, quality)
    return result


def label_issues(
    labels: ArrayLike,
    pred_probs: ArrayLike,
    *,
    filter_by: str = "prune_by_noise_rate",
    rank_by: str = "self_confidence",
    joint: ConfidentJoint | ArrayLike | None = None,
    collision: str = "argmax",
    frac_noise: float = 1.0,
    num_to_remove_per_class: ArrayLike | None = None,
    min_examples_per_class: int = 1,
    adjust: bool = False,
    class_names: object = None,
    backend: str = "auto",
    threads: int = 0,
    progress: _check.Progress = None,
    memory_limit: int | str | None = None,
    executor: object = None,
    resume: object = None,
) -> LabelIssues:
    """Find the rows whose given label is likely wrong, worst first.

    Parameters
    ----------
    labels, pred_probs, class_names, backend, threads, progress, memory_limit, executor, resume
        As for `confident_joint`.
    filter_by : str
        How rows are chosen. By the calibrated joint: "prune_by_noise_rate" takes, for each given class k and true
        class j, as many rows as the joint says, those with the largest p[j] - p[k]; "prune_by_class" takes from each
        given class as many as the joint says, those with the least p[k]; "both" what both take. By each row:
        "confident_learning" takes rows confident of another class; "predicted_neq_given" rows whose most probable
        class is another. By score: "low_self_confidence" and "low_normalized_margin" take as many of the lowest as
        "confident_learning" would take. But for the last two, no row is taken whose given label would be the most
        probable with 1e-6 more.
    rank_by : str
        The score that orders `indices`: a `method` of `label_quality`.
    joint : ConfidentJoint or (n_classes, n_classes) calibrated counts, optional
        What the prune filters go by, instead of the joint of the data; the other filters do not look at it.
    collision : {"argmax", "confident"}
        As for `confident_joint`.
    frac_noise : float in [0, 1]
        Share of the estimated errors that the prune filters take.
    num_to_remove_per_class : (n_classes,) whole numbers, optional
        How many rows of each given class the prune filters take (before rows are spared whose label is as probable
        as any): exactly with "prune_by_class", nearly, by cleanlab's rule, with "prune_by_noise_rate".
    min_examples_per_class : int
        Rows that the prune filters leave in each given class; a class with no more is left alone.
    adjust : bool
        Rank by adjusted probabilities, as for `label_quality`.

    Returns
    -------
    LabelIssues

    Raises
    ------
    TypeError, ValueError
        As for `confident_joint`, and where options do not go together.
    OSError
        As for `confident_joint`.
    BackendError
        Where the backend cannot run.

    Warns
    -----
    UserWarning
        Once, where rows of `pred_probs` do not sum to 1 within 1e-3.

    References
    ----------
    Northcutt, Jiang and Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels", JAIR 70 (2021).

    Examples
    --------
    >>> import dqcore as dq
    >>> p = [[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.2, 0.8], [0.9, 0.1]]
    >>> issues = dq.label_issues(["cat", "cat", "dog", "dog", "dog"], p)
    >>> issues.indices
    array([4])
    >>> issues.class_names[issues.suggested[4]]
    'cat'
    """
    module = _backend.load(backend, labels, pred_probs)
    labels = _device.column(module, "labels", labels)
    pred_probs = _device.matrix(module, "pred_probs", pred_probs)
    y, p, names = rows_inputs(labels, pred_probs, class_names)
    options = issue_options(
        p.shape[1],
        "pred_probs",
        filter_by,
        rank_by,
        collision,
        frac_noise,
        num_to_remove_per_class,
        min_examples_per_class,
        adjust,
    )
    calibrated = None if joint is None else calibrated_counts(joint, p.shape[1])
    parameters = {
        "function": "label_issues",
        "joint": stamp(calibrated),
        **{name: stamp(v) if isinstance(v, np.ndarray) else v for name, v in options.items()},
    }
    rows = _rows(module, y, p, None, threads, progress, memory_limit, executor, resume, parameters)
    if isinstance(rows, joint_passes.Rows):
        result = joint_passes.label_issues(
            rows, joint=calibrated, options=options, prunes=filter_by in PRUNE_FILTERS
        )
    else:
        result = module.label_issues(
            y, rows, joint=calibrated, threads=threads, progress=progress, **options
        )
    mask, indices, quality, suggested, row_sums = result
    warn_row_sums(row_sums)
    return LabelIssues(mask, indices, quality, suggested, names)
