"""Tables as files: CSV, Parquet and Arrow give what the arrays give, or an error that says where it is wrong."""

import json
import sys

import dqcore as dq
import numpy as np
import pytest
from dqcore import CorruptFileError
from dqcore.audit import cli
from dqcore.audit.frames import TableFile
from dqcore.audit.load import data_set

pyarrow = pytest.importorskip("pyarrow")
from pyarrow import csv, feather, ipc, parquet

N = 60
NAMES = ("cat", "dog", "owl")


@pytest.fixture(scope="module")
def arrays():
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 3, N)
    features = (rng.normal(size=(N, 4)) + 3 * labels[:, None]).astype(np.float32)
    given = np.where(rng.random(N) < 0.1, (labels + 1) % 3, labels)
    probs = np.eye(3)[labels] * 0.7 + 0.1
    return {
        "given": given,
        "features": features,
        "probs": probs,
        "source": np.array(["a, b", "=c", 'd"', ""])[rng.integers(0, 4, N)],
        "fold": np.array(["train", "test"])[rng.integers(0, 2, N)],
    }


@pytest.fixture(scope="module")
def table(arrays):
    """All that a file may hold, one column for each."""
    columns = {
        "label": [NAMES[i] for i in arrays["given"]],
        "id": list(range(N)),
        # None of these orders is that of the classes.
        "prob_owl": arrays["probs"][:, 2],
        "prob_cat": arrays["probs"][:, 0],
        "prob_dog": arrays["probs"][:, 1],
        **{f"emb_{j}": arrays["features"][:, j] for j in range(4)},
        "source": [s or None for s in arrays["source"]],
        "fold": arrays["fold"],
    }
    return pyarrow.table(columns)


def lists(table, arrays):
    flat = pyarrow.array(arrays["features"].ravel())
    vectors = pyarrow.FixedSizeListArray.from_arrays(flat, 4)
    return table.append_column("vector", vectors)


WRITERS = {
    "t.csv": csv.write_csv,
    "t.tsv": lambda t, p: csv.write_csv(t, p, csv.WriteOptions(delimiter="\t")),
    "t.parquet": lambda t, p: parquet.write_table(t, p, row_group_size=17),
    "t.PARQUET": lambda t, p: parquet.write_table(t, p, use_dictionary=False, compression="gzip"),
    "t.feather": feather.write_feather,
    "t.arrow": lambda t, p: _write_stream(t, p),
    "t.ipc": lambda t, p: _write_ipc(t, p),
}


def _write_stream(table, path):
    with ipc.new_stream(path, table.schema) as writer:
        writer.write_table(table, max_chunksize=13)


def _write_ipc(table, path):
    with ipc.new_file(path, table.schema) as writer:
        writer.write_table(table)


PLACES = {"pred_probs": "prob_", "features": "emb_", "split": "fold"}


@pytest.mark.parametrize("file", WRITERS)
def test_a_table_gives_what_its_arrays_give(file, table, arrays, tmp_path):
    path = tmp_path / file
    WRITERS[file](table, str(path))
    found = dq.audit(**data_set(path, PLACES, ["source"]), k=3)
    expected = dq.audit(
        [NAMES[i] for i in arrays["given"]],
        features=arrays["features"],
        pred_probs=arrays["probs"][:, [2, 0, 1]],
        class_names=["owl", "cat", "dog"],
        columns={"source": np.array([s or None for s in arrays["source"]], object)},
        split=arrays["fold"],
        k=3,
    )
    assert found.class_names == expected.class_names
    np.testing.assert_array_equal(found.issues, expected.issues)
    np.testing.assert_array_equal(found.graph.indices, expected.graph.indices)
    np.testing.assert_array_equal(found.joint.counts, expected.joint.counts)
    assert list(found.slices) == list(expected.slices)


@pytest.mark.parametrize("file", ["t.parquet", "t.arrow", "t.feather"])
def test_a_column_of_lists_is_a_matrix(file, table, arrays, tmp_path):
    path = tmp_path / file
    WRITERS[file](lists(table, arrays), str(path))
    found = data_set(path, {"features": "vector"})
    assert "columns" not in found
    np.testing.assert_array_equal(
        dq.knn_graph(found["features"], 3).indices, dq.knn_graph(arrays["features"], 3).indices
    )


