"""What a worker does with one run: train it, score it. The whole of what launchers start elsewhere."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Literal

from experiments.recipe.recipe import Recipe
from experiments.runs.folder import RunFolder


def work(recipe: Recipe, folder: Path, sweep: str, until: Literal["trained", "done"]) -> None:
    """Takes a run as far as `until`; what is done already is not repeated. The caller has it to itself.

    A run that diverges is over: that counts in the report.
    """
    from experiments.evaluation.evaluate import evaluate_run
    from experiments.training.health import DivergedError
    from experiments.training.train import train

    run = RunFolder(folder)
    if run.settled(until):  # another did it while this process started
        return
    run.note("began")
    with suppress(DivergedError):
        train(recipe, folder, sweep)
    if until == "done" and run.is_("trained"):
        evaluate_run(folder, sweep)
    run.note(run.status["state"])
