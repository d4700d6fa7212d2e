"""Finetunes a copy of a trained family on a task, by the same recipe for every arm."""

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

WARMUP = 0.1  # share of the steps
FINAL = 0.0  # the learning rate falls to zero, as is usual for short finetunings


def finetune(
    run: Run, objective: Objective, build: Build, steps: int, learning_rate: float, seed: int | None = None
) -> Learner:
    """Returns a learner trained for `steps` optimiser steps on the batches of `build(step)`, in eval mode.

    The run's own family is not changed. `seed` (None: the run's own) is the only source of randomness, so
    arms with one seed share the order of the data and the draws of the new head.
    """
    seed = run.recipe.seed if seed is None else seed
    torch.manual_seed(seed)
    learner = Learner(copy.deepcopy(run.family), objective)
    settings = run.recipe.training
    if settings.checkpoint_activations:
        checkpoint_activations(learner)
    # The device that the run was restored to: this machine may lack the accelerator that trained it.
    trainer = make_trainer(settings, steps, run.device.type)
    optimiser = Optimiser(learning_rate, WARMUP, FINAL, settings.weight_decay, settings.betas)
    module = Finetuning(learner, optimiser, steps, seed)
    fit(trainer, module.train(), Loader(Steps(build), 0, steps))
    return learner.to(run.device).eval()
