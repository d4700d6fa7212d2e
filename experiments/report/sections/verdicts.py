"""The verdicts on claims, the controls and the assay behind them, and what was registered."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from experiments.report.claims import section as claims
from experiments.report.markup import escaped, listed, table
from experiments.report.section import Report, Section
from experiments.report.sections import limits


def _markdown(report: Report) -> Iterator[str]:
    of = report.claimed
    assert of is not None, "shown only if the sweep makes claims"
    told = claims.words_of(of)
    yield "## Verdicts"
    yield f"**{escaped(told.headline)}**" + ("" if told.failed else f" {escaped(claims.VERDICTS_ARE)}")
    lessening = limits.limits(report.sweep, report.seeds) + claims.limits(of)
    if lessening:
        yield listed(map(escaped, lessening))
    for standing, grid in told.verdicts:
        yield f"### {standing.capitalize()}"
        yield table(grid)
    for claim in told.claims:
        yield f"### {claim.name}. {escaped(claim.statement)}"
        yield f"{claim.verdict.text}: {escaped(claim.verdict.small)}"
        if claim.remarks:
            yield listed(map(escaped, claim.remarks))
        yield table(claim.readings)
        if claim.behind.rows:
            yield table(claim.behind)
    yield "## Controls and assay"
    yield table(told.controls) if told.controls.rows else "No control was asked for."
    if told.assays.rows:
        yield table(told.assays)
    yield "## What was registered"
    yield f"Registered {told.registered_on}."
    yield table(told.registry)
    yield f"Deviations after training began: {'none.' if not told.deviations else ''}"
    if told.deviations:
        yield listed(map(escaped, told.deviations))


def _html(report: Report) -> dict[str, Any]:
    return {} if report.claimed is None else {"claims": claims.section(report.claimed)}


SECTION = Section(
    "claims",
    "Verdicts",
    _html,
    _markdown,
    shown=lambda report: report.claimed is not None,
    links=(("controls", "Controls and assay"),),
)
