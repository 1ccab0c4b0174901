"""Consistent noise: pairs of classes that are mixed up one way, as by a wrong instruction, not as by a weak model."""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _backend, _check, _html, _stats
from .joint_options import COLLISIONS, inputs, threshold_values, warn_row_sums
from .joint_results import ConfidentJoint
from .knn import KnnGraph
from .neighbours import check_graph
from .reference import consistent as definition

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

MOST_RATIO = 1e6
_MOST_ROWS = 20  # of the table that a notebook shows

PAIR = np.dtype(
    [
        ("given", np.int64),
        ("true", np.int64),
        ("rows", np.int64),
        ("reverse", np.int64),
        ("share", np.float64),
        ("low", np.float64),
        ("high", np.float64),
        ("bowker", np.float64),
        ("p_value", np.float64),
        ("q_value", np.float64),
        ("share_of_errors", np.float64),
        ("concentration", np.float64),
        ("joins", np.int64),
        ("joins_z", np.float64),
        ("joins_p_value", np.float64),
        ("joins_q_value", np.float64),
        ("source_chi2", np.float64),
        ("source_df", np.int64),
        ("source_p_value", np.float64),
        ("source_q_value", np.float64),
        ("significant", np.bool_),
    ]
)


@dataclass(frozen=True, eq=False)
class ConsistentNoise:
    """Ordered pairs of classes with rows given the one that confidently belong to the other.

    Attributes
    ----------
    pairs : (n_pairs,) structured array
        Significant pairs first, then by the lower end of the share, highest first, then by pair. Fields:

        given, true : the classes; rows : how many; reverse : how many the other way round.
        share, low, high : rows as a share of the confident rows of the given class, with Wilson's interval.
        bowker : (rows - reverse)^2 / (rows + reverse). p_value : one-sided, exact, that the pair is more than `ratio`
        times as frequent as its reverse; q_value : by Benjamini and Hochberg, over all pairs with rows either way.
        share_of_errors : rows as a share of all that the given class has off the diagonal; concentration : of these, 1
        where all are of one true class, 0 where they are spread evenly.
        joins, joins_z, joins_p_value, joins_q_value : edges of the graph between two rows of the pair, against what
        they would be were the pair's rows drawn from the given class; NaN without a graph.
        source_chi2, source_df, source_p_value, source_q_value : whether the share differs between sources; NaN (df 0)
        without sources.
        significant : whether q_value is at most `false_discoveries`.
    confidence : float
        Of the intervals.
    ratio : float
        How many times as frequent as its reverse a confusion may be and still be the model's own.
    false_discoveries : float
        Bound of q_value: the share of the significant pairs that may be there by chance.
    class_names : tuple of str or None
        Names of the classes, where they are known.
    """

    pairs: NDArray[np.void]
    confidence: float
    ratio: float
    false_discoveries: float
    class_names: tuple[str, ...] | None = None

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.pairs)

    @property
    def n_significant(self) -> int:
        """How many pairs are significant; they come first."""
        return int(np.count_nonzero(self.pairs["significant"]))

    def __repr__(self) -> str:
        """Return the sizes, not the pairs."""
        return f"ConsistentNoise({self.n_significant} of {len(self)} pairs significant)"

    def _repr_html_(self) -> str:
        """Return the first pairs as a table, for notebooks."""
        names = ("given", "true", "rows", "reverse", "share", "low", "high", "q_value")
        rows = []
        for pair in self.pairs[:_MOST_ROWS]:
            line = [self._name(int(pair[c])) for c in names[:2]]
            line += [f"{int(pair[c]):,}" for c in names[2:4]]
            rows.append(line + [f"{pair[c]:.4g}" for c in names[4:]])
        return _html.table(names, rows, repr(self))

    def to_pandas(self) -> Any:  # noqa: ANN401
        """Return the pairs as a pandas data frame, with names of classes where they are known; wants pandas."""
        import pandas as pd

        columns: dict[str, Any] = {name: self.pairs[name] for name in PAIR.names or ()}
        for name in ("given", "true"):
            if self.class_names is not None:
                columns[name] = [self._name(c) for c in columns[name].tolist()]
        return pd.DataFrame(columns)

    def _name(self, c: int) -> str:
        return str(c) if self.class_names is None else self.class_names[c]

    @classmethod
    def from_counts(
        cls,
        counts: ArrayLike | ConfidentJoint,
        *,
        ratio: float = 2.0,
        confidence: float = 0.95,
        false_discoveries: float = 0.05,
        class_names: object = None,
    ) -> ConsistentNoise:
        """Tell consistent noise by counts alone, without the graph and the sources of the rows.

        Parameters
        ----------
        counts : (n_classes, n_classes) whole numbers, or a ConfidentJoint without weights
            Rows by [given, true], as in `ConfidentJoint.counts`.
        ratio, confidence, false_discoveries, class_names
            As for `consistent_noise`.

        Raises
        ------
        TypeError, ValueError
            Where an argument does not fit.
        """
        if isinstance(counts, ConfidentJoint):
            if counts.class_weights is not None:
                raise ValueError("counts must be without weights: tests are of whole rows")
            class_names = counts.class_names if class_names is None else class_names
            counts = counts.counts
        want = "(n_classes, n_classes) whole numbers in [0, 2^53]"
        table = _check.integers("counts", counts, want, 2)
        if table.shape[0] != table.shape[1]:
            raise ValueError(f"counts must be {want}, got shape {table.shape}")
        bad = (table < 0) | (table > 2**53)
        if bad.any():
            raise _check.first_bad("counts", table, bad, want)
        names = None
        if class_names is not None:
            names = _check.class_names("class_names", class_names, len(table), "counts")
        options = options_of(ratio, confidence, false_discoveries)
        return cls(_tested(table, options), **options, class_names=names)


