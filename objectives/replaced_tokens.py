"""Replaced token detection (Clark et al. 2020, ELECTRA, arXiv:2003.10555) and its ablations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace as with_changes
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from archs.batch import Batch
from archs.config import CoreConfig
from archs.core.flops import distance_flops, head_flops, stack_flops
from archs.count import FORWARDS_A_TRAINING_STEP
from archs.errors import UserError, unknown
from archs.families.encoder_ae import EncoderAE
from archs.families.family import Family
from objectives.base import Layout, Loss, Vocabulary, Windows
from objectives.loss import share, weighted_cross_entropy
from objectives.mlm import MLM, check_weight
from objectives.replace import mask_only
from objectives.replaced_tokens_heads import (
    CopyOrOriginal,
    Discriminator,
    Head,
    Original,
    every_cell,
    hidden_cells,
    real,
)
from objectives.select import uniform

Variant = Literal["electra", "electra_15", "replace_mlm", "all_tokens_mlm"]
VARIANTS: dict[Variant, tuple[type[Head], bool]] = {  # and whether it is asked at every cell
    "electra": (Discriminator, True),
    "electra_15": (Discriminator, False),
    "replace_mlm": (Original, False),
    "all_tokens_mlm": (CopyOrOriginal, True),
}


class ReplacedTokens(MLM):
    """A small generator fills in masks; the family tells which tokens are not those of the text.

    >>> objective = ReplacedTokens(VOCABULARY, "in_place", select=hiding(41, 43))
    >>> batch = objective.build(windows([[40, 41, 42, 43, 44, 45]]), seeded())
    >>> show(batch, "tokens", "targets", "weights")  # the generator's
    tokens   40  3 42  3 44 45
    targets  40 41 42 43 44 45
    weights   0  1  0  1  0  0
    >>> read = put_in(batch, functional.pad(torch.tensor([41, 77]), (0, 126)))  # its samples
    >>> show(read, "tokens")
    tokens  40 41 42 77 44 45
    >>> show(read.tokens != read.targets)  # a sampled token that equals the original is none
    0 0 0 1 0 0

    The loss is the generator's cross-entropy ("tokens") + weight x the family's; no gradient passes through
    the samples. A generator's sample is any token of its softmax, special ones too, as in ELECTRA. variant:

        electra         "replaced", binary, at every cell but padding. The paper's method
        electra_15      "replaced" at the cells that were hidden
        replace_mlm     "originals": the tokens that were hidden, by the family's LM head
        all_tokens_mlm  "originals": every token, which the family may copy from what it reads

    The first two leave the family's LM head untrained: it can be finetuned, but neither score nor write. The
    others' family reads [MASK] in training only where it was sampled, and yet `ask` and `prompt` ask behind
    [MASK]; there all_tokens_mlm answers by its softmax alone.

    generator: its width, ffn and heads as a share of the family's; it is as deep and shares all embeddings.
    weight: 50 if not given, as in the paper, or 1 where tokens are predicted, for which the paper gives none.
    Unlike the paper's code, all chosen tokens are masked for the generator, not 85% of them.
    """

    name = "replaced_tokens"
    uses_all_parameters = False  # the family's own head may be idle
    language_model = False  # of the default variant

    def __init__(
        self,
        vocabulary: Vocabulary,
        layout: Layout,
        select: Callable[..., Tensor] = uniform,
        rate: float = 0.15,
        generator: float = 0.25,
        weight: float | None = None,
        variant: Variant = "electra",
    ) -> None:
        super().__init__(vocabulary, layout, select, mask_only, rate)
        if not 0 < generator <= 1:
            raise UserError(
                f"objective '{self.name}': generator={generator} is not above 0 and at most 1, the family's "
                "size; ELECTRA's are 0.25 to 0.5"
            )
        if variant not in VARIANTS:
            raise unknown(f"variant of objective '{self.name}'", variant, VARIANTS)
        self.head, self.everywhere = VARIANTS[variant]
        self.variant = variant
        self.generator = generator
        self.weight = self.head.weight if weight is None else weight
        check_weight(self.weight, self.name)
        self.language_model = self.head.language_model

    def build(self, windows: Windows, rng: torch.Generator) -> Batch:
        """What the generator reads, with the total of the family's term besides its own."""
        batch = super().build(windows, rng)
        asked = float(real(batch).sum()) if self.everywhere else batch.totals["tokens"]
        return with_changes(batch, totals=batch.totals | {self.head.term: asked})

    def ask(self, context: Tensor, continuation: Tensor) -> Batch:
        self._require_language_model()
        return super().ask(context, continuation)

    def prompt(self, context: Tensor, length: int) -> Batch:
        self._require_language_model()
        return super().prompt(context, length)

    def _require_language_model(self) -> None:
        if not self.language_model:
            raise UserError(
                f"objective '{self.name}' with variant={self.variant} trains no head that predicts tokens, "
                "so its family neither scores nor writes; finetune it, or train with variant=replace_mlm"
            )

    def supervised(self, batch: Batch) -> int:
        """The family's targets, not the generator's."""
        return round(batch.totals[self.head.term])

    def modules(self, family: Family) -> nn.ModuleDict:
        """The generator and the head. Raises UserError for a family that is no encoder-AE."""
        if not isinstance(family, EncoderAE):
            raise UserError(
                f"objective '{self.name}' trains an encoder_ae and makes its generator another; family "
                f"{family.kind} cannot be trained by it, nor in a mixture"
            )
        generator = make_generator(family, self.generator)
        return nn.ModuleDict({"generator": generator, "discriminator": self.head(family.config.width)})

    def flops(self, family: Family, batch: Batch) -> int:
        """The generator's pass, the family's, and each head where it is run."""
        rows, width = batch.tokens.shape
        hidden = len(batch.target_index)
        config = generator_config(family.config, self.generator)
        generator = rows * stack_flops(config, config.layers, rows=width, keys=width)
        generator += distance_flops(config, config.layers, keys=width) + head_flops(config, hidden)
        body = family.flops(batch) - head_flops(family.config, hidden)
        head = self.head.flops(family.config, rows * width if self.everywhere else hidden)
        return FORWARDS_A_TRAINING_STEP * (generator + body + head)

    def loss(self, family: Family, modules: nn.ModuleDict, batch: Batch) -> Loss:
        """Samples are drawn from torch's global generator."""
        generator = cast(EncoderAE, modules["generator"])
        _, targets, weights = batch.asked()
        logits = generator.logits(generator.hidden(batch).targets)
        of_generator = weighted_cross_entropy(logits, targets, weights, batch.totals["tokens"])
        of_family = self.of_replaced(family, modules, put_in(batch, sampled(logits)))
        terms = {"tokens": of_generator.detach(), self.head.term: of_family.detach()}
        return Loss(of_generator + self.weight * of_family, terms)

    def of_replaced(self, family: Family, modules: nn.ModuleDict, batch: Batch) -> Tensor:
        """The family's term; batch.tokens is the text with replacements, batch.targets the text."""
        hidden = family.hidden(batch)
        cells = every_cell(hidden, batch) if self.everywhere else hidden_cells(hidden, batch)
        losses = modules["discriminator"](family, cells)
        return share((losses * cells.weights).sum(), batch.totals[self.head.term])


