"""Bad input of the joint room: an error that names the argument, the row and the value; good input of every kind."""

import re
import warnings

import dqcore as dq
import numpy as np
import pandas as pd
import pytest
from joint_cases import QUALITIES, coarse, everything, same, smooth

P = np.array([[0.75, 0.25], [0.5, 0.5], [0.25, 0.75]])
ROWS_FUNCTIONS = {
    "joint": dq.confident_joint,
    "quality": dq.label_quality,
    "margin": lambda y, p, **run: dq.label_quality(y, p, method="normalized_margin", **run),
    "issues": dq.label_issues,
}


@pytest.fixture(params=ROWS_FUNCTIONS)
def function(request):
    return ROWS_FUNCTIONS[request.param]


# ---- values of pred_probs ------------------------------------------------------------------------------------------

BAD = {
    "nan": np.nan,
    "inf": np.inf,
    "-inf": -np.inf,
    "-0.5": -0.5,
    "1.5": 1.5,
    "2": 2.0,
}


@pytest.mark.usefixtures("native_isa")
@pytest.mark.parametrize("text", BAD)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("n_classes", [2, 10, 16, 17, 37])
def test_the_first_bad_value_is_named(rng, text, dtype, n_classes):
    labels, p = coarse(rng, 600, n_classes)
    for row, col in [(0, 0), (0, n_classes - 1), (599, n_classes - 1), (300, n_classes // 2)]:
        for backend, threads in [("cpu", 1), ("cpu", 3), ("reference", 0)]:
            q = p.astype(dtype)
            q[row, col] = BAD[text]
            q[599, :] = BAD[text]
            bad = np.count_nonzero(q == BAD[text]) if text != "nan" else np.isnan(q).sum()
            found = f"row {row}, column {col if row < 599 else 0} is "
            for check in (dq.confident_joint, dq.label_issues):
                with pytest.raises(ValueError, match="pred_probs must be probabilities") as error:
                    check(labels, q, backend=backend, threads=threads)
                assert found in str(error.value)
                assert f"({bad} such entr" in str(error.value)
            value = re.search(r" is (\S+) \(", str(error.value))[1]
            assert float(value) == BAD[text] or text == value == "nan"


@pytest.mark.threads
def test_bad_values_of_all_threads_are_counted(rng):
    """In chunks that different workers take; who takes which is chance, hence several runs."""
    p = np.full((60_000, 10), 0.1, np.float32)
    rows = np.sort(rng.choice(60_000, 500, replace=False))
    p[rows, 3] = 7
    p[rows[-100:], 4] = np.nan
    found = rf"row {rows[0]}, column 3 is 7(\.0)? \(600 such entries\)"
    for _ in range(20):
        for call in (dq.confident_joint, dq.label_issues):
            with pytest.raises(ValueError, match=found):
                call(np.zeros(60_000, int), p, threads=3)
        found_by_label = rf"row {rows[0]}, column 3 is 7(\.0)? \(500 such entries\)"
        with pytest.raises(ValueError, match=found_by_label):
            dq.label_quality(np.full(60_000, 3), p, threads=3)


@pytest.mark.usefixtures("native_isa")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_classes", [2, 16, 23])
def test_the_range_has_a_tolerance_of_1e_6(dtype, n_classes):
    p = np.zeros((40, n_classes), dtype)
    p[:, 0] = 1
    labels = np.zeros(40, int)
    least, most = dtype(-1e-6), dtype(1 + 1e-6)
    if float(least) < -1e-6:
        least = np.nextafter(least, dtype(0))
    if float(most) > 1 + 1e-6:
        most = np.nextafter(most, dtype(0))
    for value, col in [(least, 1), (most, 0)]:
        p[7, col] = value
        for backend in ("cpu", "reference"):
            dq.confident_joint(labels, p, backend=backend)
            dq.label_quality(labels, p, backend=backend)
        p[7, col] = np.nextafter(value, dtype(np.copysign(9, value)))
        for backend in ("cpu", "reference"):
            with pytest.raises(ValueError, match=rf"row 7, column {col} is "):
                dq.confident_joint(labels, p, backend=backend)
        p[7] = p[8]


def test_quality_looks_only_at_what_it_needs():
    p = P.copy()
    p[1] = [np.nan, 0.5]
    assert dq.label_quality([0, 1, 1], p).tolist() == [0.75, 0.5, 0.75]
    for backend in ("cpu", "reference"):
        with pytest.raises(ValueError, match=r"row 1, column 0 is nan \(1 such entry\)"):
            dq.label_quality([0, 0, 1], p, backend=backend)
        with pytest.raises(ValueError, match=r"row 1, column 0 is nan \(1 such entry\)"):
            dq.label_quality([0, 1, 1], p, method="normalized_margin", backend=backend)


def test_minus_zero_is_zero(rng):
    labels, p = coarse(rng, 500, 5, parts=3)
    q = np.where(p == 0, -0.0, p)
    for name, value in everything(labels, p).items():
        found = everything(labels, q)[name]
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(found, value)
        elif isinstance(value, dq.LabelIssues):
            np.testing.assert_array_equal(found.mask, value.mask)
            np.testing.assert_array_equal(found.indices, value.indices)


# ---- row sums ------------------------------------------------------------------------------------------------------


def warned(call):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    assert all(w.category is UserWarning for w in caught)
    return [str(w.message) for w in caught]


@pytest.mark.usefixtures("native_isa")
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("n_classes", [2, 10, 16, 33])
def test_row_sums_that_are_off_are_warned_of_once(rng, dtype, n_classes):
    labels, p = coarse(rng, 700, n_classes)
    p = p.astype(dtype)
    p[650] = 0
    p[300] = p[301] = 0.5 if n_classes == 2 else 0.25
    p[300, :2] = p[301, :2] = 0.75
    expected = warned(lambda: dq.label_issues(labels, p, backend="reference"))
    assert len(expected) == 1
    for threads in (1, 3):
        assert warned(lambda t=threads: dq.label_issues(labels, p, threads=t)) == expected
        assert warned(lambda t=threads: dq.confident_joint(labels, p, threads=t)) == expected
    off = np.abs(p.astype(float).sum(axis=1) - 1)
    assert f"{np.count_nonzero(off > 1e-3)} rows" in expected[0]
    assert f"the worst is row {np.argmax(off)} " in expected[0]
    assert not warned(lambda: dq.label_quality(labels, p))


def test_row_sums_are_off_from_1e_3_on(rng):
    for k in (2, 10, 40, 1000):
        for dtype in (np.float32, np.float64):
            p = rng.dirichlet(np.ones(k), 200).astype(dtype)
            p = p * (1 + rng.choice([-1, 1], (200, 1)) * rng.uniform(0.99e-3, 1.01e-3, (200, 1)))
            p = np.minimum(p, 1).astype(dtype)
            labels = np.zeros(200, int)
            expected = warned(lambda a=labels, b=p: dq.confident_joint(a, b, backend="reference"))
            assert warned(lambda a=labels, b=p: dq.confident_joint(a, b)) == expected


# ---- labels --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "dtype", [np.int8, np.uint8, np.int16, np.uint64, np.int64, np.float32, ">i4", ">f8"]
)
def test_labels_of_any_whole_number_dtype(function, dtype):
    same(function(np.array([0, 1, 1]).astype(dtype), P), function([0, 1, 1], P))


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        ([0, -1, 1], ValueError, r"labels must be .*row 1 is .*-1.* \(1 such entry\)"),
        ([0, 2, 2], ValueError, r"labels must be .*row 1 is .*2.* \(2 such entries\)"),
        (np.array([0, 1, 2**63], np.uint64), ValueError, "row 2 is"),
        ([0, 1, 2**40], ValueError, "row 2 is"),
        ([0.0, 1.5, 1.0], ValueError, r"row 1 is .*1\.5"),
        ([0.0, np.nan, 1.0], ValueError, "row 1 is .*nan"),
        ([0.0, np.inf, 1.0], ValueError, "row 1 is .*inf"),
        ([True, False, True], TypeError, "labels must be .*bool"),
        ([0j, 1, 1], TypeError, "labels must be"),
        (np.array(["2020"] * 3, "M8[Y]"), TypeError, "labels must be"),
        ([b"a", b"b", b"b"], TypeError, "labels must be"),
        ([None, None, None], ValueError, "labels must be .*none missing: row 0"),
        (None, TypeError, "labels must be"),
        ("abc", TypeError, "labels must be"),
        (7, TypeError, "labels must be"),
        ({0: 1}, TypeError, "labels must be"),
        ([[0], [1], [1]], ValueError, r"labels must be .*shape \(3, 1\); pass labels.ravel\(\)"),
        ([[0, 1, 1]] * 2, ValueError, r"labels must be .*shape \(2, 3\)"),
        ([[0], [1, 1], [0]], ValueError, "labels must be"),
        (np.int64(1), ValueError, r"labels must be .*shape \(\)"),
        ([0, 1], ValueError, "labels has 2 rows but pred_probs has 3"),
        ([0, 1, 1, 1], ValueError, "labels has 4 rows but pred_probs has 3"),
        (
            np.ma.masked_array([0, 1, 1], [0, 1, 0]),
            TypeError,
            "labels is a masked array with 1 masked",
        ),
        (np.array([[0, 1, 1]]).view(np.matrix), TypeError, "labels is a numpy.matrix"),
        (
            ["a", None, "b"],
            ValueError,
            r"labels must be strings, none missing: row 1 is None \(1 such\)",
        ),
        (["a", np.nan, "b"], ValueError, "row 1 is nan"),
        (["a", "b", 3], TypeError, "row 2 is 3"),
        (
            ["a", "b", "c"],
            ValueError,
            "labels has 3 different strings but pred_probs has 2 classes",
        ),
        (
            ["a", "a", "a"],
            ValueError,
            "labels has 1 different strings but pred_probs has 2 classes",
        ),
        (["", "a", "a"], ValueError, "row 0 is empty"),
    ],
)
def test_labels_that_are_refused(function, labels, error, message):
    with pytest.raises(error, match=message):
        function(labels, P)


