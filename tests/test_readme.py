"""The README holds what it says."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import dqcore
import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_first_block_is_two_commands():
    assert README.index("```sh") == README.index("```")
    lines = blocks("sh")[0].splitlines()
    assert len(lines) == 2
    assert all(line.startswith("python3 -m venv .venv && ") for line in lines)
    assert shlex.split(lines[0])[-2:] == [".venv/bin/dqcore", "demo"]
    assert shlex.split(lines[1])[-6:] == [".venv/bin/python", "-m", "pytest", "-q", "-n", "auto"]


def test_the_example_runs(tmp_path, rng):
    labels = rng.integers(0, 3, 100)
    np.savez(
        tmp_path / "data.npz",
        labels=labels,
        pred_probs=np.eye(3)[labels],
        features=rng.normal(size=(100, 8)),
        annotator=np.array(["ada", "ben"])[labels % 2],
    )
    done = subprocess.run(
        [sys.executable, "-c", blocks("python")[0]],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(Path(dqcore.__file__).parents[1])}, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert "100 rows, 3 classes" in done.stdout
    assert (tmp_path / "result" / "report.json").exists()


@pytest.mark.parametrize("page", ["README.md", "docs/report.md", "CONTRIBUTING.md"])
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)#]+)\)", (ROOT / page).read_text()):
        assert link.startswith("https://") or (ROOT / page).parent.joinpath(link).exists(), link


def test_no_page_sends_anyone_to_the_other_projects_package():
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("python/**/*.md")]:
        assert not re.search(r"(pip|uv|add|install)\s+['\"]?dqcore\b(?!-audit)", page.read_text())
