"""The trigram anchor: interpolated modified Kneser-Ney (Chen & Goodman 1998) on tokens.

Axes: V pieces of the vocabulary, B rows, L context tokens, R asked tokens, n counted grams.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

NOWHERE = -1  # the token before a text's beginning: in no counted gram, so the shorter context decides


@dataclass(frozen=True, eq=False)
class _Level:
    """p(w | h) = max(count(hw) - D, 0) / total(h) + backoff(h) p(w | shorter h), over sorted codes."""

    grams: np.ndarray  # (n) int64: h * V + w
    direct: np.ndarray  # (n) float64: the first summand
    contexts: np.ndarray  # int64: h
    backoff: np.ndarray  # float64: the mass that discounting freed; 1 for an unseen h

    @classmethod
    def of(cls, grams: np.ndarray, counts: np.ndarray, size: int) -> _Level:
        contexts, place = np.unique(grams // size, return_inverse=True)
        totals = np.bincount(place, counts)
        freed = _discounts(counts)[np.minimum(counts, 3)]
        return cls(grams, (counts - freed) / totals[place], contexts, np.bincount(place, freed) / totals)

    def mix(self, context: np.ndarray, word: np.ndarray, size: int, shorter: np.ndarray) -> np.ndarray:
        direct = _find(self.grams, self.direct, context * size + word, 0.0)
        return direct + _find(self.contexts, self.backoff, context, 1.0) * shorter


@dataclass(frozen=True, eq=False)
class Trigram:
    """Counts of one text. The lower orders count distinct left neighbours, as Kneser-Ney asks, and the
    lowest is mixed with the uniform distribution, so every piece has some probability and each context's
    probabilities sum to one. Documents are read as one stream with eos between them."""

    size: int
    unigrams: np.ndarray  # (V) float64
    bigrams: _Level
    trigrams: _Level

    @classmethod
    def fit(cls, tokens: np.ndarray, size: int) -> Trigram:
        """tokens (N) int of `size` = V pieces; V below two million, so that three fit 64 bits."""
        ids = np.asarray(tokens, dtype=np.int64)
        triples, counts = np.unique((ids[:-2] * size + ids[1:-1]) * size + ids[2:], return_counts=True)
        pairs, left = np.unique(triples % (size * size), return_counts=True)
        lonely = np.bincount(pairs % size, minlength=size)  # distinct left neighbours of each piece
        freed = np.where(lonely > 0, _discounts(lonely[lonely > 0])[np.minimum(lonely, 3)], 0.0)
        unigrams = (lonely - freed + freed.sum() / size) / lonely.sum()
        return cls(size, unigrams, _Level.of(pairs, left, size), _Level.of(triples, counts, size))

    def nats(self, context: np.ndarray, continuation: np.ndarray) -> np.ndarray:
        """-ln p of each token of `continuation` (B,R) given all that stands before it: (B,R) nats.

        context (B,L); L may be 0: a token with fewer than two before it gets the shorter model.
        """
        asked = continuation.shape[1]
        start = np.full((len(context), 2), NOWHERE, dtype=np.int64)
        row = np.concatenate([start, context, continuation], axis=1)[:, -(asked + 2) :]
        first, second, word = row[:, :-2], row[:, 1:-1], row[:, 2:]
        pair = np.where((first < 0) | (second < 0), NOWHERE, first * self.size + second)
        probability = self.bigrams.mix(second, word, self.size, self.unigrams[word])
        return -np.log(self.trigrams.mix(pair, word, self.size, probability))


def _discounts(counts: np.ndarray) -> np.ndarray:
    """(4) float64: what is taken from a count of 0, 1, 2, and 3 or more (equation 26 of the paper).

    Kept between 0.1 and the count itself: on a handful of grams the estimate can leave that range, and
    nothing freed would be a probability of zero for the unseen.
    """
    ones, twos, threes, fours = (max(int((counts == value).sum()), 1) for value in (1, 2, 3, 4))
    ratio = ones / (ones + 2 * twos)
    raw = [0.0, 1 - 2 * ratio * twos / ones, 2 - 3 * ratio * threes / twos, 3 - 4 * ratio * fours / threes]
    return np.clip(raw, [0.0, 0.1, 0.1, 0.1], [0.0, 1.0, 2.0, 3.0])


def _find(keys: np.ndarray, values: np.ndarray, wanted: np.ndarray, otherwise: float) -> np.ndarray:
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[place] == wanted, values[place], otherwise)