STRINGS = ["dog", "cat", "dog"]


@pytest.mark.parametrize(
    "labels",
    [
        STRINGS,
        tuple(STRINGS),
        np.array(STRINGS),
        np.array(STRINGS, object),
        pd.Series(STRINGS),
        pd.Series(STRINGS, dtype="string"),
        pd.Series(STRINGS, dtype="category"),
        pd.Categorical(STRINGS),
    ],
    ids=lambda labels: f"{type(labels).__name__}-{getattr(labels, 'dtype', '')}",
)
def test_labels_as_strings(function, labels):
    found, expected = function(labels, P), function([1, 0, 1], P, class_names=["cat", "dog"])
    same(found, expected)
    if not isinstance(found, np.ndarray):
        assert found.class_names == ("cat", "dog")
    found = function(labels, P, class_names=["dog", "cat"])
    same(found, function([0, 1, 0], P, class_names=["dog", "cat"]))


def test_a_categorical_brings_its_classes():
    labels = pd.Categorical(["b", "b", "b"], categories=["b", "a"])
    assert dq.confident_joint(labels, P).class_names == ("a", "b")
    assert dq.confident_joint(labels, P).class_counts.tolist() == [0, 3]


def test_strings_of_string_dtype():
    dtype = getattr(np.dtypes, "StringDType", None)
    if dtype is None:
        pytest.skip("NumPy 1 has no StringDType")
    assert dq.confident_joint(np.array(STRINGS, dtype()), P).class_names == ("cat", "dog")


