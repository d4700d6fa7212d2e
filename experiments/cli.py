"""The command line. Nothing heavy is imported before a command needs it: help and errors come at once."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from archs.errors import UserError, unknown
from experiments.stopping import Stopped

if TYPE_CHECKING:
    from experiments.launch import AnyLauncher
    from experiments.recipe import Recipe
    from experiments.sweep_recipe import SweepRecipe

app = typer.Typer(
    name="pentarch",
    help="Five pretraining architectures, one Transformer core, one audited budget.",
    add_completion=False,
    pretty_exceptions_enable=False,
)

Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="KEY=VALUE", help="A preset or a value, as size=small.")
]
Presets = Annotated[
    Path | None,
    typer.Option("--config-dir", help="A folder of presets of your own: size/mine.yaml and so on."),
]
Sweep = Annotated[
    str,
    typer.Argument(
        metavar="SWEEP", help="A sweep of configs/sweep, as five_families; left out before claims=…: claims."
    ),
]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder.", exists=True, file_okay=False)]

RunOrSweep = Annotated[
    Path,
    typer.Argument(metavar="RUN", help="A run's folder, or a sweep's.", exists=True, file_okay=False),
]


@app.command()
def train(
    overrides: Overrides = None,
    recipe_file: Annotated[
        Path | None, typer.Option("--recipe", help="A saved recipe.yaml in place of overrides.")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--folder", help="The run's folder; runs/train/… if not given.")
    ] = None,
    group: Annotated[str, typer.Option("--group", help="The W&B group: the sweep's name.")] = "train",
    config_dir: Presets = None,
) -> None:
    """Train one family; run again to resume.

    Example: pentarch train family=permuted_lm data.path=SOME.txt
    """
    if recipe_file is not None and (overrides or config_dir):
        raise UserError("give either --recipe FILE or overrides, not both; a saved recipe is complete")
    from experiments.compose import compose_recipe
    from experiments.recipe import Recipe

    recipe = (
        compose_recipe(overrides or [], config_dir) if recipe_file is None else Recipe.from_yaml(recipe_file)
    )
    from experiments import build

    build.check(recipe)
    from experiments.folder import RunFolder
    from experiments.train import train as run

    place = folder or recipe.folder(group)
    with RunFolder(place).to_itself():
        run(recipe, place, group)


@app.command()
def sweep(name: Sweep, overrides: Overrides = None, config_dir: Presets = None) -> None:
    """Train, evaluate and report all arms; run again to finish what is missing.

    Example: pentarch sweep five_families seeds=3 size=small launcher=local
    """
    where, composed = _composed(name, overrides, config_dir)
    from experiments.launch.task import LostRunsError
    from experiments.sweep import run

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
    from experiments.planning import plan as show

    show(*composed)
    if wandb_sweep is not None:
        from experiments.tracking.agents import hand_over, instructions

        typer.echo(instructions(wandb_sweep, hand_over(*composed, wandb_sweep)), err=True)


@app.command(hidden=True)
def work(
    run: Run,
    group: Annotated[str, typer.Option("--group")],
    until: Annotated[Literal["trained", "done"], typer.Option("--until")],
) -> None:
    """Take one run of a sweep to its end: what launchers start in other processes."""
    from experiments.folder import PASSING, RunFolder
    from experiments.launch.task import BUSY
    from experiments.recipe import Recipe

    folder = RunFolder(run)
    recipe = Recipe.from_yaml(folder.recipe)
    from experiments.launch.work import work as do
    from experiments.processes import CrashedError

    with folder.taken(timeout=PASSING) as mine:
        if not mine:
            raise typer.Exit(BUSY)
        try:
            do(recipe, run, group, until)
        except CrashedError as error:
            print(f"error: {error}", file=sys.stderr)
            raise typer.Exit(1) from error


@app.command()
def evaluate(run: RunOrSweep, overrides: Overrides = None, config_dir: Presets = None) -> None:
    """Evaluate a trained run again, or ask a run, or all of a sweep, a task.

    Example: pentarch evaluate runs/five_families task=cola task.path=FOLDER
    """
    from experiments.folder import RunFolder, runs_of

    runs = runs_of(run)
    if not overrides:
        from experiments.evaluate import evaluate_run

        for each in runs:
            with RunFolder(each).to_itself():
                evaluate_run(each, each.resolve().parents[1].name)
        return
    from experiments.compose import compose_ask

    ask = compose_ask(overrides, config_dir)
    from experiments.asking import ask_run
    from experiments.asking_shown import show

    for each in runs:
        with RunFolder(each).to_itself():
            show(ask_run(each, ask))


@app.command()
def generate(
    run: Run,
    prompt: Annotated[str, typer.Option(help="The text to continue.")],
    length: Annotated[int, typer.Option(min=1, help="Tokens to write.")] = 64,
    temperature: Annotated[float, typer.Option(help="0 takes the likeliest token.")] = 0.0,
    top_k: Annotated[int | None, typer.Option(help="Sample among the K likeliest.")] = None,
    top_p: Annotated[float | None, typer.Option(help="Sample among the likeliest of this share.")] = None,
    beams: Annotated[int, typer.Option(help="Width of a beam search.")] = 1,
    length_penalty: Annotated[
        float, typer.Option(help="Higher prefers longer beams; 1 compares means.")
    ] = 1.0,
) -> None:
    """Continue a text.

    Example: pentarch generate runs/train/decoder_ar-causal/seed0 --prompt "My fellow citizens"
    """
    from archs.decoding import Decoding

    how = Decoding(
        temperature=temperature, top_k=top_k, top_p=top_p, beams=beams, length_penalty=length_penalty
    )
    from experiments.folder import RunFolder

    RunFolder(run).require_trained()
    from experiments.evaluate import generate_text

    typer.echo(generate_text(run, prompt, length, how))


@app.command()
def score(
    run: Run,
    text: Annotated[str | None, typer.Option(help="The text to score.")] = None,
    context: Annotated[str | None, typer.Option(help="What stands before it, given and not scored.")] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            help='Texts to score: .txt, one a line, or .jsonl, {"text": …, "context": …} a line.',
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    pll: Annotated[
        Literal["original", "word_l2r"] | None,
        typer.Option(help="An encoder-AE hides each token alone, or the later ones of its word too."),
    ] = None,
    tokens: Annotated[bool, typer.Option("--tokens", help="List the nats of every token too.")] = False,
) -> None:
    """Score texts: nats, with their unit; one JSON line a text.

    Example: pentarch score runs/train/decoder_ar-causal/seed0 --context "My fellow" --text " citizens"
    """
    if (text is None) == (file is None):
        raise UserError("give either --text TEXT or --file FILE")
    if file is not None and context is not None:
        raise UserError('--context goes with --text; in a .jsonl file each line has its own "context"')
    from experiments.folder import RunFolder
    from experiments.texts import read_texts

    pairs = [(context or "", text or "")] if file is None else read_texts(file)
    RunFolder(run).require_trained()
    from experiments.scoring import print_scores

    print_scores(run, pairs, pll, tokens)


@app.command()
def export(
    run: Run,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A new folder to write.")],
    model_type: Annotated[
        str | None, typer.Option("--as", help="Its model_type there, or pentarch; the first that fits.")
    ] = None,
) -> None:
    """Write a trained run as a Hugging Face folder.

    Example: pentarch export runs/train/decoder_ar-causal/seed0 exported
    """
    from experiments.folder import RunFolder

    RunFolder(run).require_trained()
    from experiments.export import export_run

    typer.echo(export_run(run, folder, model_type))


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

    from experiments import status as shown

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


@app.command()
def systems(
    runs: Annotated[Path, typer.Option(help="Where to look for trained runs.")] = Path("runs"),
    as_markdown: Annotated[bool, typer.Option("--markdown", help="One Markdown table instead.")] = False,
    config_dir: Presets = None,
) -> None:
    """List the published systems that are recipes, and what each leaves out.

    Example: pentarch systems, then pentarch train system=roberta
    """
    from rich.console import Console

    from experiments.systems import markdown, tables

    if as_markdown:
        typer.echo(markdown(config_dir))
        return
    for table in tables(runs, config_dir):
        Console().print(table)


@app.command()
def masks(
    out: Annotated[Path, typer.Option(help="The SVG to write.", dir_okay=False)] = Path("masks.svg"),
    mask: Annotated[str | None, typer.Option(help="A mask of your own instead, as mine.my_mask.")] = None,
    family: Annotated[
        str | None, typer.Option(help="The single stack to show it in; decoder_ar if not given.")
    ] = None,
) -> None:
    """Draw who may look at whom in the five families, or by a mask of your own.

    Example: pentarch masks --out masks.svg
    """
    if mask is None and family is not None:
        raise UserError("--family goes with --mask; without them all five families are drawn")
    if mask is None:
        from experiments.pictures import draw_masks

        draw_masks(out)
        return
    from experiments.compose import compose_recipe
    from experiments.overrides import quoted

    recipe = compose_recipe([f"family={family or 'decoder_ar'}", f"family.mask={quoted(mask)}"])
    from experiments.pictures import draw_mask

    draw_mask(out, recipe)


def main() -> None:
    """Runs a command. A user's mistake is one line on stderr and exit code 2."""
    # Threads that wait sleep. By default they spin: with one other busy process on two cores a training step
    # then took 2.6 s instead of 0.34 s (docs/decisions.md). Read when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    arguments = sys.argv[1:] or ["--help"]
    command = typer.main.get_command(app)
    try:
        _check_command(arguments)
        with command.make_context("pentarch", arguments) as context:
            command.invoke(context)
    except typer.Exit as done:  # --help
        sys.exit(done.exit_code)
    except UserError as error:
        _stop(str(error))
    except KeyboardInterrupt:
        print(f"\ninterrupted; {_again(arguments)}", file=sys.stderr)
        sys.exit(130)
    except Stopped as stop:
        print(f"\n{stop}; {_again(arguments)}", file=sys.stderr)
        sys.exit(stop.code)
    except BrokenPipeError:  # the reader of our lines has seen enough, as `| head` has
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        # Mistakes of usage: typer carries click's exceptions in another place from version to version.
        tell = getattr(error, "format_message", None)
        if tell is None:
            _stop_if_full(error)
            raise
        _stop(tell())


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
    from experiments.compose import compose_launcher, compose_sweep, is_of_launcher

    name, given = sweep_and_overrides(name, overrides)
    where = compose_launcher([one for one in given if is_of_launcher(one)], config_dir)
    composed = compose_sweep(name, [one for one in given if not is_of_launcher(one)], config_dir)
    from experiments import build

    for recipe in composed[1].values():
        build.check(recipe)
    return where, composed


def sweep_and_overrides(name: str, overrides: list[str] | None) -> tuple[str, list[str]]:
    """`claims=C11` alone is of the sweep of claims."""
    given = overrides or []
    return ("claims", [name, *given]) if "=" in name else (name, given)


def _check_command(arguments: list[str]) -> None:
    names = [command.callback.__name__ for command in app.registered_commands if command.callback]
    if arguments[0] not in [*names, "--help"]:
        raise unknown("command", arguments[0], names)
    if arguments[0] in ("train", "sweep", "plan") and {"-m", "--multirun"} & set(arguments):
        raise UserError("-m is refused: several runs are a sweep; list its arms in sweep/NAME.yaml")


def _stop_if_full(error: Exception) -> None:
    """A disk may fill up under a library that writes somewhere of its own."""
    from experiments.disk import is_full

    if is_full(error):
        _stop(f"no space left on a disk ({error}); make room, and the same command continues")


def _again(arguments: list[str]) -> str:
    return f"the same command continues: {shlex.join(['pentarch', *arguments])}"


def _stop(message: str) -> None:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(2)
