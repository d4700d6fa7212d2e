"""The text of a run: makes the tokenised corpus of a recipe, and counts the texts left out of it."""

from __future__ import annotations

import sys
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

from archs.errors import UserError
from experiments.data.marks import marker
from experiments.data.overlap import overlaps
from experiments.data.sources.of_recipe import source_of as source_of_data
from experiments.data.sources.source import Source
from experiments.data.store import Corpus, load_corpus
from experiments.recipe.groups.data import DataConfig
from experiments.recipe.recipe import Recipe
from experiments.tasks.text import TaskTestText, TaskTexts, texts


def source_of(data: DataConfig) -> Source:
    """Returns the source that a recipe's `data` names, a task's texts included.

    Documents with the test text of `data.without_test_of` are left out.
    """
    kept_out = None if data.without_test_of is None else TaskTestText(data.without_test_of)
    if data.source == "task":
        name = str(data.name)
        return TaskTexts(text_column=data.text_column, kept_out=kept_out, name=name, path=data.path)
    return source_of_data(data, kept_out)


def corpus_of(recipe: Recipe, tokenizer: str | None = None) -> Corpus:
    """Returns the recipe's tokenised corpus, with each token's neighbours if the objective reads them.

    tokenizer: that of the run in `init_from`; None = the recipe's own.
    """
    data = recipe.data
    corpus = load_corpus(
        source_of(data),
        tokenizer or data.tokenizer,
        recipe.size.vocabulary,
        marker(data.segmenter, data.annotator, recipe.user_path),
        cache=Path(data.cache),
    )
    if "similar" not in recipe.objective.functions:
        return corpus
    from experiments.data.neighbours import neighbours  # scipy's sparse algebra is slow to import

    table = neighbours(corpus, Path(data.cache))
    return replace(corpus, vocabulary=replace(corpus.vocabulary, neighbours=table))


def left_out(recipe: Recipe, corpus: Corpus) -> dict[str, Any]:
    """Returns, for the audit, how many texts were left out because they hold test text; {} if none can be.

    Prints the counts to stderr. Raises UserError if the training text still holds test text.
    """
    data = recipe.data
    tasks: dict[str, str | None] = {}  # and their local folders
    if data.without_test_of is not None:
        tasks[data.without_test_of] = None
    if data.source == "task":
        tasks[str(data.name)] = data.path
    counts: dict[str, Any] = {}
    for name, path in tasks.items():
        test = texts(name, path, "test")
        (remains,) = overlaps(corpus, {name: test}, Path(data.cache)).values()
        if remains.grams:
            raise UserError(
                f"the training text still holds test text of task {name}: {remains}; give a tokenizer that "
                "keeps words apart, or another data.without_test_of"
            )
        total, dropped = _count_texts(replace(source_of(data), kept_out=None), TaskTestText(name, path))
        counts[name] = {"texts": total, "left_out": dropped, "remains": asdict(remains)}
        print(
            f"test text of {name}: {dropped:,} of {total:,} texts hold some and are left out; none remains",
            file=sys.stderr,
            flush=True,
        )
    return {"text_left_out": counts} if counts else {}


@cache
def _count_texts(source: Source, test: TaskTestText) -> tuple[int, int]:
    """Returns how many texts a source has, and how many of them hold test text of the task."""
    if isinstance(source, TaskTexts) and source.name == test.name:
        every = iter(texts(test.name, test.path, "train"))
    else:
        every = (document.text for document in source.documents())
    held = [test.holds(text) for text in every]
    return len(held), sum(held)
