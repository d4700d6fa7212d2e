"""A vector for each token, from the company that it keeps in a text."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import cast

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import svds

from experiments.data.cache import once
from experiments.data.store import Corpus

FORMAT = 1
NEAR = 2  # tokens to each side that count as company
TOKENS = 8_000_000  # of the training text that are counted at most
AT_ONCE = 1_000_000


def word_vectors(corpus: Corpus, width: int, cache: Path) -> np.ndarray:
    """`vectors` as float32, from cache/vectors/<hash> if they are there."""
    key = hashlib.sha256(f"{FORMAT} {width} {corpus.digest}".encode()).hexdigest()[:32]

    def build(place: Path) -> None:
        np.save(place / "vectors.npy", vectors(corpus, width).astype(np.float32))

    return np.load(once(cache / "vectors" / key, build) / "vectors.npy")


def vectors(corpus: Corpus, width: int) -> np.ndarray:
    """(V, width) float64, or V - 1 wide where that is less; a token that was never read is 0.

    From a truncated singular value decomposition of positive pointwise mutual information in the training
    split (Levy and Goldberg 2014).
    """
    company = _company(counted(corpus), corpus.vocabulary.special.numpy(), corpus.vocabulary.size)
    found, size = company.tocoo(), company.get_shape()[0]
    each = np.asarray(company.sum(1)).ravel()
    information = np.log(found.data * each.sum() / (each[found.row] * each[found.col]))
    positive = sparse.csr_matrix((information.clip(min=0), (found.row, found.col)), shape=(size, size))
    parts = svds(positive, k=min(width, size - 1), v0=np.ones(size))  # v0: the same every time
    left, singular, _ = cast(tuple[np.ndarray, np.ndarray, np.ndarray], parts)
    return left * np.sqrt(singular)


def counted(corpus: Corpus) -> np.ndarray:
    """The tokens of the training text that are counted (N) int64."""
    return np.asarray(corpus.train.tokens[:TOKENS]).astype(np.int64)


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
