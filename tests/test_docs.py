"""What the docs say in Python is so: the page runs, the notebook runs, and its page is what it shows."""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from docs.generator import doctests
from docs.generator.notebook import PAGE, executed, markdown

ROOT = Path(__file__).parents[1]
INTERVAL = r"([+-]\d\.\d{3}) bits/byte, 95% interval \[([+-]\d\.\d{3}), ([+-]\d\.\d{3})\]"


@pytest.fixture(autouse=True)
def _imports_and_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """What other processes, of which a kernel is one, find and take."""
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    monkeypatch.setenv("PYTHONPATH", paths)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.mark.slow
def test_the_page_on_python_runs_from_recipe_to_results(tmp_path: Path):
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert all(block.startswith("# study.py\n") for block in blocks)
    (tmp_path / "study.py").write_text("".join(blocks), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "study.py"], cwd=tmp_path, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    said = re.search(
        r"bits/byte in favour of the decoder-AR \[(-?\d\.\d{3}), (-?\d\.\d{3})\]$", done.stdout.strip()
    )
    assert said is not None, done.stdout
    assert float(said[1]) < float(said[2])
    assert (tmp_path / "runs" / "two_families" / "report" / "index.html").exists()


@pytest.mark.slow
def test_the_notebook_prints_an_interval_and_its_page_is_what_it_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # its runs go to a temporary folder
    book = executed()
    outputs = [output for cell in book.cells for output in cell.get("outputs", [])]
    assert not [output for output in outputs if output.output_type == "error"]
    found = re.search(INTERVAL, "".join(output.get("text", "") for output in book.cells[-1].outputs))
    assert found is not None, book.cells[-1].outputs
    mean, low, high = map(float, found.groups())
    assert low < mean < high
    shown = PAGE.read_text(encoding="utf-8")
    assert without_numbers(shown) == without_numbers(markdown(book)), "run python docs/generator/notebook.py"


def without_numbers(page: str) -> str:
    """Another processor rounds otherwise, and a table is then as wide as its numbers."""
    return re.sub(r"\s+", " ", re.sub(r"[+-]?\d+\.\d+", "x", page))


def test_a_notebook_whose_cell_fails_is_an_error():
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("assert 1 == 2")])
    with pytest.raises(CellExecutionError):
        NotebookClient(book, timeout=60, kernel_name="python3").execute()


def test_the_notebook_is_kept_without_outputs():
    book = nbformat.read(ROOT / "docs" / "quickstart.ipynb", as_version=4)
    assert not [cell for cell in book.cells if cell.get("outputs")]


def test_docstrings_become_markdown_that_shows_examples_and_special_tokens():
    assert doctest.testmod(doctests).attempted == 1
    assert doctest.testmod(doctests).failed == 0
    assert (
        doctests.as_markdown("`<s>` is kept,\n\n    so is <s>, not <s>")
        == "`<s>` is kept,\n\n    so is <s>, not <s>"
    )
