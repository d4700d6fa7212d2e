"""Commands about a sweep, many runs as one experiment: plan, run, watch and report it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from archs.errors import UserError, unknown
from experiments.commands.arguments import Overrides, Presets, Sweep

if TYPE_CHECKING:
    from experiments.recipe.recipe import Recipe
    from experiments.sweeps.launch.config import AnyLauncher
    from experiments.sweeps.recipe import SweepRecipe

app = typer.Typer()


@app.command()
def sweep(name: Sweep, overrides: Overrides = None, config_dir: Presets = None) -> None:
    """Train, evaluate and report all arms of a sweep. The same command again finishes what is missing.

    Example: pentarch sweep five_families seeds=3 size=small launcher=local
    """
    launcher, composed = _composed(name, overrides, config_dir)
    from experiments.sweeps.launch.task import LostRunsError
    from experiments.sweeps.run import run

    try:
        run(*composed, launcher)
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
        typer.Option(
            "--wandb-sweep", metavar="FILE", help="Also write its runs as a W&B sweep, for W&B agents."
        ),
    ] = None,
) -> None:
    """Show the budget table of a sweep before anything runs.

    Example: pentarch plan five_families budget=hour
    """
    _, composed = _composed(name, overrides, config_dir)  # checks the launcher too
    from experiments.sweeps.plan import plan as show

    show(*composed)
    if wandb_sweep is not None:
        from experiments.sweeps.agents import hand_over, instructions

        typer.echo(instructions(wandb_sweep, hand_over(*composed, wandb_sweep)), err=True)


@app.command()
def report(
    sweep: Annotated[str, typer.Argument(metavar="SWEEP", help="A name in runs/, or a folder.")],
    other: Annotated[
        str | None, typer.Argument(metavar="[OTHER]", help="A second sweep to compare with.")
    ] = None,
) -> None:
    """Write a sweep's report again from the folders of its runs, or compare two sweeps.

    Example: pentarch report five_families
    """
    folder, other_folder = _sweep_folder(sweep), None if other is None else _sweep_folder(other)
    from experiments import report

    typer.echo(report.write(folder) if other_folder is None else report.compare(folder, other_folder))


@app.command()
def status(
    sweep: Annotated[str, typer.Argument(metavar="SWEEP", help="A name in runs/, or a folder.")],
    live: Annotated[bool, typer.Option("--live", help="Update the table until all runs have ended.")] = False,
) -> None:
    """Show how far each run of a sweep is, on whatever machine it runs.

    Example: pentarch status five_families --live
    """
    folder = _sweep_folder(sweep)
    from rich.console import Console

    from experiments.sweeps import status as of_sweep

    if live:
        of_sweep.watch(folder)
    else:
        Console().print(of_sweep.table(folder))


@app.command()
def workspace(
    project: Annotated[str, typer.Argument(metavar="ENTITY/PROJECT", help="The W&B project of the runs.")],
    sweep: Annotated[
        str | None, typer.Argument(metavar="[SWEEP]", help="The sweep to show; all if not given.")
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            "--json", metavar="FILE", help="Write the definition to a file instead, without network."
        ),
    ] = None,
) -> None:
    """Make a W&B workspace: losses against the budget, task scores by family, the audit.

    Example: pentarch workspace my_team/pentarch five_families
    """
    entity, _, name = project.partition("/")
    if not entity or not name or "/" in name:
        raise UserError(f"came '{project}', must be ENTITY/PROJECT, as my_team/pentarch")
    from experiments.tracking.workspace import save, write
    from experiments.tracking.workspace import workspace as make_workspace

    page = make_workspace(entity, name, sweep)
    if file is None:
        typer.echo(save(page))
    else:
        write(page, file)


def _sweep_folder(sweep: str) -> Path:
    """Returns the folder of a sweep, by its path or its name in runs/. Raises UserError if there is none."""
    folder = next((path for path in (Path(sweep), Path("runs", sweep)) if path.is_dir()), None)
    if folder is None:
        names = [path.name for path in Path("runs").glob("*") if path.is_dir()]
        raise (
            unknown("sweep", sweep, names) if names else UserError(f"no folder '{sweep}', and none in runs/")
        )
    return folder


def _composed(
    name: str, overrides: list[str] | None, config_dir: Path | None
) -> tuple[AnyLauncher, tuple[SweepRecipe, dict[tuple[str, int], Recipe]]]:
    """Returns the launcher, and the sweep with the recipes of its runs, all checked."""
    from experiments.sweeps.compose import compose_launcher, compose_sweep, is_of_launcher

    name, given = sweep_and_overrides(name, overrides)
    launcher = compose_launcher([text for text in given if is_of_launcher(text)], config_dir)
    composed = compose_sweep(name, [text for text in given if not is_of_launcher(text)], config_dir)
    from experiments import tracking
    from experiments.recipe.build import build

    for recipe in composed[1].values():
        build(recipe)
        tracking.check(recipe)
    return launcher, composed


def sweep_and_overrides(name: str, overrides: list[str] | None) -> tuple[str, list[str]]:
    """Returns the sweep and its overrides. The sweep's name may be left out before claims=C11."""
    given = overrides or []
    return ("claims", [name, *given]) if "=" in name else (name, given)
