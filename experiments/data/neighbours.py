"""Which tokens keep the same company in a text: for MacBERT's replacements, without a thesaurus."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import cast

import numpy as np
import torch
from scipy import sparse
from scipy.sparse.linalg import svds
from torch import Tensor

from experiments.data.cache import once
from experiments.data.store import Corpus
from objectives.replace_similar import nearest

FORMAT = 1
NEAR = 2  # tokens to each side that count as company
WIDTH = 64  # of the vectors
COUNT = 10  # neighbours of a token
RARE = 5  # times: a token read less often has no neighbours
TOKENS = 8_000_000  # of the training text that are counted at most
AT_ONCE = 1_000_000


def neighbours(corpus: Corpus, cache: Path) -> Tensor:
    """(V,COUNT) int64, -1 = none: tokens similar to each, from cache/neighbours/<hash> if it is there.

    Vectors from a truncated singular value decomposition of positive pointwise mutual information in the
    training split (Levy and Goldberg 2014); the nearest by cosine, pieces that begin a word among themselves
    and the others among themselves. Special and rare tokens have none.
    """
    key = hashlib.sha256(f"{FORMAT} {corpus.digest}".encode()).hexdigest()[:32]

    def build(place: Path) -> None:
        np.save(place / "neighbours.npy", _table(corpus).numpy())

    return torch.from_numpy(np.load(once(cache / "neighbours" / key, build) / "neighbours.npy"))


def _table(corpus: Corpus) -> Tensor:
    vocabulary, text = corpus.vocabulary, np.asarray(corpus.train.tokens[:TOKENS]).astype(np.int64)
    counts = np.bincount(text, minlength=vocabulary.size)
    known = torch.from_numpy(counts >= RARE) & ~vocabulary.special
    table = torch.full((vocabulary.size, COUNT), -1)
    vectors = torch.from_numpy(_vectors(_company(text, vocabulary.special.numpy(), vocabulary.size)))
    for group in (known & vocabulary.word_starts, known & ~vocabulary.word_starts):
        ids = group.nonzero().squeeze(1)
        count = min(COUNT, len(ids) - 1)
        if count > 0:
            table[ids, :count] = ids[nearest(vectors[ids], count)]
    return table


def _company(text: np.ndarray, special: np.ndarray, size: int) -> sparse.csr_matrix:
    """How often two tokens stand at most NEAR places apart, specials left out: (V,V), symmetric."""
    total = sparse.csr_matrix((size, size), dtype=np.float64)
    for start in range(0, len(text), AT_ONCE):
        here = text[start : start + AT_ONCE + NEAR]
        for away in range(1, NEAR + 1):
            left, right = here[:-away], here[away:]
            plain = ~(special[left] | special[right])
            pairs = (np.ones(int(plain.sum())), (left[plain], right[plain]))
            total = total + sparse.coo_matrix(pairs, shape=(size, size)).tocsr()
    return total + total.T


def _vectors(company: sparse.csr_matrix) -> np.ndarray:
    """(V,WIDTH) float64."""
    found, size = company.tocoo(), company.get_shape()[0]
    each = np.asarray(company.sum(1)).ravel()
    information = np.log(found.data * each.sum() / (each[found.row] * each[found.col]))
    positive = sparse.csr_matrix((information.clip(min=0), (found.row, found.col)), shape=(size, size))
    parts = svds(positive, k=min(WIDTH, size - 1), v0=np.ones(size))  # v0: the same every time
    left, singular, _ = cast(tuple[np.ndarray, np.ndarray, np.ndarray], parts)
    return left * np.sqrt(singular)
