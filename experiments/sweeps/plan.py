"""Plans a sweep before it runs: the size of every arm, what it will spend, and what its claims could show."""

from __future__ import annotations

import sys

from rich.console import Console

from archs.errors import UserError
from experiments.budget.plan import Plan, plan_arm, planning_vocabulary, respent
from experiments.budget.table import budget_tables
from experiments.evidence.claims.claim import ALPHA
from experiments.recipe.build import build
from experiments.recipe.groups.evaluation import EvaluationConfig
from experiments.recipe.recipe import Recipe, Recipes
from experiments.sweeps.design import design
from experiments.sweeps.recipe import SweepRecipe


def plan(sweep: SweepRecipe, recipes: Recipes) -> None:
    """Prints the budget table, and for claims their cost and the effects that they could show.

    It runs nothing and writes nothing. Raises UserError if an arm cannot be sized or
    matched, or cannot spend its budget in whole steps.
    """
    tell_if_too_few(sweep)
    designed = design(sweep, recipes)
    planned = plans(designed.runs)
    console = Console()
    for table in budget_tables(planned, designed.runs):
        console.print(table)
    if any(recipe.init_from for recipe in designed.runs.values()):
        from experiments.sweeps.stage_table import stage_table

        console.print(stage_table(planned, designed.runs, sweep.name))
    if sweep.claims or sweep.tuning:
        from experiments.sweeps.forecast import claims_table, cost_table

        console.print(cost_table(sweep, designed, planned))
        if sweep.claims:
            console.print(claims_table(sweep))
    check_spent(planned, designed.runs)


def plans(recipes: Recipes) -> list[Plan]:
    """Returns the plan of each arm, with a vocabulary of the recipe's size.

    Raises UserError if an arm cannot be matched to the others.
    """
    sized: dict[str, Plan] = {}
    planned = []
    for (arm, seed), recipe in recipes.items():
        if seed == 0:
            shape = _shape(recipe)
            if shape not in sized:
                sized[shape] = _plan(recipe, arm)
            planned.append(respent(sized[shape], recipe, arm))
    _check_one_reference(planned)
    return planned


def tell_if_too_few(sweep: SweepRecipe) -> None:
    """Warns on stderr if the sweep has too few seeds for any verdict.

    The p-value of a sign-flip test over S seeds cannot go below 2 / 2^S.
    """
    least = 2 / 2**sweep.seeds
    if sweep.claims and least > ALPHA:
        print(
            f"warning: {sweep.seeds} seeds give no verdict and let no control hold: a sign-flip over them "
            f"cannot go below p = {least:.3g}; six are the fewest, eight are usual",
            file=sys.stderr,
        )


def _shape(recipe: Recipe) -> str:
    """Returns a key that is the same for all arms of one size.

    Such arms differ at most in what they begin from, what they spend and how they are evaluated.
    """
    spent = recipe.budget.model_copy(update={"stop": "tokens", "amount": 1.0, "scale": 1.0})
    same = {"seed": 0, "budget": spent, "evaluation": EvaluationConfig(), "init_from": None}
    return recipe.model_copy(update=same).digest()


def _plan(recipe: Recipe, arm: str) -> Plan:
    try:
        return plan_arm(build(recipe), planning_vocabulary(recipe.size.vocabulary), arm)
    except UserError as error:
        raise error if f"'{arm}'" in str(error) else UserError(f"arm '{arm}': {error}") from error


def _check_one_reference(planned: list[Plan]) -> None:
    """Raises UserError if arms that match the same quantity are matched to different amounts of it."""
    first: dict[str, Plan] = {}
    for each in planned:
        other = first.setdefault(each.match, each)
        if abs(each.reference - other.reference) > 1e-6 * other.reference:
            raise UserError(
                f"arms '{other.arm}' and '{each.arm}' would be matched to different {each.match}, "
                f"{other.reference:,.4g} and {each.reference:,.4g}, since their sizes differ; set "
                "budget.reference=plain, or budget.match=none"
            )


def check_spent(planned: list[Plan], recipes: Recipes) -> None:
    """Raises UserError if whole optimiser steps miss an arm's budget by more than its tolerance."""
    for each in planned:
        budget = recipes[each.arm, 0].budget
        if budget.stop not in ("flops", "tokens", "targets") or not budget.spends:
            continue
        spent = (each.steps or 0) * getattr(each, f"{budget.stop}_per_step")
        off = spent / budget.spends - 1
        if abs(off) > budget.tolerance:
            raise UserError(
                f"arm '{each.arm}' spends {spent:,.4g} {budget.stop} in {each.steps} whole steps, {off:+.1%} "
                f"off its budget of {budget.spends:,.4g}; allowed is ±{budget.tolerance:.1%}; raise "
                "budget.amount, or lower training.batch"
            )
