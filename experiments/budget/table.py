"""The budget table that `plan` and `sweep` print: each arm's shape and cost, 80 columns wide."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.table import Table

from experiments.budget.plan import Plan
from experiments.recipe.groups.budget import BudgetConfig
from experiments.recipe.recipe import Recipes

CAPTION = (
    "k, M, G, T: 10³, 10⁶, 10⁹, 10¹². FLOPs of training, forward and backward;\n"
    "masked-out attention and padding are charged. Tokens: raw text read.\n"
    "Targets: supervised tokens. Times P and M: of the core size and the\n"
    "FLOPs a token of the reference, a decoder-AR."
)


def budget_tables(planned: list[Plan], recipes: Recipes) -> list[Table]:
    """Returns a table for each definition of the budget, with the arms that have it."""

    def amount(plan: Plan) -> tuple[str, float]:
        budget = recipes[plan.arm, 0].budget
        return budget.stop, budget.amount

    amounts = list(dict.fromkeys(amount(plan) for plan in planned))
    groups = [[plan for plan in planned if amount(plan) == of_group] for of_group in amounts]
    return [
        _table(group, [recipes[plan.arm, 0].budget for plan in group], last=group is groups[-1])
        for group in groups
    ]


def _table(planned: list[Plan], budgets: list[BudgetConfig], last: bool) -> Table:
    first, scales = budgets[0], [budget.scale for budget in budgets]
    scaled = len(set(scales)) > 1
    amount = (
        f"{first.amount if scaled else first.spends:,.4g} {first.stop}{' x budget.scale' if scaled else ''}"
    )
    table = Table(
        title=f"budget: match {first.match} within {first.tolerance:.0%}, stop at {amount}",
        caption=CAPTION if last else None,
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    table.add_column("arm\nobjective", overflow="fold", min_width=11)  # numbers stay whole
    table.add_column("layers\nx width", no_wrap=True)
    steps = "steps\nx scale" if scaled else "\nsteps"
    for name in ("core size\noff by", "times\nP, M", "FLOPs\na token", steps, "tokens\ntargets", "\nFLOPs"):
        table.add_column(name, justify="right", no_wrap=True)
    for plan, scale in zip(planned, scales, strict=True):
        layers, _, ffn = plan.shape.partition(", ")
        count = plan.steps
        a_step = (plan.tokens_per_step, plan.targets_per_step, plan.flops_per_step)
        tokens, targets, flops = ("" if count is None else short(count * cost) for cost in a_step)
        table.add_row(
            f"{plan.arm}\n[dim]{plan.objective}[/dim]",
            f"{layers}\n[dim]{ffn}[/dim]",
            f"{plan.parameters.core:,}\n[dim]{_off_by(plan)}[/dim]",
            f"{plan.times_parameters:.2f} P\n{plan.times_flops:.2f} M",
            short(plan.flops_per_token),
            ("clock" if count is None else f"{count:,}") + (f"\n[dim]x {scale:g}[/dim]" if scaled else ""),
            f"{tokens}\n[dim]{targets}[/dim]",
            flops,
        )
    return table


def _off_by(plan: Plan) -> str:
    return "unmatched" if plan.match == "none" else f"{plan.deviation:+.2%}"


def short(number: float) -> str:
    """Returns a number with three digits and a prefix: 7.87M."""
    for size, prefix in ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g}{prefix}"
    return f"{number:.3g}"
