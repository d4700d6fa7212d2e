"""A sweep's stages before anything runs: what each arm begins from, and what it costs with those before."""

from __future__ import annotations

from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.table import Table

from archs.errors import UserError
from experiments.budget.plan import Plan
from experiments.budget.table import short
from experiments.recipe.recipe import Recipe, Recipes
from experiments.runs.chain import parent_of


def stage_table(planned: list[Plan], recipes: Recipes, sweep: str) -> Table:
    """Training FLOPs of each arm by itself, and with all stages before it."""
    own = {each.arm: None if each.steps is None else each.steps * each.flops_per_step for each in planned}
    first = {arm: recipe for (arm, seed), recipe in recipes.items() if seed == 0}
    folders = {recipe.folder(sweep).absolute(): arm for arm, recipe in first.items()}

    def whole(recipe: Recipe) -> float | None:
        """None where it is not known, as of weights from elsewhere."""
        begins = recipe.init_from
        before: float | None = 0.0
        if begins is not None:
            arm = folders.get(Path(begins))
            before = whole(first[arm]) if arm else _spent(recipe)
        here = own[recipe.name]
        return None if here is None or before is None else here + before

    table = Table(
        title="stages, in training FLOPs",
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    for heading in ("arm", "begins from"):
        table.add_column(heading, overflow="fold")
    for heading in ("its own", "with those before"):
        table.add_column(heading, justify="right")
    for arm, recipe in first.items():
        begins = recipe.init_from
        told = "" if begins is None else folders.get(Path(begins), begins)
        table.add_row(arm, told, *("not known" if n is None else short(n) for n in (own[arm], whole(recipe))))
    return table


def _spent(recipe: Recipe) -> float | None:
    """What a run that lies elsewhere has spent with those before it."""
    try:
        parent = parent_of(recipe)
    except UserError:  # `run` says what is amiss there
        return None
    total = None if parent is None else parent.chain.total
    return None if total is None else total["flops"]
