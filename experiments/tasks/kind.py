"""What a kind of task says of itself, and what passes between it and whoever asks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from experiments.recipe.groups.task import Mode, TaskConfig

if TYPE_CHECKING:
    import pandas as pd  # slow to import, and plans do without

LEARNED: tuple[Mode, ...] = ("finetuned", "frozen", "static")
Example = dict[str, Any]  # role -> its checked value


@dataclass(frozen=True, eq=False)
class Data:
    """A task's examples by part; the parts that it lacks are empty. `digest` is of all of them."""

    train: list[Example]
    validation: list[Example]
    test: list[Example]
    apart: list[Example]
    digest: str
    notes: list[str] = field(default_factory=list)  # what was decided on the way, such as a carved part

    @property
    def asked(self) -> dict[str, list[Example]]:
        """The test, and what is asked apart if anything is."""
        return {"test": self.test} | ({"apart": self.apart} if self.apart else {})

    @property
    def held(self) -> dict[str, list[Example]]:
        """What no model is trained on: validation, and what is asked."""
        return {"validation": self.validation} | self.asked


@dataclass(frozen=True, eq=False)
class Outcome:
    """Rows, one an item, judged together; `variant` tells them from the others of an answer.

    variant: such as {"model": "pretrained", "pooling": "mean", "examples": 1000, "part": "test"}. The rows
    may hold the same items of several finetuning seeds, told apart by the column `finetuning_seed`.
    """

    variant: dict[str, str | int]
    rows: pd.DataFrame


@dataclass(frozen=True)
class Kind:
    """A kind of task.

    required, optional: roles of its columns. example: a row's roles checked and made the kind's own; raises
    ValueError that says what is wrong, EmptyError where a role holds nothing. text: what of an example may be
    known from elsewhere, for overlap. unlabelled: what of it task-adaptive pretraining reads; None: the text,
    which then holds no label. modes: how it can be asked, the default first. metrics: names, the primary
    one first. baselines: (train, test) -> rows by name, as the models' are. truncation: what becomes of a
    text longer than the window. grouped: rows that are one example, put together; None: a row is one.
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
    """A role of a row holds nothing: such rows of train are left out, others refused."""


def text_of(example: Example, role: str) -> str:
    """A role's text. Raises ValueError if it is none, EmptyError if it is empty."""
    value = example[role]
    if value is not None and not isinstance(value, str):
        raise ValueError(f"its {role} is {type(value).__name__}, must be text")
    if value is None or not value.strip():
        raise EmptyError(f"its {role} is empty; leave such items out")
    return value
