"""The one currency between objectives and families: what is read, and what is asked.

Axes: B rows, T positions of the stack that is asked, S positions of the encoder's source, M query rows of
a permuted LM, N asked targets (flat over B·T, padded to a multiple of `TARGET_MULTIPLE`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from einops import repeat
from torch import Tensor

from archs.masks import Mask

TARGET_MULTIPLE = 128
PADDING = -1  # segment of a cell that holds no token; also an unused slot of `queries` and `target_index`


@dataclass(frozen=True, eq=False)
class Batch:
    """One optimiser step's input, or some rows of it. Make one with `Batch.of`.

    tokens (B,T) int64        what the stack reads
    targets (B,T) int64       the output *at* t is asked for targets[t]
    weights (B,T) float32     0 = not asked
    positions (B,T) int64     position ids, counted within each document
    segments (B,T) int64      document number in the row, -1 = padding; None = one full document a row
    is_prefix (B,T) bool      read in both directions by a prefix LM; None = nothing is
    token_types (B,T) int64   part of a pair (BERT's segments), None = all 0
    rank (B,T) int64          place in the factorisation order, 0 = given context; None = all given
    queries (B,M) int64       columns that get a query row (permuted LM), -1 = unused slot
    source, source_positions, source_segments (B,S)   the encoder's input, as above
    pair_label (B) int64      class of the row, -1 = not asked
    totals                    summed weight of each loss term over the *global* batch
    target_index (N) int64    flat indices into B·T of the asked targets, padded with -1
    mask                      who sees whom in the stack that is asked, in place of the family's own mask
    part                      which part of a mixture of objectives built it
    """

    tokens: Tensor
    targets: Tensor
    weights: Tensor
    positions: Tensor
    segments: Tensor | None = None
    is_prefix: Tensor | None = None
    token_types: Tensor | None = None
    rank: Tensor | None = None
    queries: Tensor | None = None
    source: Tensor | None = None
    source_positions: Tensor | None = None
    source_segments: Tensor | None = None
    pair_label: Tensor | None = None
    extras: dict[str, Tensor] = field(default_factory=dict)
    totals: dict[str, float] = field(default_factory=dict)
    target_index: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.long))
    mask: MaskBuilder | None = None
    part: int = 0

    @classmethod
    def of(
        cls,
        tokens: Tensor,
        targets: Tensor | None = None,
        weights: Tensor | None = None,
        *,
        segments: Tensor | None = None,
        source: Tensor | None = None,
        source_segments: Tensor | None = None,
        pair_label: Tensor | None = None,
        **rest: Any,
    ) -> Batch:
        """A batch with positions, totals and target_index worked out. Nothing asked if no `weights`."""
        targets = tokens if targets is None else targets
        weights = torch.zeros(tokens.shape, device=tokens.device) if weights is None else weights.float()
        queries = rest.get("queries")
        if queries is not None and (weights > 0).sum() > _asked_at(weights, queries).sum():
            raise ValueError("a cell is asked that has no query row: add its column to `queries`")
        totals = {"tokens": float(weights.sum())}
        if pair_label is not None:
            totals["pair"] = float((pair_label >= 0).sum())
        return cls(
            tokens=tokens,
            targets=targets,
            weights=weights,
            positions=positions_within(tokens, segments),
            segments=segments,
            source=source,
            source_positions=None if source is None else positions_within(source, source_segments),
            source_segments=source_segments,
            pair_label=pair_label,
            totals=totals,
            target_index=index_targets(weights),
            **rest,
        )

    @property
    def device(self) -> torch.device:
        return self.tokens.device

    @property
    def supervised(self) -> int:
        """How many tokens of these rows are asked."""
        return int((self.weights > 0).sum())

    def asked(self) -> tuple[Tensor, Tensor, Tensor]:
        """`target_index` safe to gather with, the targets there, their weights (0 where padded): (N) each."""
        index = self.target_index.clamp(min=0)
        weights = self.weights.flatten()[index] * (self.target_index >= 0)
        return index, self.targets.flatten()[index], weights

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Every tensor with its name, extras as `extras.name`."""
        for spec in fields(self):
            value = getattr(self, spec.name)
            if isinstance(value, Tensor):
                yield spec.name, value
        for name, value in self.extras.items():
            yield f"extras.{name}", value

    def rows(self, chosen: slice | Tensor) -> Batch:
        """Some rows, by slice or number; `totals` stay the global batch's, so that losses of parts add up."""
        cut = {
            name: value[chosen]
            for name, value in self.tensors()
            if name != "target_index" and not name.startswith("extras.")
        }
        cut["target_index"] = index_targets(cut["weights"])
        return replace(self, **cut, extras={name: value[chosen] for name, value in self.extras.items()})

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        return self._map(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Batch:
        return self._map(Tensor.pin_memory)

    def _map(self, change: Any) -> Batch:
        moved = {name: change(t) for name, t in self.tensors() if not name.startswith("extras.")}
        return replace(self, **moved, extras={name: change(t) for name, t in self.extras.items()})


def _asked_at(weights: Tensor, queries: Tensor) -> Tensor:
    """(B,M) bool: the query's cell is asked."""
    return (weights.gather(1, queries.clamp(min=0)) > 0) & (queries >= 0)


def positions_within(tokens: Tensor, segments: Tensor | None) -> Tensor:
    """Position ids (B,T): how many earlier cells of the row belong to the same document.

    A document's parts need not be neighbours: in `[source A, source B, target A]` with segments
    `[0, 0, 1, 1, 0]` the positions are `[0, 1, 0, 1, 2]`.
    """
    B, T = tokens.shape
    slots = repeat(torch.arange(T, device=tokens.device), "t -> b t", b=B)
    if segments is None:
        return slots.contiguous()
    order = segments.argsort(dim=1, stable=True)
    ordered = segments.gather(1, order)
    starts = torch.ones_like(ordered, dtype=torch.bool)
    starts[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    first = torch.where(starts, slots, 0).cummax(dim=1).values
    return torch.empty_like(slots).scatter_(1, order, slots - first)


def index_targets(weights: Tensor) -> Tensor:
    """Flat indices (N) of the cells with weight, padded with -1 to a multiple of `TARGET_MULTIPLE`.

    The padding keeps compiled graphs from changing with every batch's number of targets.
    """
    index = weights.flatten().nonzero().squeeze(1)
    padded = -(-max(len(index), 1) // TARGET_MULTIPLE) * TARGET_MULTIPLE
    return torch.nn.functional.pad(index, (0, padded - len(index)), value=PADDING)


MaskBuilder = Callable[["Batch"], Mask]
