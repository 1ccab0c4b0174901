"""More like this: given rows confirmed wrong, the rows that most likely have the same mistake."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _check
from .knn import KnnGraph
from .neighbours import check_graph
from .reference import similar as definition


@dataclass(frozen=True, eq=False)
class SimilarRows:
    """Rows that most likely have the same mistake as confirmed ones, the most similar first.

    Attributes
    ----------
    rows : (r,) int64
        Row numbers.
    score : (r,) float64
        How similar, in [0, 1], falling; ties by row.
    true_labels : (r,) int32
        What the row would be if it has the mistake.
    distance : (r,) float64
        Along the graph to the nearest confirmed row with that mistake; infinity beyond four steps.
    """

    rows: NDArray[np.int64]
    score: NDArray[np.float64]
    true_labels: NDArray[np.int32]
    distance: NDArray[np.float64]

    def __len__(self) -> int:
        """Return the number of rows found."""
        return len(self.rows)

    def __repr__(self) -> str:
        """Return the number of rows, and the first."""
        first = ", ".join(str(row) for row in self.rows[:5].tolist())
        return f"SimilarRows({len(self)} rows: {first}{', ...' if len(self) > 5 else ''})"


def find_similar(
    rows: ArrayLike,
    labels: ArrayLike,
    graph: KnnGraph,
    *,
    true_labels: ArrayLike,
    suggested: ArrayLike | None = None,
    quality: ArrayLike | None = None,
    n: int = 20,
) -> SimilarRows:
    """Rank the rows most like some that are confirmed wrong: more of the same mistake.

    A mistake is a pair: the label a row was given, and its true one. Candidates are the other rows with a confirmed row's
    given label. A candidate's score is the mean of

    - the share of its neighbours that have the true label, confirmed rows counting as corrected;
    - exp(-distance / s): the distance is that along the graph, at most four steps in either direction, to the
      nearest row confirmed to have that mistake, and s the median distance to the k-th neighbour;
    - with `suggested`: 1 - quality where the true label is the suggested one (1 without `quality`), else 0.

    Of several mistakes with the same given label the best counts.

    Parameters
    ----------
    rows : (m,) array_like of int
        Rows confirmed to have a wrong label, each once.
    labels : (n_rows,) array_like of int
        Given labels; -1 for unlabelled, which has no vote.
    graph : KnnGraph
        Neighbours of the rows among themselves, as `knn_graph` finds them.
    true_labels : (m,) array_like of int, or one int
        What the confirmed rows truly are.
    suggested : (n_rows,) array_like of int, optional
        A label suggested for each row by other evidence than the graph, such as `label_issues(...).suggested`; -1 for
        none.
    quality : (n_rows,) array_like of float, optional
        How far the given label is trusted, in [0, 1], such as `label_issues(...).quality`; with `suggested` only.
    n : int
        At most this many rows are given back.

    Returns
    -------
    SimilarRows
        `rows`, `score`, `true_labels` and `distance`, the most similar first. The same bits everywhere.

    Raises
    ------
    TypeError
        Where an argument has a wrong type or dtype.
    ValueError
        Where a row is out of range, there twice, unlabelled or already has its true label, or lengths differ.

    References
    ----------
    Evidence from corrected neighbours: Zhu and Ghahramani (2002), "Learning from labeled and unlabeled data with label
    propagation", CMU-CALD-02-107, one step of it.

    Examples
    --------
    Of rows labelled 1 among rows labelled 0, one is confirmed; the other one like it is found, and then the rest.

    >>> import dqcore as dq
    >>> graph = dq.knn_graph([[0.0], [1.0], [2.0], [3.0], [4.0], [50.0], [51.0], [52.0]], k=2)
    >>> found = dq.find_similar([1], [0, 1, 0, 1, 0, 1, 1, 1], graph, true_labels=[0])
    >>> found.rows, found.distance
    (array([3, 5, 6, 7]), array([ 2., inf, inf, inf]))
    """
    check_graph(graph)
    y = _check.labels("labels", labels, None, unlabelled=True)
    _check.same_length("labels", len(y), "graph", len(graph))
    confirmed = check_rows(rows, y)
    truth = _truth(true_labels, y[confirmed])
    other = None
    if suggested is not None:
        other = _check.labels("suggested", suggested, None, unlabelled=True)
        _check.same_length("suggested", len(other), "labels", len(y))
    trust = None if quality is None else _quality(quality, suggested, len(y))
    most = _check.integer("n", n, 0)
    return SimilarRows(
        *definition.find_similar(
            confirmed, y, graph, true_labels=truth, suggested=other, quality=trust, n=most
        )
    )


def check_rows(rows: ArrayLike, y: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return row numbers, each once, of rows that have a label."""
    want = f"(m,) row numbers in [0, {len(y) - 1}], each once"
    found = _check.integers("rows", rows, want)
    bad = (found < 0) | (found >= len(y))
    if bad.any():
        raise _check.first_bad("rows", found, bad, want)
    twice = np.ones(len(found), bool)
    twice[np.unique(found, return_index=True)[1]] = False
    if twice.any():
        raise _check.first_bad("rows", found, twice, want)
    bare = y[found] < 0
    if bare.any():
        raise _check.first_bad("rows", found, bare, "rows that have a label")
    return found


def _quality(quality: ArrayLike, suggested: object, n: int) -> NDArray[np.float64]:
    want = "(n_rows,) numbers in [0, 1]"
    if suggested is None:
        raise ValueError("quality needs suggested: it says how far that is to be believed")
    values = _check.array("quality", quality, 1, want)
    if values.dtype.kind not in "iuf":
        raise TypeError(f"quality must be {want}, got dtype {values.dtype}")
    _check.same_length("quality", len(values), "labels", n)
    bad = ~((values >= 0) & (values <= 1))
    if bad.any():
        raise _check.first_bad("quality", values, bad, want)
    return _check.contiguous(values, np.float64)


def _truth(true_labels: ArrayLike, given: NDArray[np.int32]) -> NDArray[np.int32]:
    if isinstance(true_labels, int | np.integer):
        one = _check.integer("true_labels", true_labels, 0, _check.MOST_CLASSES - 1)
        truth = np.full(len(given), one, np.int32)
    else:
        truth = _check.labels("true_labels", true_labels, None)
        _check.same_length("true_labels", len(truth), "rows", len(given))
    same = truth == given
    if same.any():
        raise _check.first_bad("true_labels", truth, same, "other labels than the given ones")
    return truth
