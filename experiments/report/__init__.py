"""A sweep's report: one page, one table of results, one table in the terminal.

Everything is read from the run folders; every result is computed again from `scores/*.parquet`.
"""

from __future__ import annotations

import io
from pathlib import Path

from archs.errors import UserError
from experiments.folder import write_whole
from experiments.report.claim_tables import claimed
from experiments.report.decision import controls, registered
from experiments.report.page import render
from experiments.report.results import measure
from experiments.report.runs import load
from experiments.report.terminal import show
from experiments.verdicts import Outcome


def write(folder: Path) -> Path:
    """Writes `folder`/results.parquet and `folder`/report/index.html, and prints a table to stdout.

    `folder` is `runs/<sweep>/`; returns the page. Raises UserError if it holds no run, or cannot be written.
    """
    sweep = load(folder)
    found = measure(sweep)
    buffer = io.BytesIO()
    found.to_parquet(buffer, index=False)
    page = folder / "report" / "index.html"
    of = claimed(sweep)
    content = render(sweep, found, of).encode()
    try:
        page.parent.mkdir(exist_ok=True)
        write_whole(folder / "results.parquet", buffer.getvalue())
        write_whole(page, content)
    except OSError as error:
        raise UserError(
            f"the report of '{folder}' cannot be written ({error.strerror}); make the folder writable, or "
            "copy it to one that is"
        ) from error
    show(sweep, found)
    return page


def failed_controls(folder: Path) -> list[Outcome]:
    """The controls of `runs/<sweep>/` that do not hold, by the runs that are there."""
    said = registered(folder)
    return (
        [] if said is None else [each for each in controls(load(folder), said) if each.verdict != "supported"]
    )


__all__ = ["failed_controls", "write"]
