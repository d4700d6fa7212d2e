"""A small family with weights as they begin, as a trained run has it, and what finetuning makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

from archs import CoreConfig
from experiments.data.store import Corpus
from experiments.evaluation.question import Answer, Question
from experiments.evidence.metrics import METRICS
from experiments.recipe.build import build
from experiments.recipe.groups.task import AskConfig, FinetuneGrid, TaskConfig
from experiments.recipe.recipe import Recipe
from experiments.runs.folder import RunFolder
from experiments.runs.run import Run
from experiments.tasks.kind import Data, Kind

LENGTH = 64  # of the window, as of size=tiny


def run_of(recipe: Recipe, corpus: Corpus) -> Run:
    """The recipe's family with two layers in all, of width 32."""
    torch.manual_seed(0)
    config = CoreConfig(corpus.vocabulary.size, layers=2, width=32, heads=2, ffn=64, max_length=LENGTH)
    if recipe.family.name == "encoder_decoder":
        config = replace(config, layers=1, decoder_layers=1)
    family = build(recipe).family(config).eval()
    asks = build(recipe).objective(corpus.vocabulary)
    return Run(RunFolder(recipe.folder()), recipe, family, asks, corpus)


def question_of(
    run: Run, kind: Kind, train: Sequence[Any], test: Sequence[Any], rate: float = 1e-2, epochs: int = 4
) -> Question:
    """Rows by role as a task's examples; one trial, one seed, 16 examples a step."""
    task = TaskConfig(name="toy", kind=kind.name, path="toy")  # type: ignore[arg-type]
    learnt, asked = ([kind.example(row, task) for row in rows] for rows in (train, test))
    grid = FinetuneGrid(
        learning_rates=[rate], seeds=1, epochs=epochs, batch=16, scratch=False, unmasked=False
    )
    return Question(run, AskConfig(task=task, finetune=grid), Data(learnt, asked[:8], asked, [], ""))


def score(kind: Kind, answer: Answer) -> float:
    return METRICS[kind.metrics[0]].of(answer.outcomes[0].rows)


def refused(kind: Kind, row: dict[str, Any], **task: Any) -> str:
    """The one line with which a row is refused."""
    given = TaskConfig.model_validate({"name": "toy", "kind": kind.name, "path": "toy"} | task)
    with pytest.raises(ValueError, match=r".") as error:
        kind.example(row, given)
    assert "\n" not in str(error.value)
    return str(error.value)
