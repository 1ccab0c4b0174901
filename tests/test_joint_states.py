"""States of the joint room: any split, order and merge tree gives the bits of one call; bytes and refusals."""

import itertools
import struct
import zlib

import dqcore as dq
import numpy as np
import pytest
from conftest import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from joint_cases import FILTERS, QUALITIES, coarse, same, smooth


def pieces_of(rng, n):
    """Rows 0 .. n - 1 in random pieces, some empty, in random order."""
    cuts = np.sort(rng.integers(0, n + 1, rng.integers(0, 8)))
    bounds = [0, *cuts.tolist(), n]
    pieces = list(itertools.pairwise(bounds))
    return [pieces[i] for i in rng.permutation(len(pieces))]


def gather(rng, make, update, pieces):
    """One state over all pieces: states take some each, travel as bytes, and merge in random order."""
    states = [make() for _ in range(rng.integers(1, 4))]
    for begin, end in pieces:
        update(states[rng.integers(0, len(states))], begin, end)
    states = [type(s).from_bytes(s.to_bytes()) for s in states]
    while len(states) > 1:
        other = states.pop(rng.integers(0, len(states)))
        states[rng.integers(0, len(states))].merge(other)
    return states[0]


@settings(max_examples=examples(120), deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(0, 200),
    n_classes=st.integers(1, 12),
    threads=st.sampled_from([1, 3]),
    weighted=st.booleans(),
    collision=st.sampled_from(["argmax", "confident"]),
    filter_by=st.sampled_from(FILTERS),
    rank_by=st.sampled_from(QUALITIES),
    adjust=st.booleans(),
)
def test_any_split_gives_the_same_bits(
    seed, n, n_classes, threads, weighted, collision, filter_by, rank_by, adjust
):
    rng = np.random.default_rng(seed)
    labels, p = (coarse if seed % 2 else smooth)(rng, n, n_classes)
    weights = rng.random(n) if weighted else None
    adjust = adjust and rank_by != "confidence_weighted_entropy"

    def weights_of(begin, end):
        return None if weights is None else weights[begin:end]

    def add(state, begin, end):
        w = weights_of(begin, end)
        state.update(labels[begin:end], p[begin:end], weights=w, threads=threads)

    def whole(make, update):
        state = make()
        update(state, 0, n)
        return state

    def make():
        return dq.ThresholdState(n_classes, weighted=weighted)

    state = gather(rng, make, add, pieces_of(rng, n))
    assert state.to_bytes() == whole(make, add).to_bytes()
    thresholds = state.finish()

    def make_joint():
        return dq.JointState(thresholds, collision=collision, weighted=weighted)

    state = gather(rng, make_joint, add, pieces_of(rng, n))
    assert state.to_bytes() == whole(make_joint, add).to_bytes()
    expected = dq.confident_joint(labels, p, collision=collision, weights=weights)
    same(state.finish(), expected)

    joint = dq.confident_joint(labels, p, collision=collision)
    options = {"filter_by": filter_by, "rank_by": rank_by, "collision": collision, "adjust": adjust}

    def make_issues():
        return dq.IssueState(joint, **options)

    def add_issues(state, begin, end):
        state.update(labels[begin:end], p[begin:end], row_start=begin, threads=threads)

    state = gather(rng, make_issues, add_issues, pieces_of(rng, n))
    assert state.to_bytes() == whole(make_issues, add_issues).to_bytes()
    same(state.finish(), dq.label_issues(labels, p, **options))
    same(state.finish(), state.finish())  # finishing changes nothing