def test_columns_are_those_asked_for(table, tmp_path):
    parquet.write_table(table, tmp_path / "t.parquet")

    def names(*asked, **places):
        return list(data_set(tmp_path / "t.parquet", places, asked).get("columns", {}))

    assert names() == []
    assert names("source,fold") == ["source", "fold"]
    assert names("fold", "source,fold") == ["fold", "source"]
    assert names("*", pred_probs="prob_", features="emb_") == ["id", "source", "fold"]
    assert names("*", **PLACES) == ["id", "source"]
    with pytest.raises(
        ValueError, match=r"t.parquet has no column 'nose' for columns; it has: label"
    ):
        names("source,nose")


def test_columns_of_an_npz_may_be_chosen(tmp_path):
    held = {"labels": [0, 1], "columns/a": [0, 1], "columns/b": [1, 1]}
    np.savez(tmp_path / "d.npz", **held)
    assert list(data_set(tmp_path / "d.npz", {})["columns"]) == ["a", "b"]
    assert list(data_set(tmp_path / "d.npz", {}, ["b"])["columns"]) == ["b"]
    with pytest.raises(ValueError, match="has no column 'c'; it has: a, b"):
        data_set(tmp_path / "d.npz", {}, ["a,c"])
    np.savez(tmp_path / "e.npz", labels=[0, 1])
    with pytest.raises(ValueError, match="holds no columns"):
        data_set(tmp_path / "e.npz", {}, ["a"])


def test_an_argument_may_lie_in_another_file(table, arrays, tmp_path):
    csv.write_csv(table.select(["label"]), tmp_path / "t.csv")
    np.save(tmp_path / "x.npy", arrays["features"])
    np.savez(tmp_path / "p.npz", p=arrays["probs"])
    found = data_set(
        tmp_path / "t.csv",
        {"features": f"{tmp_path}/x.npy", "pred_probs": f"{tmp_path}/p.npz:p"},
    )
    np.testing.assert_array_equal(found["features"], arrays["features"])
    np.testing.assert_array_equal(found["pred_probs"], arrays["probs"])


# ---- which column is which class -----------------------------------------------------------------


def write(tmp_path, text, name="t.csv"):
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return tmp_path / name


def test_numbered_columns_are_sorted_by_their_numbers(tmp_path):
    names = [str(c) for c in (10, 2, 0, 1, 9, 3, 8, 4, 7, 5, 6)]
    row = ",".join(str(int(c) / 55) for c in names)
    path = write(tmp_path, "label," + ",".join(f"p{c}" for c in names) + f"\n3,{row}\n")
    found = data_set(path, {"pred_probs": "p"})
    np.testing.assert_array_equal(found["pred_probs"], [[c / 55 for c in range(11)]])
    assert found["labels"].tolist() == [3]


def test_named_columns_need_named_labels_or_names_of_classes(tmp_path):
    path = write(tmp_path, "label,p_b,p_a\n0,0.75,0.25\n1,0.5,0.5\n")
    with pytest.raises(
        ValueError, match="named b, a, must be named 0 to 1 where labels are numbers"
    ):
        data_set(path, {"pred_probs": "p_"})
    np.save(tmp_path / "names.npy", np.array(["a", "b"]))
    found = data_set(path, {"pred_probs": "p_", "class_names": f"{tmp_path}/names.npy"})
    np.testing.assert_array_equal(found["pred_probs"], [[0.25, 0.75], [0.5, 0.5]])
    assert found["class_names"] == ["a", "b"]
    np.save(tmp_path / "names.npy", np.array(["a", "c"]))
    with pytest.raises(ValueError, match="must be named after the classes"):
        data_set(path, {"pred_probs": "p_", "class_names": f"{tmp_path}/names.npy"})


