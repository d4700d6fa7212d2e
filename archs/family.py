"""What the five families have in common: embeddings, the head, and the four verbs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from archs.batch import Batch
from archs.errors import UserError
from archs.heads import LanguageModelHead
from archs.masks import MaskBuilder
from archs.transformer import CoreConfig

Unit = Literal["nll", "pll"]


@dataclass(frozen=True)
class Hidden:
    """One pass: `targets` (N,D) at `batch.target_index`, `rows` (B,T,D), and every layer's rows (B,R,D)."""

    targets: Tensor
    rows: Tensor
    layers: list[Tensor] = field(default_factory=list)


@dataclass(frozen=True)
class Score:
    """Log-probabilities in nats (B,T), zero where nothing was asked; `unit` as in `Family`."""

    nats: Tensor
    unit: Unit


class Family(nn.Module, ABC):
    """A family of pretraining architectures.

    kind: which of the five it is; layout: how it is given a [source; target] pair; decoding: its own way
    to write, in words; unit: what its scores are. "nll": the chain rule's log-probabilities, they sum to a
    text's; "pll": pseudo-log-likelihood, each token given all others (Salazar et al. 2020). The two never
    share an axis.
    """

    kind: ClassVar[str]
    decoding: ClassVar[str]
    unit: ClassVar[Unit] = "nll"
    layout: ClassVar[Literal["in_place", "concatenated", "source_target", "permuted"]]

    def __init__(self, config: CoreConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocabulary, config.width)
        self.position_embedding = (
            nn.Embedding(config.max_length, config.width) if config.positions == "learned" else None
        )
        self.head = LanguageModelHead(self.embedding, config.tied)
        self.drop = nn.Dropout(config.dropout)
        for name, weight in self.named_parameters():
            nn.init.normal_(weight, std=0.02)
            assert name.endswith("weight")

    def embed(self, tokens: Tensor, positions: Tensor) -> Tensor:
        """tokens, positions (B,R) -> (B,R,D)."""
        return self.place(self.embedding(tokens), positions)

    def place(self, x: Tensor, positions: Tensor) -> Tensor:
        """Adds learned positions, if there are any, and dropout."""
        if self.position_embedding is not None:
            x = x + self.position_embedding(positions)
        return self.drop(x)

    def check_length(self, positions: Tensor) -> None:
        """Raises UserError if learned positions end before these ids (B,R) do. Called where texts come in."""
        most = self.config.max_length
        # No id is larger than the width: a device is waited for only where it might be too wide.
        if self.position_embedding is None or positions.shape[1] <= most or int(positions.max()) < most:
            return
        raise UserError(
            f"position {int(positions.max())} was asked of a family with {most} learned positions; shorten "
            "the text, or use positions=rope"
        )

    @abstractmethod
    def hidden(self, batch: Batch) -> Hidden:
        """One pass over the batch; the head is not run."""

    @abstractmethod
    def generate(
        self,
        batch: Batch,
        length: int,
        temperature: float = 0.0,
        rng: torch.Generator | None = None,
        forbid: Tensor | None = None,
    ) -> Tensor:
        """`length` new tokens (B,length) by the family's own decoder, from an objective's prompt.

        temperature 0 is greedy; `forbid` (V) bool marks tokens that are never written.
        """

    @abstractmethod
    def flops(self, batch: Batch) -> int:
        """FLOPs of one forward pass over the batch, head included; masked-out attention is charged."""

    @abstractmethod
    def reachable(self, batch: Batch, declared: MaskBuilder | None = None) -> list[dict[str, Tensor]]:
        """For each layer, which input cells (by stream) each of its rows may depend on: (B,R,cells) bool.

        By the family's own masks, or by `declared` for a family that has one mask alone.
        """

    @classmethod
    def depths(cls, reference: CoreConfig) -> Iterator[CoreConfig]:
        """The depths to try when this family is sized to match a single stack, most natural first."""
        yield reference

    def logits(self, hidden: Tensor) -> Tensor:
        """hidden (N,D) -> (N,V)."""
        return self.head(hidden)

    def score(self, batch: Batch) -> Score:
        """Log-probability of each asked target in one teacher-forced pass."""
        index, targets, weights = batch.asked()
        logp = self.logits(self.hidden(batch).targets).float().log_softmax(dim=-1)
        nats = torch.zeros(batch.tokens.numel(), device=logp.device)
        nats.index_add_(0, index, logp.gather(1, targets[:, None]).squeeze(1) * (weights > 0))
        return Score(nats.view(batch.tokens.shape), self.unit)


def take_targets(rows: Tensor, batch: Batch) -> Tensor:
    """(B,T,D) -> (N,D) at `batch.target_index`; padded entries take cell 0, which has weight 0 there."""
    return rows.flatten(0, 1)[batch.asked()[0]]