@pytest.mark.parametrize(
    ("names", "error", "message"),
    [
        (["cat"], ValueError, "class_names has 1 entry but pred_probs has 2 classes"),
        (["cat", "cat"], ValueError, "entries 0 and 1 are 'cat'"),
        (["cat", ""], ValueError, "entry 1 is empty"),
        (["cat", 2], TypeError, "entry 1 is 2"),
        ("cd", TypeError, "class_names must be"),
        (5, TypeError, "class_names must be"),
        (
            ["cat", "cow"],
            ValueError,
            r"labels must be one of class_names: row 0 is .*dog.* \(2 such entries\)",
        ),
    ],
)
def test_class_names_that_are_refused(function, names, error, message):
    with pytest.raises(error, match=message):
        function(STRINGS, P, class_names=names)


# ---- arrays --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("p", "error", "message"),
    [
        (P[0], ValueError, r"pred_probs must be .*shape \(2,\)"),
        (P[None], ValueError, r"pred_probs must be .*shape \(1, 3, 2\)"),
        (P[:, :0], ValueError, "at least one class"),
        (P.astype(complex), TypeError, "pred_probs must be .*complex128"),
        (P.astype(np.longdouble), TypeError, "pred_probs must be"),
        (P.astype(str), TypeError, "pred_probs must be"),
        (P > 0.5, TypeError, "pred_probs must be .*bool"),
        (P.astype(object), TypeError, "pred_probs must be .*object"),
        (np.ma.masked_array(P, P > 0.5), TypeError, "pred_probs is a masked array with 2 masked"),
        (P.view(np.matrix), TypeError, "pred_probs is a numpy.matrix"),
        (None, TypeError, "pred_probs must be"),
        (iter([]), TypeError, "pred_probs must be"),
        ([[0.5, 0.5], [1.0], [0.5, 0.5]], ValueError, "pred_probs must be"),
    ],
)
def test_pred_probs_that_are_refused(function, p, error, message):
    with pytest.raises(error, match=message):
        function([0, 1, 1], p)


