"""The mode "static": the linear heads of mode "frozen" on one vector for each token, without its context.

The gain of frozen states over these vectors is the worth of context.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from experiments.evaluation.encoding import encoded
from experiments.evaluation.frozen import probing
from experiments.evaluation.frozen.probing import Items, Read, View, answer, by_part
from experiments.evaluation.question import Answer, Question
from experiments.evaluation.words import UNREAD, encoded_words
from experiments.runs.run import Run
from objectives.base import Vocabulary
from objectives.pooled import compared


def of_pooled(question: Question, classes: int | None) -> Answer:
    """Answers a task of one answer a text or pair: a head on the mean over its tokens but special ones."""
    run, pair = question.run, question.ask.pair
    texts = {part: encoded(run, each, pair) for part, each in by_part(question).items()}

    def reading(table: Tensor) -> Read:
        def read(part: str, items: Items) -> list[View]:
            parts = texts[part].parts
            rows = [texts[part].rows[item * parts + each] for item in items for each in range(parts)]
            vectors = means(rows, table, run.corpus.vocabulary)
            return [View({"pooling": "mean"}, lambda: compared(vectors, parts))]

        return read

    sources = ((name, reading(table)) for name, table in tables(run))
    cut = {part: each.cut for part, each in texts.items()}
    return answer(question, probing.of_texts(question, classes), sources, cut)


def of_words(question: Question, labels: Sequence[str]) -> Answer:
    """Answers a task of one answer a word: a head on the mean over the word's pieces."""
    run = question.run
    sentences = {part: [example["tokens"] for example in each] for part, each in by_part(question).items()}
    texts = {part: encoded_words(run, each) for part, each in sentences.items()}

    def reading(table: Tensor) -> Read:
        def read(part: str, items: Items) -> list[View]:
            words = [
                f" {word}"
                for item in items
                for word, row in zip(sentences[part][item], texts[part].rows[item], strict=True)
                if row != UNREAD
            ]
            vectors = means(run.corpus.tokenizer.encode_batch(words), table, run.corpus.vocabulary)
            return [View({"pooling": "words"}, lambda: vectors)]

        return read

    sources = ((name, reading(table)) for name, table in tables(run))
    cut = {part: each.cut for part, each in texts.items()}
    return answer(question, probing.of_words(question, texts, labels), sources, cut)


def tables(run: Run) -> Iterator[tuple[str, Tensor]]:
    """Yields tables (V,D) float32 of one vector a token: input embeddings, corpus vectors, random vectors.

    Input embeddings have their own width, before anything is added to them; the other tables have the model's
    width. Random vectors are drawn from a normal distribution and know nothing of their tokens.
    """
    from experiments.data.vectors import word_vectors  # scipy's sparse algebra is slow to import

    config, seed = run.family.config, run.recipe.seed
    yield (
        "input embeddings",
        run.family.embedding.weight.detach().float().cpu(),
    )  # the run's own table comes first
    vectors = word_vectors(run.corpus, config.width, Path(run.recipe.data.cache))
    yield "corpus vectors", torch.from_numpy(vectors)
    rng = torch.Generator().manual_seed(seed)
    yield "random vectors", torch.randn(config.vocabulary, config.width, generator=rng)


def means(rows: Sequence[Sequence[int]], table: Tensor, vocabulary: Vocabulary) -> Tensor:
    """The mean vector (n,D) of each row's tokens but special ones; 0 for a row without others."""
    special = vocabulary.special.tolist()
    plain = [[token for token in row if not special[token]] for row in rows]
    starts = torch.tensor([0, *(len(row) for row in plain[:-1])]).cumsum(0)
    tokens = torch.tensor([token for row in plain for token in row], dtype=torch.long)
    return functional.embedding_bag(tokens, table, starts, mode="mean")
