"""The whole evaluation of a trained run, through one interface for every family."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from archs.errors import UserError
from experiments.evaluation.asking import answered
from experiments.evaluation.flow import measured_flow
from experiments.evaluation.measurements import FORGETTING, MEASUREMENTS, Evaluation
from experiments.evaluation.writing import samples
from experiments.runs.environment import software
from experiments.runs.folder import RunFolder
from experiments.runs.run import restore
from experiments.storage.json_files import read_json, write_json
from experiments.tasks.modes import mode_of
from experiments.tracking import tracker
from experiments.tracking.shown import show_evaluated

Answer = TypeVar("Answer")


def evaluate_run(folder: Path, group: str = "train") -> None:
    """Evaluates a trained run, writes scores/*.parquet, samples.json and evaluation.json, and sets it "done".

    Scores are a pure function of weights and recipe. group: the W&B group, the sweep's name. Raises UserError
    if another process is writing to the folder.
    """
    with RunFolder(folder).alone():
        RunFolder(folder).remove_partial()
        _evaluate(folder, group)


def _evaluate(folder: Path, group: str) -> None:
    run = restore(folder)
    evaluation, clock = Evaluation(run), Clock(f"{run.recipe.label} seed {run.recipe.seed}")
    flow, flow_text = clock.time("information flow", lambda: measured_flow(run))
    content: dict[str, Any] = {
        "flow": {"ok": flow.ok, "text": flow_text},
        "gates": read_json(folder / "gates.json"),
        "language_model": run.objective.language_model,
    }
    for measurement in MEASUREMENTS:
        content[measurement.name] = (
            clock.time(measurement.name, partial(measurement.ask, evaluation))
            if measurement.wanted(run)
            else None
        )
    content["not_asked"] = ask_tasks(evaluation, clock)
    if FORGETTING.wanted(run):
        content["forgetting"] = clock.time(FORGETTING.name, partial(FORGETTING.ask, evaluation))
    write_json(folder / "samples.json", clock.time("samples", lambda: samples(run)))
    write_json(folder / "evaluation.json", content | {"seconds": clock.seconds, "environment": software()})
    follow = tracker(run.recipe, folder, group, read_json(run.folder.audit)["spent"]["steps"] + 1)
    try:
        show_evaluated(follow, folder, run.recipe.seed, flow.measured["tokens"]["tokens"][0].numpy())
    finally:
        follow.finish()
    run.folder.set_status("done")


def ask_tasks(evaluation: Evaluation, clock: Clock) -> dict[str, str]:
    """Evaluates the run on the recipe's tasks. Returns {task: reason} of tasks that could not be asked."""
    not_asked: dict[str, str] = {}
    for ask in evaluation.run.recipe.evaluation.tasks:
        name = f"{ask.task.name}, {mode_of(ask)}"
        try:
            _, family = clock.time(name, partial(answered, evaluation.run, ask))
        except UserError as error:  # one bad task must not stop the others
            print(f"error: not asked {name}: {error}", file=sys.stderr, flush=True)
            not_asked[name] = str(error)
        else:
            if family is not None:
                evaluation.finetuned[f"task:{ask.task.name}"] = family
    return not_asked


class Clock:
    """Times each part of an evaluation, by name, and prints the part that begins."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.seconds: dict[str, float] = {}

    def time(self, name: str, ask: Callable[[], Answer]) -> Answer:
        print(f"{self.label}: evaluating {name}", file=sys.stderr, flush=True)
        started = time.perf_counter()
        answer = ask()
        self.seconds[name] = time.perf_counter() - started
        return answer
