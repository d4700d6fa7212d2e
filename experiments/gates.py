"""The three gates of a recipe's corpus, counted once a process however many arms share it."""

from __future__ import annotations

import sys
from typing import Any

from experiments.data.gates import gates
from experiments.data.store import Corpus
from experiments.data.trigram import Trigram
from experiments.data.windows import held_out
from experiments.recipe import Recipe


def gates_of(recipe: Recipe, corpus: Corpus) -> dict[str, Any]:
    """The three gates on the validation windows, asking their second halves as `likelihood` does.

    Printed the first time that a process meets the corpus.
    """
    length = recipe.size.length
    windows = held_out(corpus.validation, recipe.evaluation.likelihood_windows, length).tokens
    found = gates(corpus, windows, length // 2)
    if corpus.digest not in _told:
        _told.add(corpus.digest)
        for verdict in found.verdicts:
            print(f"gate: {verdict}", file=sys.stderr, flush=True)
    return {
        "unigram_kl_nats": found.unigram_kl,
        "trigram_bits_per_byte": found.trigram_bits_per_byte,
        "uniform_bits_per_byte": found.uniform_bits_per_byte,
        "verdicts": found.verdicts,
    }


def trigram(corpus: Corpus) -> Trigram:
    """The corpus' trigram, counted once a process."""
    if corpus.digest not in _fitted:
        _fitted[corpus.digest] = Trigram.fit(corpus.train.tokens, corpus.vocabulary.size)
    return _fitted[corpus.digest]


_fitted: dict[str, Trigram] = {}
_told: set[str] = set()
