"""What an audit is saved as: report.json against its schema, CSV that no spreadsheet runs, Parquet, joint.npy."""

import csv
import importlib.util
import io
import json
from pathlib import Path

import dqcore as dq
import jsonschema
import numpy as np
import pandas as pd
import pytest
from conftest import examples
from dqcore.audit import table
from hypothesis import given, settings
from hypothesis import strategies as st

SCHEMA = json.loads((Path(__file__).parents[1] / "docs" / "report.schema.json").read_text())
HOSTILE = [
    "=1+2",
    "+x",
    "-2",
    "@sum",
    "\tt",
    "\rr",
    "\nn",
    'a"b',
    "a,b",
    "\x00",
    "\ud800",
    "é<b>",
    "\uff1dx",
    "'=",
    " =1",
]


def closed(schema):
    """The schema without room for fields that it does not name, so that each must be described."""
    if isinstance(schema, list):
        return [closed(entry) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: closed(value) for key, value in schema.items()}
    if "properties" in found and found.get("properties"):
        found.setdefault("additionalProperties", False)
    return found


VALIDATOR = jsonschema.Draft202012Validator(closed(SCHEMA))


def data(n=300, names=None, seed=0):
    """Rows with every kind of issue."""
    rng = np.random.default_rng(seed)
    true = rng.integers(0, 4, n)
    labels = np.where(rng.random(n) < 0.2, (true + 1) % 4, true)
    p = np.where(np.arange(5) == true[:, None], 0.8, 0.05)
    x = rng.normal(size=(n, 6)) + 4 * np.eye(6)[true]
    x[:20], x[30] = x[40:60], 90
    labels[:10] = (labels[40:50] + 1) % 4
    columns = {
        "source": rng.choice(["=a", "b"], n),
        "n": rng.integers(0, 3, n),
        "ok": labels == true,
    }
    split = rng.choice(["train", "@test"], n).astype(object)
    split[1] = None
    args = {"features": x, "pred_probs": p, "columns": columns, "split": split}
    return labels, args | ({"class_names": names} if names else {})


@pytest.fixture
def full():
    labels, args = data(names=HOSTILE[:5])
    return dq.audit(labels, **args)


PARTS = {
    "all": ("features", "pred_probs", "columns", "split"),
    "features": ("features",),
    "probabilities": ("pred_probs", "columns"),
    "parts": ("features", "split"),
    "labels": (),
}


# ---- report.json ---------------------------------------------------------------------------------------


def test_the_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("parts", PARTS)
def test_report_fits_its_schema(parts, tmp_path):
    labels, args = data()
    found = dq.audit(labels, **{name: args[name] for name in PARTS[parts]})
    found.save(tmp_path / "out")
    saved = json.loads((tmp_path / "out" / "report.json").read_text())
    VALIDATOR.validate(saved)
    printed = json.loads(found.to_json())
    VALIDATOR.validate(printed)
    assert set(saved) - set(printed) == {"files", "left_out"}
    assert set(saved["files"]) == {p.name for p in (tmp_path / "out").iterdir()} - {"report.json"}
    assert saved["left_out"] == []


@pytest.mark.parametrize("labels", [[], [0], [0, 0, 0]])
def test_reports_of_next_to_nothing_fit_too(labels):
    probs = np.ones((len(labels), 1))
    columns = {"a": labels}
    VALIDATOR.validate(json.loads(dq.audit(labels, pred_probs=probs, columns=columns).to_json()))


@settings(deadline=None, max_examples=examples(100))
@given(
    st.lists(st.text(min_size=1), min_size=2, max_size=2, unique=True),
    st.text(),
    st.text(min_size=1),
)
def test_reports_with_any_names_are_valid(names, value, column):
    """Control characters, quotes, lone surrogates and all."""
    labels = np.arange(40) % 2
    p = np.where(np.arange(2) == (labels ^ (np.arange(40) < 8))[:, None], 0.9, 0.1)
    parts = [value] * 8 + [value + "x"] * 32
    found = dq.audit(labels, pred_probs=p, class_names=names, columns={column: parts})
    content = json.loads(found.to_json())
    VALIDATOR.validate(content)
    assert [entry["name"] for entry in content["classes"]] == names
    if value:  # else it is missing
        assert content["slices"]["worst"][0]["predicate"] == [{"column": column, "value": value}]


