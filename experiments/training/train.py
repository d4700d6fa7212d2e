"""Trains one run, from a recipe to weights. A run that was killed resumes from its last checkpoint."""

from __future__ import annotations

import signal
import sys
from contextlib import closing, nullcontext
from pathlib import Path

import lightning
from lightning.pytorch.utilities.exceptions import SIGTERMException

from archs.core.attention import TAKEN
from archs.errors import UserError
from experiments.data.recipe_gates import gates_of
from experiments.data.windows import WindowStream
from experiments.recipe.recipe import Recipe
from experiments.runs.chain import check_began, note_began
from experiments.runs.environment import environment, resumed_environment, tell_versions, tell_what_changed
from experiments.runs.folder import RunFolder
from experiments.runs.run import check_same_text
from experiments.storage.json_files import read_json, write_json
from experiments.tracking import tracker
from experiments.tracking.tracker import NoTracker
from experiments.training.checkpoints import Saved, newest_sound
from experiments.training.devices import fit, make_trainer
from experiments.training.finish import finish, trained_family
from experiments.training.health import DivergedError
from experiments.training.listeners import Bar
from experiments.training.loader import Building, Loader, Steps, worker_ended
from experiments.training.module import Pretraining
from experiments.training.prepared import Prepared, prepare
from experiments.training.process import is_first_process, starts_others
from experiments.training.processes import train_together
from experiments.training.run_module import make_module
from experiments.training.signals import Stopped


def train(recipe: Recipe, folder: Path, group: str = "train") -> None:
    """Trains the recipe's run in `folder` until its budget is spent.

    A run that was killed resumes; one that is trained already is left as it is. group: the tracker's group of
    the run, such as a sweep's name. Raises DivergedError if the loss diverges, or did so earlier.
    """
    run = RunFolder(folder)
    together = starts_others(recipe)
    with run.alone() if is_first_process() else nullcontext():
        run.claim(recipe)
        check_began(run, recipe)
        if is_first_process():
            run.remove_partial()
        if run.is_("diverged"):
            raise DivergedError(
                f"run '{folder}' diverged and is not trained again: {run.status['why']}; set name=… for "
                "a new folder with another training.learning_rate, or delete this one"
            )
        if run.is_("trained") or run.is_("done"):
            print(f"trained already: {folder}", file=sys.stderr)
            return
        if not together:
            _train(run, prepare(recipe), group)
    if together:  # the first of the processes now has the folder to itself
        train_together(recipe, folder, group)


def _train(run: RunFolder, prepared: Prepared, group: str) -> None:
    recipe, settings = prepared.recipe, prepared.recipe.training
    trainer = make_trainer(
        settings,
        prepared.steps,
        settings.accelerator,
        settings.devices,
        settings.accumulate,
        unused=not prepared.built.objective_class.uses_all_parameters,
    )
    resumed = newest_sound(run, settings.log_every, tell=is_first_process())
    _note_start(run, prepared, resumed)
    first = is_first_process()
    start = 0 if resumed is None else resumed.step
    run_tracker = tracker(recipe, run.path, group, start) if first else NoTracker()
    bar = Bar(f"{recipe.label} seed {recipe.seed}")
    try:
        module = make_module(run, prepared, run_tracker, bar, resumed)
        if module.steps:  # a run of 0 steps keeps its initial weights
            _fit(trainer, module, prepared.windows, resumed, settings.workers)
        family = trained_family(module, prepared)
        if first:
            finish(run, module, family, prepared)
            from experiments.tracking.shown import show_trained  # here, since it imports pandas

            show_trained(run_tracker, run.path, recipe.seed)
    except DivergedError as error:
        if first:
            run.set_status("diverged", why=str(error))
        raise
    except Exception as error:
        if first:
            run.set_failed(f"{type(error).__name__}: {error}")
        raise
    finally:
        bar.close()
        run_tracker.finish()
    if first:
        print(f"trained: {run.path}", file=sys.stderr)


def _note_start(run: RunFolder, prepared: Prepared, resumed: Saved | None) -> None:
    """Writes gates.json, environment.json and the run's state, before the first step.

    For a resumed run, warns of what changed in the environment since it started. Raises UserError if its text
    changed.
    """
    recipe, corpus, first = prepared.recipe, prepared.corpus, is_first_process()
    now = {**environment(recipe), "corpus": corpus.digest}
    if resumed is not None:
        before = read_json(run.path / "environment.json") or {}
        check_same_text(run, corpus, before.get("corpus"))
        tell_what_changed(recipe, before)
        if first:
            tell_versions(before, now, resumed.step)
        now = resumed_environment(before, now, resumed.step)
    TAKEN.clear()
    if first:
        run.set_status("running")
        write_json(run.path / "gates.json", gates_of(recipe, corpus))
        write_json(run.path / "environment.json", now)
        note_began(run, prepared.parent)


def _fit(
    trainer: lightning.Trainer,
    module: Pretraining,
    windows: WindowStream,
    resumed: Saved | None,
    workers: int,
) -> None:
    """Runs Lightning's loop, from the checkpoint if there is one. workers: processes that build batches."""
    steps = module.steps if module.seconds is None else None
    rows = Steps(
        Building(module.learner.objective, windows, module.seed, steps),
        trainer.accumulate_grad_batches,
        trainer.global_rank,
        trainer.world_size,
    )
    start, checkpoint = (0, None) if resumed is None else (resumed.step, resumed.path)
    try:
        with closing(Loader(rows, start, module.steps, workers)) as batches:
            fit(trainer, module, batches, ckpt_path=checkpoint, weights_only=True)
    except SIGTERMException as stop:  # SIGTERM came before the listener Stop was called
        raise Stopped(signal.SIGTERM) from stop
    except SystemExit as stop:  # what Lightning makes of KeyboardInterrupt
        raise KeyboardInterrupt from stop
    except RuntimeError as error:
        # Both mean that a worker died; torch raises them wherever this process is at that moment. The pinning
        # thread reads what the workers send, so it fails with them.
        if str(error).startswith(("DataLoader worker", "Pin memory thread")):
            raise worker_ended(error) from error
        if "loading state_dict" not in str(error):
            raise
        raise UserError(
            f"checkpoint '{checkpoint}' was written by another version of pentarch, whose weights had other "
            "names; use that version, or delete the checkpoint to train this run from the start"
        ) from error
