"""The page that shows two sweeps side by side: their claims and the arms that both trained."""

from __future__ import annotations

import shlex
from importlib.metadata import version
from pathlib import Path

from experiments.evidence.results import METRICS, spread
from experiments.report.claims import words
from experiments.report.claims.tables import verdict_cell
from experiments.report.compare.differences import Side, differing, warnings
from experiments.report.figures import curves as figures
from experiments.report.grid import Cell, Grid
from experiments.report.page.page import key_of, templates


def page(one: Path, two: Path) -> str:
    """The whole page as HTML. Raises UserError if one of the folders holds no run."""
    sides = Side.read(one), Side.read(two)
    arms = [arm for arm in sides[0].sweep.arms if arm in sides[1].sweep.arms]
    looks = figures.looks(sides[0].sweep.arms)
    return (
        templates()
        .get_template("compare.html.j2")
        .render(
            one=_name(one, two),
            two=_name(two, one),
            keys={arm: key_of(arm, looks[arm]) for arm in arms},
            warnings=warnings(*sides),
            claims=claims(*sides),
            arms=arms,
            results=results(*sides, arms),
            differing=differing(*sides),
            command=shlex.join(["pentarch", "report", str(one), str(two)]),
            version=version("pentarch"),
        )
    )


def _name(folder: Path, other: Path) -> str:
    """A sweep's name, with its parent folder if both sweeps have the same name."""
    path, other_path = folder.resolve(), other.resolve()
    return path.name if path.name != other_path.name else f"{path.parent.name}/{path.name}"


def claims(one: Side, two: Side) -> Grid | None:
    """The verdict and effects of both sweeps, claim by claim; None if neither makes claims."""
    names = list(dict.fromkeys([*one.outcomes, *two.outcomes]))
    if not names:
        return None
    rows = [row for name in names for row in _claim(one, two, name)]
    sides = [Cell(what, side.sweep.name) for side in (one, two) for what in ("verdict", "effect")]
    return Grid.of("Claims of both", ["claim", "hash", "contrast", *sides], rows)


def _claim(one: Side, two: Side, name: str) -> list[list[Cell]]:
    """A row for each part and condition that either sweep decided on."""
    claim = next(side.outcomes[name].claim for side in (one, two) if name in side.outcomes)
    hashes = [
        side.claimed.registered.digests[name] for side in (one, two) if side.claimed and name in side.outcomes
    ]
    same = "in one alone" if len(hashes) < 2 else "same" if len(set(hashes)) == 1 else "differs"
    effects = _effects(one, name), _effects(two, name)
    wheres = list(dict.fromkeys([*effects[0], *effects[1]])) or [("", "")]
    rows = []
    for number, where in enumerate(wheres):
        head = [Cell(name, claim.statement), Cell(same, ", ".join(dict.fromkeys(hashes)), "prose narrow")]
        row = [*(head if number == 0 else [Cell(name), Cell("")]), Cell(*where, kind="prose narrow")]
        for side, effects_of_side in zip((one, two), effects, strict=True):
            row += [
                _verdict(side, name) if number == 0 else Cell(""),
                effects_of_side.get(where, Cell("none", kind="none")),
            ]
        rows.append(row)
    return rows


def _verdict(side: Side, name: str) -> Cell:
    outcome = side.outcomes.get(name)
    return Cell("not claimed", kind="none") if outcome is None else verdict_cell(outcome)


def _effects(side: Side, name: str) -> dict[tuple[str, str], Cell]:
    """The deciding effects, by contrast and by endpoint with condition."""
    if side.claimed is None or name not in side.outcomes:
        return {}
    outcome = side.outcomes[name]
    if outcome.relabelling is not None:
        return {
            (outcome.claim.arm or "", "against itself"): Cell(f"{outcome.relabelling:.1%}", "of relabellings")
        }
    return {
        (finding.part.text, f"{finding.endpoint.title}, by {words.place(reading.cell)}"): Cell(
            f"{words.signed(finding.endpoint, finding.test.mean)} {finding.endpoint.unit}",
            words.interval(finding.endpoint, finding.test.low, finding.test.high),
        )
        for reading in side.claimed.deciding(outcome)
        for finding in reading.findings
    }


def results(one: Side, two: Side, arms: list[str]) -> Grid:
    """The arms that both have, with each metric of the two sweeps side by side."""
    both = [side.results[side.results["arm"].isin(arms)] for side in (one, two)]
    shown = [metric for metric in METRICS if any(metric.name in set(table["metric"]) for table in both)]
    heads = [
        Cell(metric.title, f"{metric.unit}, {side.sweep.name}") for metric in shown for side in (one, two)
    ]
    rows = []
    for arm in arms:
        cells = []
        for metric in shown:
            for side in (one, two):
                value = spread(side.results, arm, metric)
                if value is None:
                    cells.append(Cell("not measured", kind="none"))
                else:
                    cells.append(
                        Cell(
                            value.text, f"{value.interval}; {value.items:,} items x {len(value.values)} seeds"
                        )
                    )
        rows.append([Cell(arm, arm=True), *cells])
    return Grid.of("Results of the arms that both have", ["arm", *heads], rows)
