"""What a kind of task is, and the data and outcomes of a task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from experiments.recipe.groups.task import Mode, TaskConfig

if TYPE_CHECKING:
    import pandas as pd  # slow to import, and plans do not need it

LEARNED: tuple[Mode, ...] = ("finetuned", "frozen", "static")
Example = dict[str, Any]  # role -> its checked value


@dataclass(frozen=True, eq=False)
class Data:
    """A task's examples by part; a missing part is empty.

    digest: a hash of all parts. notes: decisions made on reading, such as a part carved from another.
    """

    train: list[Example]
    validation: list[Example]
    test: list[Example]
    apart: list[Example]
    digest: str
    notes: list[str] = field(default_factory=list)

    @property
    def asked(self) -> dict[str, list[Example]]:
        """The parts that a model is asked: test, and apart if there is one."""
        return {"test": self.test} | ({"apart": self.apart} if self.apart else {})

    @property
    def held(self) -> dict[str, list[Example]]:
        """The parts that no model is trained on: validation, test and apart."""
        return {"validation": self.validation} | self.asked


@dataclass(frozen=True, eq=False)
class Outcome:
    """The predictions of one variant of a model: rows, one an item, that are judged together.

    variant: such as {"model": "pretrained", "pooling": "mean", "examples": 1000, "part": "test"}. Rows of
    several finetuning seeds have the column `finetuning_seed`.
    """

    variant: dict[str, str | int]
    rows: pd.DataFrame


@dataclass(frozen=True)
class Kind:
    """A kind of task.

    required    roles that every row has
    optional    roles that a row may have
    metrics     names of its metrics, the primary one first
    modes       how it can be asked, the default first
    example     (a row's roles, task) -> example; raises ValueError for a wrong row, EmptyError if it is empty
    text        example -> the text that is compared with the training text (overlap)
    truncation  what is cut from a text longer than the window, in words
    baselines   (train, test) -> {baseline: rows}, with the columns of a model's rows
    grouped     examples -> examples, with rows that belong together joined; None = a row is an example
    unlabelled  example -> the text for task-adaptive pretraining; None = `text`, which then holds no label
    """

    name: str
    required: tuple[str, ...]
    optional: tuple[str, ...]
    metrics: tuple[str, ...]
    modes: tuple[Mode, ...]
    example: Callable[[Example, TaskConfig], Example]
    text: Callable[[Example], str]
    truncation: str
    baselines: Callable[[Sequence[Example], Sequence[Example]], dict[str, pd.DataFrame]] | None = None
    grouped: Callable[[Sequence[Example]], list[Example]] | None = None
    unlabelled: Callable[[Example], str] | None = None


class EmptyError(ValueError):
    """A role of a row is empty. Such rows are left out of train and are errors elsewhere."""


def text_of(example: Example, role: str) -> str:
    """Returns a role's text. Raises ValueError if it is no text, EmptyError if it is empty."""
    value = example[role]
    if value is not None and not isinstance(value, str):
        raise ValueError(f"its {role} is {type(value).__name__}, must be text")
    if value is None or not value.strip():
        raise EmptyError(f"its {role} is empty; leave such items out")
    return value
