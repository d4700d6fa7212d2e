"""What every objective has in common: what it is given, what it builds, how its loss is summed."""

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
    """What an objective knows of the tokenizer: its size, its special ids, where words start, sentences end.

    word_starts (V) bool: the piece begins a word; special (V) bool: the piece is never hidden.
    sentinels: ids of <extra_id_0>, <extra_id_1>, … (Raffel et al. 2020).
    sentence_ends (V) bool: the piece ends a sentence; None = unknown, which some objectives refuse.
    kinds (V) uint8: bits of objectives.marks, what the piece is; None = unknown.
    neighbours (V,K) int64: tokens similar to each, -1 = no more; None where no recipe asked for them.
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
    """Raw text of one optimiser step, the same for every arm.

    tokens (B,W) int64; segments (B,W) int64: document number in the row, -1 = padding, None = one full
    document in every row. step: its number, from 0; fraction: of the budget, at the middle of the step, None
    where that is not known beforehand (a budget in seconds). marks (B,W) uint8: bits of objectives.marks,
    what a segmenter or an annotator said of the text's words and chunks; None where there was neither.
    """

    tokens: Tensor
    segments: Tensor | None = None
    step: int = 0
    fraction: float | None = 0.0
    marks: Tensor | None = None


@dataclass(frozen=True)
class Loss:
    """`value` is minimised; `terms` are the detached means, in nats per unit of weight, by name."""

    value: Tensor
    terms: dict[str, Tensor] = field(default_factory=dict)


class Objective:
    """Turns raw windows into a batch that asks something, and sums the loss.

    `families` names the kinds of family it can train; `needs` the special tokens. `layout` says how the
    family is given a [source; target] pair and comes from the family. Options are keyword arguments.
    language_model: whether the family's head learns to predict tokens, so that it can score and write.
    moves_text: whether what stands first in a text need not stand first in what is read.
    uses_all_parameters: whether every step gives all parameters a gradient, the objective's own too.
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
        """The batches that validation asks of held-out windows; the mean of their losses is reported."""
        return [self.build(windows, rng)]

    def ask(self, context: Tensor, continuation: Tensor) -> Batch:
        """A teacher-forced batch that asks for `continuation` (B,R) given the text `context` (B,L)."""
        raise NotImplementedError

    def prompt(self, context: Tensor, length: int) -> Batch:
        """A batch from which the family's decoder writes `length` tokens after `context` (B,L).

        In-place and permuted layouts hold `length` blanks with weight 1; the others end where the first
        new token is due.
        """
        raise NotImplementedError

    def flops(self, family: Family, batch: Batch) -> int:
        """Training FLOPs of one optimiser step: forward and backward, all passes.

        By the shapes of the batch alone: plans count with batches that hold no values.
        """
        return FORWARDS_A_TRAINING_STEP * family.flops(batch)

    def supervised(self, batch: Batch) -> int:
        """How many targets the *global* batch supervises, by the weights of its totals."""
        return round(batch.totals["tokens"])

    def modules(self, family: Family) -> nn.ModuleDict:
        """What is trained besides the family; dropped at export. It may share the family's parameters."""
        return nn.ModuleDict()

    def loss(self, family: Family, modules: nn.ModuleDict, batch: Batch) -> Loss:
        """The one weighted cross-entropy; overridden only where there is a second term."""
        _, targets, weights = batch.asked()
        value = token_loss(family, family.asked(batch), targets, weights, batch.totals["tokens"])
        return Loss(value, {"tokens": value.detach()})
