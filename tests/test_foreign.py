"""Arrays and frames of other libraries: the same values as in NumPy, or an error that names the row."""

import sys

import dqcore as dq
import numpy as np
import pytest
from dqcore import _check, _columns

pandas = pytest.importorskip("pandas")
polars = pytest.importorskip("polars")
pyarrow = pytest.importorskip("pyarrow")

X = np.arange(24, dtype=np.float32).reshape(8, 3) / 4
TEXT = ["b", "a", "b", "c", "a", "a", "c", "b"]


class ArrayCapsule:
    """Known by its Arrow array alone."""

    def __init__(self, value):
        self.value = value

    def __arrow_c_array__(self, requested_schema=None):
        return self.value.__arrow_c_array__(requested_schema)


class StreamCapsule:
    """Known by its Arrow stream alone."""

    def __init__(self, value):
        self.value = value

    def __arrow_c_stream__(self, requested_schema=None):
        return self.value.__arrow_c_stream__(requested_schema)


def fixed(x):
    return pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(x.ravel()), x.shape[1])


def chunks(make, x):
    return pyarrow.chunked_array([make(x[:3]), make(x[3:3]), make(x[3:])])


# ---- matrices ------------------------------------------------------------------------------------

MATRICES = {
    "arrow, lists of a fixed size": fixed,
    "arrow, the same in chunks": lambda x: chunks(fixed, x),
    "arrow, the same sliced": lambda x: fixed(np.vstack([x[:2], x, x[:1]]))[2:-1],
    "arrow, lists": lambda x: pyarrow.array(x.tolist(), pyarrow.list_(pyarrow.float32())),
    "arrow, large lists in chunks": lambda x: chunks(
        lambda part: pyarrow.array(part.tolist(), pyarrow.large_list(pyarrow.float32())), x
    ),
    "arrow, tensors": pyarrow.FixedShapeTensorArray.from_numpy_ndarray,
    "arrow, no chunks": lambda x: pyarrow.chunked_array([fixed(x)]),
    "arrow, a capsule": lambda x: ArrayCapsule(fixed(x)),
    "arrow, a stream of records": lambda x: StreamCapsule(
        pyarrow.table({str(j): x[:, j] for j in range(x.shape[1])})
    ),
    "pandas, arrays": lambda x: pandas.Series(list(x)),
    "pandas, lists": lambda x: pandas.Series(x.tolist()),
    "pandas, arrow's lists": lambda x: pandas.Series(
        fixed(x), dtype=pandas.ArrowDtype(fixed(x).type)
    ),
    "polars, arrays": lambda x: polars.Series(
        x.tolist(), dtype=polars.Array(polars.Float32, x.shape[1])
    ),
    "polars, lists": lambda x: polars.Series(x.tolist(), dtype=polars.List(polars.Float32)),
    "objects": lambda x: np.array([*x, None], object)[:-1],
}

if hasattr(pyarrow.ChunkedArray, "__arrow_c_stream__"):
    MATRICES["arrow, a stream of lists"] = lambda x: StreamCapsule(chunks(fixed, x))


@pytest.mark.parametrize("form", MATRICES)
def test_lists_of_one_length_are_a_matrix(form):
    np.testing.assert_array_equal(_check.features("features", MATRICES[form](X)), X)


def test_a_matrix_of_float16_and_of_whole_numbers_keeps_its_kind():
    for dtype in (np.float16, np.float64):
        assert _check.pred_probs("pred_probs", fixed(X.astype(dtype))).dtype == dtype
    assert _check.features("features", fixed(X.astype(np.int8))).tolist() == np.trunc(X).tolist()


RAGGED = [[1.0, 2.0], [3.0, 4.0], [5.0], [6.0, 7.0]]
GAPS = [[1.0, 2.0], [3.0, 4.0], [5.0, None], [6.0, 7.0]]
HOLES = [[1.0, 2.0], [3.0, 4.0], None, [6.0, 7.0]]
MAKERS = {
    "arrow": pyarrow.array,
    "arrow, chunks": lambda v: pyarrow.chunked_array(
        [v[:1], v[1:]], pyarrow.list_(pyarrow.float64())
    ),
    "pandas": pandas.Series,
    "pandas, arrow": lambda v: pandas.Series(
        v, dtype=pandas.ArrowDtype(pyarrow.list_(pyarrow.float64()))
    ),
    "polars": polars.Series,
}


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize(
    ("value", "message"),
    [(RAGGED, "row 2 has 1 entries but row 0 has 2"), (GAPS, "row 2"), (HOLES, "row 2|shape")],
)
def test_lists_that_are_no_matrix_name_the_row(maker, value, message):
    with pytest.raises(ValueError, match=f"features must be .*({message})"):
        dq.knn_graph(MAKERS[maker](value), 1)


def test_a_fixed_size_list_with_a_hole_names_the_row():
    kind = pyarrow.list_(pyarrow.float32(), 2)
    for value, fault in ((HOLES, "row 2 is missing"), (GAPS, "row 2 has a missing entry at 1")):
        with pytest.raises(ValueError, match=fault):
            dq.knn_graph(pyarrow.array(value, kind), 1)


