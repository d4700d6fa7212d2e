"""The mode "frozen": a linear head on the states of a model that is not trained any further."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Literal

from torch import Tensor

from experiments.evaluation.encoding import Encoded, encoded
from experiments.evaluation.finetuned.variants import fresh
from experiments.evaluation.frozen import probing
from experiments.evaluation.frozen.probing import Items, Read, View, answer, by_part
from experiments.evaluation.frozen.states import states, word_states
from experiments.evaluation.question import Answer, Question
from experiments.evaluation.words import encoded_words
from experiments.runs.run import Run
from objectives.pooled import compared


def of_pooled(question: Question, classes: int | None) -> Answer:
    """Of one answer a text or a pair: a head for each pooling; classes None: the answer is a number."""
    pair = question.ask.pair
    texts = {part: encoded(question.run, each, pair) for part, each in by_part(question).items()}
    sources = ((name, reading(question, run, texts)) for name, run in models(question))
    cut = {part: each.cut for part, each in texts.items()}
    return answer(question, probing.of_texts(question, classes), sources, cut)


def of_words(question: Question, labels: Sequence[str]) -> Answer:
    """Of one answer a word: a head on the row at which each word is read."""
    last = question.ask.layers == "last"
    texts = {
        part: encoded_words(question.run, [example["tokens"] for example in each])
        for part, each in by_part(question).items()
    }

    def reading(run: Run) -> Read:
        def read(part: str, items: Items) -> list[View]:
            names, found = word_states(run, texts[part], items, last)
            return views(question.ask.layers, names, found, "words")

        return read

    sources = ((name, reading(run)) for name, run in models(question))
    cut = {part: each.cut for part, each in texts.items()}
    return answer(question, probing.of_words(question, texts, labels), sources, cut)


def models(question: Question) -> Iterator[tuple[str, Run]]:
    """The run as it is, and the same shape untrained."""
    yield "pretrained", question.run
    if question.ask.finetune.scratch:
        yield "scratch", replace(question.run, family=fresh(question.run))


def reading(question: Question, run: Run, texts: Mapping[str, Encoded]) -> Read:
    ask = question.ask

    def read(part: str, items: Items) -> list[View]:
        poolings = ask.finetune.poolings
        names, found = states(run, texts[part], items, poolings, last=ask.layers == "last")
        parts = texts[part].parts
        return [view for name in poolings for view in views(ask.layers, names, found[name], name, parts)]

    return read


def views(
    layers: Literal["last", "each", "mix"], names: Sequence[str], found: Tensor, pooling: str, parts: int = 1
) -> list[View]:
    """Of states (n x parts,L,D): the one layer that there is, each by itself, or all to be mixed."""

    def of(number: int, name: str) -> View:
        return View({"pooling": pooling, "layer": name}, lambda: compared(found[:, number], parts))

    if layers == "last":
        return [of(0, "last layer")]
    if layers == "each":
        return [of(number, name) for number, name in enumerate(names)]
    return [View({"pooling": pooling, "layer": "mix of layers"}, lambda: compared(found, parts), names)]
