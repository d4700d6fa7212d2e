"""The report's account of all claims, in the order in which it is shown, with or without figures."""

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
class ClaimDetails:
    """One claim with its verdict, remarks, readings and figure."""

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
    """headline: the first sentence on claims. failed: the controls that did not hold."""

    headline: str
    failed: list[str]
    verdicts: list[tuple[Standing, Grid]]
    claims: list[ClaimDetails]
    controls: Grid
    assays: Grid
    registry: Grid
    registered_on: str
    deviations: list[str]
    here: str


def section(claimed: Claimed) -> Claims:
    """The account with figures."""
    plain = words_of(claimed)
    drawn = [differences(claimed, outcome) for outcome in claimed.decision.claims]
    claims = [
        details if svg is None else replace(details, figure=Markup(svg))
        for details, svg in zip(plain.claims, drawn, strict=True)
    ]
    return replace(plain, claims=claims)


def words_of(claimed: Claimed) -> Claims:
    """The account without figures, which take the most time."""
    grids: list[tuple[Standing, Grid]] = [
        (standing, tables.verdicts(claimed, standing)) for standing in STANDINGS
    ]
    return Claims(
        headline(claimed),
        claimed.failed,
        [(standing, grid) for standing, grid in grids if grid.rows],
        [_details(claimed, outcome) for outcome in claimed.decision.claims],
        control_tables.controls(claimed),
        control_tables.assays(claimed),
        control_tables.registry(claimed),
        claimed.registered_on,
        control_tables.deviations(claimed),
        claimed.here,
    )


def headline(claimed: Claimed) -> str:
    """The number of claims with each verdict, or that the apparatus is not validated."""
    if claimed.failed:
        failed = words.listed(claimed.failed)
        return f"Apparatus not validated: {failed} did not hold, so no verdicts are printed."
    by_verdict: dict[str, int] = {}
    for outcome in claimed.decision.claims:
        by_verdict[outcome.verdict] = by_verdict.get(outcome.verdict, 0) + 1
    counts = ", ".join(f"{number} {verdict}" for verdict, number in by_verdict.items())
    claims = len(claimed.decision.claims)
    return f"{claims} claim{'' if claims == 1 else 's'}: {counts}."


def limits(claimed: Claimed) -> list[str]:
    """Sentences on what weakens this sweep's verdicts."""
    sentences = []
    if not claimed.decision.controls:
        sentences.append(
            "No positive control was asked for: nothing shows that the apparatus finds what is there."
        )
    for outcome in claimed.decision.controls:
        if outcome.excused:
            held = "held" if outcome.held else "did not hold"
            sentences.append(
                f"Control {outcome.name} gates nothing, by decision: {outcome.excused}. It {held}."
            )
    if len({cell.stop for cell in claimed.registered.cells}) < 2:
        sentences.append(
            "Claims were read under one definition of the budget: under another they may fall otherwise."
        )
    return sentences


def _details(claimed: Claimed, outcome: Outcome) -> ClaimDetails:
    return ClaimDetails(
        outcome.name,
        outcome.claim.statement,
        tables.verdict_cell(outcome),
        outcome.standing,
        outcome.claim.kind,
        outcome.claim.expect,
        remarks(claimed, outcome),
        tables.readings(claimed, outcome),
        tables.behind(claimed, outcome),
    )


def remarks(claimed: Claimed, outcome: Outcome) -> list[str]:
    """Sentences on what is notable in the readings."""
    sentences = words.stability(outcome)
    verdicts = {words.verdict_of(outcome, reading) for reading in outcome.readings}
    if len(verdicts) > 1:
        sentences.append(f"Readings differ in their verdicts: {words.listed(sorted(verdicts))}.")
    if not words.comparable(outcome.claim):
        sentences.append(
            "What was published is no number in this endpoint's unit: it stands beside, on no axis."
        )
    lost = {
        (claimed.registered.arm_under(arm, reading.cell), len(finding.table.seeds))
        for reading in outcome.readings
        for finding in reading.findings
        for arm in finding.part.contrast
        if len(finding.table.seeds) < claimed.registered.seeds
    }
    sentences += [
        f"{arm}: {seeds} of {claimed.registered.seeds} seeds enter; the others lack a result on one side."
        for arm, seeds in sorted(lost)
    ]
    return sentences
