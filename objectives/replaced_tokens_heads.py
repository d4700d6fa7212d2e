"""Heads that predict something about a text in which a generator replaced tokens (Clark et al. 2020)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from archs.batch import Batch
from archs.config import CoreConfig
from archs.core.flops import head_flops
from archs.core.layers import initialise
from archs.families.family import Family, Hidden


@dataclass(frozen=True)
class Cells:
    """The N target cells.

    rows (N,D): the family's hidden states. read (N) int64: the tokens that the family read. originals (N)
    int64: the tokens of the text. weights (N) float: 0 = no target.
    """

    rows: Tensor
    read: Tensor
    originals: Tensor
    weights: Tensor


def every_cell(hidden: Hidden, batch: Batch) -> Cells:
    """All cells except padding, special tokens too; `batch.tokens` has replacements, `targets` has none."""
    tokens, targets = batch.tokens.flatten(), batch.targets.flatten()
    rows = rearrange(hidden.rows, "b t d -> (b t) d")
    return Cells(rows, tokens, targets, real(batch).flatten().float())


def hidden_cells(hidden: Hidden, batch: Batch) -> Cells:
    """Only the cells that were hidden from the generator."""
    index, targets, weights = batch.asked()
    return Cells(hidden.targets, batch.tokens.flatten()[index], targets, weights)


def real(batch: Batch) -> Tensor:
    """(B,T) bool: the cell is not padding."""
    if batch.segments is None:
        return torch.ones_like(batch.tokens, dtype=torch.bool)
    return batch.segments >= 0


class Head(nn.Module, ABC):
    """A head with a loss in nats for each cell.

    term: name of the loss. weight: its default weight, relative to the generator's loss. language_model:
    whether it trains the family's own head to predict tokens.
    """

    term: ClassVar[str]
    weight: ClassVar[float]
    language_model: ClassVar[bool]

    def __init__(self, width: int) -> None:
        super().__init__()

    @abstractmethod
    def forward(self, family: Family, cells: Cells) -> Tensor:
        """(N): the loss at each cell."""

    @staticmethod
    @abstractmethod
    def flops(config: CoreConfig, cells: int) -> int:
        """Forward FLOPs for so many cells."""


class Discriminator(Head):
    """Was this token replaced? A dense layer, GELU, one logit, binary cross-entropy."""

    term = "replaced"
    weight = 50.0
    language_model = False

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.dense = nn.Linear(width, width)
        self.logit = nn.Linear(width, 1)
        initialise(self)

    def forward(self, family: Family, cells: Cells) -> Tensor:
        logits = self.logit(functional.gelu(self.dense(cells.rows))).squeeze(1).float()
        answers = (cells.read != cells.originals).float()
        return functional.binary_cross_entropy_with_logits(logits, answers, reduction="none")

    @staticmethod
    def flops(config: CoreConfig, cells: int) -> int:
        return 2 * cells * config.width * (config.width + 1)


class Original(Head):
    """Which token stood here? Uses the family's own head; it has no weights of its own."""

    term = "originals"
    weight = 1.0
    language_model = True

    def forward(self, family: Family, cells: Cells) -> Tensor:
        logits = family.logits(cells.rows).float()
        return functional.cross_entropy(logits, cells.originals, reduction="none")

    @staticmethod
    def flops(config: CoreConfig, cells: int) -> int:
        return head_flops(config, cells)


class CopyOrOriginal(Original):
    """p(token) = D [token is the one read] + (1 - D) softmax(token), with D from a sigmoid."""

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.copy = nn.Linear(width, 1)
        initialise(self)

    def forward(self, family: Family, cells: Cells) -> Tensor:
        copy = self.copy(cells.rows).squeeze(1).float()
        predicted = functional.logsigmoid(-copy) - super().forward(family, cells)
        either = torch.logaddexp(functional.logsigmoid(copy), predicted)
        return -torch.where(cells.read == cells.originals, either, predicted)

    @staticmethod
    def flops(config: CoreConfig, cells: int) -> int:
        return head_flops(config, cells) + 2 * cells * config.width
