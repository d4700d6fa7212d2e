"""What is measured after training."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from experiments.recipe.config import Amount, Config, Count
from experiments.recipe.groups.task import AskConfig


class FinetuneConfig(Config):
    """Finetuning on the understanding task, the same for all arms; at most `examples` of train are used."""

    steps: Count = 150
    batch: Count = 32
    learning_rate: Amount = 1e-3
    examples: Count = 2000


class EvaluationConfig(Config):
    """What is measured after training.

    Likelihood is taken over `likelihood_windows` held-out windows; pseudo-likelihood, which needs one pass
    for each token, over `pseudo_likelihood_windows` of them. `samples`: continuations shown. The built-in
    tasks `party`, `infill`, `order` and `target` are told in docs/evaluation.md; `tasks` are others, each as
    `pentarch evaluate RUN task=…` would ask it (docs/tasks.md).
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
