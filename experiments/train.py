"""One run: from a recipe to weights, resuming where it was killed."""

from __future__ import annotations

import pickle
import sys
import zipfile
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path

import lightning
import safetensors.torch
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities import rank_zero_only

from archs.attention import TAKEN, prepare_to_compile
from archs.batch import Batch
from archs.errors import UserError
from archs.family import Family
from experiments import budget, build
from experiments.data.store import Corpus
from experiments.data.windows import WindowStream, held_out
from experiments.environment import environment, tell_what_changed
from experiments.folder import RunFolder, read_json, write_json
from experiments.gates import gates_of
from experiments.learner import Learner
from experiments.listeners import Bar, Checkpoint, DivergedError, Record
from experiments.module import Listener, Optimiser, Pretraining, Spent, mixed
from experiments.recipe import BudgetConfig, Recipe, TrainingConfig
from experiments.run import check_same_text, corpus_of, prepare
from experiments.steps import Steps, building, loader
from experiments.tracking import NoTracker, Tracker, tracker
from objectives.base import Objective, Windows

VALIDATION_ROWS = 32
FAR = 10**9  # steps of a run that only the clock stops


def train(recipe: Recipe, folder: Path, group: str = "train") -> None:
    """Trains until the recipe's budget is spent. Done already: returns at once; killed before: resumes."""
    run = RunFolder(folder)
    with run.alone() if is_first_process() else nullcontext():
        run.claim(recipe)
        if run.is_("trained") or run.is_("done"):
            print(f"trained already: {folder}", file=sys.stderr)
        else:
            _train(run, recipe, group)


def _train(run: RunFolder, recipe: Recipe, group: str) -> None:
    folder = run.path
    prepare(recipe)
    corpus = corpus_of(recipe)
    windows = WindowStream(corpus.train, recipe.training.batch, recipe.size.length, recipe.seed)
    plan = budget.plan_arm(recipe, corpus.vocabulary)
    settings = recipe.training
    trainer = make_trainer(
        settings,
        steps_of(plan),
        settings.accelerator,
        settings.devices,
        settings.accumulate,
        unused=not build.objective_class(recipe).uses_all_parameters,
    )
    start = saved_step(run)
    saved = (read_json(folder / "environment.json") or {}) if start else {}
    if start:
        check_same_text(run, corpus, saved.get("corpus"))
        tell_what_changed(recipe, saved)
    TAKEN.clear()
    run.set_status("running")
    write_json(folder / "gates.json", gates_of(recipe, corpus))
    here = {**environment(recipe), "corpus": corpus.digest}
    before = saved.get("user_source_before", [])  # what earlier steps were trained with
    if saved.get("user_source", here["user_source"]) != here["user_source"]:
        before = [*before, saved["user_source"]]
    if before:
        here["user_source_before"] = before
    write_json(folder / "environment.json", here)
    follow = tracker(recipe, folder, group, start) if is_first_process() else NoTracker()
    bar = Bar(f"{recipe.label} seed {recipe.seed}")
    try:
        module = make_module(run, recipe, corpus, plan, follow, bar, start)
        if module.steps:  # else it stays untrained: the weights of its seed
            fit(run, trainer, module, windows, start)
    except DivergedError as error:
        run.set_status("diverged", why=str(error))
        raise
    except Exception as error:
        run.set_status("failed", why=f"{type(error).__name__}: {error}")
        raise
    else:
        if is_first_process():
            finish(run, module, plan, corpus, windows, recipe.budget)
            from experiments.tracking.shown import show_trained  # pandas, which other processes do without

            show_trained(follow, folder, recipe.seed)
    finally:
        bar.close()
        follow.finish()
    if is_first_process():
        print(f"trained: {folder}", file=sys.stderr)


def steps_of(plan: budget.Plan) -> int:
    """0 for an untrained run."""
    return FAR if plan.steps is None else plan.steps


