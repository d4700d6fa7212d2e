"""The report as Markdown: the page's tables and sentences, without figures."""

from __future__ import annotations

from collections.abc import Iterator

from experiments.report.contents import SECTIONS
from experiments.report.markup import escaped, listed
from experiments.report.section import Report
from experiments.report.sections import limits, words


def render(report: Report) -> str:
    """The whole report, with the numbers and words of the page."""
    return "\n\n".join(_parts(report)) + "\n"


def _parts(report: Report) -> Iterator[str]:
    yield from _head(report)
    for section in SECTIONS:
        values = report.values_of(section)
        if section.markdown is not None and values is not None:
            yield from section.markdown(report, values)


def _head(report: Report) -> Iterator[str]:
    sweep = report.sweep
    yield f"# {escaped(sweep.question or sweep.name)}"
    yield escaped(words.can_say(sweep))
    yield f"**Scope.** {escaped(words.scope(sweep, set(report.results['metric']), report.seeds))}"
    yield f"**{escaped(words.outcome(sweep))}**"
    if sweep.stories:
        yield listed(f"{arm}, {seeds}: {story}" for arm, seeds, story in sweep.stories)
    if report.claimed is None:
        yield "**No verdict on which arm is better is printed**, and arms are never ranked. Why:"
        yield listed(limits.no_verdict(sweep, report.tuning is not None))
