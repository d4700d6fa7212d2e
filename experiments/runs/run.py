"""A trained run read back from its folder, and what a recipe needs before it can run at all."""

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
    """A trained run: what is needed to ask it anything."""

    folder: RunFolder
    recipe: Recipe
    family: Family
    objective: Objective
    corpus: Corpus

    @property
    def device(self) -> torch.device:
        return self.family.embedding.weight.device


def restore(folder: Path) -> Run:
    """A trained run from its folder. Raises UserError if it is none, not trained yet, or damaged."""
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
    family = build(recipe).family(CoreConfig(**written["plan"]["config"]))
    try:
        safetensors.torch.load_model(family, str(run.weights))
    except (safetensors.SafetensorError, OSError) as error:
        raise damaged from error
    except RuntimeError as error:  # other names or shapes than this family's
        raise UserError(
            f"'{run.weights}' was written by another version of pentarch, whose weights had other names; use "
            "that version, or train again with name=… or out=…"
        ) from error
    if recipe.training.accelerator != "cpu" and torch.cuda.is_available():
        family = family.cuda()
    asks = build(recipe).objective(corpus.vocabulary)
    return Run(run, recipe, family.eval(), asks, corpus)


def check_same_text(run: RunFolder, corpus: Corpus, digest: str | None) -> None:
    """Raises UserError if the run was trained on a corpus of another digest (None: nobody wrote it down)."""
    if digest not in (None, corpus.digest):
        raise UserError(
            f"the text or the tokenizer of run folder '{run.path}' has changed since it was trained; put "
            "back what the recipe's data names, or set name=… or out=… for a new folder"
        )


def quieten(recipe: Recipe) -> None:
    """Silences warnings that do not concern the user, and sets the number of threads."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    # Our loader starts at the checkpoint's step by itself; workers are the recipe's to ask for.
    warnings.filterwarnings("ignore", message=".*dataloader is not resumable.*")
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*`srun` command is available.*")  # each run is one machine's
    warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")  # Lightning's own
    if recipe.training.threads:
        torch.set_num_threads(recipe.training.threads)
