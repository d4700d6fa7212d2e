"""Three checks of the text before any training, in nats a token and bits a byte.

Is the validation text like the training text? Which loss must a model beat (a trigram's)? Where does every
model start (the uniform distribution)? They are measured on the windows that models are scored on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from torch import Tensor

from experiments.data.split import Split
from experiments.data.store import Corpus
from experiments.data.trigram import Trigram

# Nats a token above sampling noise. Addresses of the same eras differ by 0.04, those before 1900 from those
# after by 0.3, novels from addresses by 0.7 to 1.0.
SAME_DOMAIN = 0.2


@dataclass(frozen=True)
class Gates:
    """The three checks of one split, on `tokens` scored tokens that stand for `bytes` bytes.

    unigram_kl            KL(split ‖ train) of token frequencies, nats a token
    unigram_kl_noise      the KL of a sample of that size from train itself, nats a token
    trigram               the anchor that a trained model must beat, nats a token
    uniform               the ceiling ln V, nats a token
    exact_bytes           False: bytes are the split's average a token (see Corpus.byte_lengths)
    """

    split: Split
    windows: int
    tokens: int
    bytes: float
    exact_bytes: bool
    unigram_kl: float
    unigram_kl_noise: float
    trigram: float
    uniform: float

    @property
    def trigram_bits_per_byte(self) -> float:
        return self.bits_per_byte(self.trigram)

    @property
    def uniform_bits_per_byte(self) -> float:
        return self.bits_per_byte(self.uniform)

    def bits_per_byte(self, nats_per_token: float) -> float:
        return nats_per_token / math.log(2) * self.tokens / self.bytes

    @cached_property
    def verdicts(self) -> list[str]:
        """Returns one sentence for each check, with WARNING in those that fail."""
        allowed = SAME_DOMAIN + self.unigram_kl_noise
        domain = (
            f"{self.split} differs from train by {self.unigram_kl:.3f} nats a token (unigram KL, allowed "
        )
        domain += f"{allowed:.3f}): "
        if self.unigram_kl <= allowed:
            domain += "the same domain"
        else:
            domain += "WARNING: another domain; check how the text is split"
        anchor = f"trigram anchor {self.trigram_bits_per_byte:.3f} bits per byte: "
        if self.trigram < self.uniform:
            anchor += "a model that ends above it is undertrained"
        else:
            anchor += "WARNING: no better than guessing; the training text is too small or unlike this one"
        ceiling = f"uniform ceiling {self.uniform_bits_per_byte:.3f} bits per byte: where every model starts"
        if not self.exact_bytes:
            ceiling += " (bytes are an average a token: this tokenizer is not byte-level)"
        return [domain, anchor, ceiling]


def gates(corpus: Corpus, windows: Tensor, context: int = 0, split: Split = "validation") -> Gates:
    """Returns the checks on windows (n,W) of `split`, scoring the tokens after the first `context`.

    The trigram is counted on the whole training split. As a model does, it sees each token's left context
    inside its window.
    """
    rows = windows.numpy()
    scored = rows[:, context:]
    train, other = corpus.train.tokens, corpus.splits[split].tokens
    size = corpus.vocabulary.size
    return Gates(
        split=split,
        windows=len(rows),
        tokens=scored.size,
        bytes=float(corpus.byte_lengths(split)[scored].sum()),
        exact_bytes=corpus.exact_bytes,
        unigram_kl=unigram_kl(train, other, size),
        unigram_kl_noise=(len(np.unique(train)) - 1) / (2 * len(other)),
        trigram=float(trigram(corpus).nats(rows[:, :context], scored).mean()),
        uniform=math.log(size),
    )


def trigram(corpus: Corpus) -> Trigram:
    """Returns the trigram of the training split, counted once a process."""
    if corpus.digest not in _fitted:
        _fitted[corpus.digest] = Trigram.fit(corpus.train.tokens, corpus.vocabulary.size)
    return _fitted[corpus.digest]


_fitted: dict[str, Trigram] = {}


def unigram_kl(train: np.ndarray, validation: np.ndarray, size: int) -> float:
    """Returns KL(validation ‖ train) of the token frequencies, in nats a token.

    One half is added to train's count of each of the `size` pieces, so that a piece that only validation has
    gives a finite value. A sample of n tokens of the same source gives about (pieces - 1) / 2n.
    """
    p = np.bincount(validation, minlength=size) / len(validation)
    q = (np.bincount(train, minlength=size) + 0.5) / (len(train) + size / 2)
    seen = p > 0
    return float((p[seen] * np.log(p[seen] / q[seen])).sum())
