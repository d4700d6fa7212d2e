"""One run: from a recipe to weights, resuming where it was killed."""

from __future__ import annotations

import signal
import sys
from contextlib import closing, nullcontext
from dataclasses import asdict
from pathlib import Path

import lightning
import safetensors.torch
import torch
from lightning.pytorch.utilities.exceptions import SIGTERMException

from archs.attention import TAKEN, prepare_to_compile
from archs.batch import Batch
from archs.errors import UserError
from archs.family import Family
from archs.transformer import checkpoint_activations
from experiments import budget, build
from experiments.checkpoints import Checkpoint, Saved, newest_sound
from experiments.data import task_text
from experiments.data.store import Corpus
from experiments.data.windows import WindowStream, held_out
from experiments.devices import fit, full_state, make_trainer
from experiments.disk import whole
from experiments.environment import environment, going_on, tell_versions, tell_what_changed
from experiments.folder import RunFolder, read_json, read_lines, write_json
from experiments.gates import gates_of
from experiments.health import DivergedError, Health
from experiments.learner import Learner
from experiments.listeners import Bar, Record
from experiments.module import Listener, Optimiser, Pretraining, Spent, mixed
from experiments.processes import is_first_process, starts_others, train_together
from experiments.recipe import BudgetConfig, Recipe
from experiments.run import check_same_text, corpus_of, prepare
from experiments.stages import Chain, Parent, check_began, note_began, order_of, parent_of, stage_of
from experiments.steps import Building, Loader, Steps, worker_ended
from experiments.stopping import Stop, Stopped
from experiments.tracking import NoTracker, Tracker, tracker
from objectives.base import Objective, Windows

VALIDATION_ROWS = 32
FAR = 10**9  # steps of a run that only the clock stops


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
    left_out = task_text.checked(recipe, corpus)
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
        here = going_on(before, here, resumed.step)
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


def steps_of(plan: budget.Plan) -> int:
    """0 for an untrained run."""
    return FAR if plan.steps is None else plan.steps


def make_module(
    run: RunFolder,
    recipe: Recipe,
    corpus: Corpus,
    plan: budget.Plan,
    parent: Parent | None,
    follow: Tracker,
    bar: Bar,
    resumed: Saved | None,
) -> Pretraining:
    """The family and its objective, and who listens to them.

    Freshly initialised from the recipe's seed; a family that begins from another run then gets its weights.
    """
    torch.manual_seed(recipe.seed)
    model = build.family(recipe, plan.config)
    if parent is not None:
        parent.load_into(model)
    asks = build.objective(recipe, corpus.vocabulary, model.layout)
    learner = Learner(model, asks)
    settings = recipe.training
    if settings.checkpoint_activations:
        checkpoint_activations(learner)
    if settings.compile:
        prepare_to_compile()
        # A mixture's parts have graphs of their own, in training and in validation; beyond the limit of 8,
        # parts would silently run uncompiled.
        torch._dynamo.config.recompile_limit = 8 * max(1, len(recipe.objective.parts))
        learner.compile()
    start = 0 if resumed is None else resumed.step
    first = next((row["loss"] for row in read_lines(run.metrics)), None) if start else None
    health = Health(corpus.vocabulary.size, (settings.log_every, settings.checkpoint_every), first)
    validation = validation_batches(recipe, corpus, asks)
    checkpoint = Checkpoint(run, settings.checkpoint_every, resumed)
    listeners: list[Listener] = [
        health.watch,
        Record(run, follow, settings.log_every, validation, start, health),
        health.stop,
        checkpoint,
        Stop(checkpoint.save),
    ]
    if is_first_process():
        listeners.append(bar)
    return Pretraining(
        learner,
        Optimiser(
            settings.learning_rate,
            settings.warmup,
            settings.final,
            settings.weight_decay,
            settings.betas,
        ),
        steps_of(plan),
        recipe.seed,
        raw_tokens=plan.tokens_per_step,
        seconds=recipe.budget.spends if recipe.budget.stop == "seconds" else None,
        after_step=listeners,
    )


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


def validation_batches(recipe: Recipe, corpus: Corpus, asks: Objective) -> list[Batch]:
    """The objective's question on fixed held-out windows, the same for every seed."""
    held = held_out(corpus.validation, VALIDATION_ROWS, recipe.size.length)
    return asks.validation(Windows(held.tokens, marks=held.marks), torch.Generator().manual_seed(mixed(0)))


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


def tell_if_off(spent: Spent, asked: BudgetConfig) -> None:
    """A line on stderr if the steps that were planned spent another amount than asked for.

    Plans count on random text, where a selection of whole words, say, finds other words than in a real one.
    """
    if asked.stop not in ("flops", "tokens", "targets") or not asked.spends:
        return
    used = getattr(spent, asked.stop)
    off = used / asked.spends - 1
    if abs(off) > asked.tolerance:
        print(
            f"warning: {used:,.4g} {asked.stop} spent, {off:+.1%} off the budget of {asked.spends:,.4g}: "
            "this text, or so few steps, cost other than planned",
            file=sys.stderr,
        )


def audit(
    plan: budget.Plan, spent: Spent, family: Family, corpus: Corpus, windows: WindowStream
) -> dict[str, object]:
    """What was declared beside what was done."""
    return {
        "plan": plan.summary(),
        "spent": asdict(spent),
        "parameters": sum(p.numel() for p in family.parameters()),
        "attention": sorted({f"{mask}: {backend}" for backend, mask, _ in TAKEN}),
        "epochs": windows.epochs(spent.steps),
        "corpus": corpus.digest,
        "raw_tokens_in_corpus": len(corpus.train.tokens),
    }
