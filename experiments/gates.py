"""The three gates of a recipe's corpus, counted once a process however many arms share it."""

from __future__ import annotations

from experiments.data.gates import Gates, gates
from experiments.data.store import Corpus
from experiments.data.trigram import Trigram
from experiments.data.windows import held_out
from experiments.recipe import Recipe


def gates_of(recipe: Recipe, corpus: Corpus) -> Gates:
    """The three gates on the validation windows, asking their second halves as `likelihood` does."""
    length = recipe.size.length
    windows = held_out(corpus.validation, recipe.evaluation.likelihood_windows, length).tokens
    return gates(corpus, windows, length // 2)


def trigram(corpus: Corpus) -> Trigram:
    """The corpus' trigram, counted once a process."""
    if corpus.digest not in _fitted:
        _fitted[corpus.digest] = Trigram.fit(corpus.train.tokens, corpus.vocabulary.size)
    return _fitted[corpus.digest]


_fitted: dict[str, Trigram] = {}
