"""What is measured after training."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from experiments.recipe.config import Amount, Config, Count
from experiments.recipe.groups.task import AskConfig


class FinetuneConfig(Config):
    """Finetuning for the built-in tasks, the same for all arms, on at most `examples` training examples."""

    steps: Count = 150
    batch: Count = 32
    learning_rate: Amount = 1e-3
    examples: Count = 2000


class EvaluationConfig(Config):
    """What is measured after training.

    Likelihood is measured on `likelihood_windows` held-out windows; pseudo-likelihood, which needs one
    forward pass for each token, on `pseudo_likelihood_windows` of them. `party`, `infill`, `target`, `order`:
    whether each built-in task is measured (docs/evaluation.md). `tasks`: further tasks, each asked as by
    `pentarch evaluate RUN task=…` (docs/tasks.md). `samples`: how many continuations are written and shown.
    """

    likelihood_windows: Count = 64
    pseudo_likelihood_windows: Count = 16
    party: bool = True
    infill: bool = True
    target: bool = False
    order: bool = False
    tasks: list[AskConfig] = Field(default_factory=list)
    finetune: FinetuneConfig = FinetuneConfig()
    samples: Annotated[int, Field(ge=0)] = 3
