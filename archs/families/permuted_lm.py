"""Permuted LM: two-stream attention over a factorisation order (Yang et al. 2019, XLNet).

T content rows and M query rows go through one call a layer with one set of weights; keys and values are
the first T rows. A query row knows its target's position and not its token.
"""

from __future__ import annotations

import torch
from einops import repeat
from torch import Tensor, nn

from archs.batch import PADDING, Batch, MaskBuilder
from archs.config import CoreConfig
from archs.core.cache import Cache
from archs.core.flops import distance_flops, head_flops, stack_flops
from archs.core.reach import Reach, closure, seen_in
from archs.core.transformer import Stack
from archs.decoding.decoding import Steps
from archs.errors import UserError
from archs.families.family import Family, Hidden
from archs.families.steps import blank_columns, settled
from archs.masks import Mask, document, order


def mask(batch: Batch) -> Mask:
    """Over T + M queries and T keys: content of rank r has 2r, its query 2r-1.

    Raises UserError for a batch that brings a mask of its own.
    """
    if batch.mask is not None:
        raise UserError(
            "a permuted LM's mask is its order, and the batch brought another; give `rank` instead"
        )
    queries = query_columns(batch)
    rank = torch.zeros_like(batch.tokens) if batch.rank is None else batch.rank
    row_rank = torch.cat((2 * rank, 2 * rank.gather(1, queries) - 1), dim=1)
    segments = batch.segments
    if segments is None:
        return order(row_rank, 2 * rank)
    row_segments = torch.cat((segments, segments.gather(1, queries)), dim=1)
    return order(row_rank, 2 * rank) & document(row_segments, segments)


def query_columns(batch: Batch) -> Tensor:
    """(B,M) columns that have a query row; unused slots ask at column 0 and are never read."""
    if batch.queries is None:
        return batch.tokens.new_empty(len(batch.tokens), 0)
    return batch.queries.clamp(min=0)


class PermutedLM(Family):
    kind = "permuted_lm"
    layout = "permuted"
    decoding = "left to right in the blanks, cached"

    def __init__(self, config: CoreConfig) -> None:
        super().__init__(config)
        self.stack = Stack(config, config.layers)
        self.query = nn.Parameter(torch.randn(config.token_width) * 0.02)

    def hidden(self, batch: Batch) -> Hidden:
        T = batch.tokens.shape[1]
        rows, layers = self._rows(batch)
        return Hidden(self._take(rows[:, T:], batch), rows[:, :T], layers)

    def asked(self, batch: Batch) -> Tensor:
        """The last layer computes query rows alone: of content rows it needs keys and values."""
        if type(self).hidden is not PermutedLM.hidden:  # a pass of its own, which this would go past
            return super().asked(batch)
        return self._take(self._rows(batch, last_from=batch.tokens.shape[1])[0], batch)

    def _rows(self, batch: Batch, last_from: int = 0) -> tuple[Tensor, list[Tensor]]:
        self.check_length(batch.positions)
        T = batch.tokens.shape[1]
        queries, types = query_columns(batch), batch.token_types
        positions = torch.cat((batch.positions, batch.positions.gather(1, queries)), dim=1)
        asked_types = None if types is None else types.gather(1, queries)
        content = self.embed(batch.tokens, batch.positions, types)
        x = torch.cat((content, self.ask(positions[:, T:], asked_types)), dim=1)
        if types is not None and asked_types is not None:
            types = torch.cat((types, asked_types), dim=1)
        return self.stack(x, positions, mask(batch), keys=T, token_types=types, last_from=last_from)

    def ask(self, positions: Tensor, token_types: Tensor | None = None) -> Tensor:
        """The query rows (B,M,D) at these positions (B,M), before any layer."""
        B, M = positions.shape
        return self.placement(repeat(self.query, "e -> b m e", b=B, m=M), positions, token_types)

    def _take(self, asked: Tensor, batch: Batch) -> Tensor:
        """Query rows (B,M,D) -> (N,D) in the order of `batch.target_index`."""
        if batch.queries is None or not batch.queries.shape[1]:
            if batch.supervised:
                raise UserError(
                    "a permuted LM is asked by query rows, and cells with weight came without `queries`; "
                    "give them, or build the batch with Permutation.ask"
                )
            return asked.new_zeros(len(batch.target_index), asked.shape[2])
        (B, T), M = batch.tokens.shape, batch.queries.shape[1]
        columns = torch.where(batch.queries >= 0, batch.queries, T)  # unused slots write to a spare column
        slots = repeat(torch.arange(M, device=batch.device), "m -> b m", b=B)
        slot_of = torch.zeros(B, T + 1, dtype=torch.long, device=batch.device).scatter(1, columns, slots)
        index = batch.asked()[0]
        row, column = index // T, index % T
        return asked[row, slot_of[row, column]]

    def steps(self, batch: Batch, length: int) -> Steps:
        """Fills the cells with weight from left to right."""
        return BlankSteps(self, batch, length)

    def flops(self, batch: Batch) -> int:
        """Of `asked`: the last layer's content rows are keys and values alone."""
        B, T = batch.tokens.shape
        M = 0 if batch.queries is None else batch.queries.shape[1]
        body = B * stack_flops(self.config, self.config.layers, rows=T + M, keys=T, last=M)
        body += distance_flops(self.config, self.config.layers, keys=T)
        return body + head_flops(self.config, len(batch.target_index))

    def reachable(self, batch: Batch, declared: MaskBuilder | None = None) -> Reach:
        if declared is not None:
            raise UserError(f"{self.kind} has more than one mask; check it without `declared`")
        positions = torch.cat((batch.positions, batch.positions.gather(1, query_columns(batch))), dim=1)
        seen = seen_in(self.stack, mask(batch), positions, keys=batch.tokens.shape[1])
        return {"tokens": [{"tokens": reached} for reached in closure(seen)]}


