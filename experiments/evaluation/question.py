"""What passes between a task and a way of asking it: the question, and its answer."""

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
    """What a mode is given: a trained run, the task and how it is asked, and the task's examples."""

    run: Run
    ask: AskConfig
    data: Data

    @property
    def task(self) -> TaskConfig:
        return self.ask.task


@dataclass(frozen=True, eq=False)
class Answer:
    """A mode's answer: outcomes, the main one first.

    trials: what was tried on validation, one dict a trial, and, without a score there, what became of the
    further seeds of a finetuning. cut: how many texts of each part were longer than the model's window, and
    so cut. more: whatever else is told in the result's file. finetuned: for whoever asks what it has
    forgotten, the run's own family after finetuning: the first outcome's, or of generation where the prefix
    mask makes another family of it, that of its own way.
    """

    outcomes: list[Outcome]
    trials: list[dict[str, object]] = field(default_factory=list)
    cut: dict[str, int] = field(default_factory=dict)
    more: dict[str, Any] = field(default_factory=dict)
    finetuned: Family | None = None
