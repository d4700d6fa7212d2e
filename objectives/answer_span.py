"""Finetuning on questions that a span of the text answers: the rows of its first and its last token."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn

from archs.batch import Batch
from archs.families.family import Family
from objectives.base import Loss, Objective
from objectives.layouts import parts_marked, read
from objectives.loss import weighted_cross_entropy


class AnswerSpan(Objective):
    """Built from questions with `read`, not from windows: two linear layers on the rows (Devlin et al. 2019).

    Texts are [cls] question [sep] context [sep]. Here the first question's answer is the context's first two
    tokens. The second question has no answer, which is expressed by the row of [cls]:

    >>> texts = torch.tensor([[4, 60, 5, 40, 41, 42, 5], [4, 61, 5, 43, 44, 5, 0]])
    >>> segments = torch.tensor([[0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, -1]])
    >>> choices = torch.tensor([[1, 0, 0, 1, 1, 1, 0], [1, 0, 0, 1, 1, 0, 0]]).bool()
    >>> spans = torch.tensor([[3, 4], [0, 0]])
    >>> batch = AnswerSpan(VOCABULARY, "in_place").read(texts, segments, choices, spans)
    >>> show(batch, "tokens", "extras.choices", "extras.spans")
    tokens           4 60  5 40 41 42  5
                     4 61  5 43 44  5  0
    extras.choices   1  0  0  1  1  1  0
                     1  0  0  1  1  0  0
    extras.spans     3  4
                     0  0
    """

    name = "answer_span"
    families = ("encoder_ae", "decoder_ar", "encoder_decoder", "prefix_lm", "permuted_lm")

    def read(self, tokens: Tensor, segments: Tensor, choices: Tensor, spans: Tensor) -> Batch:
        """tokens, segments (B,T), -1 = padding; choices (B,T) bool: allowed rows; spans (B,2).

        spans: the first and the last row of each answer, both of them allowed.
        """
        batch = read(self.layout, tokens, segments, self.vocabulary)
        batch.extras.update(choices=choices, spans=spans)
        return batch

    def modules(self, family: Family) -> nn.ModuleDict:
        return nn.ModuleDict({"answer": nn.Linear(family.config.width, 2)})

    def answers(self, family: Family, modules: nn.ModuleDict, batch: Batch) -> Tensor:
        """Logits (B,2,T) of the span's first and last row, -inf at rows that are not allowed."""
        rows = family.hidden(parts_marked(batch, family, self.vocabulary)).rows
        logits = rearrange(modules["answer"](rows), "b t ends -> b ends t").float()
        return logits.masked_fill(~batch.extras["choices"].unsqueeze(1), -torch.inf)

    def loss(self, family: Family, modules: nn.ModuleDict, batch: Batch) -> Loss:
        """Term "answer", the mean over texts and over both ends."""
        logits = rearrange(self.answers(family, modules, batch), "b ends t -> (b ends) t")
        spans = rearrange(batch.extras["spans"], "b ends -> (b ends)")
        value = weighted_cross_entropy(logits, spans, torch.ones_like(spans).float(), len(spans))
        return Loss(value, {"answer": value.detach()})
