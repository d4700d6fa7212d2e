"""Item by item: the items behind the first claim's difference."""

from __future__ import annotations

from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure

from experiments.evidence.claims.items import items
from experiments.evidence.claims.readings import Finding
from experiments.report.claimed import Claimed
from experiments.report.claims import words
from experiments.report.figures.curves import COLOURS, inlined
from experiments.report.figures.svg import INK, STYLE, to_svg
from experiments.report.grid import Cell, Grid
from experiments.report.section import Report, Section, Values
from experiments.report.sections.samples import shown
from experiments.runs.reading import RunRecord, SweepRecord
from experiments.storage.tables import read_table

SHOWN = 6  # items at either end of the order
DRAWN = 240  # items in the figure, evenly spread over the order
LONGEST = 240  # characters of a text


@dataclass(frozen=True)
class View:
    """The differences of one claim, item by item.

    title: its claim, contrast, endpoint and budget. pseudo: whether the endpoint has a pseudo-likelihood.
    """

    title: str
    figure: Markup
    grid: Grid
    pseudo: bool


def view(sweep: SweepRecord, claimed: Claimed) -> View | None:
    """The items of the first claim that has findings; None if none has."""
    for outcome in claimed.decision.claims:
        for reading in claimed.deciding(outcome)[:1]:
            for finding in reading.findings[:1]:
                keys, texts = _keys_and_texts(
                    sweep,
                    claimed.registered.arm_under(next(iter(finding.part.contrast)), reading.cell),
                    finding,
                )
                where = f"{finding.part.text} on {finding.endpoint.title}, by {words.place(reading.cell)}"
                title = f"{outcome.name}: {where}"
                pseudo = any(measure.pseudo for measure in finding.endpoint.measures)
                return View(
                    title, Markup(_figure(title, finding)), _grid(title, finding, keys, texts), pseudo
                )
    return None


def _keys_and_texts(sweep: SweepRecord, arm: str, finding: Finding) -> tuple[list[str], dict[str, str]]:
    """The items' keys in the order of the finding's columns, and the items' texts by key."""
    run = next(run for run in sweep.of(arm) if run.seed == finding.table.seeds[0])
    scored_items = items(run.path / "scores", finding.endpoint.measures)
    assert scored_items is not None, "a finding is of runs that were scored"
    return scored_items.keys, {
        key: text for measure in finding.endpoint.measures for key, text in _texts(run, measure.table)
    }


def _texts(run: RunRecord, table: str) -> list[tuple[str, str]]:
    """(key, text) of each item.

    The text joins all words of its row of scores, such as prompt and reference.
    """
    rows = read_table(run.path / "scores" / f"{table}.parquet").drop(columns="unit", errors="ignore")
    return [
        (
            f"{table} {row['item']}",
            " · ".join(shown(" ".join(v.split())) for v in row.values() if isinstance(v, str)),
        )
        for row in rows.to_dict("records")
    ]


def _grid(title: str, finding: Finding, keys: list[str], texts: dict[str, str]) -> Grid:
    means, order = finding.table.values.mean(axis=0), _order(finding)
    chosen = order if len(order) <= 2 * SHOWN else np.concatenate([order[:SHOWN], order[-SHOWN:]])
    rows = []
    for place in chosen:
        column = finding.table.values[:, place]
        text = texts.get(keys[place], "")
        rows.append(
            [
                keys[place],
                words.signed(finding.endpoint, means[place]),
                f"{words.signed(finding.endpoint, column.min())} to "
                f"{words.signed(finding.endpoint, column.max())}",
                f"{int((column > 0).sum())} above, {int((column < 0).sum())} below",
                Cell(text if len(text) <= LONGEST else f"{text[:LONGEST]} …", kind="prose"),
            ]
        )
    heads = ["item", Cell("mean difference", finding.endpoint.unit), "seeds, least to most", "seeds", "text"]
    return Grid.of(f"Items with the largest differences, {title}", heads, rows)


def _order(finding: Finding) -> np.ndarray:
    """The order of items from the most in favour to the most against; ties keep the order of the test."""
    return np.argsort(-finding.table.values.mean(axis=0), kind="stable")


def _figure(title: str, finding: Finding) -> str:
    order = _order(finding)
    places = np.unique(np.linspace(0, len(order) - 1, min(DRAWN, len(order))).round().astype(int))
    values = finding.table.values[:, order[places]]
    low, high = np.percentile(values, (25, 75), axis=0)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.6, 2.4), layout="constrained")
        axes = figure.subplots()
        axes.vlines(places + 1, low, high, color=COLOURS[0], alpha=0.28, linewidth=1.6)
        axes.plot(places + 1, values.mean(axis=0), ".", color=COLOURS[0], markersize=3.4)
        axes.axhline(0, color=INK, linewidth=1)
        axes.axhline(finding.test.mean, color=COLOURS[1], linestyle=(0, (4, 2)), linewidth=1.2)
        axes.set(xlabel="items, most in favour first", ylabel=finding.endpoint.unit)
        axes.margins(x=0.01)
        svg = to_svg(figure, f"Mean difference of every item in order. {title}")
    return inlined(svg)


def _values(report: Report) -> Values | None:
    items = None if report.claimed is None else view(report.sweep, report.claimed)
    return None if items is None else {"items": items}


SECTION = Section("items", "Item by item", _values)
