"""Replacements for hidden tokens, one for each (`objectives/sentinels.py`: one for each span).

Each function is `(tokens (B,W) int64, hide (B,W) bool, vocabulary, rng) -> (B,W) int64`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from archs.errors import UserError
from objectives.base import Vocabulary
from objectives.functions import bind, named, row_seeds

Replace = Callable[[Tensor, Tensor, Vocabulary, torch.Generator], Tensor]


def bert(
    tokens: Tensor,
    hide: Tensor,
    vocabulary: Vocabulary,
    rng: torch.Generator,
    *,
    masked: float = 0.8,
    random: float = 0.1,
) -> Tensor:
    """80% [MASK], 10% a random token, 10% left as they are. Devlin et al. 2019.

    masked, random: the shares; the rest keeps its tokens. Raises UserError unless both are at least 0 and sum
    to at most 1.

    >>> text = torch.tensor([[40, 41, 42]])
    >>> outcomes(lambda rng: bert(text, text > 40, VOCABULARY, rng, masked=0.5, random=0.0))
    40  3  3
    40  3 42
    40 41  3
    40 41 42
    """
    if not (masked >= 0 and random >= 0 and masked + random <= 1 + 1e-9):
        raise UserError(
            f"replace 'bert': masked={masked} and random={random} are not shares, at least 0 and together at "
            "most 1; BERT has 0.8 and 0.1, and keeps the rest"
        )
    luck = torch.rand(tokens.shape, generator=rng)
    changed = torch.where(luck < masked, _mask(vocabulary), _ordinary(tokens.shape, vocabulary, rng))
    return torch.where(hide & (luck < masked + random), changed, tokens)


def mask_only(tokens: Tensor, hide: Tensor, vocabulary: Vocabulary, rng: torch.Generator) -> Tensor:
    """Always [MASK], as for ELECTRA's generator (Clark et al. 2020).

    >>> text = torch.tensor([[40, 41, 42]])
    >>> show(mask_only(text, text > 40, VOCABULARY, seeded()))
    40  3  3
    """
    return torch.where(hide, _mask(vocabulary), tokens)


def random_token(tokens: Tensor, hide: Tensor, vocabulary: Vocabulary, rng: torch.Generator) -> Tensor:
    """Always a random token, never a special one.

    >>> text = torch.tensor([[40, 41, 42]])
    >>> show(random_token(text, text > 40, VOCABULARY, seeded(0)))
    40 83 89
    """
    return torch.where(hide, _ordinary(tokens.shape, vocabulary, rng), tokens)


def keep(tokens: Tensor, hide: Tensor, vocabulary: Vocabulary, rng: torch.Generator) -> Tensor:
    """Nothing is replaced.

    The control for replacement: the targets are in the input, so an encoder-AE learns little but to copy
    them. For objectives with other questions (order, replaced tokens), and for ablations.

    >>> text = torch.tensor([[40, 41, 42]])
    >>> show(keep(text, text > 40, VOCABULARY, seeded()))
    40 41 42
    """
    return tokens


def static(
    tokens: Tensor,
    hide: Tensor,
    vocabulary: Vocabulary,
    rng: torch.Generator,
    *,
    of: str | Callable[..., Tensor] = "bert",
    copies: int = 1,
    **options: Any,
) -> Tensor:
    """The same replacements whenever the same row is seen again with the same tokens hidden.

    Together with select's `static`, the text is masked as if beforehand (BERT, and RoBERTa's static masking;
    Liu et al. 2019). of, copies, options: as in select's `static`.

    >>> text = torch.tensor([[40, 41, 43]])
    >>> outcomes(lambda rng: static(text, text > 40, VOCABULARY, rng, of="random_token"))
    40 43 54
    """
    replace = bind(of, (bert, mask_only, random_token, keep), {}, options, "replace")
    rows = zip(tokens, hide, row_seeds((tokens, hide), copies, rng, "replace"), strict=True)
    drawn = [
        replaced(replace, row[None], hidden[None], vocabulary, torch.Generator().manual_seed(seed))
        for row, hidden, seed in rows
    ]
    return torch.cat(drawn)


def replaced(
    replace: Replace, tokens: Tensor, hide: Tensor, vocabulary: Vocabulary, rng: torch.Generator
) -> Tensor:
    """The result of `replace`.

    Raises UserError unless it is (B,W) int64, ids of the vocabulary, and equal at cells that are not hidden.
    """
    # A copy: a function that writes into its argument must not change the targets.
    seen = replace(tokens.clone(), hide, vocabulary, rng)
    who = f"replace '{named(replace)}'"
    if not isinstance(seen, Tensor):
        raise UserError(f"{who} returned {type(seen).__name__}, no tensor; return (B,W) int64, token ids")
    if seen.dtype != torch.long or seen.shape != tokens.shape:
        raise UserError(
            f"{who} returned {tuple(seen.shape)} {str(seen.dtype).removeprefix('torch.')}; return "
            f"{tuple(tokens.shape)} int64, token ids, as many as it was given"
        )
    if bool(((seen != tokens) & ~hide).any()):
        raise UserError(f"{who} changed tokens that are not hidden; return torch.where(hide, …, tokens)")
    if seen.numel() and not 0 <= int(seen.min()) <= int(seen.max()) < vocabulary.size:
        raise UserError(
            f"{who} wrote ids from {int(seen.min())} to {int(seen.max())}; the vocabulary's are 0 to "
            f"{vocabulary.size - 1}"
        )
    return seen


def _mask(vocabulary: Vocabulary) -> int:
    assert vocabulary.mask is not None, "an objective that masks names 'mask' in its needs"
    return vocabulary.mask


def _ordinary(shape: torch.Size, vocabulary: Vocabulary, rng: torch.Generator) -> Tensor:
    return vocabulary.ordinary[torch.randint(len(vocabulary.ordinary), shape, generator=rng)]
