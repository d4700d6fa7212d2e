"""Batches to be written on, searches that are watched, and what an uncached pass says of what they wrote."""

from __future__ import annotations

import torch
from torch import Tensor

from archs import FAMILIES, Family
from archs.batch import Batch
from archs.decoding.decoding import Steps

WRITERS = [kind for kind in FAMILIES if kind != "encoder_ae"]

PROMPTS: dict[str, tuple[list[list[int]] | None, list[list[int]] | None, list[list[int]]]] = {
    # segments, source segments, is_prefix
    "plain": (None, None, [[1] * 6, [1] * 6]),
    "left padded": (
        [[-1, -1, -1, 0, 0, 0], [0, 0, 0, 0, 0, 0]],
        [[0, 0, 0, 0, -1], [-1, 0, 0, 0, 0]],
        [[0, 0, 0, 1, 1, 1], [1, 1, 1, 1, 1, 1]],
    ),
    "several documents": (
        [[0, 0, 0, 1, 1, 1], [0, 1, 1, 1, 2, 2]],
        [[0, 0, 1, 1, 1], [0, 1, 1, 2, 2]],
        [[1, 1, 0, 1, 1, 1], [1, 1, 0, 0, 1, 1]],
    ),
    "prefixes of different length": (
        [[-1, 0, 0, 0, 1, 1], [-1, -1, 0, 0, 0, 0]],
        None,
        [[0, 1, 1, 0, 0, 0], [0, 0, 1, 1, 0, 0]],
    ),
    "one token": ([[0], [0]], [[0, 0, 0], [0, 0, -1]], [[1], [0]]),
    "empty sources": (None, [[-1], [0]], [[1, 1], [1, 1]]),
}

BLANKS: dict[str, tuple[list[list[int]], list[list[int]] | None]] = {
    # tokens are blank where there is a 1; segments
    "at the end": ([[0, 0, 0, 0, 1, 1, 1], [0, 0, 0, 0, 1, 1, 1]], None),
    "in the middle": ([[0, 0, 1, 1, 1, 0, 0], [0, 1, 0, 1, 0, 1, 0]], None),
    "at the start": ([[1, 1, 0, 0, 1, 0, 0], [1, 0, 0, 0, 0, 1, 1]], None),
    "everywhere": ([[1, 1, 1], [1, 1, 1]], None),
    "ragged": ([[0, 0, 1, 1, 1, 0, 0], [0, 0, 0, 1, 0, 0, 0]], None),
    "several documents": (
        [[0, 1, 0, 0, 1, 1, 0], [0, 0, 1, 0, 1, 0, 0]],
        [[0, 0, 0, 1, 1, 1, 1], [0, 0, 0, 1, 1, 1, -1]],
    ),
    "left padded": (
        [[0, 0, 0, 1, 1, 0, 1], [0, 0, 1, 1, 0, 0, 1]],
        [[-1, -1, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0]],
    ),
}


def prompt(name: str) -> Batch:
    segments, source_segments, is_prefix = (
        None if part is None else torch.tensor(part) for part in PROMPTS[name]
    )
    assert is_prefix is not None
    rng = torch.Generator().manual_seed(1)
    source = torch.randint(50, (2, 5 if source_segments is None else source_segments.shape[1]), generator=rng)
    if segments is not None and segments.max() > 0 and source_segments is None:
        source_segments = torch.tensor([[0, 0, 1, 1, 1], [0, 0, 0, 0, 0]])
    return Batch.of(
        torch.randint(50, is_prefix.shape, generator=rng),
        segments=segments,
        source=source,
        source_segments=source_segments,
        is_prefix=is_prefix.bool(),
        token_types=torch.randint(2, is_prefix.shape, generator=rng),
    )


def with_blanks(name: str) -> Batch:
    blanks, segments = BLANKS[name]
    weights, rng = torch.tensor(blanks).float(), torch.Generator().manual_seed(1)
    return Batch.of(
        torch.randint(50, weights.shape, generator=rng),
        weights=weights,
        segments=None if segments is None else torch.tensor(segments),
        token_types=torch.randint(2, weights.shape, generator=rng),
        extras={"mask": torch.full((2, 1), 3)},
    )


