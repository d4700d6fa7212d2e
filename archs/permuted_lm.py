"""Permuted LM: two-stream attention over a factorisation order (Yang et al. 2019, XLNet).

T content rows and M query rows go through one call a layer with one set of weights; keys and values are
the first T rows. A query row knows its target's position and not its token.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from archs.batch import Batch
from archs.config import CoreConfig
from archs.count import distance_flops, head_flops, stack_flops
from archs.decoding import Steps
from archs.errors import UserError
from archs.family import Family, Hidden
from archs.flow import closure, seen_in
from archs.flow_report import Reach
from archs.masks import Mask, MaskBuilder, document, order
from archs.steps import BlankSteps
from archs.transformer import Stack


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
        return self.placement(self.query.expand(*positions.shape, -1), positions, token_types)

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
        slots = torch.arange(M, device=batch.device).expand(B, M)
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