def test_a_frame_with_a_hole_names_the_row_and_the_column():
    frames = [
        pandas.DataFrame({"a": pandas.array([1, 2, None], "Int64"), "b": [0.5, 1, 2]}),
        pandas.DataFrame({"a": [1, 2, None], "b": [0.5, 1, 2]}),
        polars.DataFrame({"a": [1, 2, None], "b": [0.5, 1, 2]}),
        pyarrow.table({"a": [1, 2, None], "b": [0.5, 1, 2]}),
    ]
    for frame in frames:
        with pytest.raises(ValueError, match=r"features must be .* row 2, column 0"):
            dq.knn_graph(frame, 1)


def test_a_hole_in_labels_names_the_row():
    for value in ([0, 1, None, 1], ["a", "b", None, "a"]):
        for make in (pandas.Series, polars.Series, pyarrow.array):
            with pytest.raises(ValueError, match=r"labels must be .* row 2"):
                dq.label_quality(make(value), np.full((4, 2), 0.5))
    nullable = pandas.array([0, 1, None, 1], "Int64")
    with pytest.raises(ValueError, match=r"labels must be .* row 2"):
        dq.label_quality(nullable, np.full((4, 2), 0.5))


# ---- columns -------------------------------------------------------------------------------------


def gapped(text):
    return [None if i == 4 else t for i, t in enumerate(text)]


TEXTS = {
    "pandas": pandas.Series,
    "pandas, categories": lambda t: pandas.Series(t, dtype="category"),
    "pandas, arrow": lambda t: pandas.Series(t, dtype="string[pyarrow]"),
    "polars": polars.Series,
    "polars, categories": lambda t: polars.Series(t, dtype=polars.Categorical),
    "arrow": pyarrow.array,
    "arrow, large": lambda t: pyarrow.array(t, pyarrow.large_string()),
    "arrow, chunks": lambda t: pyarrow.chunked_array([t[:3], [], t[3:]], pyarrow.string()),
    "arrow, dictionary": lambda t: pyarrow.array(t).dictionary_encode(),
    "arrow, dictionaries": lambda t: pyarrow.chunked_array(
        [pyarrow.array(t[:3]).dictionary_encode(), pyarrow.array(t[3:]).dictionary_encode()]
    ),
    "arrow, no chunks and some": lambda t: pyarrow.chunked_array([t]),
    "objects": lambda t: np.array(t, object),
}

if hasattr(pyarrow, "string_view"):
    TEXTS["arrow, views"] = lambda t: pyarrow.array(t, pyarrow.string_view())


@pytest.mark.parametrize("form", TEXTS)
@pytest.mark.parametrize(
    "text", [TEXT, gapped(TEXT), [None] * 8, []], ids=["all", "gap", "none", "nil"]
)
def test_text_is_numbered_in_its_sorted_order(form, text):
    if form.startswith("arrow") and not any(text):
        value = pyarrow.array(text, pyarrow.string())
    else:
        value = TEXTS[form](text)
    column = _columns.encode_column("x", value, "x")
    known = sorted({t for t in text if t is not None})
    assert list(column.values or ()) == known
    assert column.codes.tolist() == [-1 if t is None else known.index(t) for t in text]


@pytest.mark.parametrize(
    "kind", [pyarrow.int8(), pyarrow.uint8(), pyarrow.int64(), pyarrow.uint64()]
)
def test_a_dictionary_that_names_nothing_or_twice_is_read_by_its_names(kind):
    indices = pyarrow.array([0, 1, 2, 3, None, 0], kind)
    twice = pyarrow.DictionaryArray.from_arrays(indices, pyarrow.array(["x", None, "a", "x"]))
    column = _columns.encode_column("x", twice, "x")
    assert column.values == ("a", "x")
    assert column.codes.tolist() == [1, -1, 0, 1, -1, 1]


FRAMES = {
    "mapping": dict,
    "pandas": pandas.DataFrame,
    "polars": polars.DataFrame,
    "arrow": pyarrow.table,
    "arrow, a batch": pyarrow.RecordBatch.from_pydict,
    "a stream": lambda c: StreamCapsule(pyarrow.table(c)),
    "a batch": lambda c: StreamCapsule(
        pyarrow.RecordBatchReader.from_batches(
            pyarrow.table(c).schema, pyarrow.table(c).to_batches()
        )
    ),
}


@pytest.mark.parametrize("form", FRAMES)
def test_any_frame_gives_the_same_slices(form):
    columns = {"text": TEXT, "number": [3, 1, 3, 1, 3, 1, 3, 1]}
    columns["flag"] = [True, False] * 4
    frame = FRAMES[form](columns)
    expected = dq.slice_errors([1, 0, 1, 0, 0, 0, 0, 1], columns)
    found = dq.slice_errors([1, 0, 1, 0, 0, 0, 0, 1], frame)
    assert list(found) == list(expected)
    audited = dq.audit([0, 1] * 4, features=X, columns=FRAMES[form](columns), split=TEXT, k=2)
    assert {name for p in audited.slices.predicates for name, _ in p} == {*columns, "split"}


