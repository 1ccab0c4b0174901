"""Out-of-sample probabilities by cross-validation, as `cleanlab.count` estimates them; wants scikit-learn."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ._inputs import Anything, Array, _of_pandas, labels_array, wanted

Floats = NDArray[np.float64]


def _rows(x: Anything, rows: NDArray[np.int64]) -> Anything:
    if _of_pandas(x, "DataFrame") or _of_pandas(x, "Series"):
        return x.iloc[rows]
    try:
        return x[rows]
    except Exception as error:
        raise ValueError(
            "X cannot be split by rows; do the cross-validation yourself and pass out-of-sample pred_probs"
        ) from error


def _with_row(to: Anything, x: Anything, row: int) -> Anything:
    """Return `to` with one row of `x` more."""
    extra = _rows(x, np.array([row]))
    if isinstance(to, np.ndarray):
        return np.concatenate([to, extra])
    if _of_pandas(to, "DataFrame") or _of_pandas(to, "Series"):
        return wanted("pandas", "cross-validation").concat([to, extra]).reset_index(drop=True)
    return wanted("scipy.sparse", "cross-validation").vstack([to, extra]).tocsr()


def _check_features(x: Anything, n: int) -> None:
    if x is None:
        raise ValueError("Data features X cannot be None. Currently X is None.")
    shape = getattr(x, "shape", None)
    if shape is None and not hasattr(x, "__len__"):
        raise TypeError("Data features X must support either: len(X) or X.shape[0]")
    rows = len(x) if shape is None else shape[0]
    if rows != n:
        raise ValueError(
            f"X and labels must be same length, but X is length {rows} and labels is length {n}."
        )


def _fold(
    clf: Anything,
    x: tuple[Anything, Anything],
    y: tuple[Array, Array],
    n_classes: int,
    clf_kwargs: dict[str, Anything],
    validation_func: Callable[..., dict[str, Anything]] | None,
) -> Array:
    """Fit on the first of `x` and `y`, and return probabilities of the second.

    A class without rows in the first is lent one of the second, which is then told to be of that class.
    """
    (train, held), (y_train, y_held) = x, y
    missing = sorted(set(range(n_classes)) - set(y_train.tolist()))
    lent = {}
    if missing:
        warnings.warn(
            "Duplicated some data across multiple folds to ensure training does not fail because these "
            f"classes do not have enough data for proper cross-validation: {set(missing)}.",
            stacklevel=4,
        )
    for c in missing:
        lent[c] = int(np.flatnonzero(y_held == c)[0])
        train = _with_row(train, held, lent[c])
        y_train = np.append(y_train, y_held[lent[c]])
    extra = {}
    if callable(validation_func):
        extra = validation_func(held, y_held)
    elif validation_func is not None:
        raise TypeError("validation_func must be callable function with args: X_val, y_val")
    clf.fit(train, y_train, **clf_kwargs, **extra)
    result: Array = clf.predict_proba(held)
    for c, row in lent.items():
        result[row] = np.eye(n_classes)[c]
    return result


def estimate_confident_joint_and_cv_pred_proba(
    X: Anything,
    labels: Anything,
    clf: Anything = None,
    *,
    cv_n_folds: int = 5,
    thresholds: Anything = None,
    seed: int | None = None,
    calibrate: bool = True,
    clf_kwargs: dict[str, Anything] = {},  # noqa: B006 - cleanlab's default; never written to
    validation_func: Callable[..., dict[str, Anything]] | None = None,
) -> tuple[NDArray[np.int64], Floats]:
    """Return the confident joint and out-of-sample probabilities; `clf` None is LogisticRegression(solver="lbfgs")."""
    from .count import compute_confident_joint

    y = labels_array(labels)
    if (y == y[0]).all():
        raise ValueError("labels must contain at least 2 classes")
    _check_features(X, len(y))
    base = wanted("sklearn.base", "cross-validation")
    selection = wanted("sklearn.model_selection", "cross-validation")
    if clf is None:
        clf = wanted("sklearn.linear_model", "cross-validation").LogisticRegression(solver="lbfgs")
    n_classes = len(np.unique(y))
    folds = selection.StratifiedKFold(n_splits=cv_n_folds, shuffle=True, random_state=seed)
    pred_probs = np.zeros((len(y), n_classes))
    for train, held in folds.split(X=y, y=y):
        try:
            fresh = base.clone(clf)
        except Exception as error:
            raise ValueError(
                "`clf` must be clonable via: sklearn.base.clone(clf); else do the cross-validation yourself "
                "and pass out-of-sample pred_probs"
            ) from error
        pred_probs[held] = _fold(
            fresh,
            (_rows(X, train), _rows(X, held)),
            (y[train], y[held]),
            n_classes,
            clf_kwargs,
            validation_func,
        )
    joint = compute_confident_joint(y, pred_probs, thresholds=thresholds, calibrate=calibrate)
    return joint, pred_probs


def estimate_py_noise_matrices_and_cv_pred_proba(
    X: Anything,
    labels: Anything,
    clf: Anything = None,
    *,
    cv_n_folds: int = 5,
    thresholds: Anything = None,
    converge_latent_estimates: bool = False,
    py_method: str = "cnt",
    seed: int | None = None,
    clf_kwargs: dict[str, Anything] = {},  # noqa: B006
    validation_func: Callable[..., dict[str, Anything]] | None = None,
) -> tuple[Floats, Floats, Floats, NDArray[np.int64], Floats]:
    """Return prior, noise matrix, inverse noise matrix, confident joint and out-of-sample probabilities."""
    from .count import estimate_latent

    joint, pred_probs = estimate_confident_joint_and_cv_pred_proba(
        X,
        labels,
        clf,
        cv_n_folds=cv_n_folds,
        thresholds=thresholds,
        seed=seed,
        clf_kwargs=clf_kwargs,
        validation_func=validation_func,
    )
    latent = estimate_latent(
        joint, labels, py_method=py_method, converge_latent_estimates=converge_latent_estimates
    )
    return (*latent, joint, pred_probs)


def estimate_cv_predicted_probabilities(
    X: Anything,
    labels: Anything,
    clf: Anything = None,
    *,
    cv_n_folds: int = 5,
    seed: int | None = None,
    clf_kwargs: dict[str, Anything] = {},  # noqa: B006
    validation_func: Callable[..., dict[str, Anything]] | None = None,
) -> Floats:
    """Return out-of-sample probabilities of each class."""
    return estimate_confident_joint_and_cv_pred_proba(
        X,
        labels,
        clf,
        cv_n_folds=cv_n_folds,
        seed=seed,
        clf_kwargs=clf_kwargs,
        validation_func=validation_func,
    )[1]


def estimate_noise_matrices(
    X: Anything,
    labels: Anything,
    clf: Anything = None,
    *,
    cv_n_folds: int = 5,
    thresholds: Anything = None,
    converge_latent_estimates: bool = True,
    seed: int | None = None,
    clf_kwargs: dict[str, Anything] = {},  # noqa: B006
    validation_func: Callable[..., dict[str, Anything]] | None = None,
) -> tuple[Floats, Floats]:
    """Return the noise matrix and the inverse noise matrix."""
    found = estimate_py_noise_matrices_and_cv_pred_proba(
        X,
        labels,
        clf,
        cv_n_folds=cv_n_folds,
        thresholds=thresholds,
        converge_latent_estimates=converge_latent_estimates,
        seed=seed,
        clf_kwargs=clf_kwargs,
        validation_func=validation_func,
    )
    return found[1], found[2]
