"""The trigram model that trained models must beat: interpolated modified Kneser-Ney on tokens.

Chen & Goodman 1998. Axes: V pieces of the vocabulary, B rows, L context tokens, R scored tokens, n grams.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

NOWHERE = -1  # stands before a text's first token; it is in no counted gram, so the shorter context decides


@dataclass(frozen=True, eq=False)
class _Level:
    """p(w | h) = max(count(hw) - D, 0) / total(h) + backoff(h) p(w | shorter h), over sorted codes."""

    grams: np.ndarray  # (n) int64: h * V + w
    direct: np.ndarray  # (n) float64: the first summand
    contexts: np.ndarray  # int64: h
    backoff: np.ndarray  # float64: the probability mass that discounting freed; 1 for an unseen h

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
    """A trigram model of one text.

    The lower orders count distinct left neighbours, as in Kneser-Ney. The lowest is mixed with the uniform
    distribution, so every piece has some probability; the probabilities of each context sum to one. Documents
    are read as one stream with eos between them.
    """

    size: int
    unigrams: np.ndarray  # (V) float64
    bigrams: _Level
    trigrams: _Level

    @classmethod
    def fit(cls, tokens: np.ndarray, size: int) -> Trigram:
        """Counts tokens (N) of `size` = V pieces; V < 2^21, so that three ids fit into 64 bits."""
        ids = np.asarray(tokens, dtype=np.int64)
        triples, counts = np.unique((ids[:-2] * size + ids[1:-1]) * size + ids[2:], return_counts=True)
        pairs, left = np.unique(triples % (size * size), return_counts=True)
        lefts = np.bincount(pairs % size, minlength=size)  # distinct left neighbours of each piece
        freed = np.where(lefts > 0, _discounts(lefts[lefts > 0])[np.minimum(lefts, 3)], 0.0)
        unigrams = (lefts - freed + freed.sum() / size) / lefts.sum()
        return cls(size, unigrams, _Level.of(pairs, left, size), _Level.of(triples, counts, size))

    def nats(self, context: np.ndarray, continuation: np.ndarray) -> np.ndarray:
        """Returns -ln p of each token of `continuation` (B,R), given the tokens before it: (B,R) nats.

        context (B,L); L may be 0. A token with fewer than two before it is scored by a lower order.
        """
        scored = continuation.shape[1]
        start = np.full((len(context), 2), NOWHERE, dtype=np.int64)
        row = np.concatenate([start, context, continuation], axis=1)[:, -(scored + 2) :]
        first, second, word = row[:, :-2], row[:, 1:-1], row[:, 2:]
        pair = np.where((first < 0) | (second < 0), NOWHERE, first * self.size + second)
        probability = self.bigrams.mix(second, word, self.size, self.unigrams[word])
        return -np.log(self.trigrams.mix(pair, word, self.size, probability))


def _discounts(counts: np.ndarray) -> np.ndarray:
    """Returns the discounts of a count of 0, 1, 2, and 3 or more: (4) float64 (equation 26 of the paper).

    Each is kept between 0.1 and the count. On a handful of grams the estimate can leave that range, and
    without any discount an unseen gram would have probability zero.
    """
    ones, twos, threes, fours = (max(int((counts == value).sum()), 1) for value in (1, 2, 3, 4))
    ratio = ones / (ones + 2 * twos)
    raw = [0.0, 1 - 2 * ratio * twos / ones, 2 - 3 * ratio * threes / twos, 3 - 4 * ratio * fours / threes]
    return np.clip(raw, [0.0, 0.1, 0.1, 0.1], [0.0, 1.0, 2.0, 3.0])


def _find(keys: np.ndarray, values: np.ndarray, wanted: np.ndarray, otherwise: float) -> np.ndarray:
    """Returns the values of the `wanted` keys, `otherwise` for those not among `keys`, which are sorted."""
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[place] == wanted, values[place], otherwise)