def test_without_pyarrow_a_stream_says_what_to_install(monkeypatch):
    frame = StreamCapsule(pyarrow.table({"a": [1]}))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"needs pyarrow: pip install '\.\[audit\]'"):
        dq.slice_errors([0], frame)


# ---- a frame of probabilities says which column is which class ------------------------------------

PROBS = {"dog": [0.9, 0.2, 0.8, 0.1], "cat": [0.1, 0.8, 0.2, 0.9]}
LABELS = ["dog", "cat", "cat", "cat"]


@pytest.mark.parametrize("make", [pandas.DataFrame, polars.DataFrame, pyarrow.table])
def test_columns_named_after_classes_are_those_classes(make):
    frame = make(PROBS)
    assert dq.label_quality(LABELS, frame).tolist() == [0.9, 0.8, 0.2, 0.9]
    assert dq.confident_joint(LABELS, frame).class_names == ("dog", "cat")
    assert dq.audit(LABELS, pred_probs=frame).class_names == ("dog", "cat")
    assert dq.label_issues(LABELS, frame).suggested.tolist() == [0, 1, 0, 1]
    with pytest.raises(ValueError, match="pred_probs has its columns in another order"):
        dq.label_issues(LABELS, frame, class_names=["cat", "dog"])
    with pytest.raises(ValueError, match="labels must be one of class_names: row 0 is 'bird'"):
        dq.label_issues(["bird", "cat", "cat", "cat"], frame)
    assert dq.label_quality([0, 1, 1, 1], frame).tolist() == [0.9, 0.8, 0.2, 0.9]
    for labels in (
        pyarrow.array(LABELS),
        pyarrow.array(LABELS).dictionary_encode(),
        pyarrow.chunked_array([LABELS[:1], LABELS[1:]]),
        polars.Series(LABELS),
        polars.Series(LABELS, dtype=polars.Categorical),
        pandas.Series(LABELS, dtype="category"),
        np.array(LABELS),
        np.array(LABELS, object),
        tuple(LABELS),
    ):
        assert dq.label_quality(labels, frame).tolist() == [0.9, 0.8, 0.2, 0.9]


def test_columns_that_name_no_class_are_only_columns():
    frame = pandas.DataFrame({"p0": PROBS["cat"], "p1": PROBS["dog"]})
    assert dq.confident_joint(LABELS, frame).class_names == ("cat", "dog")
    assert dq.confident_joint(LABELS, pandas.DataFrame(frame.to_numpy())).class_names == (
        "cat",
        "dog",
    )


# ---- torch, Hugging Face -------------------------------------------------------------------------


def test_tensors_are_arrays():
    torch = pytest.importorskip("torch")
    expected = dq.knn_graph(X, 2)
    whole = torch.tensor(X)
    for tensor in (
        whole,
        whole.clone().requires_grad_(),
        whole.double(),
        whole.half(),
        whole.bfloat16(),  # these quarters fit
        torch.tensor(np.hstack([X, X]))[:, :3],
        torch.tensor(X.T.copy()).T,
    ):
        np.testing.assert_array_equal(dq.knn_graph(tensor, 2).indices, expected.indices)
    labels = torch.tensor([0, 1] * 4, dtype=torch.int16)
    np.testing.assert_array_equal(
        dq.knn_disagreement(labels, expected).score,
        dq.knn_disagreement([0, 1] * 4, expected).score,
    )
    for tensor in (
        whole.to_sparse(),
        torch.empty(8, 3, device="meta"),
        whole + 0j,
    ):
        with pytest.raises((TypeError, ValueError), match="features must be"):
            dq.knn_graph(tensor, 2)


def test_tables_of_hugging_face_data_sets():
    datasets = pytest.importorskip("datasets")
    kinds = datasets.Features(
        {
            "label": datasets.ClassLabel(names=["cat", "dog"]),
            "x": datasets.Sequence(datasets.Value("float32"), length=3),
            "source": datasets.Value("string"),
        }
    )
    whole = datasets.Dataset.from_dict(
        {"label": [0, 1] * 4, "x": X.tolist(), "source": TEXT}, features=kinds
    )
    part = whole.select([7, 6, 5, 4, 3, 2])  # its table still holds all rows
    found = dq.audit(
        part["label"],
        features=part["x"],
        columns=part.select_columns(["source", "label"]),
        k=2,
    )
    assert len(found) == 6
    np.testing.assert_array_equal(
        found.graph.indices, dq.knn_graph(X[[7, 6, 5, 4, 3, 2]], 2).indices
    )
    sizes = {row.predicate: row.size for row in found.slices}
    assert sizes[(("source", "a"),)] == 2
    assert sizes[(("label", "dog"),)] == 3


def test_the_metric_goes_by_the_columns_of_the_matrix():
    wide = np.hstack([X, X])
    for value in (wide, fixed(wide), pandas.Series(list(wide)), polars.Series(wide.tolist())):
        assert dq.audit([0, 1] * 4, features=value, k=2).graph.metric == "cosine"
        assert dq.audit([0, 1] * 4, features=fixed(X), k=2).graph.metric == "euclidean"
