"""A memory limit changes what is held, never what is found."""

import mmap

import dqcore as dq
import numpy as np
import pytest
from joint_cases import FILTERS, coarse, same, smooth

N, CLASSES = 700, 6
# Of each dtype, a few rows in a piece: what the tables need, and some.
TIGHT = (1 << 20) + 24 * CLASSES**2 + 200 * 8 * CLASSES


@pytest.fixture(params=[np.float32, np.float64, np.float16], ids=lambda t: np.dtype(t).name)
def data(request, rng):
    labels, p = coarse(rng, N, CLASSES)
    return labels, p.astype(request.param)


@pytest.mark.threads
@pytest.mark.parametrize("limit", [TIGHT, "2MB", "1.5GiB"])
def test_the_joint_is_the_same_to_the_bit(data, rng, limit):
    labels, p = data
    weights = rng.random(N)
    for options in ({}, {"collision": "confident"}, {"thresholds": np.full(CLASSES, 0.3)}):
        same(
            dq.confident_joint(labels, p, **options),
            dq.confident_joint(labels, p, memory_limit=limit, threads=2, **options),
        )
    more = limit if isinstance(limit, str) else limit + 32 * CLASSES**2
    same(
        dq.confident_joint(labels, p, weights=weights),
        dq.confident_joint(labels, p, weights=weights, memory_limit=more),
    )


@pytest.mark.parametrize("filter_by", FILTERS)
def test_issues_are_the_same_to_the_bit(data, filter_by):
    labels, p = data
    joint = dq.confident_joint(labels, p, thresholds=np.full(CLASSES, 0.4))
    for options in ({}, {"joint": joint}, {"rank_by": "normalized_margin", "adjust": True}):
        found = dq.label_issues(labels, p, filter_by=filter_by, memory_limit=TIGHT, **options)
        same(dq.label_issues(labels, p, filter_by=filter_by, **options), found)


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_a_memory_map_is_read_and_left_as_it_was(tmp_path, rng, mode):
    labels, p = smooth(rng, 3000, 8)
    path = tmp_path / "probabilities.npy"
    np.save(path, p.astype(np.float32))
    mapped = np.load(path, mmap_mode=mode)
    if mode == "c":
        mapped[5] = mapped[4]  # a private change, which the file does not hold
    whole = np.array(mapped)
    limit = (1 << 20) + 24 * 64 + 8 * 4 * 500
    same(dq.label_issues(labels, whole), dq.label_issues(labels, mapped, memory_limit=limit))
    same(dq.confident_joint(labels, whole), dq.confident_joint(labels, mapped, memory_limit=limit))
    np.testing.assert_array_equal(mapped, whole)


def test_a_private_map_that_is_no_memmap_keeps_its_changes(tmp_path, rng):
    labels, p = smooth(rng, 3000, 8)
    path = tmp_path / "probabilities"
    path.write_bytes(p.astype(np.float32).tobytes())
    with path.open("rb") as file:
        view = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    mapped = np.frombuffer(view, np.float32).reshape(3000, 8)
    mapped[5] = mapped[4]
    whole = mapped.copy()
    limit = (1 << 20) + 24 * 64 + 8 * 4 * 500
    same(dq.label_issues(labels, whole), dq.label_issues(labels, mapped, memory_limit=limit))
    np.testing.assert_array_equal(mapped, whole)


def test_bad_values_and_row_sums_are_told_of_all_rows(rng):
    labels, p = smooth(rng, N, CLASSES)
    bad = p.copy()
    bad[[300, 600], 2] = np.nan
    for call in (dq.confident_joint, dq.label_issues):
        with pytest.raises(ValueError, match=r"row 300, column 2 is nan \(2 such entries\)"):
            call(labels, bad, memory_limit=TIGHT)
    odd = p.copy()
    odd[[10, 650]] *= np.array([[0.9], [0.5]])
    for call in (dq.confident_joint, dq.label_issues):
        with pytest.warns(UserWarning, match="2 rows not summing.*the worst is row 650"):
            call(labels, odd, memory_limit=TIGHT)


def test_progress_is_told_in_rows_of_all_pieces(rng):
    labels, p = smooth(rng, N, CLASSES)
    told = []
    dq.confident_joint(labels, p, memory_limit=TIGHT, progress=lambda *t: told.append(t))
    for stage in ("thresholds", "joint"):
        done = [d for s, d, _ in told if s == stage]
        assert done == sorted(done)
        assert done[-1] == N
    assert {total for _, _, total in told} == {N}


@pytest.mark.parametrize(
    ("limit", "error", "message"),
    [
        (1000, ValueError, "memory_limit must be at least 1049"),
        (0, ValueError, "memory_limit must be"),
        ("2 apples", ValueError, "memory_limit must be a number of bytes"),
        ("GB", ValueError, "memory_limit must be a number of bytes"),
        (True, TypeError, "memory_limit must be a whole number"),
        (1.5, TypeError, "memory_limit must be a whole number"),
    ],
)
def test_limits_that_are_refused(rng, limit, error, message):
    labels, p = smooth(rng, 50, CLASSES)
    with pytest.raises(error, match=message):
        dq.confident_joint(labels, p, memory_limit=limit)
    with pytest.raises(error, match=message):
        dq.label_issues(labels, p, memory_limit=limit)
