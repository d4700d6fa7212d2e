"""The built-in task infill: write the removed middle of a sentence, given the text on both sides.

Axes: N tokens of a split, n examples, L tokens to the left, G of the gap, R to the right.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from archs.errors import UserError
from experiments.data.store import Tokens
from experiments.data.tokenizer.tokenizer import Tokenizer
from objectives.base import Vocabulary
from objectives.marks import WORD

LEFT, RIGHT = 24, 16
SHORTEST, LONGEST = 4, 10  # tokens of a gap
# "Mr." matches too: some possible gaps are lost by that, but no gap is wrong.
SENTENCE_END = re.compile(r"[.!?;:\n。！？；：؟۔।]")  # noqa: RUF001


@dataclass(frozen=True, eq=False)
class Infill:
    """n gaps and the text around them; all int64.

    left (n,L); gap (n,G), padded with `pad`; lengths (n) of the gaps in tokens; right (n,R);
    documents (n): the number of each gap's document in its split.
    """

    left: Tensor
    gap: Tensor
    lengths: Tensor
    right: Tensor
    documents: np.ndarray

    @property
    def real(self) -> Tensor:
        """(n,G) bool: which places of the gaps are not padding."""
        return torch.arange(self.gap.shape[1]) < self.lengths[:, None]

    def gaps(self) -> list[list[int]]:
        """Returns each gap's ids, without padding."""
        return [row[:length] for row, length in zip(self.gap.tolist(), self.lengths.tolist(), strict=True)]


def examples(part: Tokens, vocabulary: Vocabulary, tokenizer: Tokenizer, n: int, seed: int) -> Infill:
    """Returns at most n gaps of SHORTEST to LONGEST tokens, in the text's order; pure in (part, n, seed).

    A gap begins where a word begins but no sentence does. It holds no sentence end, and a word begins after
    it. Gap and both sides lie inside one document. Each stretch of L + G + R tokens gives at most one gap, so
    none overlap. Raises UserError if there is none.
    """
    tokens = np.asarray(part.tokens).astype(np.int64)
    starts, lengths = _candidates(part, tokens, vocabulary, tokenizer, np.random.default_rng(seed))
    if len(starts) == 0:
        raise UserError(
            f"no sentence of this text leaves {LEFT} tokens before and {RIGHT} after a gap of {SHORTEST} to "
            f"{LONGEST}; give longer documents"
        )
    order = np.random.default_rng((seed, 1)).permutation(len(starts))[:n]
    chosen = np.sort(order)
    starts, lengths = starts[chosen], lengths[chosen]
    slots = np.arange(LONGEST)
    gap = np.where(slots < lengths[:, None], tokens[starts[:, None] + slots], vocabulary.pad)
    return Infill(
        left=torch.from_numpy(tokens[starts[:, None] + np.arange(-LEFT, 0)]),
        gap=torch.from_numpy(gap),
        lengths=torch.from_numpy(lengths),
        right=torch.from_numpy(tokens[(starts + lengths)[:, None] + np.arange(RIGHT)]),
        documents=np.searchsorted(part.offsets, starts, side="right") - 1,
    )


def _candidates(
    part: Tokens,
    tokens: np.ndarray,
    vocabulary: Vocabulary,
    tokenizer: Tokenizer,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns starts and lengths (m) of one random gap in each stretch of text that has any."""
    special = vocabulary.special.numpy()
    spelled = vocabulary.word_starts.numpy()[tokens]
    word = (spelled if part.marks is None else (part.marks & WORD) > 0) & ~special[tokens]
    ends = special | np.array([bool(SENTENCE_END.search(text)) for text in tokenizer.texts])
    ended = np.concatenate([[0], ends[tokens].cumsum()])  # sentence ends before each token

    # Each place gets a random length. Of the places in a stretch where it fits, one is taken at random.
    width = LEFT + LONGEST + RIGHT
    place = np.arange(LEFT, len(tokens) - LONGEST - RIGHT)
    place = place[word[place]]
    length = rng.integers(SHORTEST, LONGEST + 1, len(place))
    document = np.searchsorted(part.offsets, place, side="right") - 1
    fits = (place - LEFT >= part.offsets[document]) & (place + length + RIGHT < part.offsets[document + 1])
    inside = ended[place + length] == ended[place - 1]  # no sentence ends in the gap or just before it
    apart = place % width + length <= width  # the gap ends in its stretch, so it overlaps no other
    good = fits & inside & apart & word[place + length]
    place, length = place[good], length[good]
    mixed = rng.permutation(len(place))
    _, first = np.unique(place[mixed] // width, return_index=True)
    return place[mixed][first], length[mixed][first]
