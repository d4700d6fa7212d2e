"""The training texts of a task, to pretrain on without their labels; its test texts, kept out of any text.

What holds text of the test split is left out whole: it has the words of a test item, or 13 words in a row
with one (`experiments.data.overlap`). Texts are then joined to documents, blank lines between them, since a
window of text is wanted from most and a sentence fills none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from experiments.data.overlap import Held
from experiments.data.sources.document import Document
from experiments.data.sources.source import Source
from experiments.recipe.config import validated
from experiments.recipe.groups.task import TaskConfig
from experiments.tasks.kind import LEARNED, Data
from experiments.tasks.kinds import KINDS
from experiments.tasks.rows import load

DOCUMENT = 4000  # characters that texts are joined to, at least
Part = Literal["train", "test"]


@dataclass(frozen=True, kw_only=True)
class TaskTexts(Source):
    """The task's training texts that hold no text of its test split, each once, joined to documents.

    name: of the task; path: its local folder, in place of its source.
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
    """The test text of a task, as what no training text may hold."""

    name: str
    path: str | None = None

    def fingerprint(self) -> str:
        return fingerprint(self.name, self.path, "test")

    def holds(self, text: str) -> bool:
        """Whether a text has the words of a test item, or 13 words in a row with one."""
        return _held(self.name, self.path)(text)


def fingerprint(name: str, path: str | None, part: Part) -> str:
    """A hash of the texts of one split."""
    return hashlib.sha256("\0".join(texts(name, path, part)).encode()).hexdigest()


@cache
def texts(name: str, path: str | None, part: Part) -> tuple[str, ...]:
    """A task's texts: of train without labels, of test with references; those of a second test are test too.

    path: its local folder, in place of its source. Raises UserError if it cannot be read.
    """
    place = {} if path is None else {"path": path}
    task = validated(TaskConfig, {"preset": name, **place}, f"data.name={name}: ")
    kind = KINDS[task.kind]
    # Of a kind that is never trained all items of a split are asked, also where they are its only ones.
    data = _loaded(task.model_dump_json(), part == "train" or any(mode in LEARNED for mode in kind.modes))
    if part == "train":
        return tuple(map(kind.unlabelled or kind.text, data.train))
    test = [*data.test, *data.apart]
    # A short source is test text by itself too, and no whole text of source and references is equal to it.
    return tuple(text(each) for text in (kind.text, kind.unlabelled) if text is not None for each in test)


@cache
def _loaded(task: str, training: bool) -> Data:
    config = TaskConfig.model_validate_json(task)
    return load(config, KINDS[config.kind], training)


@cache
def _held(name: str, path: str | None) -> Held:
    return Held(texts(name, path, "test"))