def options_of(ratio: object, confidence: object, false_discoveries: object) -> dict[str, float]:
    """Return the options of the tests, checked, as `ConsistentNoise` names them."""
    return {
        "confidence": _check.number("confidence", confidence, 0.0, math.nextafter(1.0, 0.0)),
        "ratio": _check.number("ratio", ratio, 1.0, MOST_RATIO),
        "false_discoveries": _check.number("false_discoveries", false_discoveries, 0.0, 1.0),
    }


def _tested(
    counts: Counts,
    options: dict[str, float],
    joins: definition.Joins | None = None,
    class_rows: Counts | None = None,
    sources: definition.Sources | None = None,
) -> NDArray[np.void]:
    """Return the pairs with what is told of each, in order."""
    k = len(counts)
    off = np.where(np.eye(k, dtype=bool), 0, counts)
    given, true = np.nonzero(off)
    pairs = np.zeros(len(given), PAIR)
    pairs["given"], pairs["true"] = given, true
    rows, reverse = off[given, true], off[true, given]
    pairs["rows"], pairs["reverse"] = rows, reverse
    confident = counts.sum(axis=1)[given]
    pairs["share"] = rows / confident
    pairs["low"], pairs["high"] = _stats.wilson_interval(rows, confident, options["confidence"])
    _test_direction(pairs, counts, options["ratio"])
    _describe_spread(pairs, off)
    for name in ("joins_z", "joins_p_value", "joins_q_value", "source_chi2", "source_p_value"):
        pairs[name] = np.nan
    pairs["source_q_value"] = np.nan
    if joins is not None and class_rows is not None:
        _test_joins(pairs, joins, class_rows)
    if sources is not None:
        _test_sources(pairs, sources, k)
    pairs["significant"] = pairs["q_value"] <= options["false_discoveries"]
    return pairs[np.lexsort((true, given, -pairs["low"], ~pairs["significant"]))]


def _test_direction(pairs: NDArray[np.void], counts: Counts, ratio: float) -> None:
    """Test whether rows are more than `ratio` times as frequent as the reverse.

    More rows of the true class make more rows to be wrong: where it is the larger class, its size over that of the
    given class comes on top. Where it is the smaller, nothing is taken off, for a model leans to the larger class.
    """
    rows, reverse = pairs["rows"], pairs["reverse"]
    both = rows + reverse
    pairs["bowker"] = (rows - reverse).astype(np.float64) ** 2 / both
    of_class = np.maximum(counts.sum(axis=0).astype(np.float64), 1.0)
    weight = ratio * np.maximum(of_class[pairs["true"]] / of_class[pairs["given"]], 1.0)
    pairs["p_value"] = _stats.binomial_tail(rows, both, weight / (1.0 + weight))
    # The reverse of a pair without a reverse is tested too, and its p-value is 1.
    alone = np.count_nonzero(reverse == 0)
    p = np.concatenate([pairs["p_value"], np.ones(alone)])
    pairs["q_value"] = _stats.benjamini_hochberg(p)[: len(pairs)]