def test_class_labels_of_hugging_face_name_the_classes(tmp_path):
    kinds = {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}
    kept = {"huggingface": json.dumps({"info": {"features": kinds}})}
    table = pyarrow.table({"label": [1, 0], "x": [[0.5, 1.0], [1.0, 2.0]]}).replace_schema_metadata(
        kept
    )
    parquet.write_table(table, tmp_path / "t.parquet")
    found = data_set(tmp_path / "t.parquet", {"features": "x"})
    assert found["class_names"] == ["cat", "dog"]
    assert dq.audit(**found, k=1).class_names == ("cat", "dog")
    for bad in (b"{", b"[]", b'{"info": 1}', b'{"info": {"features": {"label": {"names": [1]}}}}'):
        table = table.replace_schema_metadata({"huggingface": bad})
        parquet.write_table(table, tmp_path / "t.parquet")
        assert "class_names" not in data_set(tmp_path / "t.parquet", {})


# ---- a CSV file has no types ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cells", "labels"),
    [
        ("0 1 2", [0, 1, 2]),
        ("0 -1 2", [0, -1, 2]),
        ("07 1 2", ["07", "1", "2"]),
        ("1.0 1 2", ["1.0", "1", "2"]),
        ("NA nan null", ["NA", "nan", "null"]),
        ("true false true", ["true", "false", "true"]),
        ("2020-01-01 1 1", ["2020-01-01", "1", "1"]),
        ("1e3 1 1", ["1e3", "1", "1"]),
        ("99999999999999999999 1 1", ["99999999999999999999", "1", "1"]),
        ("+1 1 1", ["+1", "1", "1"]),
        ("-0 0 0", ["-0", "0", "0"]),
    ],
)
def test_labels_are_whole_numbers_only_where_all_are_written_so(cells, labels, tmp_path):
    path = write(tmp_path, "label,x\n" + "".join(f"{c},1\n" for c in cells.split()))
    assert data_set(path, {})["labels"].tolist() == labels if isinstance(labels[0], int) else True
    assert (
        data_set(path, {})["labels"].to_pylist() == labels if isinstance(labels[0], str) else True
    )


def test_a_missing_label_is_an_error_that_names_the_row(tmp_path):
    for cells, row in (("0\n1\n\n2", 2), ("a\n\nb", 1)):
        path = write(tmp_path, "label,x\n" + "".join(f"{c},1\n" for c in cells.split("\n")))
        with pytest.raises(ValueError, match=f"labels must be .*row {row} is None"):
            dq.audit(**data_set(path, {}))


def test_columns_of_text_stay_text_and_empty_cells_are_missing(tmp_path):
    path = write(tmp_path, 'label,x,c\n0,1,007\n0,2,\n1,3,NA\n1,4,""\n')
    found = data_set(path, {"features": "x"}, ["c"])
    assert found["columns"]["c"].to_pylist() == ["007", None, "NA", None]
    assert found["features"].tolist() == [[1.0], [2.0], [3.0], [4.0]]


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("label,p0,p1\n0,1,0\n0,x,0\n", CorruptFileError, "column 'p0': row 1: .*'x'"),
        ("label,p0,p1\n0,1,0\n0,1\n", CorruptFileError, "row 1: Expected 3 columns, got 2"),
        ("label,p0,p1\n0,1,0\n0,,1\n", ValueError, "column 'p0' must be numbers.*row 1 is missing"),
        (
            "label,p0,p1\n0,1,0\n0,nan,1\n",
            ValueError,
            "pred_probs must be .*row 1, column 0 is nan",
        ),
        (
            "label,p0,p1\n0,1,0\n0,inf,1\n",
            ValueError,
            "pred_probs must be .*row 1, column 0 is inf",
        ),
        ("label,p0,p1\n0,1,0\n5,0,1\n", ValueError, r"labels must be .*row 1 is .*5"),
        ("label,p0,p0\n0,1,0\n", ValueError, "has two columns named 'p0'"),
        ("label,labels,p0\n0,1,1\n", ValueError, "has columns 'labels' and 'label'; say --labels"),
        (
            "y,p0\n0,1\n",
            ValueError,
            "has no column 'labels' for labels; say --labels COLUMN; it has",
        ),
        ("", CorruptFileError, "cannot be read: Empty CSV file"),
        ("label,p0,p1\n\xff,1,0\n".encode("latin-1"), CorruptFileError, "'label': .*UTF8"),
        ("label,p0\n0,1\n".encode("utf-16"), CorruptFileError, "cannot be read|has no column"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" * 20, (CorruptFileError, ValueError), "t.csv"),
    ],
)
def test_a_bad_csv_file_says_where(text, error, message, tmp_path):
    path = write(tmp_path, text)
    with pytest.raises(error, match=message):
        dq.audit(**data_set(path, {"pred_probs": "p"}))


