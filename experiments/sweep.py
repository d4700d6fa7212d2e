"""Many runs as one experiment: plan it, run what is missing, report."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from contextlib import suppress
from functools import partial
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from archs.errors import UserError
from experiments.budget import Plan, plan_arm, planning_vocabulary, respent
from experiments.design import Design, Recipes, design
from experiments.folder import RunFolder
from experiments.recipe import EvaluationConfig, Recipe, SweepRecipe, TuningConfig
from experiments.registration import register
from experiments.sharing import share
from experiments.tuning import at, tune


def plan(sweep: SweepRecipe, recipes: Recipes) -> None:
    """Prints the budget table, and for claims what they cost and could show; nothing is run, nothing written.

    Raises UserError for what `run` refuses.
    """
    designed = design(sweep, recipes)
    planned = plans(designed.runs)
    console = Console()
    console.print(budget_table(planned, designed.runs))
    if sweep.claims:
        from experiments.forecast import claims_table, cost_table

        console.print(cost_table(sweep, designed, planned))
        console.print(claims_table(sweep))
    check_spent(planned, designed.runs)


def plans(recipes: Recipes) -> list[Plan]:
    """One plan an arm, with the vocabulary the recipe asks for. Raises UserError if one cannot be matched."""
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


def _shape(recipe: Recipe) -> str:
    """The same for arms that differ in what they spend and are asked alone."""
    spent = recipe.budget.model_copy(update={"stop": "tokens", "amount": 1.0, "scale": 1.0})
    return recipe.model_copy(update={"seed": 0, "budget": spent, "evaluation": EvaluationConfig()}).digest()


def _plan(recipe: Recipe, arm: str) -> Plan:
    try:
        return plan_arm(recipe, planning_vocabulary(recipe.size.vocabulary), arm)
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
    """Raises UserError if whole steps cannot spend what an arm is to: a budget of too few steps."""
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


def run(sweep: SweepRecipe, recipes: Recipes) -> None:
    """Tunes, trains and evaluates every arm with every seed, then reports; what is done is not repeated.

    Of a sweep with claims the controls come first. If one does not hold, no verdict could be printed: what
    the claims need besides is then not trained. The same command given in several terminals shares the runs.
    """
    designed = design(sweep, recipes)
    planned = plans(designed.runs)  # a sweep whose declared match fails does not start
    check_spent(planned, designed.runs)
    folder = Path(next(iter(recipes.values())).out) / sweep.name
    if sweep.tuning is None:
        _check_folders(designed.runs, sweep.name)
    register(folder, sweep, designed)
    Console(stderr=True).print(budget_table(planned, designed.runs))
    runs = designed.runs if sweep.tuning is None else _tuned(sweep, sweep.tuning, designed, folder)
    controls = {arm for claim in sweep.claims.values() if claim.role == "control" for arm in claim.arms}
    first = {key: recipe for key, recipe in runs.items() if key[0] in controls}
    _run_all(first, runs, sweep.name)
    from experiments.report import failed_controls, write

    failed = failed_controls(folder) if controls else []
    if failed:
        told = "; ".join(f"{outcome.name} ({outcome.verdict}: {outcome.why})" for outcome in failed)
        print(
            f"apparatus not validated: {told}. No verdict can be printed, so the arms of the claims are not "
            "trained; raise budget.amount or seeds, or set controls=[] to train them without verdicts",
            file=sys.stderr,
        )
    else:
        _run_all({key: recipe for key, recipe in runs.items() if key not in first}, runs, sweep.name)
    page = write(folder)
    print(f"report: {page}", file=sys.stderr)


def _check_folders(runs: Recipes, sweep: str) -> None:
    for recipe in runs.values():
        RunFolder(recipe.folder(sweep)).check(recipe)


def _tuned(sweep: SweepRecipe, grid: TuningConfig, designed: Design, folder: Path) -> Recipes:
    """The runs at the learning rates that their arms' trials chose."""
    arms = {arm: designed.runs[arm, 0] for arm in dict.fromkeys(designed.tuned.values())}
    done = tune(grid, arms, folder, lambda recipe, here: train_arm(recipe, here, sweep.name))
    runs = {
        (arm, seed): at(recipe, done.chosen(designed.tuned[arm])) if arm in designed.tuned else recipe
        for (arm, seed), recipe in designed.runs.items()
    }
    _check_folders(runs, sweep.name)
    return runs


