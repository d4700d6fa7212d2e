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


def show(console: Console, claimed: Claimed) -> None:
    """Prints every claim, the controls that failed, and the deviations."""
    console.print(_table(claimed))
    style = "red" if claimed.failed else ""
    console.print(Text(headline(claimed), style=style))
    for outcome in claimed.decision.failed_controls:
        console.print(f"  control {outcome.name}: {outcome.why}", markup=False)
    for deviation in claimed.registered.deviations:
        console.print(f"  deviation after training began: {deviation['what']}", markup=False)


def _table(claimed: Claimed) -> Table:
    """A row for each part and definition of the budget. The first row of a claim has its verdict."""
    table = Table(
        title="verdicts", title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False
    )
    table.add_column("claim", overflow="fold", width=15)
    table.add_column("contrast, budget", overflow="fold", width=20)
    table.add_column("effect\n95% interval", justify="right", overflow="fold", width=18)
    table.add_column("p", justify="right", min_width=7)
    table.add_column("published", justify="right", min_width=9)
    for outcome in claimed.decision.claims:
        claim = Text(outcome.name + (" E\n" if outcome.standing == "exploratory" else "\n"))
        claim.append(outcome.verdict, style=COLOURS.get(words.TONES.get(outcome.verdict, ""), ""))
        for number, cells in enumerate(_rows(claimed, outcome) or [("not measured", "", "")]):
            table.add_row(claim if number == 0 else "", *map(Text, cells), _published(outcome, number))
    table.caption = (
        "Positive: in favour of the statement. p: of the whole claim, corrected.\n"
        "E: exploratory. *: published in another unit than the endpoint's, or in none."
    )
    return table


def _rows(claimed: Claimed, outcome: Outcome) -> list[tuple[str, str, str]]:
    return [
        (
            f"{finding.part.text}\n{finding.part.endpoint}, {words.place(reading.cell).removeprefix('raw ')}",
            f"{words.signed(finding.endpoint, finding.test.mean)} {finding.endpoint.unit}\n"
            + words.interval(finding.endpoint, finding.test.low, finding.test.high),
            words.p_text(reading.adjusted),
        )
        for reading in claimed.deciding(outcome)
        for finding in reading.findings
    ]


def _published(outcome: Outcome, number: int) -> str:
    effect = outcome.claim.published.effect
    if number > 0:
        return ""
    return "*" if effect is None else f"{effect:+g}" + ("" if words.comparable(outcome.claim) else "*")
