"""Encoder-AE: every token sees every other (Devlin et al. 2019, BERT)."""

from __future__ import annotations

import torch
from torch import Tensor

from archs.batch import Batch
from archs.family import Score
from archs.generate import mask_predict
from archs.masks import FULL, Mask, document
from archs.single_stack import SingleStack


def mask(batch: Batch) -> Mask:
    return FULL & document(batch.segments)


class EncoderAE(SingleStack):
    kind = "encoder_ae"
    layout = "in_place"
    default_mask = staticmethod(mask)
    decoding = "mask-predict"
    unit = "pll"
    mask_predict_rounds = 4

    def score(self, batch: Batch, rows_at_once: int = 128) -> Score:
        """Pseudo-log-likelihood: each asked token, one at a time, hidden behind `batch.extras["mask"]`.

        Salazar et al. 2020. Every asked token costs one row of a forward pass.
        """
        mask_id = mask_token(batch)
        index = batch.weights.flatten().nonzero().squeeze(1)
        nats = torch.zeros(batch.tokens.numel(), device=batch.device)
        width = batch.tokens.shape[1]
        for part in index.split(rows_at_once) if len(index) else ():
            rows, cells = part // width, part % width
            tokens = batch.tokens[rows].clone()
            each = torch.arange(len(part), device=batch.device)
            tokens[each, cells] = mask_id
            segments = None if batch.segments is None else batch.segments[rows]
            hidden = self.hidden(Batch.of(tokens, segments=segments)).rows[each, cells]
            logp = self.logits(hidden).float().log_softmax(dim=-1)
            nats[part] = logp[each, batch.targets[rows, cells]]
        return Score(nats.view(batch.tokens.shape), self.unit)

    @torch.no_grad()
    def generate(
        self,
        batch: Batch,
        length: int,
        temperature: float = 0.0,
        rng: torch.Generator | None = None,
        forbid: Tensor | None = None,
    ) -> Tensor:
        """Mask-predict over the cells with weight; a row with fewer than `length` blanks is padded with 0."""
        blanks = batch.weights > 0

        def logits_of(tokens: Tensor) -> Tensor:
            return self.logits(self.hidden(Batch.of(tokens, segments=batch.segments)).rows)

        tokens = mask_predict(
            batch.tokens,
            blanks,
            logits_of,
            mask_token(batch),
            self.mask_predict_rounds,
            temperature,
            rng,
            forbid,
        )
        return collect_blanks(tokens, blanks, length)


def mask_token(batch: Batch) -> int:
    """The id of the mask token, which the objective puts beside the batch."""
    return int(batch.extras["mask"].flatten()[0])


def collect_blanks(tokens: Tensor, blanks: Tensor, length: int) -> Tensor:
    """The tokens (B,length) that stand in the blanks (B,T), in the order of their columns."""
    order = (~blanks).long().argsort(dim=1, stable=True)[:, :length]
    return tokens.gather(1, order) * blanks.gather(1, order)