def _describe_spread(pairs: NDArray[np.void], off: Counts) -> None:
    """Tell how the errors of each given class are spread over the true classes."""
    k = len(off)
    errors = off.sum(axis=1)
    pairs["share_of_errors"] = pairs["rows"] / errors[pairs["given"]]
    concentration = np.ones(k)
    if k > 2:
        most = _stats.entropy(np.ones(k - 1))
        for c in np.flatnonzero(errors):
            concentration[c] = max(0.0, 1.0 - _stats.entropy(off[c][off[c] > 0]) / most)
    pairs["concentration"] = concentration[pairs["given"]]


def _test_joins(pairs: NDArray[np.void], found: definition.Joins, class_rows: Counts) -> None:
    """Compare joins with their moments where the pair's rows are any as many of the given class.

    Source: Cliff and Ord (1981), "Spatial Processes", 2.2, sampling without replacement.
    """
    k = len(class_rows)
    given = pairs["given"]
    m, n = pairs["rows"].astype(np.float64), class_rows[given].astype(np.float64)
    s0, s1, s2 = (x[given].astype(np.float64) for x in (found.edges, found.twice, found.square))

    def chance(rows: int) -> Floats:
        result = np.ones_like(m)
        for i in range(rows):
            result = result * np.maximum(m - i, 0.0) / np.maximum(n - i, 1.0)
        return result

    joins = found.joins[given * k + pairs["true"]]
    mean = s0 * chance(2)
    square = s1 * chance(2) + (s2 - 2.0 * s1) * chance(3) + (s0 * s0 - s2 + s1) * chance(4)
    # Between two terms of this size, less than this is rounding.
    variance = square - mean * mean
    known = variance > 1e-12 * np.maximum(mean * mean, 1.0)
    z = np.where(known, (joins - mean) / np.sqrt(np.where(known, variance, 1.0)), 0.0)
    tail = 0.5 * _stats.chi_square_tail(z * z, 1.0)
    pairs["joins"], pairs["joins_z"] = joins, z
    pairs["joins_p_value"] = np.where(known, np.where(z > 0.0, tail, 1.0 - tail), 1.0)
    pairs["joins_q_value"] = _stats.benjamini_hochberg(pairs["joins_p_value"])


def _test_sources(pairs: NDArray[np.void], found: definition.Sources, k: int) -> None:
    """Test whether the pair's share of the given class's confident rows is the same in every source."""
    totals = np.bincount(found.class_of_cell, found.class_rows, minlength=k)
    n_sources = np.bincount(found.class_of_cell, minlength=k)
    place = np.full(k * k, -1, np.int64)
    place[pairs["given"] * k + pairs["true"]] = np.arange(len(pairs))
    at = place[found.pair]
    of_pair, squares = np.zeros(len(pairs)), np.zeros(len(pairs))
    np.add.at(of_pair, at, found.rows)
    np.add.at(squares, at, found.rows.astype(np.float64) ** 2 / found.total)
    total = totals[pairs["given"]]
    share = of_pair / np.maximum(total, 1.0)
    df = np.maximum(n_sources[pairs["given"]] - 1, 0)
    known = (df > 0) & (share > 0.0) & (share < 1.0)
    safe = np.where(known, share * (1.0 - share), 1.0)
    chi2 = np.where(known, np.maximum(squares - of_pair * share, 0.0) / safe, 0.0)
    pairs["source_chi2"], pairs["source_df"] = chi2, df
    tail = _stats.chi_square_tail(chi2, np.maximum(df, 1))
    pairs["source_p_value"] = np.where(known, tail, 1.0)
    pairs["source_q_value"] = _stats.benjamini_hochberg(pairs["source_p_value"])


