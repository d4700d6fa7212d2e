"""Commands about one run: train it, export it, import it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from archs.errors import UserError
from experiments.commands.arguments import ImportOverrides, Overrides, Presets, Run

app = typer.Typer()


@app.command()
def train(
    overrides: Overrides = None,
    recipe_file: Annotated[
        Path | None, typer.Option("--recipe", help="Train a saved recipe.yaml. Takes no overrides.")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--folder", help="The folder of the run; runs/train/… if not given.")
    ] = None,
    group: Annotated[
        str, typer.Option("--group", help="The W&B group, which is the sweep's name.")
    ] = "train",
    config_dir: Presets = None,
) -> None:
    """Train one run. The same command again resumes it.

    Example: pentarch train family=permuted_lm data.path=SOME.txt
    """
    if recipe_file is not None and (overrides or config_dir):
        raise UserError("give either --recipe FILE or overrides, not both; a saved recipe is complete")
    from experiments.recipe.compose import compose_recipe
    from experiments.recipe.recipe import Recipe

    recipe = (
        compose_recipe(overrides or [], config_dir) if recipe_file is None else Recipe.from_yaml(recipe_file)
    )
    from experiments import tracking
    from experiments.recipe.build import build

    build(recipe)
    tracking.check(recipe)
    from experiments.runs.folder import RunFolder
    from experiments.training.train import train as run

    place = folder or recipe.folder(group)
    with RunFolder(place).to_itself():
        run(recipe, place, group)


@app.command(hidden=True)
def work(
    run: Run,
    group: Annotated[str, typer.Option("--group")],
    until: Annotated[Literal["trained", "done"], typer.Option("--until")],
) -> None:
    """Train and evaluate one run of a sweep. Launchers start this in other processes."""
    from experiments.recipe.recipe import Recipe
    from experiments.runs.folder import RunFolder
    from experiments.runs.locks import PASSING
    from experiments.sweeps.launch.task import BUSY

    folder = RunFolder(run)
    recipe = Recipe.from_yaml(folder.recipe)
    from experiments.sweeps.launch.work import work as do
    from experiments.training.process import CrashedError

    with folder.taken(timeout=PASSING) as taken:
        if not taken:
            raise typer.Exit(BUSY)
        try:
            do(recipe, run, group, until)
        except CrashedError as error:
            print(f"error: {error}", file=sys.stderr)
            raise typer.Exit(1) from error


@app.command()
def export(
    run: Run,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder to write; new or empty.")],
    model_type: Annotated[
        str | None,
        typer.Option(
            "--as", help="A model_type of transformers, or pentarch; if not given, the first that fits."
        ),
    ] = None,
) -> None:
    """Write a trained run as a Hugging Face model folder.

    Example: pentarch export runs/train/decoder_ar-causal/seed0 exported
    """
    from experiments.runs.folder import RunFolder

    RunFolder(run).require_trained()
    from experiments.runs.hugging_face.exported import export_run

    typer.echo(export_run(run, folder, model_type))


@app.command("import")
def import_(
    source: Annotated[
        str, typer.Argument(metavar="HF_FOLDER", help="The model's folder, or its name on the hub.")
    ],
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="The run folder to write; new or empty.")],
    overrides: ImportOverrides = None,
    config_dir: Presets = None,
) -> None:
    """Make a trained run from a Hugging Face model and its tokenizer.

    Example: pentarch import FOLDER runs/imported/gpt2/seed0 evaluation=likelihood
    """
    from experiments.runs.hugging_face.imported import import_model

    typer.echo(import_model(source, folder, overrides or [], config_dir))
