"""The page's section of verdicts: everything that is said of claims, in the order in which it is shown."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from experiments.readings import Standing
from experiments.report import claim_tables as tables
from experiments.report import claim_words as words
from experiments.report.claim_figures import differences
from experiments.report.claim_tables import Claimed
from experiments.report.grid import Cell, Grid
from experiments.verdicts import Outcome

VERDICTS_ARE = (
    "A verdict holds for this corpus, size, budget and these tasks, under every definition of the budget; it is of "
    "the contrast that was registered, and arms are still not ranked."
)


@dataclass(frozen=True)
class Told:
    """One claim in full."""

    name: str
    statement: str
    verdict: Cell
    standing: Standing
    kind: str
    expected: str
    figure: Markup | None
    remarks: list[str]
    readings: Grid
    behind: Grid


@dataclass(frozen=True)
class Section:
    """headline: the first thing a reader sees; failed: the controls that did not hold, in words."""

    headline: str
    failed: list[str]
    verdicts: list[tuple[str, Grid]]
    claims: list[Told]
    controls: Grid
    assays: Grid
    registry: Grid
    registered_on: str
    deviations: list[str]
    here: str


def section(of: Claimed) -> Section:
    standings: tuple[Standing, ...] = ("confirmatory", "exploratory")
    grids = [(standing, tables.verdicts(of, standing)) for standing in standings]
    return Section(
        headline(of),
        of.failed,
        [(standing, grid) for standing, grid in grids if grid.rows],
        [_told(of, outcome) for outcome in of.decision.claims],
        tables.controls(of),
        tables.assays(of),
        tables.registry(of),
        of.registered_on,
        tables.deviations(of),
        of.here,
    )


def headline(of: Claimed) -> str:
    """How many claims came to what, or that the apparatus is not validated."""
    if of.failed:
        return f"Apparatus not validated: {words.listed(of.failed)} did not hold, so no verdicts are printed."
    count: dict[str, int] = {}
    for outcome in of.decision.claims:
        count[outcome.verdict] = count.get(outcome.verdict, 0) + 1
    told = ", ".join(f"{number} {verdict}" for verdict, number in count.items())
    claims = len(of.decision.claims)
    return f"{claims} claim{'' if claims == 1 else 's'}: {told}."


def _told(of: Claimed, outcome: Outcome) -> Told:
    figure = differences(of, outcome)
    return Told(
        outcome.name,
        outcome.claim.statement,
        tables.verdict_cell(outcome),
        outcome.standing,
        outcome.claim.kind,
        outcome.claim.expect,
        None if figure is None else Markup(figure),
        remarks(of, outcome),
        tables.readings(of, outcome),
        tables.behind(of, outcome),
    )


def remarks(of: Claimed, outcome: Outcome) -> list[str]:
    """What stands out of the readings, in sentences."""
    found = words.stability(outcome)
    budgets = {reading.cell.stop for reading in of.deciding(outcome)}
    if len(budgets) < 2:
        found.append("It was run under one definition of the budget, so nothing is known of the other.")
    verdicts = {words.told(outcome, reading) for reading in outcome.readings}
    if len(verdicts) > 1 and outcome.verdict != "not testable":
        found.append(f"Readings differ in their verdicts: {words.listed(sorted(verdicts))}.")
    if not words.comparable(outcome.claim):
        found.append(
            "What was published is no number of this endpoint's unit, so it stands beside and not on the axis."
        )
    lost = sorted(
        {
            (of.said.arm_under(arm, reading.cell), len(finding.table.seeds))
            for reading in outcome.readings
            for finding in reading.findings
            for arm in finding.part.contrast
            if len(finding.table.seeds) < of.said.seeds
        }
    )
    found += [
        f"{arm}: {seeds} of {of.said.seeds} seeds enter; the others have no result." for arm, seeds in lost
    ]
    return found
