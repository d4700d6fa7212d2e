"""Runs docs/quickstart.ipynb and writes what a reader sees of it to docs/quickstart.md.

    python docs/generator/notebook.py

The page and its figure are kept in the repository, so that the site is built without training anything.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

DOCS = Path(__file__).parents[1]
NOTEBOOK = DOCS / "quickstart.ipynb"
PAGE = DOCS / "quickstart.md"
FIGURE = DOCS / "quickstart.png"
TIMEOUT = 600  # seconds a cell may take
NOTE = "*This page is the notebook [quickstart.ipynb](quickstart.ipynb) with its outputs.*"


def executed() -> Any:
    """The notebook with the outputs of a run in a new process. Raises CellExecutionError if a cell fails."""
    book = nbformat.read(NOTEBOOK, as_version=4)
    return NotebookClient(book, timeout=TIMEOUT, kernel_name="python3").execute()


def markdown(book: Any) -> str:
    """The cells as Markdown: text as it is, code fenced, outputs under it."""
    parts = [part for cell in book.cells for part in of_cell(cell)]
    return "\n\n".join([parts[0], NOTE, *parts[1:]]) + "\n"


def of_cell(cell: Any) -> list[str]:
    if cell.cell_type == "markdown":
        title, _, rest = cell.source.partition("\n")
        return [title, rest.strip()] if title.startswith("# ") else [cell.source]
    shown = [of_output(output) for output in cell.outputs]
    return [f"```python\n{cell.source}\n```", *(text for text in shown if text)]


def of_output(output: Any) -> str:
    """Text in a fence, the figure as a link to its file; nothing of other kinds."""
    data = output.get("data", {})
    if "image/png" in data:
        return f"![Validation loss against tokens, a line a run]({FIGURE.name})"
    text = output.get("text") or data.get("text/plain", "")
    return f"```text\n{text.rstrip()}\n```" if text else ""


def figure(book: Any) -> bytes:
    """The one figure, as PNG."""
    outputs = [output for cell in book.cells for output in cell.get("outputs", [])]
    (found,) = [output.data["image/png"] for output in outputs if "image/png" in output.get("data", {})]
    return base64.b64decode(found)


if __name__ == "__main__":
    book = executed()
    PAGE.write_text(markdown(book), encoding="utf-8")
    FIGURE.write_bytes(figure(book))
