"""Masked language modelling by the encoder, left-to-right writing by the decoder, in one pass."""

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
    """The encoder is asked for the tokens hidden in the source, the decoder writes the whole text.

    The encoder-decoder as it is often drawn: BERT's loss on the encoder (Devlin et al. 2019), through the
    family's LM head, beside a causal LM's on the decoder. PALM (Bi et al. 2020, arXiv:2004.07159) is the
    nearest in print; its decoder continues the text, and ours writes the text that the source damages. With
    41 and 42 hidden behind [MASK], which the encoder is asked for:

    >>> joint = Joint(VOCABULARY, "source_target", hiding(41, 42), mask_only)
    >>> batch = joint.build(windows([[40, 41, 42, 43, 2]]), seeded())
    >>> show(batch, "source", "extras.source_weights", "tokens", "targets", "weights")
    source                 40  3  3 43  2
    extras.source_weights   0  1  1  0  0
    tokens                  1 40 41 42 43
    targets                40 41 42 43  2
    weights                 1  1  1  1  1

    Loss: "tokens" + weight x "source", each a mean over its own targets; weight=0 is the control, the same
    batch without the encoder's loss. select, replace and rate as MLM's. The decoder can copy what the source
    shows, at the usual rate most of the text and with BERT's 80/10/10 a tenth of the hidden tokens too; only
    the others teach it more.

    Asked for a continuation, the source is the context and one [MASK] for each unknown token, as training has
    as many cells as the text: it tells the continuation's length.
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
        """extras: source_targets, source_weights (B,S); source_columns (B,H), where weights are, -1 = unused.

        H, the head's places a row, is one of two whatever the seed: what `rate` of a full row comes to, or
        the row's width where a `select` hides more.
        """
        tokens, segments = windows.tokens, windows.segments
        asked = MLM.build(self, windows, rng)
        made = pair(self.layout, asked.tokens, segments, tokens, segments, self.vocabulary)
        hidden, width = asked.weights > 0, tokens.shape[1]
        usual = max(round(self.rate * width), 1)
        places = usual if int(hidden.sum(1).max()) <= usual else width
        columns = repeat(torch.arange(width), "w -> b w", b=len(tokens))
        extras = {
            "source_targets": tokens,
            "source_weights": asked.weights,
            "source_columns": pack_left(columns, hidden, places, PADDING),
        }
        return with_changes(made, extras=extras, totals={**made.totals, "source": asked.totals["tokens"]})

    def unknown(self, length: int) -> int:
        return length

    def flops(self, family: Family, batch: Batch) -> int:
        """The family's, and the LM head once more at the source's places."""
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
