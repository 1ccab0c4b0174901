"""dqcore as scikit-learn estimators: the exact neighbour graph, and a detector of wrong labels.

Needs scikit-learn (`pip install '.[sklearn]'`); `import dqcore` does not load this module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _check
from .audit.audit import MOST_EUCLIDEAN_COLUMNS
from .audit.findings import LEAST_DISAGREEMENT
from .joint import label_issues
from .joint_options import FILTERS
from .joint_results import LabelIssues
from .knn import METRICS, KnnDisagreement, knn_disagreement, knn_graph

try:
    from sklearn.base import (
        BaseEstimator,
        ClassNamePrefixFeaturesOutMixin,
        TransformerMixin,
        clone,
        is_classifier,
    )
    from sklearn.model_selection import check_cv, cross_val_predict
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as error:
    raise ImportError(
        "dqcore.sklearn needs scikit-learn 1.6 or later: pip install '.[sklearn]'"
    ) from error

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

__all__ = ["ExactKNNTransformer", "LabelNoiseDetector"]

MODES = ("distance", "connectivity")


def _threads(n_jobs: object) -> int:
    """Return `threads` for scikit-learn's `n_jobs`."""
    if n_jobs is None:
        return 0
    jobs = _check.integer("n_jobs", n_jobs, -1, 2**31 - 1)
    if jobs == 0:
        raise ValueError("n_jobs must be None, -1 or at least 1, got 0")
    return max(jobs, 0)


def _features(estimator: Any, X: ArrayLike, *, reset: bool) -> NDArray[np.float32]:  # noqa: ANN401
    """Return X as finite float32, having counted its columns and kept their names as scikit-learn does."""
    checked = validate_data(estimator, X, reset=reset, dtype="numeric", order="C")
    return _check.features("X", checked)


class ExactKNNTransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Turn rows into their exact neighbours among the rows seen in `fit`.

    Like scikit-learn's `KNeighborsTransformer`, for what takes a precomputed graph (`KNeighborsClassifier`, `DBSCAN`,
    `TSNE`, `Isomap` with metric="precomputed"), with three differences: always exact, the same bits for any number of
    threads, and ties go to the lower row.

    Parameters
    ----------
    n_neighbors : int
        Neighbours of each row, at least 1.
    mode : {"distance", "connectivity"}
        What the graph's entries are: distances, with one neighbour more, since each row of `fit` counts as its own;
        or ones.
    metric : {"euclidean", "cosine"}
        Cosine distance is 1 - cos, in [0, 2].
    n_jobs : int, optional
        Threads; None and -1 are all that the process may use. No result depends on it.

    Attributes
    ----------
    n_features_in_ : int
        Columns seen in `fit`.
    feature_names_in_ : (n_features_in_,) array of str
        Their names, where they all have some.
    n_samples_fit_ : int
        Rows seen in `fit`.

    See Also
    --------
    dqcore.knn_graph : The graph of rows among themselves, each left out of its own neighbours, as Datalab wants it.

    Examples
    --------
    >>> from dqcore.sklearn import ExactKNNTransformer
    >>> graph = ExactKNNTransformer(n_neighbors=1).fit_transform([[0.0], [1.0], [5.0]])
    >>> graph.toarray()
    array([[0., 1., 0.],
           [1., 0., 0.],
           [0., 4., 0.]], dtype=float32)
    """

    def __init__(
        self,
        *,
        n_neighbors: int = 5,
        mode: str = "distance",
        metric: str = "euclidean",
        n_jobs: int | None = None,
    ) -> None:
        self.n_neighbors = n_neighbors
        self.mode = mode
        self.metric = metric
        self.n_jobs = n_jobs

    def fit(self, X: ArrayLike, y: object = None) -> ExactKNNTransformer:  # noqa: ARG002
        """Keep the rows among which neighbours are sought.

        Parameters
        ----------
        X : (n_samples, n_features) array_like
            Finite numbers, each rounded once to float32.
        y : ignored

        Raises
        ------
        TypeError, ValueError
            Where X or a parameter does not fit, or there are fewer rows than neighbours.
        """
        rows = _features(self, X, reset=True)
        k = self._k()
        _check.choice("metric", self.metric, METRICS)
        _threads(self.n_jobs)
        if k > len(rows):
            raise ValueError(
                f"n_neighbors={self.n_neighbors} with mode={self.mode!r} wants {k} rows, but n_samples = {len(rows)}"
            )
        self._rows = rows
        self.n_samples_fit_ = self._n_features_out = len(rows)
        return self

    def transform(self, X: ArrayLike) -> csr_matrix:
        """Return the neighbours of each row of X among the rows of `fit`.

        Parameters
        ----------
        X : (n_queries, n_features) array_like

        Returns
        -------
        scipy.sparse CSR matrix (n_queries, n_samples_fit_)
            n_neighbors entries a row ("distance": one more), nearest first; zeros are explicit.
        """
        check_is_fitted(self)
        queries = _features(self, X, reset=False)
        graph = knn_graph(
            self._rows,
            self._k(),
            metric=self.metric,
            queries=queries,
            threads=_threads(self.n_jobs),
        ).to_csr()
        if self.mode == "connectivity":
            graph.data = np.ones_like(graph.data)
        return graph

    def _k(self) -> int:
        extra = _check.choice("mode", self.mode, MODES) == "distance"
        return _check.integer("n_neighbors", self.n_neighbors, 1) + extra

    def __sklearn_tags__(self) -> Any:  # noqa: ANN401
        """Return what scikit-learn's checks go by."""
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags


