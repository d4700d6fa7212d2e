"""The base class of objectives, and its inputs and outputs: vocabulary, windows, loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from archs.batch import Batch
from archs.count import FORWARDS_A_TRAINING_STEP
from archs.errors import UserError
from archs.families.family import Family
from objectives.loss import token_loss

Layout = Literal["in_place", "concatenated", "source_target", "permuted"]

# select(tokens (B,W) int64, word_starts (B,W) bool, special (B,W) bool, rng) -> hide (B,W) bool
Select = Callable[[Tensor, Tensor, Tensor, torch.Generator], Tensor]


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """The tokenizer's vocabulary, as objectives need it.

    size: V. word_starts (V) bool: the piece begins a word. special (V) bool: the piece is never hidden.
    sentinels: ids of <extra_id_0>, <extra_id_1>, … (Raffel et al. 2020).
    sentence_ends (V) bool: the piece ends a sentence; None = unknown, which some objectives refuse.
    kinds (V) uint8: bits of objectives.marks that describe the piece; None = unknown.
    neighbours (V,K) int64: tokens similar to each token, -1 = no more; None if the recipe does not need them.
    """

    size: int
    word_starts: Tensor
    special: Tensor
    pad: int
    bos: int
    eos: int
    mask: int | None = None
    cls: int | None = None
    sep: int | None = None
    sentinels: tuple[int, ...] = ()
    sentence_ends: Tensor | None = None
    kinds: Tensor | None = None
    neighbours: Tensor | None = None

    @cached_property
    def ordinary(self) -> Tensor:
        """The ids that are not special, int64."""
        return (~self.special).nonzero().squeeze(1)

    def require(self, names: tuple[str, ...], who: str) -> None:
        """Raises UserError if a special token that `who` needs is missing."""
        missing = [name for name in names if getattr(self, name) in (None, ())]
        if missing:
            raise UserError(
                f"objective '{who}' needs the special tokens {', '.join(missing)}, which this tokenizer "
                "lacks; add them to the tokenizer, or let pentarch train one (data.tokenizer=null)"
            )


@dataclass(frozen=True)
class Windows:
    """The raw text of one optimiser step, the same for every arm of an experiment.

    tokens (B,W) int64. segments (B,W) int64: document number in the row, -1 = padding, None = one full
    document in each row. step: number of the step, from 0. fraction: share of the budget spent at the middle
    of the step; None if it is unknown (a budget in seconds). marks (B,W) uint8: bits of objectives.marks, the
    words and chunks that a segmenter or an annotator found; None without either.
    """

    tokens: Tensor
    segments: Tensor | None = None
    step: int = 0
    fraction: float | None = 0.0
    marks: Tensor | None = None


@dataclass(frozen=True)
class Loss:
    """value: the loss to minimise. terms: the detached mean of each term by name, in nats per weight."""

    value: Tensor
    terms: dict[str, Tensor] = field(default_factory=dict)


class Objective:
    """An objective builds a batch with targets from raw windows, and computes the loss.

    families: the kinds of family that it can train. needs: the special tokens that it needs. layout: how the
    family reads a [source; target] pair; it comes from the family. Options are keyword arguments.
    language_model: whether the family's head learns to predict tokens, so that the family can score and
    generate. moves_text: whether the first token of a text may come later in the input.
    uses_all_parameters: whether each step gives a gradient to all parameters, the objective's own included.
    """

    name: ClassVar[str]
    families: ClassVar[tuple[str, ...]]
    needs: ClassVar[tuple[str, ...]] = ()
    language_model: bool = True
    moves_text: ClassVar[bool] = False
    uses_all_parameters: ClassVar[bool] = True

    def __init__(self, vocabulary: Vocabulary, layout: Layout) -> None:
        vocabulary.require(self.needs, self.name)
        self.vocabulary = vocabulary
        self.layout: Layout = layout

    def build(self, windows: Windows, rng: torch.Generator) -> Batch:
        """The *global* batch of one optimiser step, on the CPU; pure in (windows, rng)."""
        raise NotImplementedError

    def validation(self, windows: Windows, rng: torch.Generator) -> list[Batch]:
        """The validation batches of held-out windows. The mean of their losses is reported."""
        return [self.build(windows, rng)]

    def ask(self, context: Tensor, continuation: Tensor) -> Batch:
        """A teacher-forced batch whose targets are `continuation` (B,R), given the text `context` (B,L)."""
        raise NotImplementedError

    def prompt(self, context: Tensor, length: int) -> Batch:
        """A batch from which the family generates `length` tokens after `context` (B,L).

        In the in-place and the permuted layout it has `length` blanks with weight 1. In the other layouts it
        ends before the first new token.
        """
        raise NotImplementedError

    def flops(self, family: Family, batch: Batch) -> int:
        """Training FLOPs of one optimiser step: forward and backward, all passes.

        Computed from the shapes of the batch only: plans use batches without values.
        """
        return FORWARDS_A_TRAINING_STEP * family.flops(batch)

    def supervised(self, batch: Batch) -> int:
        """The number of targets of the *global* batch, from its totals."""
        return round(batch.totals["tokens"])

    def modules(self, family: Family) -> nn.ModuleDict:
        """Modules that are trained beside the family and dropped at export. They may share its parameters."""
        return nn.ModuleDict()

    def loss(self, family: Family, modules: nn.ModuleDict, batch: Batch) -> Loss:
        """The weighted cross-entropy of the targets. An objective with a second term overrides it."""
        _, targets, weights = batch.asked()
        value = token_loss(family, family.asked(batch), targets, weights, batch.totals["tokens"])
        return Loss(value, {"tokens": value.detach()})