class Disk(np.ndarray):
    """A subclass that changes nothing."""


def test_arrays_of_any_kind(function, tmp_path):
    expected = function([0, 1, 1], P)
    np.save(tmp_path / "p.npy", P)
    kinds = {
        "list": P.tolist(),
        "tuple": tuple(map(tuple, P)),
        "memmap": np.load(tmp_path / "p.npy", mmap_mode="r"),
        "subclass": P.view(Disk),
        "unmasked": np.ma.masked_array(P),
        "frame": pd.DataFrame(P),
    }
    for name, p in kinds.items():
        same(expected, function([0, 1, 1], p)), name


def test_one_hot_integers_are_probabilities():
    p = np.eye(2, dtype=int)
    assert dq.confident_joint([0, 1], p).counts.tolist() == [[1, 0], [0, 1]]


def odd(values):
    """Return the same numbers at an odd address."""
    raw = np.zeros(values.nbytes + 1, np.uint8)
    result = raw[1:].view(values.dtype).reshape(values.shape)
    result[...] = values
    return result


def test_every_argument_may_lie_at_an_odd_address(rng):
    labels, p = smooth(rng, 200, 3)
    thresholds, weights, remove = np.array([0.4, 0.5, 0.6]), rng.random(200), np.array([3, 1, 2])
    joint = dq.confident_joint(labels, p).calibrated()
    same(
        dq.confident_joint(labels, p, thresholds=thresholds, weights=weights),
        dq.confident_joint(odd(labels), odd(p), thresholds=odd(thresholds), weights=odd(weights)),
    )
    same(
        dq.label_issues(labels, p, joint=joint, num_to_remove_per_class=remove),
        dq.label_issues(odd(labels), odd(p), joint=odd(joint), num_to_remove_per_class=odd(remove)),
    )
    state = dq.JointState(odd(thresholds))
    state.update(labels, p)
    same(state.finish(), dq.confident_joint(labels, p, thresholds=thresholds))


def test_input_is_not_written(rng):
    labels, p = smooth(rng, 300, 4)
    copies = labels.copy(), p.copy()
    labels.flags.writeable = p.flags.writeable = False
    everything(labels, p)
    np.testing.assert_array_equal(labels, copies[0])
    np.testing.assert_array_equal(p, copies[1])


def test_rows_beyond_2_32_bytes(tmp_path):
    """Addresses that 32 bits would fold, in a file that is all hole but for nine rows."""
    far = np.memmap(tmp_path / "p", np.float32, "w+", shape=(2**30 + 8, 2))[:: 2**27]
    far[:] = np.arange(18).reshape(9, 2) % 5 / 8
    near = np.array(far)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        same(dq.label_issues(np.arange(9) % 2, far), dq.label_issues(np.arange(9) % 2, near))
        same(dq.confident_joint(np.arange(9) % 2, far), dq.confident_joint(np.arange(9) % 2, near))


