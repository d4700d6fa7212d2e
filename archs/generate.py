"""Decoding. Each family's own file says what one step is; here is how a token is picked and written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from archs.batch import Batch, positions_within


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
    """The batch with `length` more cells in the document of its last one: what a mask over a cache reads.

    Prompts of different lengths are therefore padded on the left. Extras stay as they are.
    """
    segments = batch.segments
    if segments is not None:
        segments = torch.cat((segments, segments[:, -1:].expand(-1, length)), dim=1)
    is_prefix = batch.is_prefix
    if is_prefix is not None:
        is_prefix = functional.pad(is_prefix, (0, length), value=False)
    tokens = functional.pad(batch.tokens, (0, length))
    return replace(
        batch,
        tokens=tokens,
        positions=positions_within(tokens, segments),
        segments=segments,
        is_prefix=is_prefix,
    )


def blank_columns(batch: Batch, length: int) -> tuple[Tensor, Tensor]:
    """The cells with weight, in the order of their columns: (B,length), and which of them there are, bool."""
    blanks = batch.weights > 0
    columns = (~blanks).long().argsort(dim=1, stable=True)[:, :length]
    return columns, blanks.gather(1, columns)


def left_to_right(
    read: Callable[[Tensor], Tensor],
    prompt: Tensor,
    length: int,
    temperature: float,
    rng: torch.Generator | None,
    forbid: Tensor | None,
) -> Tensor:
    """Writes `length` tokens after prompt (B,T): `read(tokens (B,n))` gives the next one's logits (B,V)."""
    if length == 0:
        return prompt[:, :0]
    written = [pick(read(prompt), temperature, rng, forbid)]
    while len(written) < length:
        written.append(pick(read(written[-1][:, None]), temperature, rng, forbid))
    return torch.stack(written, dim=1)


def mask_predict(
    blanks: Tensor,
    logits_of: Callable[[Tensor], Tensor],
    mask: int,
    rounds: int,
    temperature: float,
    rng: torch.Generator | None,
    forbid: Tensor | None,
) -> Tensor:
    """Fills blanks in parallel, and the least sure of them again in each round: tokens (B,n), 0 in no blank.

    Ghazvininejad et al. 2019: of a row's blanks (B,n) bool, the share (rounds - i) / rounds is open in
    round i from 0. logits_of(tokens (B,n)), open ones holding `mask`, gives (B,n,V).
    """
    total = blanks.sum(dim=1, keepdim=True)
    slots = torch.arange(blanks.shape[1], device=blanks.device).expand_as(blanks)
    tokens = torch.zeros_like(slots)
    sure = torch.zeros(blanks.shape, device=blanks.device)
    still_open = blanks
    for number in range(rounds):
        if not bool(still_open.any()):
            break
        logits = logits_of(tokens.masked_fill(still_open, mask))
        guess = pick(logits.flatten(0, 1), temperature, rng, forbid).view(tokens.shape)
        found = logits.float().log_softmax(dim=-1).gather(2, guess.unsqueeze(2)).squeeze(2)
        tokens = torch.where(still_open, guess, tokens)
        sure = torch.where(still_open, found, sure)
        again = total * (rounds - number - 1) // rounds
        order = sure.masked_fill(~blanks, float("inf")).argsort(dim=1, stable=True)
        place = torch.empty_like(order).scatter_(1, order, slots)
        still_open = blanks & (place < again)
    return tokens