def test_a_mark_before_the_text_and_line_ends_of_all_kinds_are_no_matter(tmp_path):
    for text in (
        "\ufefflabel,p0,p1\n0,1,0\n",
        "label,p0,p1\r\n0,1,0\r\n",
        '"label","p0","p1"\n0,1,0',
    ):
        assert data_set(write(tmp_path, text), {"pred_probs": "p"})["labels"].tolist() == [0]


# ---- files with types ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("columns", "places", "error", "message"),
    [
        ({"label": [0, None]}, {}, ValueError, "labels must be .*row 1"),
        ({"label": [0.5, 1.0]}, {}, ValueError, "labels must be .*row 0 is .*0.5"),
        ({"label": [True, False]}, {}, TypeError, "labels must be .*bool"),
        ({"label": [[0], [1]]}, {}, (TypeError, ValueError), "labels must be"),
        ({"label": [0, 1], "x0": ["a", "b"]}, {"features": "x"}, TypeError, "'x0' must be numbers"),
        ({"label": [0, 1], "x": ["a", "b"]}, {"features": "x"}, TypeError, "'x' must be numbers"),
        (
            {"label": [0, 1], "x0": [1, None]},
            {"features": "x"},
            ValueError,
            "'x0' .*row 1 is missing",
        ),
        (
            {"label": [0, 1], "x": [[1.0], [1.0, 2.0]]},
            {"features": "x"},
            ValueError,
            "features .*row 1 has 2",
        ),
        (
            {"label": [0, 1], "x": [[1.0], None]},
            {"features": "x"},
            ValueError,
            "features .*row 1 is missing",
        ),
        (
            {"label": [0, 1], "x": [[1.0], [None]]},
            {"features": "x"},
            ValueError,
            "features .*row 1 has a missing",
        ),
        ({"label": [0, 1]}, {"features": "x"}, ValueError, "has no column 'x' for features"),
        ({"label": [0, 1]}, {"split": "fold"}, ValueError, "has no column 'fold' for split"),
        ({"label": [0, 1]}, {"labels": "y"}, ValueError, "has no column 'y' for labels"),
    ],
)
@pytest.mark.parametrize("file", ["t.parquet", "t.arrow"])
def test_bad_columns_are_named(file, columns, places, error, message, tmp_path):
    WRITERS[file](pyarrow.table(columns), str(tmp_path / file))
    with pytest.raises(error, match=message):
        dq.audit(**data_set(tmp_path / file, places), k=1)


def test_whole_numbers_of_a_table_are_codes(tmp_path):
    columns = {
        "label": [0, 1, 0, 1],
        "x": [0.0, 1.0, 2.0, 3.0],
        "c": [5, None, 5, -1],
        "b": [True, False, None, True],
    }
    parquet.write_table(pyarrow.table(columns), tmp_path / "t.parquet")
    found = dq.audit(**data_set(tmp_path / "t.parquet", {"features": "x"}, ["c,b"]), k=1)
    sizes = {row.predicate: row.size for row in found.slices if len(row.predicate) == 1}
    assert sizes == {(("c", 5),): 2, (("b", False),): 1, (("b", True),): 2}


# ---- damage --------------------------------------------------------------------------------------


def taken_or_named(path):
    """Read a file that may be damaged; what is not an array is an error that says so."""
    try:
        dq.audit(**data_set(path, {"features": "emb_", "split": "fold"}, ["source"]), k=3)
    except (CorruptFileError, ValueError, TypeError, MemoryError) as error:
        return str(error)
    return None


@pytest.mark.parametrize("file", ["t.parquet", "t.arrow", "t.feather", "t.csv"])
def test_every_cut_is_told(file, table, tmp_path, scaled):
    WRITERS[file](table, str(tmp_path / file))
    whole = (tmp_path / file).read_bytes()
    cuts = np.unique(np.linspace(0, len(whole) - 1, scaled(60)).astype(int))
    for cut in cuts:
        (tmp_path / file).write_bytes(whole[:cut])
        said = taken_or_named(tmp_path / file)
        if file in ("t.parquet", "t.feather"):
            assert said is not None, cut


