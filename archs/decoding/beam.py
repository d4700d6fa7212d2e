"""Beam search: the likeliest text that can be found with a few kept at a time.

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
    """The best text found of each prompt: (B,length), PADDING after a stop token.

    Texts are compared by nats / tokens ** how.length_penalty, the stop token counted. Of the C likeliest
    continuations, as many that no stop token can use up the beams, those that do not end go on; those among
    the first n that end are finished. A prompt is done when it has n finished texts and its best beam, were
    it to end here, is not above the worst of them. The same as Hugging Face's `early_stopping=False`.
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
    nats[:, 0] = 0  # the beams of a prompt begin alike: one is enough
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
    """What beams of so many tokens are ranked by."""
    return nats / float(tokens) ** length_penalty  # as whole numbers, a power might not fit a tensor's int64


def _pick(texts: Tensor, chosen: Tensor) -> Tensor:
    """Of texts (B,m,length) those with numbers chosen (B,c): (B,c,length), a copy."""
    return texts.gather(1, repeat(chosen, "b c -> b c length", length=texts.shape[2]))
