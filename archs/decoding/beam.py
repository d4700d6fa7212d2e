"""Beam search: it keeps the n likeliest beginnings of each text and extends them token by token.

Axes: B prompts, n beams of each, C candidates of each, V vocabulary, t tokens written so far.
"""

from __future__ import annotations

import torch
from einops import rearrange, repeat
from torch import Tensor

from archs.batch import PADDING
from archs.decoding.decoding import Decoding, Steps

NEVER = float("-inf")


def beam_search(steps: Steps, length: int, how: Decoding) -> Tensor:
    """The best text found for each prompt: (B,length), PADDING after a stop token.

    Texts are ranked by nats / tokens ** how.length_penalty, with the stop token counted. Each step takes the
    C likeliest continuations of a prompt, enough that n remain if all stop tokens are among them. The n
    likeliest that do not end become the beams; those among the first n that end are finished. A prompt is
    done when it has n finished texts and its best beam would rank no higher than the worst of them. This is
    Hugging Face's `early_stopping=False`.
    """
    logits = steps.first()
    n, (B, V), device = how.beams, logits.shape, logits.device
    steps.widen(n)
    logits = repeat(logits, "b v -> (b n) v", n=n)
    stop = torch.tensor(how.stop, dtype=torch.long, device=device)
    C = min(max(2, 1 + len(stop)) * n, n * V)
    offset = torch.arange(0, B * n, n, device=device)[:, None]
    unmoved = torch.arange(B * n, device=device)

    nats = torch.full((B, n), NEVER, device=device)
    nats[:, 0] = 0  # all beams of a prompt begin equal, so only the first may be extended
    beams = torch.full((B, n, length), PADDING, device=device)
    scores, texts = torch.full((B, n), NEVER, device=device), beams
    undone = torch.ones(B, 1, dtype=torch.bool, device=device)
    for t in range(length):
        logp = logits.float().log_softmax(dim=-1)
        if how.forbid is not None:
            logp = logp.masked_fill(how.forbid, NEVER)
        total = rearrange(logp, "(b n) v -> b n v", n=n) + nats[:, :, None]
        best, index = rearrange(total, "b n v -> b (n v)").topk(C)
        beam, token = index // V, index % V
        grown = _pick(beams, beam)
        grown[:, :, t] = token
        ends = torch.isin(token, stop) | (t + 1 == length)
        if steps.room is not None:
            ends = ends | (steps.room[:, None] == t + 1)

        counted = ends & undone
        counted[:, n:] = False
        score = compared(best, t + 1, how.length_penalty).masked_fill(~counted, NEVER)
        scores, chosen = torch.cat((scores, score), dim=1).topk(n)
        texts = _pick(torch.cat((texts, grown), dim=1), chosen)

        nats, chosen = best.masked_fill(ends, NEVER).topk(n)
        undone = undone & (compared(nats[:, :1], t + 1, how.length_penalty) > scores[:, -1:])
        if not bool(undone.any()):
            break
        beams = _pick(grown, chosen)
        rows = rearrange(beam.gather(1, chosen) + offset, "b n -> (b n)")
        if not torch.equal(rows, unmoved):
            steps.keep(rows)
        logits = steps.next(rearrange(beams[:, :, t], "b n -> (b n)"))
    return texts[:, 0]


def compared(nats: Tensor, tokens: int, length_penalty: float) -> Tensor:
    """The score by which texts of so many tokens are ranked."""
    return nats / float(tokens) ** length_penalty  # a power of integers might not fit int64


def _pick(texts: Tensor, chosen: Tensor) -> Tensor:
    """The texts numbered `chosen` (B,c) among texts (B,m,length): (B,c,length), a copy."""
    return texts.gather(1, repeat(chosen, "b c -> b c length", length=texts.shape[2]))
