"""Cached decoding: steps that read the prompt and then one token at a time.

Axes: B rows of the batch, L rows of the cache to come, K keys, S source cells.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from einops import repeat
from torch import Tensor
from torch.nn import functional

from archs.batch import Batch, MaskBuilder
from archs.core.cache import Cache
from archs.core.transformer import Stack
from archs.errors import UserError
from archs.families.family import Family
from archs.masks import FULL, Mask


class PromptSteps:
    """Continues a prompt: for decoder-AR, prefix LM and, with an encoder's output, encoder-decoder.

    memory: the encoder's output (B,S,D) and the builder of the cross-attention mask.
    """

    room: Tensor | None = None

    def __init__(
        self,
        family: Family,
        stack: Stack,
        mask: MaskBuilder,
        batch: Batch,
        length: int,
        memory: tuple[Tensor, MaskBuilder] | None = None,
    ) -> None:
        check_prompt(batch)
        self.family, self.stack, self.mask = family, stack, mask
        self.prompt = batch.tokens
        self.whole = with_room(batch, length - 1)  # the last token that is written is not read
        family.check_length(self.whole.positions)
        self.memory, self.memory_mask = memory or (None, None)
        self.memory_length = 0 if self.memory is None else self.memory.shape[1]
        self.cache = Cache.empty(stack.layers, capacity=self.whole.tokens.shape[1])
        self.memory_seen: Mask | None = None
        self._precompute_masks()

    def first(self) -> Tensor:
        cross = None if self.memory_mask is None else self.memory_mask(self.whole)
        logits = self._read(self.prompt, self.mask(self.whole), cross)
        self.memory = None  # the cache now holds its keys and values
        return logits

    def next(self, tokens: Tensor) -> Tensor:
        return self._read(tokens[:, None], self.seen, self.memory_seen)

    def widen(self, times: int) -> None:
        rows = repeat(torch.arange(len(self.prompt), device=self.whole.device), "b -> (b n)", n=times)
        self.whole = self.whole.rows(rows)
        self.cache.take(rows)
        self._precompute_masks()

    def keep(self, rows: Tensor) -> None:
        self.cache.take(rows, cross=False)

    def _read(self, tokens: Tensor, mask: Mask, memory_mask: Mask | None) -> Tensor:
        start, end = self.cache.length, self.cache.length + tokens.shape[1]
        positions = self.whole.positions[:, start:end]
        types = None if self.whole.token_types is None else self.whole.token_types[:, start:end]
        rows, _ = self.stack(
            self.family.embed(tokens, positions, types),
            positions,
            mask,
            memory=self.memory,
            memory_mask=memory_mask,
            memory_length=self.memory_length,
            cache=self.cache,
            token_types=types,
        )
        return self.family.logits(rows[:, -1])

    def _precompute_masks(self) -> None:
        """Computes the masks of all rows after the prompt once."""
        shape, start = self.whole.tokens.shape, self.prompt.shape[1]
        self.seen = precomputed(self.mask(self.whole), shape, start, self.whole.device)
        if self.memory_mask is not None:
            mask = self.memory_mask(self.whole)
            self.memory_seen = precomputed(mask, shape, start, self.whole.device, self.memory_length)


# The most cells of a precomputed mask, a byte each. Above that each step computes the mask of its own row,
# which costs little beside attention over so many keys.
LARGEST_TABLE = 2**26


@dataclass(frozen=True, eq=False)
class _Table:
    """A rule as a table over the queries from `start` on: seen (B,L,K) bool."""

    seen: Tensor
    start: int

    def __call__(self, b: Tensor, q: Tensor, k: Tensor) -> Tensor:
        return self.seen[b, q - self.start, k]


def precomputed(
    mask: Mask, shape: tuple[int, ...], start: int, device: torch.device, memory: int | None = None
) -> Mask:
    """`mask` as a table over the queries from row `start` on, of a cache of `shape` (B,rows).

    memory: number of cells of an encoder's output, if these are the keys. Returns FULL if every query sees
    all keys that exist at its step, and `mask` itself if the table would exceed LARGEST_TABLE cells.
    """
    B, end = shape
    if B * (end - start) * (end if memory is None else memory) > LARGEST_TABLE:
        return mask
    rows = torch.arange(start, end, device=device)
    keys = torch.arange(end if memory is None else memory, device=device)
    seen = mask.dense(B, rows, keys)
    exists = keys <= rows[:, None] if memory is None else torch.ones_like(seen)
    if bool((seen | ~exists).all()):
        return Mask(FULL.rule, mask.name)
    return Mask(_Table(seen, start), mask.name)


def check_prompt(batch: Batch) -> None:
    """Raises UserError for a prompt that is empty or ends in padding: there is no token to continue from."""
    if batch.tokens.shape[1] == 0:
        raise UserError("an empty prompt: nothing comes before the first token; begin it with a start token")
    ends = None if batch.segments is None else (batch.segments[:, -1] < 0).nonzero().flatten().tolist()
    if ends:
        raise UserError(
            f"the prompt of row {ends[0]} ends in padding; pad on the left, as "
            "archs.decoding.generate.prompts does"
        )


def with_room(batch: Batch, length: int) -> Batch:
    """The batch with `length` more cells in the document of its last cell, for a mask over the whole cache.

    Prompts of different lengths must therefore be padded on the left. Extras stay as they are.
    """
    is_prefix, later = batch.is_prefix, torch.arange(1, length + 1, device=batch.device)
    return replace(
        batch,
        tokens=functional.pad(batch.tokens, (0, length)),
        positions=torch.cat((batch.positions, batch.positions[:, -1:] + later), dim=1),
        segments=longer(batch.segments, length),
        is_prefix=None if is_prefix is None else functional.pad(is_prefix, (0, length), value=False),
        token_types=longer(batch.token_types, length),
    )


def longer(part: Tensor | None, length: int) -> Tensor | None:
    """part (B,T) with its last cell repeated `length` times at the end."""
    return None if part is None else torch.cat((part, repeat(part[:, -1], "b -> b n", n=length)), dim=1)


def blank_columns(batch: Batch, length: int) -> tuple[Tensor, Tensor]:
    """Columns (B,length) of each row's first blanks (cells with weight), and False where there is none."""
    blanks = batch.weights > 0
    columns = (~blanks).long().argsort(dim=1, stable=True)[:, :length]
    return columns, blanks.gather(1, columns)
