"""Encoder-AE: every token sees every other (Devlin et al. 2019, BERT)."""

from __future__ import annotations

from dataclasses import replace

import torch
from einops import rearrange, repeat
from torch import Tensor
from torch.nn import functional

from archs.batch import PADDING, Batch
from archs.core.matrix_products import by_onednn
from archs.decoding.decoding import GREEDY, Decoding
from archs.decoding.fill import left_to_right, mask_predict
from archs.decoding.generate import check_tokens, ended
from archs.errors import UserError
from archs.families.family import Score
from archs.families.single_stack import SingleStack
from archs.families.steps import blank_columns
from archs.masks import FULL, Mask, document


def mask(batch: Batch) -> Mask:
    return FULL & document(batch.segments)


class EncoderAE(SingleStack):
    kind = "encoder_ae"
    layout = "in_place"
    default_mask = staticmethod(mask)
    decoding = "mask-predict"
    unit = "pll"

    def score(self, batch: Batch, rows_at_once: int = 128, words: Tensor | None = None) -> Score:
        """Pseudo-log-likelihood: each target is predicted with itself masked and all other tokens visible.

        Salazar et al. 2020. `batch.tokens` is the clean text, `batch.extras["mask"]` the mask token. Each
        target costs one row of a pass; a pass has up to `rows_at_once` rows.

        words (B,T) int64: which word of its row each cell belongs to. If given, the later tokens of the
        target's word are masked too, and the unit is "pll_word_l2r" (Kauf and Ivanova 2023). If they were
        visible, the first pieces of a rare word would be too easy.

        Raises UserError without a mask token. Dropout as in `Family.score`.
        """
        mask_id = mask_token(batch, self.config.vocabulary)
        index = batch.weights.flatten().nonzero().squeeze(1)
        nats = torch.zeros(batch.tokens.numel(), device=batch.device)
        greedy = torch.zeros(len(nats), dtype=torch.bool, device=batch.device)
        width = batch.tokens.shape[1]
        columns = torch.arange(width, device=batch.device)
        for part in index.split(rows_at_once) if len(index) else ():
            rows, cells = part // width, part % width
            each = torch.arange(len(part), device=batch.device)
            hide = columns == cells[:, None]
            if words is not None:
                hide |= (words[rows] == words[rows, cells][:, None]) & (columns > cells[:, None])
            tokens = batch.tokens[rows].masked_fill(hide, mask_id)
            with by_onednn(batch.device):
                hidden = self.hidden(replace(batch.rows(rows), tokens=tokens)).rows[each, cells]
                logp = self.logits(hidden).float().log_softmax(dim=-1)
            targets = batch.targets[rows, cells]
            nats[part] = logp[each, targets]
            greedy[part] = logp.argmax(dim=-1) == targets
        B = len(batch.tokens)
        nats, greedy = (rearrange(each, "(b t) -> b t", b=B, t=width) for each in (nats, greedy))
        return Score(nats, self.unit if words is None else "pll_word_l2r", greedy)

    @torch.no_grad()
    def generate(
        self, batch: Batch, length: int, how: Decoding = GREEDY, rng: torch.Generator | None = None
    ) -> Tensor:
        """Fills the first `length` blanks (cells with weight) of each row as `how.fill` says: (B,length).

        PADDING stands after a stop token and where a row has fewer blanks. The mask token is never written.
        Raises UserError for beams, without a mask token, and if dropout is on.
        """
        if how.beams > 1:
            raise UserError(f"beams={how.beams}: beam search is for left to right; {self.kind} fills blanks")
        mask_id = mask_token(batch, self.config.vocabulary)
        never = torch.zeros(self.config.vocabulary, dtype=torch.bool, device=batch.device)
        never[mask_id] = True
        how = self.ready(batch, length, how, never)
        columns, blanks = blank_columns(batch, length)
        # Where there is no blank, tokens are written to a spare cell.
        places = columns.masked_fill(~blanks, batch.tokens.shape[1])

        def logits_of(written: Tensor, wanted: slice) -> Tensor:
            tokens = functional.pad(batch.tokens, (0, 1)).scatter(1, places, written)[:, :-1]
            rows = self.hidden(replace(batch, tokens=tokens)).rows
            return self.logits(rows.gather(1, repeat(columns[:, wanted], "b m -> b m d", d=rows.shape[2])))

        fill = mask_predict if how.fill == "mask_predict" else left_to_right
        written = ended(fill(blanks, logits_of, mask_id, how, rng).masked_fill(~blanks, PADDING), how.stop)
        return functional.pad(written, (0, length - written.shape[1]), value=PADDING)


def mask_token(batch: Batch, vocabulary: int) -> int:
    """The id of the mask token, which the objective puts into the extras. Raises UserError without one."""
    if "mask" not in batch.extras:
        raise UserError(
            'an encoder_ae hides tokens behind its mask token, and the batch came without extras["mask"]; '
            'give extras={"mask": torch.tensor([id])}'
        )
    token = batch.extras["mask"].flatten()[:1]
    check_tokens('extras["mask"]', token, vocabulary)
    return int(token)
