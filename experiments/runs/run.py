"""Restores a trained run from its folder, ready for evaluation."""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch

from archs.config import CoreConfig
from archs.errors import UserError
from archs.families.family import Family
from experiments.data.store import Corpus
from experiments.recipe.build import build
from experiments.recipe.recipe import Recipe
from experiments.runs.chain import tokenizer_of
from experiments.runs.corpus import corpus_of
from experiments.runs.environment import tell_scored_elsewhere, tell_what_changed
from experiments.runs.folder import RunFolder
from experiments.storage.json_files import read_json
from objectives.base import Objective


@dataclass(frozen=True)
class Run:
    """A trained run in memory: all that evaluation needs."""

    folder: RunFolder
    recipe: Recipe
    family: Family
    objective: Objective
    corpus: Corpus

    @property
    def device(self) -> torch.device:
        return self.family.embedding.weight.device


def restore(folder: Path) -> Run:
    """Restores a trained run from its folder. Raises UserError if it is not trained or damaged."""
    run = RunFolder(folder)
    run.require_trained()
    recipe = Recipe.from_yaml(run.recipe)
    quieten(recipe)
    corpus = corpus_of(recipe, tokenizer_of(run))
    written = read_json(run.audit)
    damaged = UserError(
        f"'{run.weights}' or {run.audit.name} beside it is missing or damaged; delete status.json there and "
        "train again: that goes on from the checkpoint"
    )
    if written is None:
        raise damaged
    check_same_text(run, corpus, written["corpus"])
    trained_with = read_json(run.path / "environment.json") or {}
    tell_what_changed(recipe, trained_with)
    tell_scored_elsewhere(trained_with)
    built = build(recipe)
    family = built.family(CoreConfig(**written["plan"]["config"]))
    try:
        safetensors.torch.load_model(family, str(run.weights))
    except (safetensors.SafetensorError, OSError) as error:
        raise damaged from error
    except RuntimeError as error:  # the names or shapes are not this family's
        raise UserError(
            f"'{run.weights}' was written by another version of pentarch, whose weights had other names; use "
            "that version, or train again with name=… or out=…"
        ) from error
    if recipe.training.accelerator != "cpu" and torch.cuda.is_available():
        family = family.cuda()
    return Run(run, recipe, family.eval(), built.objective(corpus.vocabulary), corpus)


def check_same_text(run: RunFolder, corpus: Corpus, digest: str | None) -> None:
    """Raises UserError if the run was trained on another corpus. digest: that one's; None: not recorded."""
    if digest not in (None, corpus.digest):
        raise UserError(
            f"the text or the tokenizer of run folder '{run.path}' has changed since it was trained; put "
            "back what the recipe's data names, or set name=… or out=… for a new folder"
        )


def quieten(recipe: Recipe) -> None:
    """Silences messages of Lightning that do not apply here, and sets the number of CPU threads."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    # Our data loader starts at the checkpoint's step by itself, and the recipe sets the workers.
    warnings.filterwarnings("ignore", message=".*dataloader is not resumable.*")
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*`srun` command is available.*")  # a run uses one machine
    warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")  # Lightning's own
    if recipe.training.threads:
        torch.set_num_threads(recipe.training.threads)
