"""Forecasts a sweep before anything runs: its cost, and the smallest effect that its claims could show."""

from __future__ import annotations

import math
from collections.abc import Iterator

from rich.box import SIMPLE_HEAD
from rich.table import Table

from experiments.budget.plan import Plan
from experiments.budget.table import short
from experiments.evidence.claims.claim import Claim, Contrast
from experiments.evidence.claims.endpoint import Endpoint
from experiments.evidence.claims.endpoints import endpoint_of
from experiments.evidence.claims.readings import level, standings
from experiments.evidence.stats.sensitivity import seeds_needed, smallest_visible
from experiments.evidence.stats.variances import Variances
from experiments.sweeps.design import Design
from experiments.sweeps.recipe import SweepRecipe


def cost_table(sweep: SweepRecipe, designed: Design, planned: list[Plan]) -> Table:
    """Returns a table of arms, runs, training FLOPs and tokens by purpose; 80 columns wide."""
    table = Table(
        title="what it costs",
        caption="FLOPs of training; evaluation is not counted. Tuning: as many trials for\n"
        "every arm, and more where the grid must grow.",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    table.add_column("for")
    for name in ("arms", "runs", "FLOPs", "raw tokens"):
        table.add_column(name, justify="right")
    spent = {what: _spent(planned, what) for what in ("flops", "tokens")}
    together = [0, 0.0, 0.0]
    for name, runs, share in _purposes(sweep, designed):
        flops, tokens = (share * sum(n * spent[what][arm] for arm, n in runs.items()) for what in spent)
        table.add_row(name, str(len(runs)), str(sum(runs.values())), short(flops), short(tokens))
        together = [
            had + more for had, more in zip(together, (sum(runs.values()), flops, tokens), strict=True)
        ]
    table.add_section()
    table.add_row("together", "", str(together[0]), short(together[1]), short(together[2]))
    return table


def _purposes(sweep: SweepRecipe, designed: Design) -> Iterator[tuple[str, dict[str, int], float]]:
    """Yields (purpose, {arm: number of runs}, share of the arm's budget that each of them spends)."""
    controls = {arm for claim in sweep.claims.values() if claim.role == "control" for arm in claim.arms}
    scratch = set(designed.scratch.values())
    seeds = designed.seeds
    if sweep.tuning is not None:
        trials = len(sweep.tuning.learning_rates) * max(1, len(sweep.tuning.warmups))
        yield "tuning", dict.fromkeys(designed.tuned.values(), trials), sweep.tuning.fraction
    if controls:
        yield "controls", {arm: seeds[arm] for arm in seeds if arm in controls}, 1.0
    if scratch:
        yield "from scratch, untrained", {arm: seeds[arm] for arm in seeds if arm in scratch}, 1.0
    rest = {arm: seeds[arm] for arm in seeds if arm not in controls | scratch}
    yield "claims" if sweep.claims else "runs", rest, 1.0


def _spent(planned: list[Plan], what: str) -> dict[str, float]:
    """Returns {arm: FLOPs or tokens that one run of it spends}. what: "flops" or "tokens"."""
    return {each.arm: (each.steps or 0) * getattr(each, f"{what}_per_step") for each in planned}


def claims_table(sweep: SweepRecipe) -> Table:
    """Returns a table of the claims, with the smallest effect that each would find four times in five.

    The variances are those of earlier sweeps. 80 columns wide.
    """
    table = Table(
        title=f"claims, with {sweep.seeds} seeds",
        caption="Smallest visible effect: found four times in five by the crossed test, at\n"
        "the level that the correction leaves, by the variances of earlier sweeps\n"
        "(docs/statistics.md). Seeds: for the published effect, or the margin; > 512: more.\n"
        "*: published in a unit that is not the endpoint's.\n"
        "C: confirmatory, E: exploratory, X: control.",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    table.add_column("claim")
    table.add_column("contrast\nendpoint", overflow="fold", max_width=38)
    for name in ("published", "smallest\nvisible", "seeds"):
        table.add_column(name, justify="right")
    for name, claim in sweep.claims.items():
        mark = {"confirmatory": "C", "exploratory": "E", "control": "X"}[standings(sweep.claims)[name]]
        for number, cells in enumerate(_rows(sweep, name, claim)):
            table.add_row(f"{name} {mark}" if number == 0 else "", *cells)
    return table


def _rows(sweep: SweepRecipe, name: str, claim: Claim) -> Iterator[tuple[str, str, str, str]]:
    """Yields (contrast and endpoint, published effect, smallest visible effect, seeds) for each endpoint."""
    if claim.kind == "relabelling":
        yield f"{claim.arm} against itself\n[dim]{claim.endpoints[0]}[/dim]", "", "", ""
        return
    alpha, published = level(sweep.claims, name), claim.published
    for endpoint in claim.asked:
        parts = [part for part in claim.parts if part.endpoint == endpoint]
        widest = max(parts, key=lambda part: _size(part.contrast))
        more = f" and {len(parts) - 1} more" if len(parts) > 1 else ""
        point, variances = endpoint_of(endpoint), prior(endpoint_of(endpoint), widest.contrast)
        smallest = smallest_visible(variances, sweep.seeds, point.prior.items, alpha)
        seeds = ""
        if published.comparable and published.effect is not None:
            wanted = published.effect if claim.margin is None else claim.margin
            needed = seeds_needed(variances, point.prior.items, abs(wanted), alpha)
            seeds = ">" if needed is None else str(needed)
        effect = (
            ""
            if published.effect is None
            else f"{published.effect:+g}" + ("" if published.comparable else "*")
        )
        margin = "" if claim.margin is None else f" within ±{claim.margin:g}"
        visible = "none" if math.isinf(smallest) else f"{point.text(smallest)} {point.unit}"
        yield f"{widest.text}{more}{margin}\n[dim]{endpoint}[/dim]", effect, visible, seeds


def prior(endpoint: Endpoint, contrast: Contrast) -> Variances:
    """Returns the variances of a contrast, from the endpoint's prior for the difference of two arms.

    A weight w multiplies an arm's variances by w²; the difference of two arms has the weights +1 and -1.
    """
    times, known = _size(contrast) / 2, endpoint.prior
    return Variances(times * known.seed**2, times * known.item**2, times * known.residual**2)


def _size(contrast: Contrast) -> float:
    """Returns the sum of squared weights: 2 for the difference of two arms."""
    return sum(weight**2 for weight in contrast.values())