class LabelNoiseDetector(BaseEstimator):  # type: ignore[misc]
    """Find the rows whose label is likely wrong.

    With an `estimator`, by confident learning on its cross-validated probabilities; without, by the labels of each row's
    exact neighbours.

    Parameters
    ----------
    estimator : classifier with `predict_proba`, optional
        Cross-validated on (X, y), so that no row is judged by a model that has seen its label.
    cv : int, splitter or iterable
        As for `cross_val_predict`.
    filter_by : str
        With an estimator, how rows are chosen; see `dqcore.label_issues`.
    n_neighbors : int
        Without an estimator, neighbours that vote on each row; at most all others do.
    metric : {None, "euclidean", "cosine"}
        Without an estimator; None is cosine above 3 columns, else euclidean.
    n_jobs : int, optional
        Threads, and jobs of the cross-validation. None: all threads that the process may use, one job.

    Attributes
    ----------
    is_issue_ : (n_samples,) bool
        Whether the label is likely wrong.
    label_quality_ : (n_samples,) float64
        In [0, 1], lower is worse: the probability of the given label, or the share of the neighbours' votes for it.
    suggested_labels_ : (n_samples,) array
        The label that the evidence favours, of the kind of `y`.
    ranking_ : (n_issues,) int64
        The rows flagged, worst first, ties by row.
    classes_ : (n_classes,) array
        The labels that occur, sorted.
    pred_probs_ : (n_samples, n_classes) float64
        The probabilities used; only with an estimator.
    n_features_in_ : int
        Columns seen in `fit`.

    References
    ----------
    Northcutt, Jiang, Chuang (2021), "Confident learning: estimating uncertainty in dataset labels", JAIR 70.
    Wilson (1972), "Asymptotic properties of nearest neighbor rules using edited data", IEEE Trans. SMC 2(3).

    Examples
    --------
    >>> from dqcore.sklearn import LabelNoiseDetector
    >>> X = [[0.0], [0.1], [0.2], [0.3], [9.0], [9.1], [9.2], [9.3]]
    >>> y = ["cat", "cat", "cat", "dog", "dog", "dog", "dog", "dog"]
    >>> found = LabelNoiseDetector(n_neighbors=3).fit(X, y)
    >>> found.ranking_, str(found.suggested_labels_[3])
    (array([3]), 'cat')
    """

    def __init__(
        self,
        estimator: object = None,
        *,
        cv: object = 5,
        filter_by: str = "prune_by_noise_rate",
        n_neighbors: int = 10,
        metric: str | None = None,
        n_jobs: int | None = None,
    ) -> None:
        self.estimator = estimator
        self.cv = cv
        self.filter_by = filter_by
        self.n_neighbors = n_neighbors
        self.metric = metric
        self.n_jobs = n_jobs

    def fit(self, X: ArrayLike, y: ArrayLike) -> LabelNoiseDetector:
        """Judge every label of y.

        Parameters
        ----------
        X : (n_samples, n_features) array_like
            Finite numbers.
        y : (n_samples,) array_like
            Labels: numbers or strings, of at least one class.

        Raises
        ------
        TypeError, ValueError
            Where X, y or a parameter does not fit.
        """
        rows, labels = validate_data(self, X, y, dtype="numeric", order="C")
        check_classification_targets(labels)
        _check.choice("filter_by", self.filter_by, FILTERS)
        threads = _threads(self.n_jobs)
        self.classes_, places = np.unique(labels, return_inverse=True)
        codes: NDArray[np.int32] = places.astype(np.int32)
        found: LabelIssues | KnnDisagreement
        if self.estimator is None:
            found = self._by_neighbours(_check.features("X", rows), codes, threads)
            flagged = (found.suggested != codes) & (found.score > LEAST_DISAGREEMENT)
            quality = 1.0 - found.score
        else:
            self.pred_probs_ = self._probabilities(rows, codes)
            found = label_issues(codes, self.pred_probs_, filter_by=self.filter_by, threads=threads)
            flagged, quality = found.mask, found.quality
        self.is_issue_: NDArray[np.bool_] = flagged
        self.label_quality_: NDArray[np.float64] = quality
        self.suggested_labels_: NDArray[Any] = self.classes_[found.suggested]
        issues = np.flatnonzero(flagged)
        self.ranking_: NDArray[np.int64] = issues[np.argsort(quality[issues], kind="stable")]
        return self

    def fit_predict(self, X: ArrayLike, y: ArrayLike) -> NDArray[np.bool_]:
        """Judge every label of y and return `is_issue_`."""
        return self.fit(X, y).is_issue_

    def _by_neighbours(
        self, rows: NDArray[np.float32], codes: NDArray[np.int32], threads: int
    ) -> KnnDisagreement:
        k = _check.integer("n_neighbors", self.n_neighbors, 1)
        metric = self.metric
        if metric is None:
            metric = "euclidean" if rows.shape[1] <= MOST_EUCLIDEAN_COLUMNS else "cosine"
        if len(rows) < 2:
            raise ValueError(f"X must have at least 2 rows, but n_samples = {len(rows)}")
        graph = knn_graph(rows, min(k, len(rows) - 1), metric=metric, threads=threads)
        return knn_disagreement(codes, graph, n_classes=len(self.classes_), threads=threads)

    def _probabilities(self, rows: NDArray[Any], codes: NDArray[np.int32]) -> NDArray[np.float64]:
        usable = hasattr(self.estimator, "predict_proba") and is_classifier(self.estimator)
        if not usable:
            raise TypeError(
                "estimator must be a classifier with predict_proba, "
                f"got {_check.shown(self.estimator)}"
            )
        folds = check_cv(self.cv, codes, classifier=True)
        found: NDArray[np.float64] = cross_val_predict(
            clone(self.estimator), rows, codes, cv=folds, method="predict_proba", n_jobs=self.n_jobs
        )
        return found

    def __sklearn_tags__(self) -> Any:  # noqa: ANN401
        """Return what scikit-learn's checks go by."""
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags
