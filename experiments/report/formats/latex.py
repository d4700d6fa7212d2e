"""Verdicts and results as LaTeX tables with booktabs rules, ready for \\input."""

from __future__ import annotations

from experiments.evidence.claims.readings import Standing
from experiments.report.claimed import Claimed
from experiments.report.claims import words
from experiments.report.claims.section import STANDINGS
from experiments.report.claims.tables import LABELS
from experiments.report.grid import Cell, Grid
from experiments.report.section import Report
from experiments.report.sections.results import grid as results

SPECIAL = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "±": r"$\pm$",
    "→": r"$\to$",
    "…": r"\dots{}",
}
HEAD = "% Needs \\usepackage{booktabs}. Written by pentarch report; a new report writes it again."


def render(report: Report) -> str:
    """Confirmatory and exploratory verdicts if there are claims, then the results."""
    claimed = report.claimed
    grids = [] if claimed is None else [verdicts(claimed, standing) for standing in STANDINGS]
    if report.metrics:
        grids.append(results(report))
    return "\n\n".join([HEAD, *(table(grid) for grid in grids if grid.rows)]) + "\n"


def verdicts(claimed: Claimed, standing: Standing) -> Grid:
    """The page's verdicts in columns that fit a page of paper."""
    heads = ["claim", "contrast", "endpoint", "budget", "effect", "95% interval", "published"]
    rows: list[list[Cell]] = []
    for outcome in claimed.decision.claims:
        if outcome.standing != standing:
            continue
        published, parts = words.published(outcome.claim), []
        for reading in claimed.deciding(outcome):
            for finding in reading.findings:
                endpoint, test = finding.endpoint, finding.test
                numbers = (
                    f"{words.signed(endpoint, test.mean)} {endpoint.unit}",
                    words.interval(endpoint, test.low, test.high),
                    published,
                    words.p_text(reading.p),
                    words.p_text(reading.adjusted),
                )
                description = finding.part.text, finding.part.endpoint, words.place(reading.cell)
                parts.append([*(Cell(each, kind="prose") for each in description), *map(Cell, numbers)])
        parts = parts or [[Cell("")] * 3 + [Cell("not measured")] + [Cell("")] * 4]
        for number, row in enumerate(parts):
            verdict = outcome.verdict if number == 0 else ""
            rows.append([Cell(outcome.name if number == 0 else ""), *row, Cell(verdict, kind="prose")])
    return Grid.of(LABELS[standing], [*heads, "p", "p, corrected", "verdict"], rows)


def table(grid: Grid) -> str:
    """A floating table.

    The first column and columns of words are aligned to the left, the others to the right.
    """
    columns = "".join("l" if number == 0 or grid.left(number) else "r" for number in range(len(grid.heads)))
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escaped(grid.label)}}}",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        _row(grid.heads),
        r"\midrule",
        *(_row(row) for row in grid.rows),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines)


def _row(cells: list[Cell]) -> str:
    return " & ".join(map(_cell, cells)) + r" \\"


def _cell(cell: Cell) -> str:
    """A cell in LaTeX.

    One that begins with [ is put in braces; after \\\\ LaTeX would read it as an option.
    """
    text = escaped(cell.text)
    text += f" ({escaped(cell.small)})" if cell.small else ""
    return f"{{{text}}}" if text.startswith("[") else text


def escaped(text: str) -> str:
    return "".join(SPECIAL.get(letter, letter) for letter in " ".join(text.split()))