def test_the_schema_refuses_what_is_not_a_report(full):
    content = json.loads(full.to_json())
    for change in (
        {"format_version": 1},
        {"rows": -1},
        {"noise": {}},
        {"more": 1},
        {"classes": None},
    ):
        assert not VALIDATOR.is_valid(content | change)
    content.pop("balance")
    assert not VALIDATOR.is_valid(content)


def test_report_tells_every_finding(full):
    content = json.loads(full.to_json())
    issues = full.issues
    for c, entry in enumerate(content["classes"]):
        for kind in ("label", "outlier", "near_duplicate", "conflicting_duplicate", "split_leak"):
            flagged = issues["given"][issues[f"is_{kind}_issue"]]
            assert entry[f"{kind}_issues"] == np.count_nonzero(flagged == c)
    assert content["noise"]["verdicts"][0] == {"bound": 0.05, "outcome": "above"}
    assert content["balance"]["absent"] == [HOSTILE[4]]
    assert content["outliers"]["rows"] == full.outliers.mask.sum()
    near = content["near_duplicates"]
    assert near["groups"] == full.near_duplicates.n_groups
    assert near["rows_with_copies"] >= 40
    assert [g["size"] for g in near["largest"]] == sorted(
        (g["size"] for g in near["largest"]), reverse=True
    )
    assert content["conflicting_duplicates"]["groups"] == full.conflicts.groups >= 10
    assert all(len(g["labels"]) > 1 for g in content["conflicting_duplicates"]["largest"])
    assert content["split_leaks"]["groups"] == full.leaks.groups > 3
    assert all(len(g["parts"]) == 2 for g in content["split_leaks"]["largest"])
    assert {p["part"]: p["rows"] for p in content["split_leaks"]["parts"]} == dict(
        zip(full.split_names, full.leaks.parts, strict=True)
    )
    assert set(content["top"]) == {"label", "disagreement", "outlier", "near_duplicate"}
    assert content["top"]["outlier"][0]["row"] == full.outliers.indices[0]


# ---- the table of rows -----------------------------------------------------------------------------------


def written(audit):
    file = io.StringIO()
    table.write_csv(audit, file)
    return file.getvalue()


@pytest.mark.parametrize("parts", PARTS)
def test_csv_and_parquet_hold_the_issues(parts, tmp_path):
    labels, args = data(names=["a", "b", "c", "d", "e"])
    args = {name: args[name] for name in (*PARTS[parts], "class_names")}
    found = dq.audit(labels, **args)
    found.save(tmp_path / "out")
    as_csv = pd.read_csv(tmp_path / "out" / "findings.csv")
    as_parquet = pd.read_parquet(tmp_path / "out" / "findings.parquet")
    assert list(as_csv) == list(as_parquet)
    assert ("is_outlier_issue" in as_csv) == ("features" in PARTS[parts])
    assert ("label_quality" in as_csv) == ("pred_probs" in PARTS[parts])
    assert ("is_split_leak_issue" in as_csv) == (parts in ("all", "parts"))
    assert {"row", "given"} <= set(as_csv)
    for name in as_csv:
        values = found.issues[name]
        for frame in (as_csv, as_parquet):
            column = frame[name]
            if name in table.CLASS_FIELDS:
                assert column.tolist() == [found.class_names[c] for c in values]
            elif name == "split":
                assert column.isna().tolist() == (values < 0).tolist()
                known = [found.split_names[c] for c in values if c >= 0]
                assert [c.removeprefix("'") for c in column.dropna()] == known
            elif values.dtype.kind == "i":
                assert np.array_equal(column.fillna(-1), values)
            elif values.dtype.kind == "b":
                assert column.tolist() == values.tolist()
            else:
                # Not every pandas reads the digits of a CSV to the last bit; a test below does.
                almost = 1e-14 if frame is as_csv else 0.0
                assert np.allclose(column.astype(float), values, almost, 0.0, equal_nan=True)


