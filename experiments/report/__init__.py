"""A sweep's report: a page, the same in Markdown and LaTeX, a table of results, and tables in the terminal.

Everything is read from the run folders. Every result is computed anew from `scores/*.parquet`.
"""

from __future__ import annotations

import io
import json
from pathlib import Path

from archs.errors import UserError
from experiments.evidence.claims.decision import controls
from experiments.evidence.claims.registered import registered
from experiments.evidence.claims.verdicts import Outcome, failed
from experiments.evidence.results import measure
from experiments.report.claimed import claimed
from experiments.report.compare.compare import page as compare_page
from experiments.report.formats import latex, markdown, verdicts_json
from experiments.report.formats.terminal import show
from experiments.report.page.page import render
from experiments.report.section import Report
from experiments.runs.reading import load
from experiments.storage.whole import write_whole


def write(folder: Path) -> Path:
    """Writes the report of a sweep, prints its tables to stdout, and returns the path of index.html.

    folder: `runs/<sweep>/`. It gets results.parquet and, in report/, index.html, report.md, table.tex and, if
    the sweep makes claims, verdicts.json. Raises UserError if the folder holds no run or cannot be written.
    """
    sweep = load(folder)
    report = Report(sweep, measure(sweep), claimed(sweep))
    buffer = io.BytesIO()
    report.results.to_parquet(buffer, index=False)
    files = {
        "index.html": render(report),
        "report.md": markdown.render(report),
        "table.tex": latex.render(report),
    }
    if report.claimed:
        files["verdicts.json"] = json.dumps(verdicts_json.content(report.claimed), indent=1)
    write_files(folder, {f"report/{name}": text.encode() for name, text in files.items()})
    write_files(folder, {"results.parquet": buffer.getvalue()})
    show(report)
    return folder / "report" / "index.html"


def compare(one: Path, two: Path) -> Path:
    """Writes a comparison of two sweeps to `one`/report/vs-TWO.html and returns its path.

    Raises UserError if a folder holds no run, both are the same folder, or the page cannot be written.
    """
    if one.resolve() == two.resolve():
        raise UserError(f"'{one}' twice: give two different sweeps to compare")
    name = f"report/vs-{two.resolve().name}.html"
    write_files(one, {name: compare_page(one, two).encode()})
    return one / name


def write_files(folder: Path, files: dict[str, bytes]) -> None:
    """Writes files by their path in the folder. Raises UserError if one cannot be written."""
    try:
        for name, content in files.items():
            (folder / name).parent.mkdir(exist_ok=True)
            write_whole(folder / name, content)
    except OSError as error:
        raise UserError(
            f"the report of '{folder}' cannot be written ({error.strerror}); make the folder writable, or "
            "copy it to one that is"
        ) from error


def failed_controls(folder: Path) -> list[Outcome]:
    """The controls of `runs/<sweep>/` that do not hold in its runs so far; [] if it makes no claims."""
    registration = registered(folder)
    return [] if registration is None else failed(controls(load(folder), registration))


__all__ = ["compare", "failed_controls", "write"]