def fills(kind: str) -> bool:
    """Whether a family of this kind is given blanks."""
    return FAMILIES[kind].layout in ("in_place", "permuted")


def readable(kind: str) -> Batch:
    """A prompt of the kind's own layout, two rows of different shape."""
    return with_blanks("left padded") if fills(kind) else prompt("left padded")


def lively(family: Family) -> Family:
    """The family with larger weights: attention far from uniform, so that a wrong row would be noticed."""
    with torch.no_grad():
        for weight in family.parameters():
            if weight.dim() > 1:
                weight.mul_(8)
    return family


class Watched:
    """Steps that note each row's prompt (R), its tokens so far (R,t) and its logits (R,V), step by step."""

    def __init__(self, steps: Steps, rows: int) -> None:
        self.steps, self.room = steps, steps.room
        self.prompts, self.written = torch.arange(rows), torch.zeros(rows, 0).long()
        self.noted: list[tuple[Tensor, Tensor, Tensor]] = []
        self.moved = False

    def first(self) -> Tensor:
        return self._note(self.steps.first())

    def next(self, tokens: Tensor) -> Tensor:
        self.written = torch.cat((self.written, tokens[:, None]), dim=1)
        return self._note(self.steps.next(tokens))

    def widen(self, times: int) -> None:
        self.steps.widen(times)
        self.prompts, self.written = (
            each.repeat_interleave(times, dim=0) for each in (self.prompts, self.written)
        )

    def keep(self, rows: Tensor) -> None:
        self.steps.keep(rows)
        self.moved |= not torch.equal(self.written[rows], self.written)
        self.written = self.written[rows]

    def _note(self, logits: Tensor) -> Tensor:
        self.noted.append((self.prompts, self.written, logits))
        return logits


@torch.no_grad()
def uncached(family: Family, batch: Batch, written: Tensor) -> Tensor:
    """Logits (R,V) of the token after `written` (R,t), by one pass over prompt and written tokens."""
    if family.layout == "permuted":
        return _uncached_blank(family, batch, written)
    T, t = batch.tokens.shape[1], written.shape[1]

    def longer(part: Tensor | None, new: Tensor) -> Tensor | None:
        return None if part is None else torch.cat((part, new.expand(len(written), t)), dim=1)

    def as_last(part: Tensor | None) -> Tensor | None:
        return None if part is None else longer(part, part[:, -1:])

    tokens = longer(batch.tokens, written)
    assert tokens is not None
    whole = Batch.of(
        tokens,
        segments=as_last(batch.segments),
        is_prefix=longer(batch.is_prefix, torch.tensor([[False]])),
        token_types=as_last(batch.token_types),
        source=batch.source,
        source_segments=batch.source_segments,
    )
    return family.logits(family.hidden(whole).rows[:, T + t - 1])


def _uncached_blank(family: Family, batch: Batch, written: Tensor) -> Tensor:
    """As `uncached`: all that is written and the query of the next blank; zeros for a row without one."""
    t = written.shape[1]
    tokens, rank, weights = (
        batch.tokens.clone(),
        torch.zeros_like(batch.tokens),
        torch.zeros(batch.tokens.shape),
    )
    queries = torch.full((len(written), 1), -1)
    for row in range(len(written)):
        columns = batch.weights[row].nonzero().flatten()
        rank[row, columns] = torch.arange(len(columns)) + 1
        tokens[row, columns[:t]] = written[row, : len(columns)]
        if t < len(columns):
            queries[row], weights[row, columns[t]] = columns[t], 1
    whole = Batch.of(
        tokens,
        weights=weights,
        segments=batch.segments,
        token_types=batch.token_types,
        rank=rank,
        queries=queries,
    )
    logits = torch.zeros(len(written), family.config.vocabulary)
    logits[queries[:, 0] >= 0] = family.logits(family.hidden(whole).targets)[: whole.supervised]
    return logits
