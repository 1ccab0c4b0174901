"""Multi-label data: each class as a problem of two, and rows by their classes together."""

import dqcore as dq
import numpy as np
import pytest
from joint_cases import QUALITIES, same


def data(rng, n=300, k=4, dtype=np.float64):
    p = rng.beta(0.4, 0.7, (n, k))
    has = (rng.random((n, k)) < np.clip(p + rng.normal(0, 0.1, (n, k)), 0.02, 0.98)).astype(int)
    return has, p.astype(dtype)


def two(p, c):
    return np.stack([1 - p[:, c], p[:, c]], axis=1)


def test_a_joint_is_that_of_each_class_against_the_rest(rng):
    has, p = data(rng)
    joint = dq.multilabel_joint(has, p)
    assert len(joint) == 4
    for c in range(4):
        alone = dq.confident_joint(has[:, c], two(p, c))
        same(alone, joint.of_class(c))
        same(joint.calibrated()[c], alone.calibrated())
        assert joint.noise_rate()[c] == alone.noise_rate()
    # Index 1 is having the class.
    assert joint.class_counts[:, 1].tolist() == has.sum(axis=0).tolist()
    assert "300 rows, 4 classes" in repr(joint)
    with pytest.raises(ValueError, match="c must be in"):
        joint.of_class(4)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_the_reference_gives_the_same(rng, dtype):
    has, p = data(rng, dtype=dtype)
    for options in (
        {},
        {"filter_by": "both", "rank_by": "normalized_margin", "adjust": True, "alpha": 0.3},
        {"filter_by": "low_self_confidence", "aggregate": "softmin", "temperature": 0.01},
        {"filter_by": "confident_learning", "collision": "confident", "frac_noise": 0.5},
    ):
        expected = dq.multilabel_issues(has, p, **options, backend="reference")
        for threads in (1, 3):
            same(
                expected,
                dq.multilabel_issues(has, np.asfortranarray(p), **options, threads=threads),
            )
        scores = {k: options[k] for k in ("adjust", "aggregate", "alpha") if k in options}
        method = options.get("rank_by", "self_confidence")
        found = dq.multilabel_quality(
            has, p, method=method, temperature=options.get("temperature", 0.1), **scores
        )
        same(expected.quality, found)
    same(dq.multilabel_joint(has, p), dq.multilabel_joint(has, p, backend="reference"))


def test_rows_with_an_issue_in_any_class_are_found_and_ranked(rng):
    has, p = data(rng)
    wrong = rng.choice(300, 12, replace=False)
    p[wrong, 2] = np.where(has[wrong, 2] == 1, 0.001, 0.999)
    found = dq.multilabel_issues(has, p, filter_by="confident_learning")
    for c in range(4):
        alone = dq.label_issues(has[:, c], two(p, c), filter_by="confident_learning")
        same(alone.mask, np.ascontiguousarray(found.by_class[:, c]))
    assert found.by_class[wrong, 2].all()
    same(found.mask, found.by_class.any(axis=1))
    assert (np.diff(found.quality[found.indices]) >= 0).all()
    assert sorted(found.indices.tolist()) == np.flatnonzero(found.mask).tolist()
    assert f"{len(found)} of 300" in repr(found)


@pytest.mark.parametrize("method", QUALITIES)
def test_scores_together(rng, method):
    has, p = data(rng, n=50)
    scores = np.stack(
        [dq.label_quality(has[:, c], two(p, c), method=method) for c in range(4)], axis=1
    )
    ordered = -np.sort(-scores, axis=1)
    expected = ordered[:, 0]
    for j in range(1, 4):
        expected = 0.6 * ordered[:, j] + 0.4 * expected
    np.testing.assert_allclose(
        dq.multilabel_quality(has, p, method=method, alpha=0.6), expected, rtol=1e-12
    )
    weights = np.exp((1 - scores) / 0.2)
    expected = (scores * weights).sum(axis=1) / weights.sum(axis=1)
    found = dq.multilabel_quality(has, p, method=method, aggregate="softmin", temperature=0.2)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_what_does_not_fit_is_named(rng):
    has, p = data(rng)
    bad = has.copy()
    bad[7, 2] = 2
    with pytest.raises(ValueError, match=r"labels must be .*: row 7, column 2 is .*2"):
        dq.multilabel_joint(bad, p)
    with pytest.raises(ValueError, match=r"labels has 3 .*pred_probs has 4"):
        dq.multilabel_issues(has[:, :3], p)
    wild = p.copy()
    wild[5, 1] = 1.1
    with pytest.raises(ValueError, match=r"pred_probs must be .*: row 5, column 1"):
        dq.multilabel_quality(has, wild)
    same(dq.multilabel_joint(has.astype(bool), p), dq.multilabel_joint(has, p))
    assert len(dq.multilabel_issues(has[:0], p[:0])) == 0