def test_no_cell_of_the_csv_starts_a_formula(full):
    text = written(full)
    lines = list(csv.reader(io.StringIO(text.replace("\x00", ""), newline="")))
    assert len(lines) == len(full) + 1
    numbers = 0
    for cell in (cell for line in lines for cell in line):
        if cell.startswith(table.FORMULA):
            assert float(cell) < 0  # a margin, as a number
            numbers += 1
    assert numbers > 0
    assert "'=1+2" in text
    assert "'@test" in text


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_come_back(name, tmp_path):
    found = dq.audit(np.arange(10) % 2, class_names=[name, "plain"])
    found.save(tmp_path / "out")
    with (tmp_path / "out" / "findings.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    shown = name.encode("utf-8", "backslashreplace").decode()
    safe = f"'{shown}" if name.startswith(table.FORMULA) else shown
    assert [line["given"] for line in lines] == [safe, "plain"] * 5
    assert found.to_arrow()["given"].to_pylist() == [shown, "plain"] * 5
    assert pd.read_parquet(tmp_path / "out" / "findings.parquet")["given"][0] == shown
    assert dq.Audit.load(tmp_path / "out").class_names == (name, "plain")


@settings(deadline=None, max_examples=examples(200))
@given(st.text(min_size=1, max_size=20))
def test_any_text_is_safe_and_still_there(text):
    cell = table.safe(text)
    assert cell.removeprefix("'") == text.removeprefix("'")
    assert not cell.startswith(table.FORMULA)


def test_floats_of_the_csv_are_the_same_bits(full):
    lines = list(csv.DictReader(io.StringIO(written(full).replace("\x00", ""), newline="")))
    for name in ("label_quality", "disagreement", "outlier_score", "near_duplicate_score"):
        found = np.array([float(line[name]) for line in lines])
        assert found.tobytes() == full.issues[name].tobytes()


def test_joint_is_an_array_of_its_own(full, tmp_path):
    full.save(tmp_path / "out")
    assert np.array_equal(np.load(tmp_path / "out" / "joint.npy"), full.joint.joint())


def test_the_same_files_for_the_same_audit(tmp_path):
    labels, args = data()
    for name in ("a", "b"):
        dq.audit(labels, **args).save(tmp_path / name)
    for path in (tmp_path / "a").iterdir():
        # Times, and what the engine did; that pages are the same but for it, their own tests show.
        if path.name not in ("report.json", "objects.json", "report.html"):
            assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


# ---- without pyarrow ---------------------------------------------------------------------------------


@pytest.fixture
def no_pyarrow(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "pyarrow" else find(name)
    )


@pytest.mark.usefixtures("no_pyarrow")
def test_without_pyarrow_it_says_what_is_missing(full, tmp_path):
    with pytest.warns(
        UserWarning, match=r"findings.parquet is left out: .*needs pyarrow: pip install .*\[audit\]"
    ) as told:
        full.save(tmp_path / "out")
    assert told[0].filename == __file__
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    VALIDATOR.validate(report)
    assert report["left_out"][0]["file"] == "findings.parquet"
    assert "pyarrow" in report["left_out"][0]["reason"]
    assert (tmp_path / "out" / "findings.csv").exists()
    assert not (tmp_path / "out" / "findings.parquet").exists()
    assert str(dq.Audit.load(tmp_path / "out")) == str(full)


@pytest.mark.usefixtures("no_pyarrow")
def test_parquet_that_is_wanted_is_an_error_before_anything_is_written(full, tmp_path):
    with pytest.raises(ImportError, match=r"pyarrow: pip install .*\[audit\]"):
        full.save(tmp_path / "out", parquet=True)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ImportError, match=r"pyarrow: pip install .*\[audit\]"):
        full.to_arrow()
    full.save(tmp_path / "out", parquet=False)  # and one that is not is no warning
    assert json.loads((tmp_path / "out" / "report.json").read_text())["left_out"] == []
