"""A sweep's report: one page, one table of results, one table in the terminal.

Everything is read from the run folders; every result is computed again from `scores/*.parquet`.
"""

from __future__ import annotations

import io
from pathlib import Path

from experiments.folder import write_whole
from experiments.report.page import render
from experiments.report.results import results
from experiments.report.runs import load
from experiments.report.terminal import show


def write(folder: Path) -> Path:
    """Writes `folder`/results.parquet and `folder`/report/index.html, and prints a table to stdout.

    `folder` is `runs/<sweep>/`; returns the page. Raises UserError if it holds no run, or cannot be written.
    """
    sweep = load(folder)
    found = results(sweep)
    buffer = io.BytesIO()
    found.to_parquet(buffer, index=False)
    page = folder / "report" / "index.html"
    content = render(sweep, found).encode()
    with writable(folder):
        page.parent.mkdir(exist_ok=True)
        write_whole(folder / "results.parquet", buffer.getvalue())
        write_whole(page, content)
    show(sweep, found)
    return page


__all__ = ["write"]
