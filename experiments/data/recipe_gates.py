"""The three checks of a recipe's corpus, counted once a process however many arms share it."""

from __future__ import annotations

import sys
from typing import Any

from experiments.data.gates import gates
from experiments.data.store import Corpus
from experiments.data.windows import held_out
from experiments.recipe.recipe import Recipe


def gates_of(recipe: Recipe, corpus: Corpus) -> dict[str, Any]:
    """Returns the checks on the second halves of the validation windows, which `likelihood` scores too.

    Prints them to stderr when they are first counted.
    """
    length, number = recipe.size.length, recipe.evaluation.likelihood_windows
    key = corpus.digest, length, number
    if key not in _counted:
        _counted[key] = _count(corpus, length, number)
        for verdict in _counted[key]["verdicts"]:
            print(f"gate: {verdict}", file=sys.stderr, flush=True)
    return _counted[key]


def _count(corpus: Corpus, length: int, number: int) -> dict[str, Any]:
    counted = gates(corpus, held_out(corpus.validation, number, length).tokens, length // 2)
    return {
        "unigram_kl_nats": counted.unigram_kl,
        "trigram_bits_per_byte": counted.trigram_bits_per_byte,
        "uniform_bits_per_byte": counted.uniform_bits_per_byte,
        "verdicts": counted.verdicts,
    }


_counted: dict[tuple[str, int, int], dict[str, Any]] = {}
