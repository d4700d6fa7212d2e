"""The work of a worker process: it trains one run and scores it. Launchers start nothing else."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Literal

from experiments.recipe.recipe import Recipe
from experiments.runs.folder import RunFolder


def work(recipe: Recipe, folder: Path, sweep: str, until: Literal["trained", "done"]) -> None:
    """Trains a run, and scores it if `until` is "done". What exists already is not repeated.

    The caller holds the run's lock. A run that diverges is over, and counts as a result in the report.
    """
    from experiments.evaluation.evaluate import evaluate_run
    from experiments.training.health import DivergedError
    from experiments.training.train import train

    run = RunFolder(folder)
    if run.settled(until):  # another process did it while this one started
        return
    run.note("began")
    with suppress(DivergedError):
        train(recipe, folder, sweep)
    if until == "done" and run.is_("trained"):
        evaluate_run(folder, sweep)
    run.note(run.status["state"])
