"""The page of an audit: it stands alone, shows names as text, says what was found, and is missed in plain words."""

import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import dqcore as dq
import numpy as np
import pytest
from dqcore._stats import wilson_interval
from dqcore.audit import cli, findings, html, page_classes, page_content, page_rows
from dqcore.audit.projection import flat as projection_of
from dqcore.audit.projection import projection

pytest.importorskip("matplotlib", reason="the extra audit is not installed")
pytest.importorskip("jinja2", reason="the extra audit is not installed")

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "\u202eevil\u202c",
    "\u05e9\u05dc\u05d5\u05dd",
    "x" * 300,
    "new\nline\ttab",
    r"$\frac{a}{b}$ {{ 7 * 7 }} {% raw %}",
    "</svg></style><script>1</script>",
    "\u6f22\u5b57" * 20,
    "]]>&amp;&#x3c; @0@",
    "javascript:alert(1)",
    "\x1b[2J\ud800",
)


def planted(n=600, classes=4, names=None, seed=0, wrong=0.05):
    """Clear groups; labels of class 0 turned to 1, all of them from one source."""
    rng = np.random.default_rng(seed)
    true = np.arange(n) % classes
    bad = (true == 0) & (rng.random(n) < wrong * classes)
    labels = np.where(bad, 1, true)
    pred_probs = np.full((n, classes), 0.1 / (classes - 1))
    pred_probs[np.arange(n), true] = 0.9
    centres = rng.normal(0, 4, (classes, 5))
    source = np.where(bad | (rng.random(n) < 0.05), "worn scanner", "new scanner")
    return {
        "labels": labels,
        "features": rng.normal(0, 0.3, (n, 5)) + centres[true],
        "pred_probs": pred_probs,
        "columns": {"source": source, "day": rng.integers(0, 3, n)},
        "class_names": names or [f"kind {c}" for c in range(classes)],
    }, np.flatnonzero(bad)


@pytest.fixture(scope="module")
def found():
    return dq.audit(**planted()[0])


@pytest.fixture(scope="module")
def hostile():
    arguments, bad = planted(classes=len(HOSTILE), names=list(HOSTILE), wrong=0.05)
    odd = np.where(np.isin(np.arange(600), bad), "<svg onload=alert(1)>", "' onfocus=alert(1) x='")
    arguments["columns"] = {'<b onclick="alert(1)">column': odd}
    return dq.audit(**arguments)


class Page(HTMLParser):
    """Every element with its attributes, and the text outside of style."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.elements, self.words, self.open = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in {"meta", "path"}:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        if tag in {"td", "th", "li", "dd", "text"}:
            self.words.append(" ")

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self):
        return re.sub(r"\s+", " ", "".join(self.words))


# ---- nothing but a page ----------------------------------------------------------------------------

TAGS = """
    html head meta title style body header main section h1 h2 h3 p b i s small span bdi ul li a div figure figcaption
    table thead tbody tr th td dl dt dd details summary svg path text
"""
ATTRIBUTES = """
    lang charset http-equiv content name class id style href role aria-label aria-labelledby title width height viewbox
    d x y transform scope open