class BlankSteps:
    """The blanks of a permuted LM from left to right: a step reads two rows, the content just written and the
    query for the next blank.

    Only what is given enters the cache, and then what is written; position ids, not slots, say where it
    stands. Nothing in the cache comes later in the order, so the document alone decides who sees what.
    """

    def __init__(self, family: PermutedLM, batch: Batch, length: int) -> None:
        family.check_length(batch.positions)
        self.family = family
        columns, real = blank_columns(batch, length)
        self.room: Tensor | None = real.sum(dim=1)
        segments = torch.zeros_like(batch.tokens) if batch.segments is None else batch.segments
        given = (batch.weights == 0) & (segments >= 0)
        self.given = max(int(given.sum(dim=1).max()), 1)  # the cache cannot be empty
        order = given.long().argsort(dim=1, stable=True)[:, -self.given :]
        where = torch.cat((order, columns), dim=1)
        self.prompt = batch.tokens.gather(1, order)
        self.positions = batch.positions.gather(1, where)
        self.types = None if batch.token_types is None else batch.token_types.gather(1, where)
        there = torch.cat((given.gather(1, order), real), dim=1)
        self.segments = segments.gather(1, where).masked_fill(~there, PADDING)
        self.cache = Cache.empty(family.config.layers, capacity=where.shape[1])
        self._settle()

    def first(self) -> Tensor:
        return self._read(self.prompt, document(self.segments))

    def next(self, tokens: Tensor) -> Tensor:
        return self._read(tokens[:, None], self.seen)

    def widen(self, times: int) -> None:
        rows = repeat(torch.arange(len(self.prompt), device=self.prompt.device), "b -> (b n)", n=times)
        self.positions, self.segments = self.positions[rows], self.segments[rows]
        self.types = None if self.types is None else self.types[rows]
        self.cache.take(rows)
        self._settle()

    def keep(self, rows: Tensor) -> None:
        self.cache.take(rows, cross=False)

    def _read(self, content: Tensor, mask: Mask) -> Tensor:
        """Appends content (B,n), and asks for the blank after it."""
        start, keys = self.cache.length, content.shape[1]
        positions = self.positions[:, start : start + keys + 1]
        types = None if self.types is None else self.types[:, start : start + keys + 1]
        told = None if types is None else types[:, :-1]
        asked = None if types is None else types[:, -1:]
        x = torch.cat(
            (
                self.family.embed(content, positions[:, :-1], told),
                self.family.ask(positions[:, -1:], asked),
            ),
            dim=1,
        )
        rows, _ = self.family.stack(x, positions, mask, keys=keys, cache=self.cache, token_types=types)
        return self.family.logits(rows[:, -1])

    def _settle(self) -> None:
        shape, device = self.segments.shape, self.segments.device
        self.seen = settled(document(self.segments), shape, self.given, device)
