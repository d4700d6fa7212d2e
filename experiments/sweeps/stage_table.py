"""The table of a sweep's stages: what each arm begins from, and what all stages up to it cost."""

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
    """Returns a table of each arm's training FLOPs, by itself and with all stages before it."""
    own = {each.arm: None if each.steps is None else each.steps * each.flops_per_step for each in planned}
    first = {arm: recipe for (arm, seed), recipe in recipes.items() if seed == 0}
    folders = {recipe.folder(sweep).absolute(): arm for arm, recipe in first.items()}

    def whole(recipe: Recipe) -> float | None:
        """Returns the FLOPs with all stages before; None if unknown, as with weights from elsewhere."""
        begins = recipe.init_from
        before: float | None = 0.0
        if begins is not None:
            arm = folders.get(Path(begins))
            before = whole(first[arm]) if arm else _spent(recipe)
        alone = own[recipe.name]
        return None if alone is None or before is None else alone + before

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
        origin = "" if begins is None else folders.get(Path(begins), begins)
        flops = (own[arm], whole(recipe))
        table.add_row(arm, origin, *("not known" if n is None else short(n) for n in flops))
    return table


def _spent(recipe: Recipe) -> float | None:
    """Returns the FLOPs of the run outside the sweep that the recipe begins from, and of those before it."""
    try:
        parent = parent_of(recipe)
    except UserError:  # `run` reports what is wrong with it
        return None
    total = None if parent is None else parent.chain.total
    return None if total is None else total["flops"]