@torch.no_grad()
def sampled(logits: Tensor) -> Tensor:
    """One token (N) from the softmax of each row of logits (N,V), by the Gumbel-max trick."""
    logits = logits.float()
    return (logits - torch.empty_like(logits).exponential_().log()).argmax(-1)


def put_in(batch: Batch, tokens: Tensor) -> Batch:
    """The text of the batch with tokens (N) at its hidden cells."""
    # Unused entries of the index write to a spare cell.
    spare = batch.targets.numel()
    place = torch.where(batch.target_index >= 0, batch.target_index, spare)
    text = functional.pad(batch.targets.flatten(), (0, 1)).scatter(0, place, tokens)
    return with_changes(batch, tokens=text[:-1].view_as(batch.targets))


def generator_config(config: CoreConfig, share: float) -> CoreConfig:
    """So many times the width, ffn and heads, as deep, embeddings as wide as the family's."""
    heads = max(1, round(share * config.heads))
    step = 2 * heads  # rope turns pairs
    width = max(1, round(share * config.width / step)) * step
    return with_changes(
        config,
        width=width,
        heads=heads,
        kv_heads=None,
        attention_width=None,
        ffn=max(1, round(share * config.ffn)),
        embedding_width=None if width == config.token_width else config.token_width,
        tied=True,
    )


def make_generator(family: EncoderAE, share: float) -> EncoderAE:
    """An encoder-AE with the family's mask and its very embeddings: tokens, positions, types, their norm."""
    generator = EncoderAE(generator_config(family.config, share), mask=family.build_mask)
    generator.embedding = family.embedding
    generator.head.weight = family.embedding.weight
    ours, theirs = generator.placement, family.placement
    ours.positions, ours.types, ours.norm = theirs.positions, theirs.types, theirs.norm
    return generator
