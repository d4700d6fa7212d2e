"""Generation from left to right: greedy, sampled or by beam search over a family's steps; and prompts.

Axes: B rows of the batch, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from archs.batch import PADDING, Batch
from archs.decoding.beam import beam_search
from archs.decoding.decoding import Decoding, Steps, check_length
from archs.errors import UserError


def prompts(rows: Sequence[Sequence[int]], sources: Sequence[Sequence[int]] | None = None) -> Batch:
    """Prompts of any lengths as one batch (B,T), padded on the left; a prompt is all prefix.

    sources: the texts that an encoder-decoder's encoder reads, of any lengths; a source may be empty. Raises
    UserError for an empty prompt, since a decoder begins with a start token, and for rows that are no token
    ids.
    """
    texts = _ids(rows, "prompts")
    empty = [number for number, row in enumerate(texts) if not len(row)]
    if empty or not texts:
        what = f"row {empty[0]} of the prompts is empty" if empty else "no prompts came"
        raise UserError(f"{what}; begin each with a start token at least")
    if sources is not None and len(sources) != len(texts):
        raise UserError(f"{len(texts)} prompts came with {len(sources)} sources; give one source each")
    tokens, segments = _left_padded(texts)
    source, source_segments = (None, None) if sources is None else _left_padded(_ids(sources, "sources"))
    is_prefix = torch.ones_like(tokens, dtype=torch.bool) if segments is None else segments >= 0
    return Batch.of(
        tokens, segments=segments, is_prefix=is_prefix, source=source, source_segments=source_segments
    )


def _ids(rows: Sequence[Sequence[int]], name: str) -> list[Tensor]:
    """Each row as int64 (n)."""
    ids_of_rows = []
    for number, row in enumerate(rows):
        try:
            ids = torch.as_tensor(row)
        except (TypeError, ValueError, RuntimeError):
            ids = None
        if ids is None or ids.dim() != 1 or (len(ids) and (ids.is_floating_point() or ids.is_complex())):
            came = " ".join(repr(row)[:60].split())
            raise UserError(
                f"row {number} of the {name} is {came}; give a list of token ids, such as [1, 7, 9]"
            )
        ids_of_rows.append(ids.long())
    return ids_of_rows


def _left_padded(rows: Sequence[Tensor]) -> tuple[Tensor, Tensor | None]:
    """Tokens (B,longest), 0 in padding, and segments (B,longest), None if there is no padding."""
    longest = max(len(row) for row in rows)
    tokens = torch.zeros(len(rows), longest, dtype=torch.long)
    segments = torch.full((len(rows), longest), PADDING)
    for number, row in enumerate(rows):
        first = longest - len(row)
        tokens[number, first:] = row
        segments[number, first:] = 0
    return tokens, None if bool((segments == 0).all()) else segments


def check(
    how: Decoding, length: int, vocabulary: int, device: torch.device, never: Tensor | None = None
) -> Decoding:
    """Checks `how` for a family of so many tokens; returns it with all forbidden tokens on the device.

    never (V) bool: tokens that the family never writes, forbidden beside those that `how` forbids. Raises
    UserError for tokens outside the vocabulary, for a stop token that is forbidden, and if all tokens are.
    """
    check_length(length)
    for token in how.stop:
        if not 0 <= token < vocabulary:
            raise UserError(f"stop token {token} is not in the vocabulary; allowed are 0 to {vocabulary - 1}")
    forbid = how.forbid
    if forbid is not None:
        is_tensor = isinstance(forbid, Tensor)
        if not is_tensor or forbid.shape != (vocabulary,) or forbid.dtype != torch.bool:
            came = f"{forbid.dtype} {tuple(forbid.shape)}" if is_tensor else repr(forbid)
            raise UserError(f"forbid is {came}; give one bool for each of the {vocabulary} tokens")
        forbid = forbid.to(device)
    if never is not None:
        forbid = never if forbid is None else forbid | never
    if forbid is None:
        return how
    if bool(forbid.all()):
        mask = "" if never is None else " beside the mask, which is never written"
        raise UserError(f"forbid leaves no token to write{mask}; allow one at least")
    barred = [token for token in how.stop if bool(forbid[token])]
    if barred and (how.forbid is None or not bool(how.forbid[barred[0]])):
        raise UserError(f"stop token {barred[0]} is the mask, which is never written; drop it")
    if barred:
        raise UserError(f"stop token {barred[0]} is forbidden, so it would never come; allow it or drop it")
    return replace(how, forbid=forbid)


def check_tokens(what: str, tokens: Tensor, vocabulary: int) -> None:
    """Raises UserError for tokens (B,T) outside a vocabulary of this size. Synchronises with the device."""
    if tokens.is_floating_point():
        raise UserError(
            f"the {what} is {tokens.dtype}; give whole numbers, the ids of tokens, as torch.int64"
        )
    outside = (tokens < 0) | (tokens >= vocabulary)
    if bool(outside.any()):
        raise UserError(
            f"token {int(tokens[outside][0])} of the {what} is not in the vocabulary; allowed are 0 to "
            f"{vocabulary - 1}"
        )


def write(steps: Steps, length: int, how: Decoding, rng: torch.Generator | None = None) -> Tensor:
    """Writes up to `length` tokens a row: (B,length), PADDING after a stop token and where a row is full."""
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
    """Tokens (B,n); n is below `length` if all rows stop or are full before."""
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
    """written (B,n) with PADDING after each row's first stop token, which is kept."""
    if not stop:
        return written
    stops = torch.isin(written, torch.tensor(stop, device=written.device))
    return written.masked_fill(stops.cumsum(dim=1) - stops.long() > 0, PADDING)


def pick(logits: Tensor, how: Decoding, rng: torch.Generator | None = None) -> Tensor:
    """logits (B,V) -> tokens (B): the likeliest ones, or samples drawn with `rng`."""
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
