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
VARIANTS: dict[Variant, tuple[type[Head], bool]] = {  # the head, and whether every cell is a target
    "electra": (Discriminator, True),
    "electra_15": (Discriminator, False),
    "replace_mlm": (Original, False),
    "all_tokens_mlm": (CopyOrOriginal, True),
}


class ReplacedTokens(MLM):
    """A small generator fills masks, and the family predicts which tokens were replaced.

    >>> objective = ReplacedTokens(VOCABULARY, "in_place", select=hiding(41, 43))
    >>> batch = objective.build(windows([[40, 41, 42, 43, 44, 45]]), seeded())
    >>> show(batch, "tokens", "targets", "weights")  # the generator's
    tokens   40  3 42  3 44 45
    targets  40 41 42 43 44 45
    weights   0  1  0  1  0  0
    >>> read = put_in(batch, functional.pad(torch.tensor([41, 77]), (0, 126)))  # its samples
    >>> show(read, "tokens")
    tokens  40 41 42 77 44 45
    >>> show(read.tokens != read.targets)  # a sample that equals the original is not a replaced token
    0 0 0 1 0 0

    The loss is the generator's cross-entropy ("tokens") + weight x the family's loss; no gradient passes
    through the samples. A sample is any token of the generator's softmax, special ones too, as in ELECTRA.
    The variants, with the name of the family's loss:

        electra         "replaced": a binary prediction at every cell except padding. The paper's method
        electra_15      "replaced" at the hidden cells only
        replace_mlm     "originals": predicts the hidden tokens by the family's LM head
        all_tokens_mlm  "originals": predicts every token, which the family may copy from its input

    The first two do not train the family's LM head: the family can be finetuned, but neither scores nor
    generates. In the other two the family reads [MASK] in training only if the generator sampled it, although
    `ask` and `prompt` use [MASK]; at [MASK] all_tokens_mlm predicts by its softmax only.

    generator: its width, ffn and heads as a share of the family's; its depth is the family's, and it shares
    all embeddings. weight: if not given, 50 as in the paper, or 1 for predicted tokens, for which the paper
    gives none. Unlike in the paper's code, all selected tokens are masked for the generator, not 85%.
    """

    name = "replaced_tokens"
    uses_all_parameters = False  # the family's LM head may have no gradient
    language_model = False  # for the default variant

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
        """The generator's batch, with the total of the family's term beside its own."""
        batch = super().build(windows, rng)
        total = float(real(batch).sum()) if self.everywhere else batch.totals["tokens"]
        return with_changes(batch, totals=batch.totals | {self.head.term: total})

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
        """The number of the family's targets, not of the generator's."""
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
        """The FLOPs of the generator, of the family, and of each head for its cells."""
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
        """The family's term. batch.tokens is the text with replacements, batch.targets the text."""
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
    """The batch's text with tokens (N) at the hidden cells."""
    # Unused entries of the index are written to a spare cell.
    spare = batch.targets.numel()
    place = torch.where(batch.target_index >= 0, batch.target_index, spare)
    text = functional.pad(batch.targets.flatten(), (0, 1)).scatter(0, place, tokens)
    return with_changes(batch, tokens=text[:-1].view_as(batch.targets))


def generator_config(config: CoreConfig, share: float) -> CoreConfig:
    """The generator's config: `share` of the width, ffn and heads, the same depth and embedding width."""
    heads = max(1, round(share * config.heads))
    step = 2 * heads  # rope needs an even head width
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
    """An encoder-AE with the family's mask, its token, position and type embeddings, and their norm."""
    generator = EncoderAE(generator_config(family.config, share), mask=family.build_mask)
    generator.embedding = family.embedding
    generator.head.weight = family.embedding.weight
    ours, theirs = generator.placement, family.placement
    ours.positions, ours.types, ours.norm = theirs.positions, theirs.types, theirs.norm
    return generator
