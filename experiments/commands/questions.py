"""Commands that ask trained runs: evaluate on tasks, continue a text, score texts."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import typer

from archs.errors import UserError
from experiments.commands.arguments import Presets, Run, RunOrSweep, TaskOverrides

app = typer.Typer()


@app.command()
def evaluate(
    run: RunOrSweep,
    overrides: TaskOverrides = None,
    config_dir: Presets = None,
    lm_eval: Annotated[
        list[str] | None,
        typer.Option(metavar="TASK", help="Run a task of lm-evaluation-harness. May be repeated."),
    ] = None,
    include: Annotated[
        Path | None,
        typer.Option(help="With --lm-eval: a folder with your own task files.", exists=True, file_okay=False),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="With --lm-eval: use only the first items of a task.")
    ] = None,
) -> None:
    """Evaluate a run, or all runs of a sweep, again, or on a task.

    Example: pentarch evaluate runs/five_families task=cola task.path=FOLDER
    """
    if not lm_eval and (include or limit):
        raise UserError("--include and --limit go with --lm-eval TASK")
    if lm_eval and (overrides or config_dir):
        raise UserError("give either --lm-eval TASK or a task of pentarch's own, not both")
    from experiments.runs.folder import runs_of

    runs = runs_of(run)
    if lm_eval:
        from experiments.evaluation.harness import run_harness

        _each(runs, lambda folder: run_harness(folder, lm_eval, include, limit))
    elif overrides:
        from experiments.recipe.compose import compose_ask

        ask = compose_ask(overrides, config_dir)
        from experiments.evaluation.asking import ask_run, check
        from experiments.report.formats.terminal_task import show

        check(ask)  # once, not for each run of a sweep

        _each(runs, lambda folder: show(ask_run(folder, ask)))
    else:
        from experiments.evaluation.evaluate import evaluate_run

        _each(runs, lambda folder: evaluate_run(folder, folder.resolve().parents[1].name))


@app.command()
def generate(
    run: Run,
    prompt: Annotated[str, typer.Option(help="The text to continue.")],
    length: Annotated[int, typer.Option(min=1, help="How many tokens to write.")] = 64,
    temperature: Annotated[float, typer.Option(help="0 always takes the likeliest token.")] = 0.0,
    top_k: Annotated[int | None, typer.Option(help="Sample among the K likeliest tokens.")] = None,
    top_p: Annotated[
        float | None, typer.Option(help="Sample among the likeliest tokens with this total probability.")
    ] = None,
    beams: Annotated[int, typer.Option(help="The width of the beam search; 1 is no search.")] = 1,
    length_penalty: Annotated[
        float, typer.Option(help="Higher prefers longer texts; 1 compares means per token.")
    ] = 1.0,
) -> None:
    """Continue a text.

    Example: pentarch generate runs/train/decoder_ar-causal/seed0 --prompt "My fellow citizens"
    """
    from archs.decoding.decoding import Decoding

    decoding = Decoding(
        temperature=temperature, top_k=top_k, top_p=top_p, beams=beams, length_penalty=length_penalty
    )
    from experiments.runs.folder import RunFolder

    RunFolder(run).require_trained()
    from experiments.evaluation.writing import generate_text

    typer.echo(generate_text(run, prompt, length, decoding))


@app.command()
def score(
    run: Run,
    text: Annotated[str | None, typer.Option(help="The text to score.")] = None,
    context: Annotated[
        str | None, typer.Option(help="The text before it, which is given and not scored.")
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            help='A file to score: .txt, one text a line, or .jsonl, {"text": …, "context": …} a line.',
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    pll: Annotated[
        Literal["original", "word_l2r"] | None,
        typer.Option(
            help="What an encoder-AE hides to score a token: only it, or also the rest of its word."
        ),
    ] = None,
    tokens: Annotated[bool, typer.Option("--tokens", help="Print the nats of every token too.")] = False,
) -> None:
    """Score texts in nats. Prints one line of JSON a text, with the unit.

    Example: pentarch score runs/train/decoder_ar-causal/seed0 --context "My fellow" --text " citizens"
    """
    if (text is None) == (file is None):
        raise UserError("give either --text TEXT or --file FILE")
    if file is not None and context is not None:
        raise UserError('--context goes with --text; in a .jsonl file each line has its own "context"')
    from experiments.evaluation.scoring.texts import read_texts
    from experiments.runs.folder import RunFolder

    pairs = [(context or "", text or "")] if file is None else read_texts(file)
    RunFolder(run).require_trained()
    from experiments.evaluation.scoring.scoring import print_scores

    print_scores(run, pairs, pll, tokens)


def _each(runs: list[Path], ask: Callable[[Path], object]) -> None:
    """Calls `ask` for each run in turn.

    If one run of a sweep fails, the others are still asked, and UserError is raised at the end.
    """
    from experiments.runs.folder import RunFolder

    failed = []
    for number, run in enumerate(runs, start=1):
        if len(runs) > 1:
            print(f"[{number}/{len(runs)}] {run.parent.name}, {run.name}", file=sys.stderr)
        try:
            with RunFolder(run).to_itself():
                ask(run)
        except UserError as error:
            if len(runs) == 1:
                raise
            failed.append(run)
            print(f"error: {error}", file=sys.stderr)
    if failed:
        raise UserError(f"{len(failed)} of {len(runs)} runs were not asked, for the reasons above")
