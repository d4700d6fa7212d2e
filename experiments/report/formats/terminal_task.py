"""The result of a task in the terminal."""

from __future__ import annotations

from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from experiments.evidence.metrics import METRICS
from experiments.report.sections.variant import words
from experiments.storage.json_files import read_record


def show(result: Path) -> None:
    """Prints the outcomes of a result file, one in each row, with 95% intervals."""
    content = read_record(result, "task", "mode", "outcomes")
    assert content is not None
    title = f"{content['task']}, {content['mode'].replace('_', '-')}"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("asked", overflow="fold")
    names = list(dict.fromkeys(name for outcome in content["outcomes"] for name in outcome["metrics"]))
    for name in names:
        table.add_column(f"{METRICS[name].title}\n{METRICS[name].unit}", justify="right", overflow="fold")
    table.add_column("items", justify="right")
    for outcome in content["outcomes"]:
        cells = [cell(name, outcome["metrics"].get(name)) for name in names]
        table.add_row(words(outcome["variant"]), *cells, f"{outcome['items']:,}")
    Console(highlight=False).print(table)
    Console(stderr=True, highlight=False).print(f"written: {result}", soft_wrap=True)


def cell(name: str, measurement: dict[str, float] | None) -> str:
    if measurement is None:
        return ""
    text = METRICS[name].text
    return f"{text(measurement['value'])}\n{text(measurement['low'])} to {text(measurement['high'])}"
