"""What a mode of evaluation receives and returns: a question and its answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from archs.families.family import Family
from experiments.evidence.metrics import METRICS, Metric
from experiments.recipe.groups.task import AskConfig, TaskConfig
from experiments.runs.run import Run
from experiments.tasks import modes
from experiments.tasks.kind import Data, Outcome


def primary(question: Question) -> Metric:
    """The task's primary metric."""
    return METRICS[modes.primary(question.task)]


@dataclass(frozen=True, eq=False)
class Question:
    """A trained run, the task with its options, and the task's examples."""

    run: Run
    ask: AskConfig
    data: Data

    @property
    def task(self) -> TaskConfig:
        return self.ask.task


@dataclass(frozen=True, eq=False)
class Answer:
    """A mode's outcomes, the main one first.

    trials: one dict for each trial on validation; the further seeds of a finetuning follow, without a score.
    cut: how many texts of each part were longer than the model's window and so cut. more: further keys of the
    result's file. finetuned: the run's own family after finetuning, for the measurement of forgetting. It is
    the first outcome's; for generation, if the prefix mask makes another family of the run's, it is that of
    the decoding "own".
    """

    outcomes: list[Outcome]
    trials: list[dict[str, object]] = field(default_factory=list)
    cut: dict[str, int] = field(default_factory=dict)
    more: dict[str, Any] = field(default_factory=dict)
    finetuned: Family | None = None
