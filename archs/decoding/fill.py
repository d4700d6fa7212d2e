"""How an encoder-AE fills its blanks: by mask-predict, or from left to right.

Axes: B rows of the batch, n blanks of the row that has most, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from einops import rearrange, repeat
from torch import Tensor

from archs.decoding.decoding import Decoding
from archs.decoding.generate import pick

Read = Callable[[Tensor, slice], Tensor]  # tokens (B,n) and a slice of m blanks -> their logits (B,m,V)


def mask_predict(
    blanks: Tensor, logits_of: Read, mask: int, how: Decoding, rng: torch.Generator | None = None
) -> Tensor:
    """Fills all blanks at once, then the least likely ones again: tokens (B,n), 0 where there is no blank.

    Ghazvininejad et al. 2019. blanks (B,n) bool; in round i, from 0, the share (rounds - i) / rounds of a
    row's blanks is open. logits_of reads tokens in which open blanks hold `mask`.
    """
    total = blanks.sum(dim=1, keepdim=True)
    slots = repeat(torch.arange(blanks.shape[1], device=blanks.device), "n -> b n", b=len(blanks))
    tokens = torch.zeros_like(slots)
    log_p = torch.zeros(blanks.shape, device=blanks.device)
    still_open = blanks
    for number in range(how.rounds):
        if not bool(still_open.any()):
            break
        logits = logits_of(tokens.masked_fill(still_open, mask), slice(None))
        guess = pick(rearrange(logits, "b n v -> (b n) v"), how, rng)
        guess = rearrange(guess, "(b n) -> b n", b=len(blanks))
        of_guess = logits.float().log_softmax(dim=-1).gather(2, guess.unsqueeze(2)).squeeze(2)
        tokens = torch.where(still_open, guess, tokens)
        log_p = torch.where(still_open, of_guess, log_p)
        open_next = total * (how.rounds - number - 1) // how.rounds
        order = log_p.masked_fill(~blanks, float("inf")).argsort(dim=1, stable=True)
        place = torch.empty_like(order).scatter_(1, order, slots)
        still_open = blanks & (place < open_next)
    return tokens


def left_to_right(
    blanks: Tensor, logits_of: Read, mask: int, how: Decoding, rng: torch.Generator | None = None
) -> Tensor:
    """Fills one blank a pass: tokens (B,n), 0 where there is no blank; arguments as in `mask_predict`.

    In the first round the blanks to the right are masked. In later rounds one blank at a time is masked and
    filled again, given all others: Gibbs sampling (Wang and Cho 2019). At temperature 0 this is iterated
    conditional modes (Besag 1986), which stops after a round without changes.
    """
    tokens = torch.full(blanks.shape, mask, device=blanks.device).masked_fill(~blanks, 0)
    for _ in range(how.rounds):
        before = tokens
        for number in range(blanks.shape[1]):
            masked = tokens.clone()
            masked[:, number] = mask
            guess = pick(logits_of(masked, slice(number, number + 1)).squeeze(1), how, rng)
            tokens = tokens.clone()
            tokens[:, number] = guess.where(blanks[:, number], tokens[:, number])
        if how.temperature == 0 and torch.equal(tokens, before):
            break
    return tokens
