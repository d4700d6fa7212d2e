"""The training texts of a task, to pretrain on without their labels; its test texts, kept out of any text.

What holds text of the test split is left out whole: it has the words of a test item, or 13 words in a row
with one (`experiments.data.overlap`). Texts are then joined to documents, blank lines between them, since a
window of text is wanted from most and a sentence fills none.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from archs.errors import UserError
from experiments.data.document import Document

if TYPE_CHECKING:
    from experiments.data.overlap import Held
    from experiments.data.store import Corpus
    from experiments.recipe import Recipe
    from experiments.tasks.kind import Data

DOCUMENT = 4000  # characters that texts are joined to, at least


def documents(name: str, path: str | None) -> Iterator[Document]:
    """The task's training texts that hold no text of its test split, each once, joined to documents."""
    waiting: list[str] = []
    number = 0
    for text in _kept(name, path):
        waiting.append(text)
        if sum(map(len, waiting)) >= DOCUMENT:
            yield Document("\n\n".join(waiting), f"{name}#{number}")
            waiting, number = [], number + 1
    if waiting:
        yield Document("\n\n".join(waiting), f"{name}#{number}")


def cleaned(stream: Iterable[Document], task: str) -> Iterator[Document]:
    """The documents that hold no text of the task's test split."""
    holds = _held(task, None)
    return (document for document in stream if not holds(document.text))


def fingerprint(name: str, path: str | None, split: Literal["train", "test"]) -> str:
    """A hash of the texts of one split."""
    return hashlib.sha256("\0".join(texts(name, path, split)).encode()).hexdigest()


@cache
def texts(name: str, path: str | None, split: Literal["train", "test"]) -> tuple[str, ...]:
    """A task's texts: of train without labels, of test with references; those of a second test are test too.

    path: its local folder, in place of its source. Raises UserError if it cannot be read.
    """
    from experiments.tasks.kinds import KINDS
    from experiments.tasks.task import TaskConfig
    from experiments.tasks.usual import LEARNED
    from experiments.validate import validated

    place = {} if path is None else {"path": path}
    task = validated(TaskConfig, {"preset": name, **place}, f"data.name={name}: ")
    kind = KINDS[task.kind]
    # Of a kind that is never trained all items of a split are asked, also where they are its only ones.
    data = _loaded(task.model_dump_json(), split == "train" or any(mode in LEARNED for mode in kind.modes))
    if split == "train":
        return tuple(map(kind.unlabelled or kind.text, data.train))
    test = [*data.test, *data.apart]
    # A short source is test text by itself too, and no whole text of source and references is equal to it.
    return tuple(text(each) for text in (kind.text, kind.unlabelled) if text is not None for each in test)


@cache
def _loaded(task: str, training: bool) -> Data:
    from experiments.tasks.kinds import KINDS
    from experiments.tasks.rows import load
    from experiments.tasks.task import TaskConfig

    config = TaskConfig.model_validate_json(task)
    return load(config, KINDS[config.kind], training)


def checked(recipe: Recipe, corpus: Corpus) -> dict[str, Any]:
    """For the audit: how many texts were left out for the test text in them; {} where none was asked about.

    Told on stderr. Raises UserError if text of the test split is in the training text all the same.
    """
    from dataclasses import asdict
    from pathlib import Path

    from experiments.data.overlap import overlaps

    data = recipe.data
    asked: dict[str, str | None] = {}  # tasks, and where their files are
    if data.without_test_of is not None:
        asked[data.without_test_of] = None
    if data.source == "task":
        asked[str(data.name)] = data.path
    found: dict[str, Any] = {}
    for name, path in asked.items():
        test = texts(name, path, "test")
        (remains,) = overlaps(corpus, {name: test}, Path(data.cache)).values()
        if remains.grams:
            raise UserError(
                f"the training text still holds test text of task {name}: {remains}; give a tokenizer that "
                "keeps words apart, or another data.without_test_of"
            )
        only = tuple(sorted(data.only.items()))
        total, left_out = _counts(data.source, data.path, data.text_column, data.name, only, name, path)
        found[name] = {"texts": total, "left_out": left_out, "remains": asdict(remains)}
        print(
            f"test text of {name}: {left_out:,} of {total:,} texts hold some and are left out; none remains",
            file=sys.stderr,
            flush=True,
        )
    return {"text_left_out": found} if found else {}


@cache
def _counts(
    source: str,
    path: str | None,
    column: str,
    name: str | None,
    only: tuple[tuple[str, str], ...],
    task: str,
    place: str | None,
) -> tuple[int, int]:
    """How many texts there are, and how many of them hold test text of a task, whose files are at `place`."""
    holds = _held(task, place)
    if (source, name) == ("task", task):
        every: Iterable[str] = texts(task, place, "train")
    else:
        from experiments.data.sources import documents as read

        every = (each.text for each in read(source, path, column, name, dict(only)))
    told = [holds(text) for text in every]
    return len(told), sum(told)


def _kept(name: str, path: str | None) -> Iterator[str]:
    holds = _held(name, path)
    return (text for text in dict.fromkeys(texts(name, path, "train")) if not holds(text))


@cache
def _held(name: str, path: str | None) -> Held:
    from experiments.data.overlap import Held

    return Held(texts(name, path, "test"))
