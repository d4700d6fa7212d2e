"""About many runs as one experiment: plan them, run them, follow them, report."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from archs.errors import UserError, unknown
from experiments.commands.arguments import Overrides, Presets, Sweep

if TYPE_CHECKING:
    from experiments.recipe.recipe import Recipe
    from experiments.sweeps.launch import AnyLauncher
    from experiments.sweeps.recipe import SweepRecipe

app = typer.Typer()


@app.command()
def sweep(name: Sweep, overrides: Overrides = None, config_dir: Presets = None) -> None:
    """Train, evaluate and report all arms; run again to finish what is missing.

    Example: pentarch sweep five_families seeds=3 size=small launcher=local
    """
    where, composed = _composed(name, overrides, config_dir)
    from experiments.sweeps.launch.task import LostRunsError
    from experiments.sweeps.run import run

    try:
        run(*composed, where)
    except LostRunsError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(1) from error


@app.command()
def plan(
    name: Sweep,
    overrides: Overrides = None,
    config_dir: Presets = None,
    wandb_sweep: Annotated[
        Path | None,
        typer.Option("--wandb-sweep", metavar="FILE", help="Write its runs as a W&B sweep, for agents."),
    ] = None,
) -> None:
    """Show the budget table of a sweep before anything runs.

    Example: pentarch plan five_families budget=hour
    """
    _, composed = _composed(name, overrides, config_dir)  # a launcher's mistakes are told here too
    from experiments.sweeps.plan import plan as show

    show(*composed)
    if wandb_sweep is not None:
        from experiments.sweeps.agents import hand_over, instructions

        typer.echo(instructions(wandb_sweep, hand_over(*composed, wandb_sweep)), err=True)


@app.command()
def report(
    sweep: Annotated[str, typer.Argument(metavar="SWEEP", help="A name in runs/, or a folder.")],
    other: Annotated[
        str | None, typer.Argument(metavar="[OTHER]", help="A second sweep, to compare the first with.")
    ] = None,
) -> None:
    """Write a sweep's report again from what its runs left, or compare two sweeps.

    Example: pentarch report five_families
    """
    folder, beside = _swept(sweep), None if other is None else _swept(other)
    from experiments import report

    typer.echo(report.write(folder) if beside is None else report.compare(folder, beside))


@app.command()
def status(
    sweep: Annotated[str, typer.Argument(metavar="SWEEP", help="A name in runs/, or a folder.")],
    live: Annotated[bool, typer.Option("--live", help="Draw it again until all runs are over.")] = False,
) -> None:
    """Show how far every run of a sweep is, wherever it runs.

    Example: pentarch status five_families --live
    """
    folder = _swept(sweep)
    from rich.console import Console

    from experiments.sweeps import status as shown

    if live:
        shown.watch(folder)
    else:
        Console().print(shown.table(folder))


@app.command()
def workspace(
    project: Annotated[str, typer.Argument(metavar="ENTITY/PROJECT", help="Where on W&B the runs are.")],
    sweep: Annotated[
        str | None, typer.Argument(metavar="[SWEEP]", help="The sweep to show; all if not given.")
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option("--json", metavar="FILE", help="Write its definition instead, without a network."),
    ] = None,
) -> None:
    """Make a page of W&B for a sweep: losses against the budget, task scores by family, the audit.

    Example: pentarch workspace my_team/pentarch five_families
    """
    entity, _, name = project.partition("/")
    if not entity or not name or "/" in name:
        raise UserError(f"came '{project}', must be ENTITY/PROJECT, as my_team/pentarch")
    from experiments.tracking.workspace import save, write
    from experiments.tracking.workspace import workspace as made

    page = made(entity, name, sweep)
    if file is None:
        typer.echo(save(page))
    else:
        write(page, file)


def _swept(sweep: str) -> Path:
    """The folder of a sweep that ran, by its name in runs/ or its path."""
    folder = next((path for path in (Path(sweep), Path("runs", sweep)) if path.is_dir()), None)
    if folder is None:
        ran = [path.name for path in Path("runs").glob("*") if path.is_dir()]
        raise unknown("sweep", sweep, ran) if ran else UserError(f"no folder '{sweep}', and none in runs/")
    return folder


def _composed(
    name: str, overrides: list[str] | None, config_dir: Path | None
) -> tuple[AnyLauncher, tuple[SweepRecipe, dict[tuple[str, int], Recipe]]]:
    """Where a sweep's runs are trained, and what they are; each is checked."""
    from experiments.sweeps.compose import compose_launcher, compose_sweep, is_of_launcher

    name, given = sweep_and_overrides(name, overrides)
    where = compose_launcher([one for one in given if is_of_launcher(one)], config_dir)
    composed = compose_sweep(name, [one for one in given if not is_of_launcher(one)], config_dir)
    from experiments import tracking
    from experiments.recipe.build import build

    for recipe in composed[1].values():
        build(recipe)
        tracking.check(recipe)
    return where, composed


def sweep_and_overrides(name: str, overrides: list[str] | None) -> tuple[str, list[str]]:
    """`claims=C11` alone is of the sweep of claims."""
    given = overrides or []
    return ("claims", [name, *given]) if "=" in name else (name, given)
