"""Similar tokens in place of hidden ones (Cui et al. 2020, MacBERT), from a table of neighbours."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from archs.errors import UserError
from objectives.base import Vocabulary
from objectives.replace import random_token

BLOCK = 1024  # rows of embeddings that are compared with all others at once


def similar(
    tokens: Tensor,
    hide: Tensor,
    vocabulary: Vocabulary,
    rng: torch.Generator,
    *,
    neighbours: Tensor | None = None,
    share: float = 0.8,
    random: float = 0.1,
) -> Tensor:
    """80% a similar token, 10% a random one, 10% left as they are. Cui et al. 2020.

    neighbours (V,K) int64: tokens similar to each token, -1 = no more; if not given, the vocabulary's own,
    from co-occurrences in the training text. One neighbour is taken at random, never a special token. A token
    without neighbours is replaced by a random one, as in MacBERT. MacBERT's neighbours are words and these
    are pieces, so a word of several pieces may become one that does not exist. share, random: the shares; the
    rest keeps its tokens. Raises UserError for impossible shares, for a vocabulary without a table, and for a
    table of another size.

    >>> neighbours = torch.full((100, 2), -1)
    >>> neighbours[40] = torch.tensor([50, 52])
    >>> text = torch.tensor([[40, 41]])
    >>> outcomes(lambda rng: similar(text, text == 40, VOCABULARY, rng, neighbours=neighbours, random=0.0))
    40 41
    50 41
    52 41
    """
    if not (share >= 0 and random >= 0 and share + random <= 1 + 1e-9):
        raise UserError(
            f"replace 'similar': share={share} and random={random} are not shares, at least 0 and together "
            "at most 1; MacBERT has 0.8 and 0.1, and keeps the rest"
        )
    near = _table(neighbours, vocabulary)[tokens[hide]]
    hidden = tokens[hide]
    usable = (near >= 0) & ~vocabulary.special[near.clamp(min=0)]
    draws = torch.rand(len(hidden), 1 + near.shape[1], generator=rng)
    taken = draws[:, 1:].masked_fill(~usable, -1.0).argmax(1, keepdim=True)
    at_random = random_token(hidden, torch.ones_like(hidden, dtype=torch.bool), vocabulary, rng)
    alike = torch.where(usable.any(1), near.gather(1, taken).squeeze(1), at_random)
    draw = draws[:, 0]
    seen = tokens.clone()
    seen[hide] = torch.where(draw < share, alike, torch.where(draw < share + random, at_random, hidden))
    return seen


def nearest(embeddings: Tensor, count: int = 10) -> Tensor:
    """For each token, the `count` others with the highest cosine of embeddings: (V,D) -> (V,count) int64.

    Raises UserError unless count is from 1 to V - 1.

    >>> nearest(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 2.0]]), count=1).tolist()
    [[2], [2], [1]]
    """
    if embeddings.ndim != 2 or not 1 <= count < len(embeddings):
        raise UserError(
            f"nearest: embeddings are {tuple(embeddings.shape)} and count={count}; give (V,D), a row for "
            "each token, and a count from 1 to V - 1"
        )
    unit = functional.normalize(embeddings.detach().float(), dim=1)
    indices = []
    for block in torch.arange(len(unit)).split(BLOCK):
        cosine = unit[block] @ unit.T
        cosine[torch.arange(len(block)), block] = float("-inf")
        indices.append(cosine.topk(count).indices)
    return torch.cat(indices)


def _table(neighbours: Tensor | None, vocabulary: Vocabulary) -> Tensor:
    """The neighbours, or the vocabulary's own. Raises UserError for a missing or a wrong table."""
    table = vocabulary.neighbours if neighbours is None else neighbours
    if table is None:
        raise UserError(
            "replace 'similar' needs a table of similar tokens, and this vocabulary has none; train on a "
            "text, or give neighbours (V,K)"
        )
    if table.ndim != 2 or table.dtype != torch.long or not table.shape[1]:
        raise UserError(
            f"replace 'similar': neighbours are {tuple(table.shape)} {table.dtype}; give (V,K) int64, the "
            "ids similar to each token, -1 = no more"
        )
    if len(table) != vocabulary.size or int(table.max()) >= vocabulary.size:
        raise UserError(
            f"replace 'similar': a table of {len(table)} tokens with ids up to {int(table.max())} is not of "
            f"this vocabulary of {vocabulary.size}; make it from this tokenizer's embeddings"
        )
    return table