def _run_all(some: Recipes, every: Recipes, sweep: str) -> None:
    """Trains and evaluates some of the sweep's runs."""
    numbers = {key: number for number, key in enumerate(every, start=1)}
    share(
        {
            recipe.folder(sweep): partial(
                _run_one, recipe, sweep, f"[{numbers[arm, seed]}/{len(every)}] {arm}, seed {seed}"
            )
            for (arm, seed), recipe in some.items()
        }
    )


def _run_one(recipe: Recipe, sweep: str, label: str) -> None:
    from experiments.evaluate import evaluate_run

    console, run = Console(stderr=True), RunFolder(recipe.folder(sweep))
    console.print(f"{label}: {run.status['state']}", markup=False)
    if not train_arm(recipe, run.path, sweep):
        console.print(f"{label} diverged, which counts: {run.status['why']}", markup=False)
    elif not run.is_("done"):
        evaluate_run(run.path, sweep)


def train_arm(recipe: Recipe, folder: Path, group: str) -> bool:
    """Trains one run; False if it diverged: that counts in the report, and the other arms go on."""
    from experiments.listeners import DivergedError
    from experiments.train import train

    run = RunFolder(folder)
    if run.is_("diverged"):
        return False
    with suppress(DivergedError):
        if recipe.training.devices == 1:
            train(recipe, folder, group)
        else:
            train_apart(recipe, folder, group)
    return not run.is_("diverged")


def train_apart(recipe: Recipe, folder: Path, group: str) -> None:
    """Trains in a process of its own: Lightning starts a run's other processes by repeating its command."""
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "recipe.yaml"
        recipe.to_yaml(file)
        command = [sys.executable, "-m", "experiments", "train", "--recipe", str(file)]
        done = subprocess.run([*command, "--folder", str(folder), "--group", group], check=False)
    if done.returncode and not RunFolder(folder).is_("diverged"):
        raise UserError(
            f"training '{recipe.label}' seed {recipe.seed} ended with exit code {done.returncode}; its "
            "message is above; the same command continues where it stopped"
        )


def budget_table(planned: list[Plan], recipes: Recipes) -> Table:
    """What is equal between arms, and what is not; 80 columns wide."""
    budgets = [recipes[each.arm, 0].budget for each in planned]
    first, scales = budgets[0], [budget.scale for budget in budgets]
    scaled = len(set(scales)) > 1
    amount = (
        f"{first.amount if scaled else first.spends:,.4g} {first.stop}{' x budget.scale' if scaled else ''}"
    )
    table = Table(
        title=f"budget: match {first.match} within {first.tolerance:.0%}, stop at {amount}",
        caption="k, M, G, T: 10³, 10⁶, 10⁹, 10¹². FLOPs of training, forward and backward;\n"
        "masked-out attention and padding are charged. Tokens: raw text read.\n"
        "Targets: supervised tokens. Times P and M: of the core size and the\n"
        "FLOPs a token of the reference, a decoder-AR.",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    table.add_column("arm\nobjective", overflow="fold", min_width=11)  # numbers stay whole
    table.add_column("layers\nx width", no_wrap=True)
    steps = "steps\nx scale" if scaled else "\nsteps"
    for name in ("core size\noff by", "times\nP, M", "FLOPs\na token", steps, "tokens\ntargets", "\nFLOPs"):
        table.add_column(name, justify="right", no_wrap=True)
    for each, scale in zip(planned, scales, strict=True):
        layers, _, ffn = each.shape.partition(", ")
        count = each.steps
        a_step = (each.tokens_per_step, each.targets_per_step, each.flops_per_step)
        tokens, targets, flops = ("" if count is None else short(count * one) for one in a_step)
        table.add_row(
            f"{each.arm}\n[dim]{each.objective}[/dim]",
            f"{layers}\n[dim]{ffn}[/dim]",
            f"{each.parameters.core:,}\n[dim]{_off_by(each)}[/dim]",
            f"{each.times_parameters:.2f} P\n{each.times_flops:.2f} M",
            short(each.flops_per_token),
            ("clock" if count is None else f"{count:,}") + (f"\n[dim]x {scale:g}[/dim]" if scaled else ""),
            f"{tokens}\n[dim]{targets}[/dim]",
            flops,
        )
    return table


def _off_by(each: Plan) -> str:
    return "unmatched" if each.match == "none" else f"{each.deviation:+.2%}"


def short(number: float) -> str:
    """Three digits and a prefix: 7.87M."""
    for size, prefix in ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g}{prefix}"
    return f"{number:.3g}"
