"""Who sees whom: each family's mask, and the check of information flow on every trained model."""

from __future__ import annotations

from markupsafe import Markup

from experiments.report.figures import curves as figures
from experiments.report.figures.mask_examples import QUESTIONS
from experiments.report.grid import Cell, Grid
from experiments.report.section import Report, Section, Values
from experiments.runs.reading import SweepRecord


def flows(sweep: SweepRecord) -> list[tuple[str, str, bool, str]]:
    """Outcomes of the flow check: arm, the seeds with this outcome, whether it is good, its text."""
    outcomes: dict[tuple[str, bool, str], list[str]] = {}
    for run in sweep.done:
        if run.ask("flow") is not None:
            outcome = run.arm, bool(run.ask("flow", "ok")), str(run.ask("flow", "text"))
            outcomes.setdefault(outcome, []).append(str(run.seed))
    return [(arm, ", ".join(seeds), ok, text) for (arm, ok, text), seeds in outcomes.items()]


def grid(sweep: SweepRecord) -> Grid:
    rows = [
        [
            Cell(arm, arm=True),
            seeds,
            Cell(f"{'✓' if ok else '✗ LEAK:'} {text}", kind=f"prose {'good' if ok else 'bad'}"),
        ]
        for arm, seeds, ok, text in flows(sweep)
    ]
    return Grid.of("Flow check of every run", ["arm", "seeds", "outcome"], rows)


def _values(report: Report) -> Values:
    masks = [Markup(figures.masks(family)) for family in QUESTIONS]
    return {"masks": masks, "flows": grid(report.sweep)}


SECTION = Section("masks", "Who sees whom", _values)