def make_module(
    run: RunFolder, recipe: Recipe, corpus: Corpus, plan: budget.Plan, follow: Tracker, bar: Bar, start: int
) -> Pretraining:
    """The family and its objective, freshly initialised from the recipe's seed, and who listens to them."""
    torch.manual_seed(recipe.seed)
    model = build.family(recipe, plan.config)
    asks = build.objective(recipe, corpus.vocabulary, model.layout)
    learner = Learner(model, asks)
    settings = recipe.training
    if settings.compile:
        prepare_to_compile()
        # A mixture's parts have graphs of their own, in training and in validation; beyond the limit of 8,
        # parts would silently run uncompiled.
        torch._dynamo.config.recompile_limit = 8 * max(1, len(recipe.objective.parts))
        learner.compile()
    listeners: list[Listener] = [Checkpoint(run, settings.checkpoint_every)]
    if is_first_process():
        validation = validation_batches(recipe, corpus, asks)
        record = Record(run, follow, settings.log_every, validation, start)
        listeners = [record, *listeners, bar]
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


def fit(
    run: RunFolder, trainer: lightning.Trainer, module: Pretraining, windows: WindowStream, start: int
) -> None:
    """Lightning's loop over the steps from `start` on."""
    rows = Steps(
        building(
            module.learner.objective, windows, module.seed, module.steps if module.seconds is None else None
        ),
        trainer.accumulate_grad_batches,
        trainer.global_rank,
        trainer.world_size,
    )
    checkpoint = run.checkpoint if start else None
    try:
        trainer.fit(module, loader(rows, start, module.steps), ckpt_path=checkpoint, weights_only=True)
    except SystemExit as stop:  # how Lightning passes an interrupt on
        raise KeyboardInterrupt from stop
    except RuntimeError as error:
        if "loading state_dict" not in str(error):
            raise
        raise UserError(
            f"checkpoint '{checkpoint}' was written by another version of pentarch, whose weights had other "
            "names; use that version, or delete the checkpoint to train this run from the start"
        ) from error


def is_first_process() -> bool:
    """Of the processes that train one run together."""
    return getattr(rank_zero_only, "rank", 0) == 0


def make_trainer(
    settings: TrainingConfig,
    steps: int,
    accelerator: str,
    devices: int = 1,
    accumulate: int = 1,
    unused: bool = False,
) -> lightning.Trainer:
    """Lightning's loop and nothing around it. unused: some step may leave parameters without a gradient.

    Raises UserError if this machine has no such accelerator.
    """
    try:
        return lightning.Trainer(
            accelerator=accelerator,
            devices=devices,
            strategy="ddp_find_unused_parameters_true" if unused and devices > 1 else "auto",
            precision=settings.precision,
            accumulate_grad_batches=accumulate,
            gradient_clip_val=settings.clip,
            max_steps=steps,
            max_epochs=-1,
            use_distributed_sampler=False,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
    except MisconfigurationException as error:
        raise UserError(
            f"training.accelerator={accelerator} with training.devices={devices} cannot be had here: {error} "
            "Set training.accelerator=auto, or fewer devices"
        ) from error


def validation_batches(recipe: Recipe, corpus: Corpus, asks: Objective) -> list[Batch]:
    """The objective's question on fixed held-out windows, the same for every seed."""
    held = held_out(corpus.validation, VALIDATION_ROWS, recipe.size.length)
    return asks.validation(Windows(held.tokens, marks=held.marks), torch.Generator().manual_seed(mixed(0)))


def saved_step(run: RunFolder) -> int:
    """The optimiser step of the last checkpoint, 0 if there is none. UserError if it is cut short."""
    if not run.checkpoint.exists():
        return 0
    try:
        return torch.load(run.checkpoint, map_location="cpu", weights_only=True, mmap=True)["spent"]["steps"]
    except (RuntimeError, EOFError, pickle.UnpicklingError, zipfile.BadZipFile, OSError, KeyError) as error:
        raise UserError(
            f"checkpoint '{run.checkpoint}' is cut short or damaged; delete it to train this "
            "run from the start"
        ) from error


def finish(
    run: RunFolder,
    module: Pretraining,
    plan: budget.Plan,
    corpus: Corpus,
    windows: WindowStream,
    asked: BudgetConfig,
) -> None:
    """Exports the family, writes the audit, and only then says that the run is trained."""
    family = module.learner.family
    partial = run.weights.with_suffix(".partial")
    safetensors.torch.save_model(family, str(partial))
    partial.replace(run.weights)
    corpus.tokenizer.save(run.tokenizer)
    write_json(run.audit, audit(plan, module.spent, family, corpus, windows))
    tell_if_off(module.spent, asked)
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
