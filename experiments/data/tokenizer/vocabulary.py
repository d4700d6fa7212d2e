"""Makes the vocabulary that objectives read: special tokens by role, and the traits of the pieces."""

from __future__ import annotations

import torch

from archs.errors import UserError
from experiments.data.tokenizer.special import SENTINEL
from experiments.data.tokenizer.tokenizer import Tokenizer
from objectives.base import Vocabulary


def vocabulary(tokenizer: Tokenizer) -> Vocabulary:
    """Returns the vocabulary of a tokenizer. Raises UserError if it has neither bos, eos, cls nor sep.

    If bos is missing it is cls, and if eos is missing it is sep, between which BERT's texts stand. If one of
    the two is still missing it is the other (GPT-2). A missing pad is eos, which does no harm: padded
    positions are neither seen nor predicted.
    """
    roles = tokenizer.roles
    bos, eos = _first(roles["bos"], roles["cls"]), _first(roles["eos"], roles["sep"])
    bos, eos = _first(bos, eos), _first(eos, bos)
    if bos is None or eos is None:
        raise UserError(
            "this tokenizer has no token for a text's beginning or end (bos, eos, cls, sep); add one, or let "
            "pentarch train one (data.tokenizer=null)"
        )
    spelled = [(SENTINEL.fullmatch(piece or ""), token) for token, piece in enumerate(tokenizer.pieces)]
    sentinels = sorted((int(match[1]), token) for match, token in spelled if match)
    return Vocabulary(
        size=tokenizer.size,
        word_starts=torch.from_numpy(tokenizer.word_starts),
        special=torch.from_numpy(tokenizer.special),
        pad=eos if roles["pad"] is None else roles["pad"],
        bos=bos,
        eos=eos,
        mask=roles["mask"],
        cls=roles["cls"],
        sep=roles["sep"],
        sentinels=tuple(token for _, token in sentinels),
        sentence_ends=torch.from_numpy(tokenizer.sentence_ends),
        kinds=torch.from_numpy(tokenizer.kinds),
    )


def _first(one: int | None, other: int | None) -> int | None:
    return other if one is None else one
