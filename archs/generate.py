"""Writing from left to right: greedy, sampled or by beam search over a family's steps; and prompts.

Axes: B rows of the batch, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from archs.batch import PADDING, Batch
from archs.beam import beam_search
from archs.decoding import GREEDY, Decoding, Steps
from archs.errors import UserError

__all__ = ["GREEDY", "Decoding", "Steps", "check", "ended", "pick", "prompts", "write"]


def prompts(rows: Sequence[Sequence[int]], sources: Sequence[Sequence[int]] | None = None) -> Batch:
    """Prompts of any lengths as one batch (B,T), padded on the left; all of a prompt is prefix.

    sources: what an encoder-decoder's encoder reads, of any lengths, also none. Raises UserError for an empty
    prompt: a decoder begins with a start token.
    """
    empty = [number for number, row in enumerate(rows) if not len(row)]
    if empty or not len(rows):
        what = f"row {empty[0]} of the prompts is empty" if empty else "no prompts came"
        raise UserError(f"{what}; begin each with a start token at least")
    if sources is not None and len(sources) != len(rows):
        raise UserError(f"{len(rows)} prompts came with {len(sources)} sources; give one source each")
    tokens, segments = _left_padded(rows)
    source, source_segments = (None, None) if sources is None else _left_padded(sources)
    is_prefix = torch.ones_like(tokens, dtype=torch.bool) if segments is None else segments >= 0
    return Batch.of(
        tokens, segments=segments, is_prefix=is_prefix, source=source, source_segments=source_segments
    )


def _left_padded(rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor | None]:
    """Tokens (B,longest), 0 in padding, and segments (B,longest), None where nothing is padded."""
    longest = max(len(row) for row in rows)
    tokens = torch.zeros(len(rows), longest, dtype=torch.long)
    segments = torch.full((len(rows), longest), PADDING)
    for number, row in enumerate(rows):
        first = longest - len(row)
        tokens[number, first:] = torch.as_tensor(row, dtype=torch.long)
        segments[number, first:] = 0
    return tokens, None if bool((segments == 0).all()) else segments


def check(how: Decoding, length: int, vocabulary: int, device: torch.device) -> Decoding:
    """`how` for a family with so many tokens on that device. Raises UserError for tokens it does not have."""
    if length < 0:
        raise UserError(f"length={length} is negative; give the number of tokens to write")
    for token in how.stop:
        if not 0 <= token < vocabulary:
            raise UserError(f"stop token {token} is not in the vocabulary; allowed are 0 to {vocabulary - 1}")
    if how.forbid is None:
        return how
    if how.forbid.shape != (vocabulary,) or how.forbid.dtype != torch.bool:
        came = f"{how.forbid.dtype} {tuple(how.forbid.shape)}"
        raise UserError(f"forbid is {came}; give one bool for each of the {vocabulary} tokens")
    if bool(how.forbid.all()):
        raise UserError("forbid leaves no token to write; allow one at least")
    barred = [token for token in how.stop if bool(how.forbid[token])]
    if barred:
        raise UserError(f"stop token {barred[0]} is forbidden, so it would never come; allow it or drop it")
    return replace(how, forbid=how.forbid.to(device))


def write(steps: Steps, length: int, how: Decoding, rng: torch.Generator | None = None) -> Tensor:
    """Up to `length` tokens a row: (B,length), PADDING after a stop token and where a row has no room."""
    room = steps.room
    most = length if room is None else min(length, int(room.max()))
    if room is not None and most == 0:
        return torch.full((len(room), length), PADDING, device=room.device)
    if how.beams > 1:
        written = beam_search(steps, most, how)
    else:
        written = ended(_likeliest_or_sampled(steps, most, how, rng), how.stop)
    written = functional.pad(written, (0, length - written.shape[1]), value=PADDING)
    if room is None:
        return written
    return written.masked_fill(torch.arange(length, device=room.device) >= room[:, None], PADDING)


def _likeliest_or_sampled(steps: Steps, length: int, how: Decoding, rng: torch.Generator | None) -> Tensor:
    """(B,n) tokens, n up to `length`: fewer once all rows have stopped or have no room."""
    tokens = pick(steps.first(), how, rng)
    written = [tokens]
    stop = torch.tensor(how.stop, dtype=torch.long, device=tokens.device)
    done = torch.zeros_like(tokens, dtype=torch.bool)
    while len(written) < length:
        if how.stop:
            done = done | torch.isin(tokens, stop)
            gone = done if steps.room is None else done | (steps.room <= len(written))
            if bool(gone.all()):
                break
        tokens = pick(steps.next(tokens), how, rng)
        written.append(tokens)
    return torch.stack(written, dim=1)


def ended(written: Tensor, stop: tuple[int, ...]) -> Tensor:
    """(B,n) with PADDING after each row's first stop token, which is kept."""
    if not stop:
        return written
    stops = torch.isin(written, torch.tensor(stop, device=written.device))
    return written.masked_fill(stops.cumsum(dim=1) - stops.long() > 0, PADDING)


def pick(logits: Tensor, how: Decoding, rng: torch.Generator | None = None) -> Tensor:
    """logits (B,V) -> tokens (B): the likeliest, or a sample from `rng` alone."""
    if how.forbid is not None:
        logits = logits.masked_fill(how.forbid, float("-inf"))
    if how.temperature == 0:
        return logits.argmax(dim=-1)
    logits = logits.float() / how.temperature
    if how.top_k is None and how.top_p is None:
        return torch.multinomial(logits.softmax(dim=-1), 1, generator=rng).squeeze(1)
    likeliest, tokens = logits.topk(min(how.top_k or logits.shape[1], logits.shape[1]))
    chances = likeliest.softmax(dim=-1)
    if how.top_p is not None:
        before = functional.pad(chances.cumsum(dim=-1)[:, :-1], (1, 0))
        chances = chances.masked_fill(before >= how.top_p, 0.0)
    return tokens.gather(1, torch.multinomial(chances, 1, generator=rng)).squeeze(1)
