"""Masked language modelling by the encoder and causal language modelling by the decoder, in one pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace as with_changes

import torch
from einops import rearrange, repeat
from torch import Tensor, nn

from archs.batch import PADDING, Batch
from archs.core.flops import head_flops
from archs.count import FORWARDS_A_TRAINING_STEP
from archs.families.family import Family
from objectives.base import Layout, Loss, Vocabulary, Windows
from objectives.layouts import pack_left, pair
from objectives.loss import token_loss
from objectives.mlm import MLM, check_weight
from objectives.reconstruction import Reconstruction
from objectives.replace import Replace, bert
from objectives.select import uniform


class Joint(Reconstruction, MLM):
    """The encoder predicts the tokens hidden in the source; the decoder predicts the whole text.

    It adds BERT's loss on the encoder (Devlin et al. 2019), through the family's LM head, to a causal LM's
    loss on the decoder. The nearest published objective is PALM (Bi et al. 2020, arXiv:2004.07159), whose
    decoder continues the text; ours reconstructs it. With 41 and 42 hidden behind [MASK]:

    >>> joint = Joint(VOCABULARY, "source_target", hiding(41, 42), mask_only)
    >>> batch = joint.build(windows([[40, 41, 42, 43, 2]]), seeded())
    >>> show(batch, "source", "extras.source_weights", "tokens", "targets", "weights")
    source                 40  3  3 43  2
    extras.source_weights   0  1  1  0  0
    tokens                  1 40 41 42 43
    targets                40 41 42 43  2
    weights                 1  1  1  1  1

    The loss is "tokens" + weight x "source", each a mean over its own targets. weight=0 is the control: the
    same batch without the encoder's loss. select, replace and rate as in MLM. The decoder can copy all tokens
    that the source shows: most of the text, and with BERT's 80/10/10 a tenth of the hidden tokens. It learns
    more only from the others.

    For a continuation, the source is the context and one [MASK] for each unknown token, since in training the
    source is as long as the text. The source thus tells the continuation's length.
    """

    name = "joint"
    families = ("encoder_decoder",)

    def __init__(
        self,
        vocabulary: Vocabulary,
        layout: Layout,
        select: Callable[..., Tensor] = uniform,
        replace: Replace = bert,
        rate: float = 0.15,
        weight: float = 1.0,
    ) -> None:
        super().__init__(vocabulary, layout, select, replace, rate)
        check_weight(weight, self.name)
        self.rate = rate
        self.weight = weight

    def build(self, windows: Windows, rng: torch.Generator) -> Batch:
        """extras: source_targets, source_weights (B,S); source_columns (B,H): cells with weight, -1 = unused.

        H, the number of such cells a row, has one of two values whatever the seed: `rate` of a full row, or
        the row's width if `select` hides more.
        """
        tokens, segments = windows.tokens, windows.segments
        masked = MLM.build(self, windows, rng)
        made = pair(self.layout, masked.tokens, segments, tokens, segments, self.vocabulary)
        hidden, width = masked.weights > 0, tokens.shape[1]
        usual = max(round(self.rate * width), 1)
        places = usual if int(hidden.sum(1).max()) <= usual else width
        columns = repeat(torch.arange(width), "w -> b w", b=len(tokens))
        extras = {
            "source_targets": tokens,
            "source_weights": masked.weights,
            "source_columns": pack_left(columns, hidden, places, PADDING),
        }
        return with_changes(made, extras=extras, totals={**made.totals, "source": masked.totals["tokens"]})

    def unknown(self, length: int) -> int:
        return length

    def flops(self, family: Family, batch: Batch) -> int:
        """The family's FLOPs, and those of the LM head at the source's targets."""
        head = head_flops(family.config, batch.extras["source_columns"].numel())
        return super().flops(family, batch) + FORWARDS_A_TRAINING_STEP * head

    def supervised(self, batch: Batch) -> int:
        return super().supervised(batch) + round(batch.totals["source"])

    def loss(self, family: Family, modules: nn.ModuleDict, batch: Batch) -> Loss:
        """Terms "tokens", of the decoder, and "source", of the encoder."""
        hidden = family.hidden(batch)
        assert hidden.source is not None, "objective 'joint' is for families with an encoder"
        _, targets, weights = batch.asked()
        written = token_loss(family, hidden.targets, targets, weights, batch.totals["tokens"])
        columns = batch.extras["source_columns"]
        at = columns.clamp(min=0)
        rows = hidden.source.gather(1, repeat(at, "b h -> b h d", d=hidden.source.shape[2]))
        restored = token_loss(
            family,
            rearrange(rows, "b h d -> (b h) d"),
            batch.extras["source_targets"].gather(1, at).flatten(),
            (batch.extras["source_weights"].gather(1, at) * (columns >= 0)).flatten(),
            batch.totals["source"],
        )
        terms = {"tokens": written.detach(), "source": restored.detach()}
        return Loss(written + self.weight * restored, terms)
