"""The page: everything the template shows, in the order in which it shows it."""

from __future__ import annotations

import shlex
from importlib.metadata import version
from pathlib import Path

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from experiments.evidence import audit
from experiments.evidence.results import METRICS, Metric, spread
from experiments.report.claims import section as claims_section
from experiments.report.claims.claimed import Claimed
from experiments.report.figures import curves as figures
from experiments.report.figures.mask_examples import QUESTIONS
from experiments.report.sections import limits, methods, overlap, per_item, samples, stages, tables, words
from experiments.report.sections import task_tables as tasks_section
from experiments.report.sections import tuning as tuning_section
from experiments.runs.reading import SweepRecord

PAGE = Path(__file__).parent


def templates() -> Environment:
    """Where the pages' templates are, and how they are filled: everything is escaped, nothing left empty."""
    return Environment(
        loader=FileSystemLoader([PAGE, PAGE.parent / "compare"]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def key_of(arm: str, look: figures.Look) -> Markup:
    """An arm's swatch, ready for the page."""
    return Markup(figures.key(arm, look))


def render(sweep: SweepRecord, found: pd.DataFrame, claimed: Claimed | None) -> str:
    """The whole page as HTML: no script, no style and no picture from elsewhere."""
    tuning = tuning_section.section(sweep)
    seeds = claimed.said.seeds if claimed else len(sweep.seeds)
    measured = set(found["metric"])
    shown = [metric for metric in METRICS if metric.name in measured]
    looks = figures.looks(sweep.arms)
    return (
        templates()
        .get_template("page.html.j2")
        .render(
            sweep=sweep,
            keys={arm: key_of(arm, look) for arm, look in looks.items()},
            scope=words.scope(sweep, measured, seeds),
            can_say=words.can_say(sweep),
            claims=claims_section.section(claimed) if claimed else None,
            verdicts_are=claims_section.VERDICTS_ARE,
            reasons=[*limits.limits(sweep, seeds), *claims_section.limits(claimed)]
            if claimed
            else limits.no_verdict(sweep, tuning is not None),
            tuning=tuning,
            tasks=tasks_section.section(sweep),
            stages=stages.section(sweep),
            items=per_item.view(sweep, claimed) if claimed else None,
            overlap=overlap.grid(sweep),
            methods=methods.paragraphs(sweep, claimed, tuning_section.tried(sweep)),
            outcome=words.outcome(sweep),
            not_comparable=words.not_comparable(sweep),
            audit_rows=audit.ROWS,
            lines=audit.lines(sweep),
            budget=_budget(sweep),
            differing=audit.differing(sweep),
            corpora=audit.corpora(sweep),
            curves=[Markup(svg) for svg in figures.curves(sweep)],
            metrics=shown,
            rows=tables.result_rows(sweep, found, shown),
            without=tables.without_language_model(sweep),
            baselines=tables.baselines(sweep, found),
            dots=[Markup(svg) for svg in _dots(sweep, found, shown)],
            gates=tables.gates(sweep, found),
            verdicts=tables.verdicts(sweep),
            masks=[Markup(figures.masks(family)) for family in QUESTIONS],
            flows=tables.flows(sweep),
            continuations=samples.continuations(sweep),
            infills=samples.infills(sweep),
            runs=tables.every_run(sweep, found, shown),
            environment=tables.environments(sweep),
            command=shlex.join(["pentarch", "report", str(sweep.folder)]),
            version=version("pentarch"),
        )
    )


def _dots(sweep: SweepRecord, found: pd.DataFrame, shown: list[Metric]) -> list[str]:
    beside = tables.baselines(sweep, found)
    drawn = []
    for metric in shown:
        spreads = {arm: value for arm in sweep.arms if (value := spread(found, arm, metric))}
        lines = [
            (name, value)
            for name, values in beside.items()
            if name != "uniform"  # so far off that the arms would fall together
            for value in values.get(metric, [])
        ]
        drawn.append(figures.dots(metric, spreads, lines, sweep.arms))
    return drawn


def _budget(sweep: SweepRecord) -> dict[str, str]:
    budget = sweep.recipe["budget"]
    return {
        "match": audit.MATCHES[budget["match"]],
        "tolerance": f"{budget['tolerance']:.1%}",
        "stops": audit.stops(sweep),
    }
