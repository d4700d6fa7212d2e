"""Finetuning a copy of a trained family on a task: the same recipe for every arm."""

from __future__ import annotations

import copy

import torch

from archs.core.transformer import checkpoint_activations
from experiments.runs.run import Run
from experiments.training.devices import fit, make_trainer
from experiments.training.learner import Learner
from experiments.training.loader import Build, Loader, Steps
from experiments.training.module import Finetuning
from experiments.training.optimiser import Optimiser
from objectives.base import Objective

WARMUP = 0.1  # of the steps; the rest falls to zero, as is usual for short finetunings
FINAL = 0.0


def finetune(
    run: Run, objective: Objective, build: Build, steps: int, learning_rate: float, seed: int | None = None
) -> Learner:
    """A learner trained for `steps` on the batches that `build(step)` gives, ready to be asked (eval mode).

    The run's own family stays as it is. Seeded by `seed`, the run's own if None, alone: data order and head
    are paired over arms.
    """
    seed = run.recipe.seed if seed is None else seed
    torch.manual_seed(seed)
    learner = Learner(copy.deepcopy(run.family), objective)
    settings = run.recipe.training
    if settings.checkpoint_activations:
        checkpoint_activations(learner)
    # Where the run was restored to: a machine without the accelerator that trained it can evaluate it.
    trainer = make_trainer(settings, steps, run.device.type)
    optimiser = Optimiser(learning_rate, WARMUP, FINAL, settings.weight_decay, settings.betas)
    module = Finetuning(learner, optimiser, steps, seed)
    fit(trainer, module.train(), Loader(Steps(build), 0, steps))
    return learner.to(run.device).eval()
