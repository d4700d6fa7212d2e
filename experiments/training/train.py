"""One run: from a recipe to weights, resuming where it was killed."""

from __future__ import annotations

import signal
import sys
from contextlib import closing, nullcontext
from dataclasses import asdict
from pathlib import Path

import lightning
import safetensors.torch
from lightning.pytorch.utilities.exceptions import SIGTERMException

from archs.core.attention import TAKEN
from archs.errors import UserError
from archs.families.family import Family
from experiments.budget import plan as budget
from experiments.budget.spent import audit, tell_if_off
from experiments.data.gates_of_recipe import gates_of
from experiments.data.store import Corpus
from experiments.data.windows import WindowStream
from experiments.recipe import build
from experiments.recipe.recipe import Recipe
from experiments.runs.chain import Chain, Parent, check_began, note_began, order_of, parent_of, stage_of
from experiments.runs.corpus import corpus_of
from experiments.runs.corpus import left_out as text_left_out
from experiments.runs.environment import environment, resumed_environment, tell_versions, tell_what_changed
from experiments.runs.folder import RunFolder
from experiments.runs.run import check_same_text, prepare
from experiments.storage.json_files import read_json, write_json
from experiments.storage.whole import whole
from experiments.tracking import tracker
from experiments.tracking.tracker import NoTracker
from experiments.training.checkpoints import Saved, newest_sound
from experiments.training.devices import fit, full_state, make_trainer
from experiments.training.health import DivergedError
from experiments.training.listeners import Bar
from experiments.training.loader import Building, Loader, Steps, worker_ended
from experiments.training.module import Pretraining
from experiments.training.process import is_first_process, starts_others
from experiments.training.processes import train_together
from experiments.training.run_module import make_module, steps_of
from experiments.training.signals import Stopped


def train(recipe: Recipe, folder: Path, group: str = "train") -> None:
    """Trains until the recipe's budget is spent. Done already: returns at once; killed before: resumes."""
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
            _train(run, recipe, group)
    if together:  # the first of the processes now has the folder to itself
        train_together(recipe, folder, group)


def _train(run: RunFolder, recipe: Recipe, group: str) -> None:
    folder = run.path
    prepare(recipe)
    parent = parent_of(recipe)
    corpus = corpus_of(recipe, None if parent is None else parent.tokenizer)
    left_out = text_left_out(recipe, corpus)
    order = order_of(recipe.seed, parent)
    windows = WindowStream(corpus.train, recipe.training.batch, recipe.size.length, order)
    plan = budget.plan_arm(recipe, corpus.vocabulary)
    if parent is not None:
        parent.check_shape(recipe, plan.config)
    settings = recipe.training
    trainer = make_trainer(
        settings,
        steps_of(plan),
        settings.accelerator,
        settings.devices,
        settings.accumulate,
        unused=not build.objective_class(recipe).uses_all_parameters,
    )
    resumed = newest_sound(run, settings.log_every, tell=is_first_process())
    here = {**environment(recipe), "corpus": corpus.digest}
    if resumed is not None:
        before = read_json(folder / "environment.json") or {}
        check_same_text(run, corpus, before.get("corpus"))
        tell_what_changed(recipe, before)
        if is_first_process():
            tell_versions(before, here, resumed.step)
        here = resumed_environment(before, here, resumed.step)
    TAKEN.clear()
    first = is_first_process()
    if first:
        run.set_status("running")
        write_json(folder / "gates.json", gates_of(recipe, corpus))
        write_json(folder / "environment.json", here)
        note_began(run, parent)
    start = 0 if resumed is None else resumed.step
    follow = tracker(recipe, folder, group, start) if first else NoTracker()
    bar = Bar(f"{recipe.label} seed {recipe.seed}")
    try:
        module = make_module(run, recipe, corpus, plan, parent, follow, bar, resumed)
        if module.steps:  # else it stays untrained: the weights of its seed
            run_steps(trainer, module, windows, resumed, settings.workers)
        family = trained_family(recipe, module, plan)
        if first:
            finish(run, module, family, plan, corpus, windows, recipe, parent, left_out)
            from experiments.tracking.shown import show_trained  # pandas, which other processes do without

            show_trained(follow, folder, recipe.seed)
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
        follow.finish()
    if first:
        print(f"trained: {folder}", file=sys.stderr)


def run_steps(
    trainer: lightning.Trainer,
    module: Pretraining,
    windows: WindowStream,
    resumed: Saved | None,
    workers: int,
) -> None:
    """Lightning's loop, from the step that was resumed."""
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
    except SIGTERMException as stop:  # before Stop listens
        raise Stopped(signal.SIGTERM) from stop
    except SystemExit as stop:  # how Lightning passes an interrupt on
        raise KeyboardInterrupt from stop
    except RuntimeError as error:
        # torch says so wherever we are just then. The thread reads what workers send, and ends with them.
        if str(error).startswith(("DataLoader worker", "Pin memory thread")):
            raise worker_ended(error) from error
        if "loading state_dict" not in str(error):
            raise
        raise UserError(
            f"checkpoint '{checkpoint}' was written by another version of pentarch, whose weights had other "
            "names; use that version, or delete the checkpoint to train this run from the start"
        ) from error


def trained_family(recipe: Recipe, module: Pretraining, plan: budget.Plan) -> Family:
    """The family with its weights in full. Every process must ask; only the first is given them."""
    if module.device_mesh is None:
        return module.learner.family
    family, prefix = build.family(recipe, plan.config), "family."
    if state := full_state(module.learner):
        named = {name.removeprefix(prefix): state[name] for name in state if name.startswith(prefix)}
        family.load_state_dict(named)
    return family


def finish(
    run: RunFolder,
    module: Pretraining,
    family: Family,
    plan: budget.Plan,
    corpus: Corpus,
    windows: WindowStream,
    recipe: Recipe,
    parent: Parent | None,
    more: dict[str, object],
) -> None:
    """Exports the family, writes the audit with `more` in it, and only then says that the run is trained."""
    with whole(run.weights) as partial:
        safetensors.torch.save_model(family, str(partial))
    corpus.tokenizer.save(run.tokenizer)
    chain = Chain() if parent is None else parent.chain
    chain = chain.and_then(stage_of(run, recipe, asdict(module.spent)))
    more = {"chain": chain.as_json(), "init_from": None if parent is None else parent.record(), **more}
    write_json(run.audit, audit(plan, module.spent, family, corpus, windows) | more)
    tell_if_off(module.spent, recipe.budget)
    run.set_status("trained")
