"""The verdicts on claims, the controls and assays behind them, and what was registered."""

from __future__ import annotations

from collections.abc import Iterator

from experiments.report.claims import section as claims
from experiments.report.markup import escaped, listed, table
from experiments.report.section import Report, Section, Values
from experiments.report.sections import limits


def _values(report: Report) -> Values | None:
    if report.claimed is None:
        return None
    weaknesses = [*limits.limits(report.sweep, report.seeds), *claims.limits(report.claimed)]
    return {"claims": claims.section(report.claimed), "weaknesses": weaknesses}


def _markdown(report: Report, values: Values) -> Iterator[str]:
    content: claims.Claims = values["claims"]
    yield "## Verdicts"
    yield f"**{escaped(content.headline)}**" + ("" if content.failed else f" {escaped(claims.VERDICTS_ARE)}")
    if values["weaknesses"]:
        yield listed(map(escaped, values["weaknesses"]))
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


SECTION = Section(
    "claims",
    "Verdicts",
    _values,
    _markdown,
    links=(("controls", "Controls and assay"),),
)
