"""Finds tokens that occur in similar contexts, with which MacBERT's objective replaces hidden ones.

They stand for the paper's thesaurus.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from experiments.data.cache import once
from experiments.data.store import Corpus
from experiments.data.vectors import counted, vectors
from objectives.replace_similar import nearest

FORMAT = 1
WIDTH = 64  # of the vectors that are compared
COUNT = 10  # neighbours of a token
RARE = 5  # a token that occurs less often has no neighbours


def neighbours(corpus: Corpus, cache: Path) -> Tensor:
    """Returns the tokens most similar to each: (V,COUNT) int64, -1 = none. Kept in cache/neighbours/<hash>.

    Similar is the cosine of the tokens' `vectors`. Pieces that begin a word have only such neighbours, and
    other pieces only others. Special and rare tokens have none.
    """
    key = hashlib.sha256(f"{FORMAT} {corpus.digest}".encode()).hexdigest()[:32]

    def build(place: Path) -> None:
        np.save(place / "neighbours.npy", _table(corpus).numpy())

    return torch.from_numpy(np.load(once(cache / "neighbours" / key, build) / "neighbours.npy"))


def _table(corpus: Corpus) -> Tensor:
    vocabulary = corpus.vocabulary
    counts = np.bincount(counted(corpus), minlength=vocabulary.size)
    common = torch.from_numpy(counts >= RARE) & ~vocabulary.special
    table = torch.full((vocabulary.size, COUNT), -1)
    of_tokens = torch.from_numpy(vectors(corpus, WIDTH))
    for group in (common & vocabulary.word_starts, common & ~vocabulary.word_starts):
        ids = group.nonzero().squeeze(1)
        count = min(COUNT, len(ids) - 1)
        if count > 0:
            table[ids, :count] = ids[nearest(of_tokens[ids], count)]
    return table
