"""Verdicts in the terminal, within 80 columns."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from experiments.evidence.claims.verdicts import Outcome
from experiments.report.claimed import Claimed
from experiments.report.claims import words
from experiments.report.claims.section import headline

COLOURS = {"good": "green", "bad": "red"}


def show(console: Console, of: Claimed) -> None:
    """Prints controls that failed, every claim, and deviations."""
    console.print(_table(of))
    style = "red" if of.failed else ""
    console.print(Text(headline(of), style=style))
    for outcome in of.decision.failed_controls:
        console.print(f"  control {outcome.name}: {outcome.why}", markup=False)
    for deviation in of.said.deviations:
        console.print(f"  deviation after training began: {deviation['what']}", markup=False)


def _table(of: Claimed) -> Table:
    """A row for each part and definition of the budget; of a claim the first says what it came to."""
    table = Table(
        title="verdicts", title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False
    )
    table.add_column("claim", overflow="fold", width=15)
    table.add_column("contrast, budget", overflow="fold", width=20)
    table.add_column("effect\n95% interval", justify="right", overflow="fold", width=18)
    table.add_column("p", justify="right", min_width=7)
    table.add_column("published", justify="right", min_width=9)
    for outcome in of.decision.claims:
        claim = Text(outcome.name + (" E\n" if outcome.standing == "exploratory" else "\n"))
        claim.append(outcome.verdict, style=COLOURS.get(words.TONES.get(outcome.verdict, ""), ""))
        for number, cells in enumerate(_rows(of, outcome) or [("not measured", "", "")]):
            table.add_row(claim if number == 0 else "", *map(Text, cells), _published(outcome, number))
    table.caption = (
        "Positive: in favour of the statement. p: of the whole claim, corrected.\n"
        "E: exploratory. *: published in another unit than the endpoint's, or in none."
    )
    return table


def _rows(of: Claimed, outcome: Outcome) -> list[tuple[str, str, str]]:
    return [
        (
            f"{finding.part.text}\n{finding.part.endpoint}, {words.place(reading.cell).removeprefix('raw ')}",
            f"{words.signed(finding.endpoint, finding.test.mean)} {finding.endpoint.unit}\n"
            + words.interval(finding.endpoint, finding.test.low, finding.test.high),
            words.p_text(reading.adjusted),
        )
        for reading in of.deciding(outcome)
        for finding in reading.findings
    ]


def _published(outcome: Outcome, number: int) -> str:
    effect = outcome.claim.published.effect
    if number > 0:
        return ""
    return "*" if effect is None else f"{effect:+g}" + ("" if words.comparable(outcome.claim) else "*")
