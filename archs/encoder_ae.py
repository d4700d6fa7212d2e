"""Encoder-AE: every token sees every other (Devlin et al. 2019, BERT)."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from archs.batch import Batch
from archs.family import Score
from archs.generate import blank_columns, mask_predict
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

        Salazar et al. 2020. `batch.tokens` is the clean text; every asked token costs one row of a pass.
        """
        mask_id = mask_token(batch)
        index = batch.weights.flatten().nonzero().squeeze(1)
        nats = torch.zeros(batch.tokens.numel(), device=batch.device)
        width = batch.tokens.shape[1]
        for part in index.split(rows_at_once) if len(index) else ():
            rows, cells = part // width, part % width
            each = torch.arange(len(part), device=batch.device)
            tokens = batch.tokens[rows].index_put((each, cells), torch.tensor(mask_id, device=batch.device))
            hidden = self.hidden(replace(batch.rows(rows), tokens=tokens)).rows[each, cells]
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
        columns, blanks = blank_columns(batch, length)
        mask_id = mask_token(batch)
        never = torch.zeros(self.config.vocabulary, dtype=torch.bool, device=batch.device)
        never[mask_id] = True
        # Columns of no blank write to a spare cell.
        places = columns.masked_fill(~blanks, batch.tokens.shape[1])

        def logits_of(written: Tensor) -> Tensor:
            tokens = functional.pad(batch.tokens, (0, 1)).scatter(1, places, written)[:, :-1]
            rows = self.hidden(replace(batch, tokens=tokens)).rows
            return self.logits(rows.gather(1, columns.unsqueeze(2).expand(-1, -1, rows.shape[2])))

        forbid = never if forbid is None else forbid | never
        return mask_predict(blanks, logits_of, mask_id, self.mask_predict_rounds, temperature, rng, forbid)


def mask_token(batch: Batch) -> int:
    """The id of the mask token, which the objective puts beside the batch."""
    return int(batch.extras["mask"].flatten()[0])