@pytest.mark.threads
def test_states_are_updated_from_many_threads(rng):
    from concurrent.futures import ThreadPoolExecutor

    labels, p = smooth(rng, 4000, 5)
    joint = dq.confident_joint(labels, p)
    thresholds, counts, issues = (
        dq.ThresholdState(5),
        dq.JointState(joint.thresholds),
        dq.IssueState(joint),
    )

    def update(begin):
        rows = slice(begin, begin + 250)
        thresholds.update(labels[rows], p[rows], threads=2)
        counts.update(labels[rows], p[rows], threads=2)
        issues.update(labels[rows], p[rows], row_start=begin, threads=2)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(update, range(0, 4000, 250)))
    np.testing.assert_array_equal(thresholds.finish(), joint.thresholds)
    same(counts.finish(), joint)
    same(issues.finish(), dq.label_issues(labels, p))


def states(labels, p):
    joint = dq.confident_joint(labels, p)
    made = dq.ThresholdState(p.shape[1]), dq.JointState(joint.thresholds), dq.IssueState(joint)
    for state in made:
        start = {"row_start": 0} if isinstance(state, dq.IssueState) else {}
        state.update(labels, p, **start)
    return made


def test_bad_input_leaves_a_state_as_it_was(rng):
    labels, p = smooth(rng, 300, 4)
    for state in states(labels, p):
        before = state.to_bytes()
        start = {"row_start": 300} if isinstance(state, dq.IssueState) else {}
        bad = p.copy()
        bad[250, labels[250]] = np.nan
        with pytest.raises(ValueError, match=r"row 250, column \d is nan \(1 such entry\)"):
            state.update(labels, bad, threads=3, **start)
        with pytest.raises(ValueError, match="labels"):
            state.update(labels + 1, p, **start)
        with pytest.raises(ValueError, match="pred_probs has 3 classes but the state has 4"):
            state.update(labels % 3, p[:, :3], **start)
        with pytest.raises(ValueError, match="rows"):
            state.update(labels[1:], p, **start)
        assert state.to_bytes() == before


def test_bad_input_leaves_a_table_that_all_workers_share_as_it_was(rng):
    p = np.full((3000, 400), 1 / 400)
    p[2999, 5] = np.nan
    state = dq.JointState(np.full(400, 0.5))
    before = state.to_bytes()
    with pytest.raises(ValueError, match="row 2999, column 5 is nan"):
        state.update(rng.integers(0, 400, 3000), p, threads=2)
    assert state.to_bytes() == before


def test_rows_seen_twice_and_rows_missing(rng):
    labels, p = smooth(rng, 100, 3)
    joint = dq.confident_joint(labels, p)
    state = dq.IssueState(joint)
    state.update(labels[20:50], p[20:50], row_start=20)
    before = state.to_bytes()
    with pytest.raises(ValueError, match="row 40 has been seen already"):
        state.update(labels[40:60], p[40:60], row_start=40)
    with pytest.raises(ValueError, match="row 20 has been seen already"):
        state.merge(dq.IssueState.from_bytes(before))
    with pytest.raises(ValueError, match="row 20 has been seen already"):
        state.merge(state)
    assert state.to_bytes() == before
    with pytest.raises(ValueError, match="rows 0 to 19 are missing"):
        state.finish()
    state.update(labels[:20], p[:20], row_start=0)
    state.update(labels[60:], p[60:], row_start=60)
    with pytest.raises(ValueError, match="rows 50 to 59 are missing"):
        state.finish()
    state.update(labels[50:60], p[50:60], row_start=50)
    same(state.finish(), dq.label_issues(labels, p))


