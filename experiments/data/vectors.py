"""Static word vectors: one for each token, from the tokens that stand near it in the training text."""

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
NEAR = 2  # so many tokens to each side count as near
TOKENS = 8_000_000  # at most so many tokens of the training text are counted
AT_ONCE = 1_000_000


def word_vectors(corpus: Corpus, width: int, cache: Path) -> np.ndarray:
    """Returns `vectors` as float32, from cache/vectors/<hash> if they are there."""
    key = hashlib.sha256(f"{FORMAT} {width} {corpus.digest}".encode()).hexdigest()[:32]

    def build(place: Path) -> None:
        np.save(place / "vectors.npy", vectors(corpus, width).astype(np.float32))

    return np.load(once(cache / "vectors" / key, build) / "vectors.npy")


def vectors(corpus: Corpus, width: int) -> np.ndarray:
    """Returns (V, width) float64, or V - 1 wide where that is less; 0 for a token that never occurs.

    They are the truncated singular value decomposition of the positive pointwise mutual information of
    neighbouring tokens in the training split (Levy and Goldberg 2014).
    """
    pairs = _near(counted(corpus), corpus.vocabulary.special.numpy(), corpus.vocabulary.size)
    cells, size = pairs.tocoo(), pairs.get_shape()[0]
    totals = np.asarray(pairs.sum(1)).ravel()
    information = np.log(cells.data * totals.sum() / (totals[cells.row] * totals[cells.col]))
    positive = sparse.csr_matrix((information.clip(min=0), (cells.row, cells.col)), shape=(size, size))
    parts = svds(positive, k=min(width, size - 1), v0=np.ones(size))  # v0: else it is drawn at random
    left, singular, _ = cast(tuple[np.ndarray, np.ndarray, np.ndarray], parts)
    return left * np.sqrt(singular)


def counted(corpus: Corpus) -> np.ndarray:
    """Returns the tokens of the training text that are counted: (N) int64."""
    return np.asarray(corpus.train.tokens[:TOKENS]).astype(np.int64)


def _near(text: np.ndarray, special: np.ndarray, size: int) -> sparse.csr_matrix:
    """Counts how often two tokens stand at most NEAR places apart, without specials: (V,V), symmetric."""
    total = sparse.csr_matrix((size, size), dtype=np.float64)
    for start in range(0, len(text), AT_ONCE):
        here = text[start : start + AT_ONCE + NEAR]
        for away in range(1, NEAR + 1):
            left, right = here[:-away], here[away:]
            plain = ~(special[left] | special[right])
            pairs = (np.ones(int(plain.sum())), (left[plain], right[plain]))
            total = total + sparse.coo_matrix(pairs, shape=(size, size)).tocsr()
    return total + total.T
