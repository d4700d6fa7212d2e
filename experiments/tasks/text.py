"""A task's texts without labels: its training texts to pretrain on, its test texts to keep out of training.

A training text that holds text of the test split is left out whole. It holds some if it has the words of a
test item, or 13 words in a row in common with one (`experiments.data.overlap`). The remaining texts are
joined to documents, with blank lines between them, because a single sentence is shorter than a window.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from experiments.data.overlap import ItemFinder
from experiments.data.sources.document import Document
from experiments.data.sources.source import Source
from experiments.recipe.config import validated
from experiments.recipe.groups.task import TaskConfig
from experiments.tasks.kind import LEARNED, Data
from experiments.tasks.kinds import KINDS
from experiments.tasks.rows import load

DOCUMENT = 4000  # characters: texts are joined to documents of at least this length
Part = Literal["train", "test"]


@dataclass(frozen=True, kw_only=True)
class TaskTexts(Source):
    """The task's training texts that hold no text of its test split, each once, joined to documents.

    name: the task's; path: its local folder, read instead of its source.
    """

    kind = "task"
    name: str
    path: str | None = None

    def read(self) -> Iterator[Document]:
        waiting: list[str] = []
        number = 0
        for text in self._kept():
            waiting.append(text)
            if sum(map(len, waiting)) >= DOCUMENT:
                yield Document("\n\n".join(waiting), f"{self.name}#{number}")
                waiting, number = [], number + 1
        if waiting:
            yield Document("\n\n".join(waiting), f"{self.name}#{number}")

    def update(self, digest: Any) -> None:
        for part in ("train", "test"):
            digest.update(fingerprint(self.name, self.path, part).encode())

    def _kept(self) -> Iterator[str]:
        test = TaskTestText(self.name, self.path)
        return (text for text in dict.fromkeys(texts(self.name, self.path, "train")) if not test.holds(text))


@dataclass(frozen=True)
class TaskTestText:
    """The test texts of a task, which no training text may hold."""

    name: str
    path: str | None = None

    def fingerprint(self) -> str:
        return fingerprint(self.name, self.path, "test")

    def holds(self, text: str) -> bool:
        """Whether a text has the words of a test item, or 13 words in a row in common with one."""
        return _finder(self.name, self.path)(text)


def fingerprint(name: str, path: str | None, part: Part) -> str:
    """Returns a hash of the texts of one part."""
    return hashlib.sha256("\0".join(texts(name, path, part)).encode()).hexdigest()


@cache
def texts(name: str, path: str | None, part: Part) -> tuple[str, ...]:
    """Returns a task's texts: of train without labels; of test and apart with references.

    path: the task's local folder, read instead of its source. Raises UserError if it cannot be read.
    """
    place = {} if path is None else {"path": path}
    task = validated(TaskConfig, {"preset": name, **place}, f"data.name={name}: ")
    kind = KINDS[task.kind]
    # A kind that is never trained is asked all items of its test split, even of the only split.
    data = _loaded(task.model_dump_json(), part == "train" or any(mode in LEARNED for mode in kind.modes))
    if part == "train":
        return tuple(map(kind.unlabelled or kind.text, data.train))
    test = [*data.test, *data.apart]
    # The source alone is test text too: a short one equals no text of source and references together.
    return tuple(text(each) for text in (kind.text, kind.unlabelled) if text is not None for each in test)


@cache
def _loaded(task: str, training: bool) -> Data:
    config = TaskConfig.model_validate_json(task)
    return load(config, KINDS[config.kind], training)


@cache
def _finder(name: str, path: str | None) -> ItemFinder:
    return ItemFinder(texts(name, path, "test"))