def consistent_noise(
    labels: ArrayLike,
    pred_probs: ArrayLike,
    *,
    graph: KnnGraph | None = None,
    sources: ArrayLike | None = None,
    ratio: float = 2.0,
    thresholds: ArrayLike | None = None,
    collision: str = "argmax",
    confidence: float = 0.95,
    false_discoveries: float = 0.05,
    class_names: object = None,
    backend: str = "auto",
    threads: int = 0,
    progress: _check.Progress = None,
) -> ConsistentNoise:
    """Find the pairs of classes that labels mix up one way: given one, confidently the other, and hardly the reverse.

    Off the diagonal of a confident joint the model's own confusion and wrong labels are together. Confusion goes both
    ways; an instruction misread goes one way, often in rows that lie together or come from one source.

    Parameters
    ----------
    labels, pred_probs, thresholds, collision, class_names, backend, threads, progress
        As for `confident_joint`.
    graph : KnnGraph, optional
        Neighbours of the rows among themselves: whether rows of a pair lie together.
    sources : (n,) whole numbers or strings, optional
        Where each label comes from (annotator, batch, day); -1 where it is not known: whether the sources differ.
    ratio : float, at least 1
        How many times as frequent as its reverse a pair may be by the model's confusion; 1 tests plain symmetry, which
        any large data set breaks.
    confidence : float in [0, 1)
        Of the intervals of shares.
    false_discoveries : float in [0, 1]
        Share of the significant pairs that may be there by chance.

    Returns
    -------
    ConsistentNoise

    Raises
    ------
    TypeError, ValueError
        As for `confident_joint`, and where the graph or the sources are of other rows.
    BackendError
        Where the backend cannot run.

    Warns
    -----
    UserWarning
        Once, where rows of `pred_probs` do not sum to 1 within 1e-3.

    References
    ----------
    Bowker, "A test for symmetry in contingency tables", JASA 43 (1948); Cliff and Ord, "Spatial Processes" (1981);
    Benjamini and Hochberg, "Controlling the false discovery rate", JRSS B 57 (1995).

    Examples
    --------
    >>> import dqcore as dq
    >>> right, wrong = [[0.9, 0.1], [0.1, 0.9]] * 20, [[0.1, 0.9]] * 20
    >>> found = dq.consistent_noise([0, 1] * 20 + [0] * 20, right + wrong)
    >>> found.n_significant, int(found.pairs["given"][0]), int(found.pairs["true"][0])
    (1, 0, 1)
    """
    module = _backend.load(backend, labels, pred_probs)
    y, p, names = inputs(labels, pred_probs, class_names)
    t = None if thresholds is None else threshold_values("thresholds", thresholds, p.shape[1])
    _check.choice("collision", collision, COLLISIONS)
    options = options_of(ratio, confidence, false_discoveries)
    if graph is not None:
        check_graph(graph)
        _check.same_length("graph", len(graph.indices), "labels", len(y))
    codes = None if sources is None else _source_codes(sources, len(y))
    threads, progress = _check.run_options(threads, progress)
    run: dict[str, Any] = {"collision": collision, "threads": threads, "progress": progress}
    counts, found, class_counts, _, row_sums = module.confident_joint(
        y, p, thresholds=t, weights=None, **run
    )
    joint = ConfidentJoint(counts, found, class_counts, None, names)
    warn_row_sums(row_sums)
    return noise_of(joint, module, y, p, options, graph=graph, sources=codes, **run)


def noise_of(
    joint: ConfidentJoint,
    module: ModuleType,
    y: NDArray[np.int32],
    p: NDArray[Any],
    options: dict[str, float],
    *,
    graph: KnnGraph | None = None,
    sources: Counts | None = None,
    **run: Any,  # noqa: ANN401
) -> ConsistentNoise:
    """Return the consistent noise of `joint`, which `module` has made of labels and probabilities checked before."""
    k = joint.n_classes
    joins = by_source = None
    if graph is not None or sources is not None:
        guesses = module.confident_classes(y, p, thresholds=joint.thresholds, **run)
        pair = definition.pair_of(y, guesses, k)
        if graph is not None:
            joins = definition.join_counts(y, pair, graph.indices, k)
        if sources is not None:
            by_source = definition.source_counts(y, guesses, pair, sources, k)
    pairs = _tested(joint.counts, options, joins, joint.class_counts, by_source)
    return ConsistentNoise(pairs, **options, class_names=joint.class_names)


def _source_codes(sources: object, n: int) -> Counts:
    """Return sources numbered from 0 in order, -1 where not known."""
    codes, _ = _check.encode_labels("sources", sources, unlabelled=True)
    _check.same_length("sources", len(codes), "labels", n)
    distinct, numbered = np.unique(codes, return_inverse=True)
    return numbered.astype(np.int64) - int(len(distinct) > 0 and distinct[0] < 0)
