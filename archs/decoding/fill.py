"""How an encoder-AE fills its blanks: all at once and the least sure again, or from left to right.

Axes: B rows of the batch, n blanks of the row that has most, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from einops import rearrange, repeat
from torch import Tensor

from archs.decoding.decoding import Decoding
from archs.decoding.generate import pick

Read = Callable[[Tensor, slice], Tensor]  # tokens (B,n), and of which blanks the logits (B,m,V) are wanted


def mask_predict(
    blanks: Tensor, logits_of: Read, mask: int, how: Decoding, rng: torch.Generator | None = None
) -> Tensor:
    """Fills blanks in parallel, and the least sure of them again in each round: tokens (B,n), 0 in no blank.

    Ghazvininejad et al. 2019: of a row's blanks (B,n) bool, the share (rounds - i) / rounds is open in
    round i from 0. `logits_of` is given tokens of which the open ones hold `mask`.
    """
    total = blanks.sum(dim=1, keepdim=True)
    slots = repeat(torch.arange(blanks.shape[1], device=blanks.device), "n -> b n", b=len(blanks))
    tokens = torch.zeros_like(slots)
    sure = torch.zeros(blanks.shape, device=blanks.device)
    still_open = blanks
    for number in range(how.rounds):
        if not bool(still_open.any()):
            break
        logits = logits_of(tokens.masked_fill(still_open, mask), slice(None))
        guess = pick(rearrange(logits, "b n v -> (b n) v"), how, rng)
        guess = rearrange(guess, "(b n) -> b n", b=len(blanks))
        found = logits.float().log_softmax(dim=-1).gather(2, guess.unsqueeze(2)).squeeze(2)
        tokens = torch.where(still_open, guess, tokens)
        sure = torch.where(still_open, found, sure)
        again = total * (how.rounds - number - 1) // how.rounds
        order = sure.masked_fill(~blanks, float("inf")).argsort(dim=1, stable=True)
        place = torch.empty_like(order).scatter_(1, order, slots)
        still_open = blanks & (place < again)
    return tokens


def left_to_right(
    blanks: Tensor, logits_of: Read, mask: int, how: Decoding, rng: torch.Generator | None = None
) -> Tensor:
    """Fills blanks one a pass: tokens (B,n), 0 in no blank; arguments as in `mask_predict`.

    In the first round the blanks to the right are still masked. In each later one a blank is masked alone and
    written again given all others: Gibbs sampling (Wang and Cho 2019), or at temperature 0 iterated
    conditional modes (Besag 1986), which ends early where a round changes nothing.
    """
    tokens = torch.full(blanks.shape, mask, device=blanks.device).masked_fill(~blanks, 0)
    for _ in range(how.rounds):
        before = tokens
        for number in range(blanks.shape[1]):
            asked = tokens.clone()
            asked[:, number] = mask
            guess = pick(logits_of(asked, slice(number, number + 1)).squeeze(1), how, rng)
            tokens = tokens.clone()
            tokens[:, number] = guess.where(blanks[:, number], tokens[:, number])
        if how.temperature == 0 and torch.equal(tokens, before):
            break
    return tokens