# ---- options -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"thresholds": [0.5]}, ValueError, "thresholds has 1 entry but pred_probs has 2 classes"),
        ({"thresholds": [0.5, np.nan]}, ValueError, "thresholds must be .*row 1 is .*nan"),
        ({"thresholds": [0.5, np.inf]}, ValueError, "thresholds must be .*row 1 is .*inf"),
        ({"thresholds": 0.5}, TypeError, "thresholds must be"),
        ({"thresholds": ["a", "b"]}, TypeError, "thresholds must be"),
        ({"collision": "paper"}, ValueError, "collision must be one of"),
        ({"weights": [1, 2]}, ValueError, "weights has 2 rows but labels has 3"),
        (
            {"weights": [1, -1, 1]},
            ValueError,
            r"weights must be .*row 1 is .*-1.* \(1 such entry\)",
        ),
        (
            {"weights": [1, np.nan, np.inf]},
            ValueError,
            r"weights must be .*row 1 is .*nan.* \(2 such",
        ),
        ({"weights": [1, 1, 2.0**31]}, ValueError, "weights must be .*row 2 is"),
        ({"weights": ["1", "1", "1"]}, TypeError, "weights must be"),
        ({"threads": -1}, ValueError, "threads must be"),
        ({"threads": 1.5}, TypeError, "threads must be"),
        ({"progress": 3}, TypeError, "progress must be"),
        ({"backend": "gpu"}, ValueError, "backend must be"),
    ],
)
def test_options_of_confident_joint(options, error, message):
    with pytest.raises(error, match=message):
        dq.confident_joint([0, 1, 1], P, **options)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"filter_by": "best"}, ValueError, "filter_by must be one of"),
        ({"rank_by": "entropy"}, ValueError, "rank_by must be one of"),
        ({"collision": 3}, ValueError, "collision must be one of"),
        ({"frac_noise": 1.5}, ValueError, r"frac_noise must be in \[0\.0, 1\.0\]"),
        ({"frac_noise": np.nan}, ValueError, "frac_noise must be"),
        ({"frac_noise": "1"}, TypeError, "frac_noise must be"),
        ({"min_examples_per_class": -1}, ValueError, "min_examples_per_class must be"),
        ({"min_examples_per_class": True}, TypeError, "min_examples_per_class must be"),
        ({"adjust": 1}, TypeError, "adjust must be True or False"),
        (
            {"adjust": True, "rank_by": QUALITIES[2]},
            ValueError,
            "adjust must be False with rank_by",
        ),
        ({"num_to_remove_per_class": [1]}, ValueError, "num_to_remove_per_class has 1 entry"),
        (
            {"num_to_remove_per_class": [1, -2]},
            ValueError,
            "num_to_remove_per_class must be .*row 1",
        ),
        (
            {"num_to_remove_per_class": [1, 0.5]},
            ValueError,
            "num_to_remove_per_class must be .*row 1",
        ),
        (
            {"num_to_remove_per_class": [1, 1], "filter_by": "confident_learning"},
            ValueError,
            "num_to_remove_per_class must be None",
        ),
        (
            {"joint": np.eye(3, dtype=int)},
            ValueError,
            r"joint has shape \(3, 3\) but pred_probs has 2",
        ),
        ({"joint": [[1, -1], [0, 1]]}, ValueError, "joint must be .*row 0, column 1 is .*-1"),
        ({"joint": [[1, 0.5], [0, 1]]}, ValueError, "joint must be"),
        ({"joint": [1, 0]}, ValueError, "joint must be"),
        ({"joint": "joint"}, TypeError, "joint must be"),
        (
            {"joint": dq.confident_joint([0, 1, 1], P, weights=[1, 1, 1])},
            ValueError,
            "joint must be without weights",
        ),
    ],
)
def test_options_of_label_issues(options, error, message):
    with pytest.raises(error, match=message):
        dq.label_issues([0, 1, 1], P, **options)


def test_options_of_the_rest():
    with pytest.raises(ValueError, match="method must be one of"):
        dq.label_quality([0, 1, 1], P, method="margin")
    with pytest.raises(ValueError, match="adjust must be False with method"):
        dq.label_quality([0, 1, 1], P, method=QUALITIES[2], adjust=True)
    with pytest.raises(ValueError, match="method must be one of"):
        dq.confident_joint([0, 1, 1], P).prior("count")
    with pytest.raises(ValueError, match="n_classes must be"):
        dq.ThresholdState(0)
    with pytest.raises(TypeError, match="joint must be a ConfidentJoint"):
        dq.IssueState(np.eye(2))
    with pytest.raises(ValueError, match="row_start must be"):
        dq.IssueState(dq.confident_joint([0, 1, 1], P)).update([0, 1, 1], P, row_start=-1)
    with pytest.raises(ValueError, match="thresholds must be"):
        dq.JointState([])


def test_a_singular_noise_matrix_has_no_equation():
    joint = dq.ConfidentJoint(np.array([[2, 2], [2, 2]]), np.array([0.5, 0.5]), np.array([4, 4]))
    with pytest.raises(ValueError, match="'eqn' needs a noise matrix that can be inverted"):
        joint.prior("eqn")


def test_a_joint_with_thresholds_of_the_user_prunes_by_its_counts(rng):
    labels, p = smooth(rng, 500, 4)
    joint = dq.confident_joint(labels, p, thresholds=[0.9] * 4)
    same(
        dq.label_issues(labels, p, joint=joint),
        dq.label_issues(labels, p, joint=joint.calibrated()),
    )
    same(
        dq.label_issues(labels, p, joint=joint, filter_by="confident_learning"),
        dq.label_issues(labels, p, filter_by="confident_learning"),
    )
