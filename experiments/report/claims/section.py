"""What is said of claims, in the order in which it is shown: with figures or without."""

from __future__ import annotations

from dataclasses import dataclass, replace

from markupsafe import Markup

from experiments.evidence.claims.readings import Standing
from experiments.evidence.claims.verdicts import Outcome
from experiments.report.claimed import Claimed
from experiments.report.claims import controls as control_tables
from experiments.report.claims import tables, words
from experiments.report.claims.figure import differences
from experiments.report.grid import Cell, Grid

VERDICTS_ARE = (
    "A verdict holds for this corpus, size, budget and these tasks, and is of the contrast that was "
    "registered; arms are still not ranked."
)
STANDINGS: tuple[Standing, ...] = ("confirmatory", "exploratory")


@dataclass(frozen=True)
class Told:
    """One claim in full."""

    name: str
    statement: str
    verdict: Cell
    standing: Standing
    kind: str
    expected: str
    remarks: list[str]
    readings: Grid
    behind: Grid
    figure: Markup | None = None


@dataclass(frozen=True)
class Claims:
    """headline: the first thing a reader sees. failed: the controls that did not hold."""

    headline: str
    failed: list[str]
    verdicts: list[tuple[Standing, Grid]]
    claims: list[Told]
    controls: Grid
    assays: Grid
    registry: Grid
    registered_on: str
    deviations: list[str]
    here: str


def section(of: Claimed) -> Claims:
    """With figures."""
    plain = words_of(of)
    drawn = [differences(of, outcome) for outcome in of.decision.claims]
    claims = [
        told if svg is None else replace(told, figure=Markup(svg))
        for told, svg in zip(plain.claims, drawn, strict=True)
    ]
    return replace(plain, claims=claims)


def words_of(of: Claimed) -> Claims:
    """Without figures, which take longest."""
    grids: list[tuple[Standing, Grid]] = [(standing, tables.verdicts(of, standing)) for standing in STANDINGS]
    return Claims(
        headline(of),
        of.failed,
        [(standing, grid) for standing, grid in grids if grid.rows],
        [_told(of, outcome) for outcome in of.decision.claims],
        control_tables.controls(of),
        control_tables.assays(of),
        control_tables.registry(of),
        of.registered_on,
        control_tables.deviations(of),
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


def limits(of: Claimed) -> list[str]:
    """What makes less of this sweep's verdicts."""
    found = []
    if not of.decision.controls:
        found.append(
            "No positive control was asked for: nothing shows that the apparatus finds what is there."
        )
    for outcome in of.decision.controls:
        if outcome.excused:
            held = "held" if outcome.held else "did not hold"
            found.append(f"Control {outcome.name} gates nothing, by decision: {outcome.excused}. It {held}.")
    if len({cell.stop for cell in of.said.cells}) < 2:
        found.append(
            "Claims were read under one definition of the budget: under another they may fall otherwise."
        )
    return found


def _told(of: Claimed, outcome: Outcome) -> Told:
    return Told(
        outcome.name,
        outcome.claim.statement,
        tables.verdict_cell(outcome),
        outcome.standing,
        outcome.claim.kind,
        outcome.claim.expect,
        remarks(of, outcome),
        tables.readings(of, outcome),
        tables.behind(of, outcome),
    )


def remarks(of: Claimed, outcome: Outcome) -> list[str]:
    """What stands out of the readings, in sentences."""
    found = words.stability(outcome)
    verdicts = {words.told(outcome, reading) for reading in outcome.readings}
    if len(verdicts) > 1:
        found.append(f"Readings differ in their verdicts: {words.listed(sorted(verdicts))}.")
    if not words.comparable(outcome.claim):
        found.append("What was published is no number in this endpoint's unit: it stands beside, on no axis.")
    lost = {
        (of.said.arm_under(arm, reading.cell), len(finding.table.seeds))
        for reading in outcome.readings
        for finding in reading.findings
        for arm in finding.part.contrast
        if len(finding.table.seeds) < of.said.seeds
    }
    found += [
        f"{arm}: {seeds} of {of.said.seeds} seeds enter; the others lack a result on one side."
        for arm, seeds in sorted(lost)
    ]
    return found
