"""Permuted LM: two-stream attention over a factorisation order (Yang et al. 2019, XLNet).

T content rows and M query rows go through one call a layer with one set of weights; keys and values are
the first T rows. A query row knows its target's position and not its token.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from archs.batch import Batch
from archs.count import head_flops, stack_flops
from archs.errors import UserError
from archs.family import Family, Hidden
from archs.flow import closure
from archs.generate import blank_columns, pick
from archs.masks import Mask, MaskBuilder, document, order
from archs.transformer import Cache, CoreConfig, Stack


def mask(batch: Batch) -> Mask:
    """Over T + M queries and T keys: content of rank r has 2r, its query 2r-1."""
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
        self.query = nn.Parameter(torch.randn(config.width) * 0.02)

    def hidden(self, batch: Batch) -> Hidden:
        self.check_length(batch.positions)
        T = batch.tokens.shape[1]
        positions = torch.cat((batch.positions, batch.positions.gather(1, query_columns(batch))), dim=1)
        x = torch.cat((self.embed(batch.tokens, batch.positions), self.ask(positions[:, T:])), dim=1)
        rows, layers = self.stack(x, positions, mask(batch), keys=T)
        return Hidden(self._take(rows[:, T:], batch), rows[:, :T], layers)

    def ask(self, positions: Tensor) -> Tensor:
        """The query rows (B,M,D) at these positions, before any layer."""
        return self.place(self.query.expand(*positions.shape, -1), positions)

    def _take(self, asked: Tensor, batch: Batch) -> Tensor:
        """Query rows (B,M,D) -> (N,D) in the order of `batch.target_index`."""
        if batch.queries is None or not batch.queries.shape[1]:
            return asked.new_zeros(len(batch.target_index), asked.shape[2])  # nothing is asked
        (B, T), M = batch.tokens.shape, batch.queries.shape[1]
        columns = torch.where(batch.queries >= 0, batch.queries, T)  # unused slots write to a spare column
        slots = torch.arange(M, device=batch.device).expand(B, M)
        slot_of = torch.zeros(B, T + 1, dtype=torch.long, device=batch.device).scatter(1, columns, slots)
        index = batch.asked()[0]
        row, column = index // T, index % T
        return asked[row, slot_of[row, column]]

    @torch.no_grad()
    def generate(
        self,
        batch: Batch,
        length: int,
        temperature: float = 0.0,
        rng: torch.Generator | None = None,
        forbid: Tensor | None = None,
    ) -> Tensor:
        """Fills the cells with weight from left to right; a row with fewer than `length` is padded with 0.

        Each step is one pass over two rows: the content just written and the query for the next blank.
        The blanks are hidden in the cache as padding; what is written goes to new rows at its end, whose
        position ids, not slots, say where it stands.
        """
        self.check_length(batch.positions)
        T = batch.tokens.shape[1]
        blanks = batch.weights > 0
        segments = torch.zeros_like(batch.tokens) if batch.segments is None else batch.segments
        columns, real = blank_columns(batch, length)
        positions = batch.positions.gather(1, columns)
        written_segments = segments.gather(1, columns).masked_fill(~real, -1)
        key_segments = torch.cat((segments.masked_fill(blanks, -1), written_segments), dim=1)
        cache = Cache.empty(self.config.layers, capacity=T + length)

        def read(content: Tensor, at: Tensor, content_segments: Tensor, number: int) -> Tensor:
            """Appends content (B,n) at positions `at`, and asks for blank `number`: logits (B,V)."""
            rows_at = torch.cat((at, positions[:, number : number + 1]), dim=1)
            x = torch.cat((self.embed(content, at), self.ask(rows_at[:, -1:])), dim=1)
            # All rows in the cache come before these in the order, so the document alone decides; the mask
            # reads row numbers in the cache, where this pass's first row is `start`.
            start = cache.length
            asking = torch.cat((content_segments, written_segments[:, number : number + 1]), dim=1)
            seen = document(functional.pad(asking, (start, 0)), key_segments)
            rows, _ = self.stack(x, rows_at, seen, keys=content.shape[1], cache=cache)
            return self.logits(rows[:, -1])

        logits = read(batch.tokens, batch.positions, segments.masked_fill(blanks, -1), 0)
        written = [pick(logits, temperature, rng, forbid)]
        for number in range(1, length):
            last = slice(number - 1, number)
            logits = read(written[-1][:, None], positions[:, last], written_segments[:, last], number)
            written.append(pick(logits, temperature, rng, forbid))
        return torch.stack(written, dim=1) * real

    def flops(self, batch: Batch) -> int:
        B, T = batch.tokens.shape
        M = 0 if batch.queries is None else batch.queries.shape[1]
        body = B * stack_flops(self.config, self.config.layers, rows=T + M, keys=T)
        return body + head_flops(self.config, len(batch.target_index))

    def reachable(self, batch: Batch, declared: MaskBuilder | None = None) -> list[dict[str, Tensor]]:
        if declared is not None:
            raise UserError(f"{self.kind} has more than one mask; check it without `declared`")
        B, T = batch.tokens.shape
        R = T + query_columns(batch).shape[1]
        rows, cells = torch.arange(R, device=batch.device), torch.arange(T, device=batch.device)
        seen = mask(batch).dense(B, rows, cells)
        itself = torch.eye(R, T, dtype=torch.bool, device=batch.device).expand(B, R, T)
        return [{"tokens": reached} for reached in closure(seen, itself, self.config.layers)]
