"""The mode "frozen": a linear head on the states of a model that is not trained further."""

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
    """Answers a task of one answer a text or pair: a head for each pooling. classes: None = numbers."""
    pair = question.ask.pair
    texts = {part: encoded(question.run, each, pair) for part, each in by_part(question).items()}
    sources = ((name, reading(question, run, texts)) for name, run in models(question))
    cut = {part: each.cut for part, each in texts.items()}
    return answer(question, probing.of_texts(question, classes), sources, cut)


def of_words(question: Question, labels: Sequence[str]) -> Answer:
    """Answers a task of one answer a word: a head on the row at which each word is read."""
    last_only = question.ask.layers == "last"
    texts = {
        part: encoded_words(question.run, [example["tokens"] for example in each])
        for part, each in by_part(question).items()
    }

    def reading(run: Run) -> Read:
        def read(part: str, items: Items) -> list[View]:
            names, states_of_words = word_states(run, texts[part], items, last_only)
            return views(question.ask.layers, names, states_of_words, "words")

        return read

    sources = ((name, reading(run)) for name, run in models(question))
    cut = {part: each.cut for part, each in texts.items()}
    return answer(question, probing.of_words(question, texts, labels), sources, cut)


def models(question: Question) -> Iterator[tuple[str, Run]]:
    """Yields the run as it is, and the same shape untrained."""
    yield "pretrained", question.run
    if question.ask.finetune.scratch:
        yield "scratch", replace(question.run, family=fresh(question.run))


def reading(question: Question, run: Run, texts: Mapping[str, Encoded]) -> Read:
    ask = question.ask

    def read(part: str, items: Items) -> list[View]:
        poolings = ask.finetune.poolings
        names, by_pooling = states(run, texts[part], items, poolings, last=ask.layers == "last")
        parts = texts[part].parts
        return [view for name in poolings for view in views(ask.layers, names, by_pooling[name], name, parts)]

    return read


def views(
    layers: Literal["last", "each", "mix"],
    names: Sequence[str],
    layer_states: Tensor,
    pooling: str,
    parts: int = 1,
) -> list[View]:
    """Views of states (n x parts,L,D): the only layer, each layer alone, or all layers to be mixed."""

    def view(number: int, name: str) -> View:
        return View({"pooling": pooling, "layer": name}, lambda: compared(layer_states[:, number], parts))

    if layers == "last":
        return [view(0, "last layer")]
    if layers == "each":
        return [view(number, name) for number, name in enumerate(names)]
    return [
        View({"pooling": pooling, "layer": "mix of layers"}, lambda: compared(layer_states, parts), names)
    ]