@pytest.mark.parametrize("file", ["t.parquet", "t.arrow", "t.feather"])
def test_flipped_bits_do_no_harm(file, table, arrays, tmp_path, scaled, fresh_python):
    """In a process of its own: what is read is another library's. Lists and dictionaries hold offsets to distrust."""
    vectors = pyarrow.array(arrays["features"].tolist())
    whole = lists(table, arrays).append_column("list", vectors)
    at = whole.schema.get_field_index("fold")
    whole = whole.set_column(at, "fold", whole["fold"].dictionary_encode())
    WRITERS[file](whole, str(tmp_path / file))
    fresh_python(
        """
import sys
import numpy as np
import dqcore as dq
from dqcore.audit.load import data_set
path, count = sys.argv[1], int(sys.argv[2])
whole = open(path, "rb").read()
rng = np.random.default_rng(0)
for case in range(count):
    bad = bytearray(whole)
    bad[int(rng.integers(len(bad)))] ^= 1 << int(rng.integers(8))
    open(path, "wb").write(bad)
    try:
        features = ("emb_", "vector", "list")[case % 3]
        dq.audit(**data_set(path, {"features": features, "split": "fold"}, ["source"]), k=3)
    except (OSError, ValueError, TypeError, MemoryError):
        pass
""",
        tmp_path / file,
        scaled(150),
    )


def test_another_kind_of_file_by_that_name_is_told(tmp_path):
    for name in ("t.parquet", "t.arrow", "t.feather"):
        for text in (
            b"",
            b"PAR1",
            b"PAR1PAR1",
            b"ARROW1\0\0",
            b"label,x\n0,1\n",
            b"\0" * 1000,
            b"PK\3\4" * 20,
        ):
            path = write(tmp_path, text, name)
            with pytest.raises(CorruptFileError, match=f"{name} cannot be read"):
                data_set(path, {})


def test_a_missing_file_a_folder_and_a_pipe_are_errors_of_the_system(tmp_path):
    import os

    (tmp_path / "folder.csv").mkdir()
    os.mkfifo(tmp_path / "pipe.parquet")
    for name, kind in (
        ("none.csv", FileNotFoundError),
        ("folder.csv", OSError),
        ("pipe.parquet", OSError),
    ):
        with pytest.raises(kind) as caught:
            data_set(tmp_path / name, {})
        assert not isinstance(caught.value, CorruptFileError)


def test_a_file_that_unfolds_to_too_much_is_refused(tmp_path):
    many = pyarrow.table({"label": np.zeros(2_000_000, np.int64)})
    parquet.write_table(many, tmp_path / "t.parquet")
    assert (tmp_path / "t.parquet").stat().st_size < 20_000
    feather.write_feather(many, str(tmp_path / "t.feather"), compression="zstd")
    csv.write_csv(many, tmp_path / "t.csv")
    for name in ("t.parquet", "t.feather", "t.csv"):
        with pytest.raises(ValueError, match=r"unfolds to .* at most 1,000,000 are allowed"):
            TableFile(tmp_path / name, limit=1_000_000).read(["label"], [])


def test_without_pyarrow_a_table_says_what_to_install(tmp_path, monkeypatch):
    path = write(tmp_path, "label\n0\n")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"pyarrow: pip install '\.\[audit\]'"):
        data_set(path, {})


# ---- the command line ----------------------------------------------------------------------------


def test_the_command_line_audits_a_table(table, tmp_path, capsys):
    parquet.write_table(table, tmp_path / "t.parquet")
    arguments = ["audit", tmp_path / "t.parquet", "--pred-probs", "prob_", "--features", "emb_"]
    arguments += ["--columns", "source,fold", "--k", "3"]
    assert cli.main([str(a) for a in arguments]) == 0
    said = capsys.readouterr().out
    assert "60 rows, 3 classes, 3 neighbours" in said
    assert cli.main(["audit", str(tmp_path / "t.parquet"), "--columns", "nose"]) == 2
    assert "has no column 'nose' for columns" in capsys.readouterr().err
    (tmp_path / "t.parquet").write_bytes(b"junk")
    assert cli.main(["audit", str(tmp_path / "t.parquet")]) == 3
    assert "cannot be read" in capsys.readouterr().err
