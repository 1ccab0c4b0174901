"""Labels and probabilities for the tests of the joint room, and what of them must be equal."""

import dqcore as dq
import numpy as np

FILTERS = (
    "prune_by_noise_rate",
    "prune_by_class",
    "both",
    "confident_learning",
    "predicted_neq_given",
    "low_self_confidence",
    "low_normalized_margin",
)
QUALITIES = ("self_confidence", "normalized_margin", "confidence_weighted_entropy")


def smooth(rng, n, n_classes, sharpness=0.3):
    """Probabilities without ties, labels drawn from them."""
    p = rng.dirichlet(np.full(n_classes, sharpness), n)
    labels = (p.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1)
    return np.minimum(labels, n_classes - 1), p


def coarse(rng, n, n_classes, parts=16):
    """Probabilities in whole sixteenths: ties everywhere, exact in every dtype."""
    p = rng.multinomial(parts, rng.dirichlet(np.full(n_classes, 0.4), n)) / parts
    labels = np.where(rng.random(n) < 0.7, p.argmax(axis=1), rng.integers(0, n_classes, n))
    return labels, p


def same(a, b):
    """Equal bits, dtypes and shapes of two results, whatever class or tuple they come in."""
    if isinstance(a, np.ndarray):
        np.testing.assert_array_equal(a, b, strict=True)
        assert a.tobytes() == b.tobytes()  # zeros have a sign
    elif isinstance(a, tuple):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            same(x, y)
    elif hasattr(a, "__dict__"):
        same(tuple(vars(a).values()), tuple(vars(b).values()))
    else:
        assert a == b


def everything(labels, p, **run):
    """Each public function with each of its methods and filters."""
    result = {}
    for collision in ("argmax", "confident"):
        result[collision] = dq.confident_joint(labels, p, collision=collision, **run)
    for method in QUALITIES:
        result[method] = dq.label_quality(labels, p, method=method, **run)
    for method in QUALITIES[:2]:
        result["adjusted " + method] = dq.label_quality(
            labels, p, method=method, adjust=True, **run
        )
    for i, filter_by in enumerate(FILTERS):
        result[filter_by] = dq.label_issues(
            labels, p, filter_by=filter_by, rank_by=QUALITIES[i % 3], **run
        )
    result["adjusted"] = dq.label_issues(
        labels, p, filter_by="low_self_confidence", adjust=True, collision="confident", **run
    )
    result["fraction"] = dq.label_issues(labels, p, filter_by="both", frac_noise=0.4, **run)
    remove = np.arange(p.shape[1]) % 4
    result["remove"] = dq.label_issues(
        labels, p, filter_by="both", num_to_remove_per_class=remove, min_examples_per_class=2, **run
    )
    return result


def same_everything(labels, p, q=None, **run):
    """The run's results for `q` (or `p`) equal the reference's for `p`."""
    expected = everything(labels, p, backend="reference")
    found = everything(labels, p if q is None else q, **run)
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        try:
            same(value, found[name])
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from error
