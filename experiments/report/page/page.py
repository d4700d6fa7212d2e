"""The page: its head, its table of contents, and its sections in the order of `contents.SECTIONS`."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from experiments.report.claims import section as claims_section
from experiments.report.contents import SECTIONS
from experiments.report.figures import curves as figures
from experiments.report.section import Report
from experiments.report.sections import limits, verdicts, words

PAGE = Path(__file__).parent


def templates() -> Environment:
    """The environment of the pages' templates.

    It escapes every value and raises an error for a missing one.
    """
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


def render(report: Report) -> str:
    """The whole page as one HTML file that loads no script, style or picture."""
    sweep, environment = report.sweep, templates()
    shown = [(each, values) for each in SECTIONS if (values := report.values_of(each)) is not None]
    keys = {arm: key_of(arm, look) for arm, look in figures.looks(sweep.arms).items()}
    common: dict[str, Any] = {"sweep": sweep, "keys": keys}
    sections = [
        Markup(environment.get_template(f"{section.id}.html.j2").render(common | values))
        for section, values in shown
    ]
    return environment.get_template("page.html.j2").render(
        common
        | _head(report)
        | {
            "contents": [link for each, _ in shown for link in ((each.id, each.title), *each.links)],
            "sections": sections,
            "version": version("pentarch"),
        }
    )


def _head(report: Report) -> dict[str, Any]:
    """The values of the page's head: scope, verdicts or the reasons for none, and how many runs finished."""
    sweep = report.sweep
    decided = report.values_of(verdicts.SECTION)
    if decided is None:
        decided = {"claims": None, "weaknesses": limits.no_verdict(sweep, report.tuning is not None)}
    return {
        "scope": words.scope(sweep, set(report.results["metric"]), report.seeds),
        "can_say": words.can_say(sweep),
        "claims": decided["claims"],
        "verdicts_are": claims_section.VERDICTS_ARE,
        "reasons": decided["weaknesses"],
        "outcome": words.outcome(sweep),
    }
