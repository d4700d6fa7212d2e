"""Which tokens keep the same company in a text: for MacBERT's replacements, without a thesaurus."""

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
WIDTH = 64  # of the vectors
COUNT = 10  # neighbours of a token
RARE = 5  # times: a token read less often has no neighbours


def neighbours(corpus: Corpus, cache: Path) -> Tensor:
    """(V,COUNT) int64, -1 = none: tokens similar to each, from cache/neighbours/<hash> if it is there.

    The nearest by cosine of their `vectors`, pieces that begin a word among themselves and the others among
    themselves. Special and rare tokens have none.
    """
    key = hashlib.sha256(f"{FORMAT} {corpus.digest}".encode()).hexdigest()[:32]

    def build(place: Path) -> None:
        np.save(place / "neighbours.npy", _table(corpus).numpy())

    return torch.from_numpy(np.load(once(cache / "neighbours" / key, build) / "neighbours.npy"))


def _table(corpus: Corpus) -> Tensor:
    vocabulary = corpus.vocabulary
    counts = np.bincount(counted(corpus), minlength=vocabulary.size)
    known = torch.from_numpy(counts >= RARE) & ~vocabulary.special
    table = torch.full((vocabulary.size, COUNT), -1)
    found = torch.from_numpy(vectors(corpus, WIDTH))
    for group in (known & vocabulary.word_starts, known & ~vocabulary.word_starts):
        ids = group.nonzero().squeeze(1)
        count = min(COUNT, len(ids) - 1)
        if count > 0:
            table[ids, :count] = ids[nearest(found[ids], count)]
    return table
