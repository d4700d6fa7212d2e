"""Decoding. Each family's own file says what one step is; here is how a token is picked and written."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from archs.batch import Batch


def pick(
    logits: Tensor, temperature: float, rng: torch.Generator | None, forbid: Tensor | None = None
) -> Tensor:
    """logits (B,V) -> tokens (B): the best, or a sample at `temperature` > 0."""
    if forbid is not None:
        logits = logits.masked_fill(forbid, float("-inf"))
    if temperature == 0:
        return logits.argmax(dim=-1)
    probabilities = (logits.float() / temperature).softmax(dim=-1)
    return torch.multinomial(probabilities, 1, generator=rng).squeeze(1)


def with_room(batch: Batch, length: int) -> Batch:
    """The batch with `length` more cells in the document of its last one: what a mask over a cache reads."""
    rows = len(batch.tokens)
    segments = batch.segments
    if segments is not None:
        segments = torch.cat((segments, segments[:, -1:].expand(rows, length)), dim=1)
    is_prefix = batch.is_prefix
    if is_prefix is not None:
        is_prefix = functional.pad(is_prefix, (0, length), value=False)
    return Batch.of(
        functional.pad(batch.tokens, (0, length)),
        segments=segments,
        is_prefix=is_prefix,
        source=batch.source,
        source_segments=batch.source_segments,
    )


def left_to_right(
    read: Callable[[Tensor], Tensor],
    prompt: Tensor,
    length: int,
    temperature: float,
    rng: torch.Generator | None,
    forbid: Tensor | None,
) -> Tensor:
    """Writes `length` tokens after prompt (B,T): `read(tokens (B,n))` gives the next one's logits (B,V)."""
    written = [pick(read(prompt), temperature, rng, forbid)]
    while len(written) < length:
        written.append(pick(read(written[-1][:, None]), temperature, rng, forbid))
    return torch.stack(written, dim=1)


def mask_predict(
    tokens: Tensor,
    blanks: Tensor,
    logits_of: Callable[[Tensor], Tensor],
    mask: int,
    rounds: int,
    temperature: float,
    rng: torch.Generator | None,
    forbid: Tensor | None,
) -> Tensor:
    """Fills the blanks (B,T) bool of tokens (B,T) in parallel, the least sure again in each round.

    Ghazvininejad et al. 2019: of n blanks, n·(rounds-i)/rounds are masked again before round i.
    logits_of(tokens) gives (B,T,V).
    """
    total = blanks.sum(dim=1, keepdim=True)
    hidden = blanks
    sure = torch.zeros(tokens.shape, device=tokens.device)
    for number in range(rounds):
        logits = logits_of(tokens.masked_fill(hidden, mask))
        logp = logits.float().log_softmax(dim=-1)
        guess = pick(logits.flatten(0, 1), temperature, rng, forbid).view(tokens.shape)
        tokens = torch.where(hidden, guess, tokens)
        sure = torch.where(hidden, logp.gather(2, guess.unsqueeze(2)).squeeze(2), sure)
        again = total * (rounds - number - 1) // rounds
        order = sure.masked_fill(~blanks, float("inf")).argsort(dim=1, stable=True)
        place = torch.empty_like(order).scatter_(
            1, order, torch.arange(tokens.shape[1], device=tokens.device).expand_as(order)
        )
        hidden = blanks & (place < again)
    return tokens
