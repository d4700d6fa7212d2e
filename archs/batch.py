"""The batch that objectives build and families read: inputs, targets and their weights.

Axes: B rows, T positions of the stack that predicts, S positions of the encoder's source, M query rows of
a permuted LM, N targets (flat over B·T, padded to a multiple of `TARGET_MULTIPLE`).
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
    """The input of one optimiser step, or some rows of it. Make one with `Batch.of`.

    tokens (B,T) int64        the input of the stack
    targets (B,T) int64       the output *at* t predicts targets[t]
    weights (B,T) float32     weight of each target in the loss, 0 = no target
    positions (B,T) int64     position ids, counted within each document
    segments (B,T) int64      document number in the row, -1 = padding; None = one full document a row
    is_prefix (B,T) bool      read in both directions by a prefix LM; None = no cell is
    token_types (B,T) int64   part of a pair (BERT's segments), None = all 0
    rank (B,T) int64          place in the factorisation order, 0 = given context; None = all given
    queries (B,M) int64       columns that have a query row (permuted LM), -1 = unused slot
    source, source_positions, source_segments (B,S)   the encoder's input, as above
    pair_label (B) int64      class of the row, -1 = none
    extras                    further tensors of an objective, whose first axis is B
    totals                    summed weight of each loss term over the *global* batch
    target_index (N) int64    flat indices into B·T of the targets, padded with -1
    mask                      builder of the mask of the stack that predicts, in place of the family's own
    part                      number of the part of a mixture that built the batch
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
        """A batch with its positions, totals and target_index computed. Without `weights` it has no targets.

        Raises ValueError if `queries` leaves out a cell with weight.
        """
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
        """The number of targets in these rows."""
        return int((self.weights > 0).sum())

    def asked(self) -> tuple[Tensor, Tensor, Tensor]:
        """(N) each: `target_index` with 0 in place of padding, its targets, their weights (0 for padding)."""
        index = self.target_index.clamp(min=0)
        weights = self.weights.flatten()[index] * (self.target_index >= 0)
        return index, self.targets.flatten()[index], weights

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """All tensors with their names; extras are named `extras.NAME`."""
        for spec in fields(self):
            value = getattr(self, spec.name)
            if isinstance(value, Tensor):
                yield spec.name, value
        for name, value in self.extras.items():
            yield f"extras.{name}", value

    def rows(self, chosen: slice | Tensor) -> Batch:
        """Some rows, by slice or number. `totals` stay the global batch's, so that losses of parts add up."""
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
    """(B,M) bool: the query's cell has weight."""
    return (weights.gather(1, queries.clamp(min=0)) > 0) & (queries >= 0)


def positions_within(tokens: Tensor, segments: Tensor | None) -> Tensor:
    """Position ids (B,T): the number of earlier cells of the row that belong to the same document.

    The parts of a document need not be neighbours: segments `[0, 0, 1, 1, 0]`, of source A, source B and
    target A, have positions `[0, 1, 0, 1, 2]`.
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
