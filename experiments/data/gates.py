"""Three gates before any training: is validation like training, what must be beaten, what is the ceiling.

Nats a token and bits a byte of text, on the same windows that models are scored on.
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
    """What text alone says, before any model. `tokens` asked tokens standing for `bytes` bytes.

    unigram_kl            KL(validation ‖ train) of token frequencies, nats a token
    unigram_kl_noise      what a sample of that size would show at most if nothing differed, nats a token
    trigram, uniform      nats a token: the anchor a trained model must beat, and the ceiling ln V
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
        """One sentence a gate."""
        allowed = SAME_DOMAIN + self.unigram_kl_noise
        found = f"{self.split} differs from train by {self.unigram_kl:.3f} nats a token (unigram KL, allowed "
        found += f"{allowed:.3f}): "
        alike = (
            "the same domain" if self._same_domain else "WARNING: another domain; check how the text is split"
        )
        anchor = f"trigram anchor {self.trigram_bits_per_byte:.3f} bits per byte: "
        told = "a model that ends above it is undertrained"
        if self.trigram >= self.uniform:
            told = "WARNING: no better than guessing; the training text is too small or unlike this one"
        kind = "" if self.exact_bytes else " (bytes are an average a token: this tokenizer is not byte-level)"
        ceiling = f"uniform ceiling {self.uniform_bits_per_byte:.3f} bits per byte: where every model starts"
        return [found + alike, anchor + told, ceiling + kind]

    @property
    def _same_domain(self) -> bool:
        return self.unigram_kl <= SAME_DOMAIN + self.unigram_kl_noise


def gates(corpus: Corpus, windows: Tensor, context: int = 0, split: Split = "validation") -> Gates:
    """The gates of `corpus` on windows (n,W) of `split`, asking the tokens after the first `context`.

    The trigram is counted on the whole training split and sees each token's true left context inside its
    window, as models do.
    """
    rows = windows.numpy()
    asked = rows[:, context:]
    train, other = corpus.train.tokens, corpus.splits[split].tokens
    size = corpus.vocabulary.size
    return Gates(
        split=split,
        windows=len(rows),
        tokens=asked.size,
        bytes=float(corpus.byte_lengths(split)[asked].sum()),
        exact_bytes=corpus.exact_bytes,
        unigram_kl=unigram_kl(train, other, size),
        unigram_kl_noise=(len(np.unique(train)) - 1) / (2 * len(other)),
        trigram=float(trigram(corpus).nats(rows[:, :context], asked).mean()),
        uniform=math.log(size),
    )


def trigram(corpus: Corpus) -> Trigram:
    """The trigram of the training split, counted once a process."""
    if corpus.digest not in _fitted:
        _fitted[corpus.digest] = Trigram.fit(corpus.train.tokens, corpus.vocabulary.size)
    return _fitted[corpus.digest]


_fitted: dict[str, Trigram] = {}


def unigram_kl(train: np.ndarray, validation: np.ndarray, size: int) -> float:
    """KL(validation ‖ train) of the token frequencies, in nats a token.

    Train's counts get one half added for each of the `size` pieces, so that what validation alone holds
    stays finite; validation's are as counted. A sample of n tokens of the same source shows about
    (pieces - 1) / 2n.
    """
    p = np.bincount(validation, minlength=size) / len(validation)
    q = (np.bincount(train, minlength=size) + 0.5) / (len(train) + size / 2)
    seen = p > 0
    return float((p[seen] * np.log(p[seen] / q[seen])).sum())
