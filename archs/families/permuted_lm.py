"""Permuted LM: two-stream attention over a factorisation order (Yang et al. 2019, XLNet).

T content rows and M query rows go through each layer together, with one set of weights. Only the T content
rows are keys. A query row knows the position of its target, and not its token.
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
from archs.families.steps import blank_columns, precomputed
from archs.masks import Mask, document, order


def mask(batch: Batch) -> Mask:
    """The mask over T + M queries and T keys: content of rank r has rank 2r here, its query row 2r - 1.

    Raises UserError for a batch with a mask of its own.
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
    """The columns (B,M) of the query rows; unused slots have column 0, and their rows are not read."""
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
        """Cheaper than `hidden`: the last layer needs only keys and values of the content rows."""
        if type(self).hidden is not PermutedLM.hidden:  # a subclass has a pass of its own
            return super().asked(batch)
        return self._take(self._rows(batch, last_from=batch.tokens.shape[1])[0], batch)

    def _rows(self, batch: Batch, last_from: int = 0) -> tuple[Tensor, list[Tensor]]:
        self.check_length(batch.positions)
        T = batch.tokens.shape[1]
        queries, types = query_columns(batch), batch.token_types
        positions = torch.cat((batch.positions, batch.positions.gather(1, queries)), dim=1)
        query_types = None if types is None else types.gather(1, queries)
        content = self.embed(batch.tokens, batch.positions, types)
        x = torch.cat((content, self.ask(positions[:, T:], query_types)), dim=1)
        if types is not None and query_types is not None:
            types = torch.cat((types, query_types), dim=1)
        return self.stack(x, positions, mask(batch), keys=T, token_types=types, last_from=last_from)

    def ask(self, positions: Tensor, token_types: Tensor | None = None) -> Tensor:
        """The query rows (B,M,D) at positions (B,M), as input of the first layer."""
        B, M = positions.shape
        return self.placement(repeat(self.query, "e -> b m e", b=B, m=M), positions, token_types)

    def _take(self, query_rows: Tensor, batch: Batch) -> Tensor:
        """query_rows (B,M,D) -> (N,D) in the order of `batch.target_index`."""
        if batch.queries is None or not batch.queries.shape[1]:
            if batch.supervised:
                raise UserError(
                    "a permuted LM is asked by query rows, and cells with weight came without `queries`; "
                    "give them, or build the batch with Permutation.ask"
                )
            return query_rows.new_zeros(len(batch.target_index), query_rows.shape[2])
        (B, T), M = batch.tokens.shape, batch.queries.shape[1]
        columns = torch.where(batch.queries >= 0, batch.queries, T)  # unused slots write to a spare column
        slots = repeat(torch.arange(M, device=batch.device), "m -> b m", b=B)
        slot_of = torch.zeros(B, T + 1, dtype=torch.long, device=batch.device).scatter(1, columns, slots)
        index = batch.asked()[0]
        row, column = index // T, index % T
        return query_rows[row, slot_of[row, column]]

    def steps(self, batch: Batch, length: int) -> Steps:
        """Steps that fill the blanks (cells with weight) from left to right."""
        return BlankSteps(self, batch, length)

    def flops(self, batch: Batch) -> int:
        """FLOPs of `asked`, whose last layer computes only keys and values of content rows."""
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
    """A permuted LM fills its blanks from left to right.

    A step reads two rows: the token just written, as content, and the query of the next blank. The cache
    holds the given tokens and then the written ones; their position ids say where they stand. All tokens in
    the cache come earlier in the order than the query, so only the document mask applies.
    """

    def __init__(self, family: PermutedLM, batch: Batch, length: int) -> None:
        family.check_length(batch.positions)
        self.family = family
        columns, is_blank = blank_columns(batch, length)
        self.room: Tensor | None = is_blank.sum(dim=1)
        segments = torch.zeros_like(batch.tokens) if batch.segments is None else batch.segments
        given = (batch.weights == 0) & (segments >= 0)
        self.given = max(int(given.sum(dim=1).max()), 1)  # the cache cannot be empty
        order = given.long().argsort(dim=1, stable=True)[:, -self.given :]
        cells = torch.cat((order, columns), dim=1)
        self.prompt = batch.tokens.gather(1, order)
        self.positions = batch.positions.gather(1, cells)
        self.types = None if batch.token_types is None else batch.token_types.gather(1, cells)
        used = torch.cat((given.gather(1, order), is_blank), dim=1)
        self.segments = segments.gather(1, cells).masked_fill(~used, PADDING)
        self.cache = Cache.empty(family.config.layers, capacity=cells.shape[1])
        self._precompute_mask()

    def first(self) -> Tensor:
        return self._read(self.prompt, document(self.segments))

    def next(self, tokens: Tensor) -> Tensor:
        return self._read(tokens[:, None], self.seen)

    def widen(self, times: int) -> None:
        rows = repeat(torch.arange(len(self.prompt), device=self.prompt.device), "b -> (b n)", n=times)
        self.positions, self.segments = self.positions[rows], self.segments[rows]
        self.types = None if self.types is None else self.types[rows]
        self.cache.take(rows)
        self._precompute_mask()

    def keep(self, rows: Tensor) -> None:
        self.cache.take(rows, cross=False)

    def _read(self, content: Tensor, mask: Mask) -> Tensor:
        """Appends content (B,n) to the cache and returns the logits (B,V) of the blank after it."""
        start, keys = self.cache.length, content.shape[1]
        positions = self.positions[:, start : start + keys + 1]
        types = None if self.types is None else self.types[:, start : start + keys + 1]
        content_types = None if types is None else types[:, :-1]
        query_types = None if types is None else types[:, -1:]
        x = torch.cat(
            (
                self.family.embed(content, positions[:, :-1], content_types),
                self.family.ask(positions[:, -1:], query_types),
            ),
            dim=1,
        )
        rows, _ = self.family.stack(x, positions, mask, keys=keys, cache=self.cache, token_types=types)
        return self.family.logits(rows[:, -1])

    def _precompute_mask(self) -> None:
        shape, device = self.segments.shape, self.segments.device
        self.seen = precomputed(document(self.segments), shape, self.given, device)
