"""Builds the Lightning module of a run, and the listeners that it calls after each optimiser step."""

from __future__ import annotations

import torch

from archs.batch import Batch
from archs.core.attention import prepare_to_compile
from archs.core.transformer import checkpoint_activations
from experiments.data.seeds import mixed
from experiments.data.store import Corpus
from experiments.data.windows import held_out
from experiments.recipe.recipe import Recipe
from experiments.runs.folder import RunFolder
from experiments.storage.json_files import read_lines
from experiments.tracking.tracker import Tracker
from experiments.training.checkpoints import Checkpoint, Saved
from experiments.training.health import Health
from experiments.training.learner import Learner
from experiments.training.listeners import Bar, Record
from experiments.training.module import Listener, Pretraining
from experiments.training.optimiser import Optimiser
from experiments.training.prepared import Prepared
from experiments.training.process import is_first_process
from experiments.training.stopping import Stop
from objectives.base import Objective, Windows

VALIDATION_ROWS = 32  # windows of held-out text


def make_module(
    run: RunFolder,
    prepared: Prepared,
    tracker: Tracker,
    bar: Bar,
    resumed: Saved | None,
) -> Pretraining:
    """Returns the module that trains the run's family with its objective.

    Weights are drawn from the recipe's seed. If the run begins from another, the family then gets that run's
    weights. resumed: the checkpoint that the run resumes from, whose weights Lightning loads later.
    """
    recipe, corpus, plan = prepared.recipe, prepared.corpus, prepared.plan
    torch.manual_seed(recipe.seed)
    model = prepared.built.family(plan.config)
    if prepared.parent is not None:
        prepared.parent.load_into(model)
    objective = prepared.built.objective(corpus.vocabulary)
    learner = Learner(model, objective)
    settings = recipe.training
    if settings.checkpoint_activations:
        checkpoint_activations(learner)
    if settings.compile:
        prepare_to_compile()
        # Each part of a mixture has graphs of its own, in training and in validation. Beyond torch's limit of
        # 8 recompilations, parts would silently run uncompiled.
        torch._dynamo.config.recompile_limit = 8 * max(1, len(recipe.objective.parts))
        learner.compile()
    start = 0 if resumed is None else resumed.step
    first = next((row["loss"] for row in read_lines(run.metrics)), None) if start else None
    health = Health(corpus.vocabulary.size, (settings.log_every, settings.checkpoint_every), first)
    validation = validation_batches(recipe, corpus, objective)
    checkpoint = Checkpoint(run, settings.checkpoint_every, resumed)
    listeners: list[Listener] = [
        health.watch,
        Record(run, tracker, settings.log_every, validation, start, health),
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
        prepared.steps,
        recipe.seed,
        raw_tokens=plan.tokens_per_step,
        seconds=recipe.budget.spends if recipe.budget.stop == "seconds" else None,
        after_step=listeners,
    )


def validation_batches(recipe: Recipe, corpus: Corpus, objective: Objective) -> list[Batch]:
    """Returns the objective's batches on fixed held-out windows, the same for every seed."""
    windows = held_out(corpus.validation, VALIDATION_ROWS, recipe.size.length)
    return objective.validation(
        Windows(windows.tokens, marks=windows.marks), torch.Generator().manual_seed(mixed(0))
    )