"""


@pytest.mark.parametrize("which", ["found", "hostile"])
def test_nothing_in_it_runs_or_is_fetched(which, request):
    text = html.page(request.getfixturevalue(which))
    page = Page(text)
    assert page.open == []
    assert {tag for tag, _ in page.elements} <= set(TAGS.split())
    for _, attributes in page.elements:
        assert set(attributes) <= set(ATTRIBUTES.split()), attributes
        assert attributes.get("href", "#")[0] == "#"
        assert not re.search(r"url|expression|import|@", attributes.get("style", ""))
    styles = re.findall(r"<style>(.*?)</style>", text, flags=re.DOTALL)
    assert len(styles) == 1
    assert not re.search(r"url\(|@import|expression|</|<!", styles[0])
    policy = [
        a["content"] for t, a in page.elements if a.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'"]
    assert "http:" not in text
    assert "https:" not in text


@pytest.mark.parametrize("which", ["found", "hostile"])
def test_pictures_are_well_formed_and_say_what_they_show(which, request):
    pictures = re.findall(
        r"<svg.*?</svg>", html.page(request.getfixturevalue(which)), flags=re.DOTALL
    )
    assert len(pictures) >= 5
    for picture in pictures:
        root = ElementTree.fromstring(picture)
        assert root.get("role") == "img"
        assert len(root.get("aria-label")) > 20
        assert {child.tag for child in root} <= {"path", "text"}
        assert all(len(child) == 0 for child in root)
        _, _, width, height = map(float, root.get("viewBox").split())
        for child in root.iter("text"):
            if child.get("x"):
                assert -1 <= float(child.get("x")) <= width + 1
                assert -1 <= float(child.get("y")) <= height + 1


def test_hostile_names_show_as_text(hostile):
    text = html.page(hostile)
    page = Page(text)
    for name in HOSTILE[:2] + HOSTILE[6:8] + HOSTILE[9:11]:
        assert name in page.text
    assert "\\u202eevil\\u202c" in page.text
    assert "new\\x0aline\\x09tab" in page.text
    assert "\\x1b[2J\\ud800" in page.text
    assert '<b onclick="alert(1)">column' in page.text
    assert "<svg onload=alert(1)>" in page.text
    assert all(c.isprintable() or c in "\n\N{NO-BREAK SPACE}" for c in text)
    assert "x" * 100 not in text


# ---- what it says ----------------------------------------------------------------------------------


def test_it_opens_with_the_verdict(found):
    page = Page(html.page(found))
    opening = page.text[: page.text.index("Summary")]
    assert "of the labels are wrong" in opening
    assert f"{100 * found.noise.rate:.1f} %" in opening
    assert f"{100 * found.noise.low:.1f} % to {100 * found.noise.high:.1f} %" in opening
    assert "600 rows" in opening
    for line in found.summary:
        assert line.verdict in page.text


def test_it_shows_what_was_planted(found):
    bad = planted()[1]
    page = Page(html.page(found))
    tables = {e["id"]: None for _, e in page.elements if e.get("id")}
    assert {
        "summary",
        "classes",
        "pairs",
        "one-way",
        "slices",
        "rows",
        "neighbours",
        "balance",
        "provenance",
    } <= set(tables)
    assert "of kind 1 should be kind 0" in page.text
    assert re.search(rf"kind 1 kind 0 [0-9.]+ % {len(bad)} 0 yes", page.text)
    assert f"kind 0 kind 1 {len(bad)} 0 {len(bad)}" in page.text
    assert "source = worn scanner" in page.text
    rows = page.text[page.text.index("Rows to look at first") :]
    for row in found.top(25)["row"]:
        assert f" {row} kind 1 kind 0" in rows
    both = found.issues["is_label_issue"] & found.issues["is_disagreement_issue"]
    assert f"Both doubt {np.count_nonzero(both)} labels" in rows


def test_what_was_not_asked_is_not_shown():
    arguments = planted()[0]
    for given, there, absent in (
        ((), ["balance"], ["classes", "pairs", "slices", "rows", "neighbours"]),
        (("features",), ["classes", "rows", "neighbours"], ["slices"]),
        (("pred_probs",), ["classes", "rows", "pairs"], ["slices", "neighbours"]),
    ):
        some = {name: arguments[name] for name in ("labels", "class_names", *given)}
        ids = {e.get("id") for _, e in Page(html.page(dq.audit(**some))).elements}
        assert set(there) <= ids
        assert not set(absent) & ids


@pytest.mark.parametrize(
    ("labels", "pred_probs"),
    [
        ([], np.zeros((0, 3))),
        ([0], [[1.0, 0.0]]),
        ([0, 0, 0], [[0.5, 0.5]] * 3),
        ([1, 0], np.eye(2)),
    ],
)
def test_the_smallest_sets_have_a_page(labels, pred_probs):
    page = Page(html.page(dq.audit(labels, pred_probs=pred_probs)))
    assert not re.search(r"\bnan\b", page.text)


def test_features_without_spread_have_a_page():
    page = html.page(dq.audit([0, 1, 0, 1], features=np.ones((4, 3)), k=2))
    assert not re.search(r"\bnan\b", page)


def test_no_statement_where_the_interval_does_not_decide():
    labels = np.zeros(400, int)
    labels[:30] = 1
    pred_probs = np.tile([0.9, 0.1], (400, 1))
    pred_probs[30:200] = [0.8, 0.2]
    pred_probs[20:30] = [0.1, 0.9]
    page = Page(html.page(dq.audit(labels, pred_probs=pred_probs)))
    assert "is not decided" in page.text


def test_copies_leaks_and_outliers_are_told():
    arguments, _ = planted()
    labels, features = arguments["labels"].copy(), arguments["features"].copy()
    features[[101, 202]] = features[100]  # three copies, one with another label
    labels[[100, 101, 202]] = 2, 2, 3
    features[50] += 100
    split = np.where(np.arange(600) < 200, "train", "test")
    page = Page(html.page(dq.audit(labels, features=features, split=split)))
    opening = page.text[: page.text.index("Summary")]
    assert "labels contradict identical rows" in opening
    assert "rows leak across the split" in opening
    copies = page.text[page.text.index("Copies, near-copies") :]
    assert "1 groups of identical rows, 3 rows in all" in copies
    assert re.search(r"3 2, 3 \w+, \w+ 100, 101, 202", copies)
    far = page.text[page.text.index("lie far from all others") :]
    assert re.search(r"usual distance label 50 \d", far)


@pytest.mark.parametrize(
    ("rows", "n", "words"),
    [
        (0, 1000, "No label seems to be wrong"),
        (10, 1000, "below 5\xa0%, most training copes"),
        (50, 1000, "below or above 5\xa0% is not decided"),
        (100, 1000, "above 5\xa0%, though below 20\xa0%"),
        (200, 1000, "below or above 20\xa0% is not decided"),
        (300, 1000, "above 20\xa0%, models suffer"),
        (1, 8, "too few labels to tell"),
    ],
)
def test_each_outcome_has_its_sentence(rows, n, words):
    low, high = wilson_interval(rows, n, 0.95)
    said = page_content._noise(findings.NoiseRate(rows, rows / n, float(low), float(high)), n)
    assert words in f"{said.headline} {said.detail}"


def test_slices_that_say_nothing_new_are_told_once():
    arguments, _ = planted()
    where = arguments["columns"]["source"]
    arguments["columns"] = {
        "source": where,
        "again": where,
        "both": where,
    }  # the same rows under three names
    found = dq.audit(**arguments)
    slices = page_rows.slices(found)
    sizes = [(s.size, like) for s, like, _ in slices["rows"]]
    assert len(found.worst_slices(100)) == 6  # three, and three pairs of them
    assert sum(1 + like for _, like in sizes) == 6
    assert len(sizes) < 6
    assert "with as many rows and errors" in html.page(found)


def test_slices_below_the_level_agreed_are_bars_beside_the_whole():
    arguments, _ = planted()
    found = dq.audit(**arguments)
    page = html.page(found)
    assert page_rows.level(found)["failing"] == len(found.slice_verdict.failing) > 0
    assert "Slices below the level agreed" in page
    assert ">all rows<" in page
    assert ">allowed 5\xa0%<" in page
    without = page_rows.level(dq.audit(**arguments, sla=0.0))
    assert without["picture"] is None
    assert "none is surely below it" in html.page(dq.audit(**arguments, sla=0.0))


def test_of_many_classes_those_mixed_up_most_stand_side_by_side():
    wrong = np.zeros((40, 40))
    wrong[[3, 30, 17, 5], [30, 3, 5, 8]] = 9, 8, 7, 6
    wrong[20, 21] = 1
    chosen = page_classes.worst_block(wrong, 6).tolist()
    assert set(chosen) == {3, 30, 17, 5, 8} | {chosen[-1]}
    assert abs(chosen.index(3) - chosen.index(30)) == 1
    assert abs(chosen.index(17) - chosen.index(5)) == 1


# ---- the map ---------------------------------------------------------------------------------------


def test_the_map_keeps_neighbours_together(rng):
    centres = rng.normal(0, 5, (12, 30))
    group = rng.integers(0, 12, 900)
    found = projection(centres[group] + rng.normal(0, 1, (900, 30)), "euclidean")
    assert found.rows.tolist() == list(range(900))
    near = dq.knn_graph(found.flat, 10).indices
    assert (group[near] == group[:, None]).mean() > 0.98  # of two components alone: 0.6
    assert np.array_equal(found.flat, projection_of(found.components))


def test_the_sample_of_a_large_set_is_spread_evenly():
    found = projection(np.arange(30_000.0).reshape(-1, 1), "euclidean")
    assert len(found.rows) == 4000
    assert set(np.diff(found.rows)) == {7, 8}
    assert (np.diff(found.flat[:, 0]) > 0).all()
    assert not found.flat[:, 1].any()


@pytest.mark.parametrize("shape", [(0, 3), (1, 1), (1, 5), (2, 2), (3, 40), (5, 4), (30, 3)])
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("value", [0.0, 1.0, 3e38])
def test_every_shape_has_a_map(shape, metric, value):
    found = projection(np.full(shape, value, np.float32), metric)
    assert found.flat.shape == (shape[0], 2)
    assert np.isfinite(found.flat).all()


# ---- the file --------------------------------------------------------------------------------------


def test_same_audit_same_bytes(found, tmp_path):
    again = dq.audit(**planted()[0], threads=1)
    for audit in (found, again):
        audit.provenance.clear()
    assert html.page(found) == html.page(again)
    again.save(tmp_path / "out")
    assert (tmp_path / "out" / "report.html").read_text(encoding="utf-8") == html.page(found)
    assert html.page(dq.Audit.load(tmp_path / "out")) == html.page(found)


def test_settings_of_matplotlib_do_not_reach_it(found):
    import matplotlib

    before = html.page(found)
    with matplotlib.rc_context({"font.size": 30, "font.weight": "bold", "axes.facecolor": "red"}):
        assert html.page(found) == before
        assert matplotlib.rcParams["font.size"] == 30


@pytest.mark.parametrize(("classes", "most"), [(100, 1_000_000), (1000, 1_000_000)])
def test_size(classes, most):
    arguments = planted(n=12_000, classes=classes)[0]
    arguments["features"] = arguments["features"][:, :3]
    assert len(html.page(dq.audit(**arguments)).encode()) < most


def test_to_html_replaces_in_one_step(found, tmp_path):
    path = tmp_path / "report.html"
    path.write_text("old")
    found.to_html(path)
    assert path.read_text(encoding="utf-8") == html.page(found)
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
    with pytest.raises(OSError, match="No such file"):
        found.to_html(tmp_path / "nowhere" / "report.html")


# ---- without the extra -----------------------------------------------------------------------------


@pytest.fixture(params=["jinja2", "matplotlib"])
def without(request, monkeypatch):
    monkeypatch.setitem(sys.modules, request.param, None)
    return request.param


def test_without_the_extra_the_page_is_refused_by_name(found, without, tmp_path):
    with pytest.raises(
        ImportError, match=rf"needs the package {without}.*pip install '\.\[audit\]'"
    ):
        found.to_html(tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == []


def test_without_the_extra_the_folder_says_so(found, without, tmp_path):
    with pytest.warns(UserWarning, match=rf"report\.html is left out: .*package {without}"):
        found.save(tmp_path / "out")
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    (left_out,) = report["left_out"]
    assert left_out["file"] == "report.html"
    assert without in left_out["reason"]
    assert not (tmp_path / "out" / "report.html").exists()
    assert len(dq.Audit.load(tmp_path / "out")) == len(found)


def test_without_the_extra_a_page_that_is_wanted_is_an_error(found, without, tmp_path):
    with pytest.raises(ImportError, match=without):
        found.save(tmp_path / "out", page=True)
    assert list(tmp_path.iterdir()) == []
    found.save(tmp_path / "out", page=False)  # and one that is not is no warning
    assert json.loads((tmp_path / "out" / "report.json").read_text())["left_out"] == []


@pytest.mark.filterwarnings("default:.*left out")
def test_without_the_extra_the_command_line_says_so(without, tmp_path, capsys):
    np.savez(tmp_path / "data.npz", labels=[0, 1, 1])
    assert cli.main(["audit", str(tmp_path / "data.npz"), "--out", str(tmp_path / "out")]) == 0
    err = capsys.readouterr().err
    assert "report.html is left out" in err
    assert without in err


def test_import_and_audit_do_not_load_it(fresh_python):
    said = fresh_python(
        "import sys, dqcore as dq\n"
        "dq.audit([0, 1, 1], pred_probs=[[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]])\n"
        "print(sorted({'matplotlib', 'jinja2'} & set(sys.modules)))"
    )
    assert said.strip() == "[]"


# ---- notebooks -------------------------------------------------------------------------------------


def test_notebooks_show_small_escaped_tables(hostile):
    for thing in (hostile, hostile.joint, hostile.slices, dq.audit([0, 1])):
        text = thing._repr_html_()
        page = Page(text)
        assert page.open == []
        assert {tag for tag, _ in page.elements} == {
            "table",
            "caption",
            "thead",
            "tbody",
            "tr",
            "th",
            "td",
        }
        assert all(set(a) <= {"style", "scope"} for _, a in page.elements)
        assert len(text) < 40_000
        assert all(c.isprintable() or c == "\n" for c in text)
    assert "<svg onload=alert(1)>" in Page(hostile.slices._repr_html_()).text


def test_a_joint_of_many_classes_shows_the_largest_mix_ups():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 500, 3000)
    joint = dq.confident_joint(labels, np.eye(500)[np.where(rng.random(3000) < 0.2, 7, labels)])
    text = joint._repr_html_()
    assert text.count("<tr>") == 13
    assert len(text) < 5000


def test_templates_are_in_the_package():
    folder = Path(html.__file__).with_name("templates")
    assert {p.name for p in folder.iterdir()} == {"report.html", "parts.html", "report.css"}