def test_states_that_differ_refuse_to_merge(rng):
    labels, p = smooth(rng, 60, 3)
    joint, other = dq.confident_joint(labels, p), dq.confident_joint(labels[::2], p[::2])
    cases = [
        (dq.ThresholdState(3), dq.ThresholdState(4), "n_classes"),
        (dq.ThresholdState(3), dq.ThresholdState(3, weighted=True), "weighted"),
        (dq.JointState([0.5]), dq.JointState([0.5, 0.5]), "n_classes"),
        (dq.JointState([0.5, 0.5]), dq.JointState([0.5, 0.6]), "thresholds: that of class 1"),
        (dq.JointState([0.5]), dq.JointState([0.5], collision="confident"), "collision"),
        (dq.JointState([0.5]), dq.JointState([0.5], weighted=True), "weighted"),
        (dq.IssueState(joint), dq.IssueState(joint, "both"), "filter_by"),
        (dq.IssueState(joint), dq.IssueState(joint, rank_by="normalized_margin"), "rank_by"),
        (dq.IssueState(joint), dq.IssueState(joint, collision="confident"), "collision"),
        (dq.IssueState(joint), dq.IssueState(joint, adjust=True), "adjust"),
        (dq.IssueState(joint), dq.IssueState(other), "thresholds"),
        (dq.IssueState(joint), dq.IssueState(joint, frac_noise=0.0), "frac_noise"),
    ]
    for a, b, what in cases:
        with pytest.raises(ValueError, match=what):
            a.merge(b)
    with pytest.raises(TypeError, match="other must be a JointState, got ThresholdState"):
        dq.JointState([0.5]).merge(dq.ThresholdState(1))


def test_weights_must_be_given_to_the_states_that_want_them(rng):
    labels, p = smooth(rng, 10, 2)
    with pytest.raises(ValueError, match="weights: this state needs weights"):
        dq.ThresholdState(2, weighted=True).update(labels, p)
    with pytest.raises(ValueError, match="weights: this state was made without weights"):
        dq.JointState([0.5, 0.5]).update(labels, p, weights=np.ones(10))


def test_merging_a_state_with_itself_counts_twice(rng):
    labels, p = smooth(rng, 50, 3)
    state = dq.JointState([0.5] * 3)
    state.update(labels, p)
    once = state.finish().counts
    state.merge(state)
    np.testing.assert_array_equal(state.finish().counts, 2 * once)


def test_damaged_bytes_are_refused(rng):
    labels, p = smooth(rng, 40, 3)
    for state in states(labels, p):
        kind, data = type(state), state.to_bytes()
        for length in range(len(data)):
            with pytest.raises(ValueError, match="data does not hold a state"):
                kind.from_bytes(data[:length])
        for at in range(0, len(data), 3):
            with pytest.raises(ValueError, match="data does not hold a state"):
                kind.from_bytes(data[:at] + bytes([data[at] ^ 64]) + data[at + 1 :])
        with pytest.raises(ValueError, match="data does not hold a state"):
            kind.from_bytes(data + b"\0")
        for wrong in (None, "DQST", bytearray(data)):
            with pytest.raises(TypeError, match="data must be bytes"):
                kind.from_bytes(wrong)
    a, b, c = (s.to_bytes() for s in states(labels, p))
    for kind, data in ((dq.JointState, a), (dq.IssueState, b), (dq.ThresholdState, c)):
        with pytest.raises(ValueError, match="another kind"):
            kind.from_bytes(data)


def test_hostile_bytes_with_a_right_checksum_do_no_harm(rng):
    """Any 8 bytes of the payload in turn become an extreme number; the checksum is made right again."""
    labels, p = rng.integers(0, 3, 30), smooth(rng, 30, 3)[1]
    assert dq.label_issues(labels, p).mask.sum() > 3  # there are candidates to spoil
    extremes = [struct.pack("<q", v) for v in (-1, 2**31, 2**62, -(2**63))] + [
        struct.pack("<d", np.nan)
    ]
    for state in states(labels, p):
        data = state.to_bytes()
        for at in range(20, len(data) - 12):
            for extreme in extremes:
                hostile = data[:at] + extreme + data[at + 8 : -4]
                hostile += struct.pack("<I", zlib.crc32(hostile))
                try:
                    read = type(state).from_bytes(hostile)
                    read.finish()
                    read.merge(type(state).from_bytes(hostile))
                    read.finish()
                except (ValueError, UserWarning):  # the latter of row sums, as the bytes say
                    pass
