"""The verdicts on claims, the controls and assays behind them, and what was registered."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from experiments.report.claims import section as claims
from experiments.report.markup import escaped, listed, table
from experiments.report.section import Report, Section
from experiments.report.sections import limits


def _markdown(report: Report) -> Iterator[str]:
    claimed = report.claimed
    assert claimed is not None, "shown only if the sweep makes claims"
    content = claims.words_of(claimed)
    yield "## Verdicts"
    yield f"**{escaped(content.headline)}**" + ("" if content.failed else f" {escaped(claims.VERDICTS_ARE)}")
    weaknesses = limits.limits(report.sweep, report.seeds) + claims.limits(claimed)
    if weaknesses:
        yield listed(map(escaped, weaknesses))
    for standing, grid in content.verdicts:
        yield f"### {standing.capitalize()}"
        yield table(grid)
    for claim in content.claims:
        yield f"### {claim.name}. {escaped(claim.statement)}"
        yield f"{claim.verdict.text}: {escaped(claim.verdict.small)}"
        if claim.remarks:
            yield listed(map(escaped, claim.remarks))
        yield table(claim.readings)
        if claim.behind.rows:
            yield table(claim.behind)
    yield "## Controls and assay"
    yield table(content.controls) if content.controls.rows else "No control was asked for."
    if content.assays.rows:
        yield table(content.assays)
    yield "## What was registered"
    yield f"Registered {content.registered_on}."
    yield table(content.registry)
    yield f"Deviations after training began: {'none.' if not content.deviations else ''}"
    if content.deviations:
        yield listed(map(escaped, content.deviations))


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
