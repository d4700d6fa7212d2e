"""Finetuning on labelled texts: a text's rows are pooled into one vector, and a head predicts from it."""

from __future__ import annotations

from typing import Literal

import torch
from einops import rearrange, repeat
from torch import Tensor, nn
from torch.nn import functional

from archs.batch import Batch
from archs.families.family import Family
from objectives.base import Layout, Loss, Objective, Vocabulary
from objectives.layouts import parts_marked, read
from objectives.loss import weighted_cross_entropy

Pooling = Literal["mean", "own"]
COMPARED = 4  # features of two texts: both vectors, absolute difference, product (Conneau et al. 2017)


class Pooled(Objective):
    """Built from labelled texts with `read`, not from windows.

    pooling: "mean" is over the rows of ordinary tokens; "own" is the family's native row, the first one if
    rows see later ones, else the last, which alone has read the whole text. classes: their number; None = the
    label is a number, with squared error. parts: 2 if an item is two texts that are read separately, as rows
    2i and 2i+1 of the batch.
    """

    name = "pooled"
    families = ("encoder_ae", "decoder_ar", "encoder_decoder", "prefix_lm", "permuted_lm")

    def __init__(
        self,
        vocabulary: Vocabulary,
        layout: Layout,
        classes: int | None = 2,
        pooling: Pooling = "mean",
        parts: int = 1,
    ) -> None:
        super().__init__(vocabulary, layout)
        self.classes = classes
        self.pooling: Pooling = pooling
        self.parts = parts

    def read(self, tokens: Tensor, segments: Tensor, labels: Tensor) -> Batch:
        """tokens, segments (B,T), -1 = padding; labels (B / parts): classes, int64, or numbers, float."""
        batch = read(self.layout, tokens, segments, self.vocabulary)
        batch.extras["labels"] = repeat(labels, "n -> (n parts)", parts=self.parts)  # one a row
        return batch

    def modules(self, family: Family) -> nn.ModuleDict:
        width = family.config.width * (COMPARED if self.parts == 2 else 1)
        return nn.ModuleDict({"answer": nn.Linear(width, self.classes or 1)})

    def answers(self, family: Family, modules: nn.ModuleDict, batch: Batch) -> Tensor:
        """Logits (n,classes), or numbers (n), of n items."""
        rows = family.hidden(parts_marked(batch, family, self.vocabulary)).rows
        answers = modules["answer"](compared(pool(rows, batch, self, family.both_ways), self.parts))
        return answers.squeeze(1) if self.classes is None else answers

    def loss(self, family: Family, modules: nn.ModuleDict, batch: Batch) -> Loss:
        """Term "answer", the mean over items."""
        answers, labels = self.answers(family, modules, batch), batch.extras["labels"][:: self.parts]
        if self.classes is None:
            value = functional.mse_loss(answers.float(), labels)
        else:
            value = weighted_cross_entropy(answers, labels, torch.ones_like(labels).float(), len(labels))
        return Loss(value, {"answer": value.detach()})


def pool(rows: Tensor, batch: Batch, objective: Pooled, both_ways: bool) -> Tensor:
    """rows (B,T,D) -> (B,D), by `objective.pooling`."""
    segments = batch.segments
    real = torch.ones_like(batch.tokens, dtype=torch.bool) if segments is None else segments >= 0
    if objective.pooling == "own":
        last = real.sum(1) - 1
        column = torch.zeros_like(last) if both_ways else last
        return rows[torch.arange(len(rows), device=rows.device), column]
    counted = real & ~objective.vocabulary.special.to(rows.device)[batch.tokens]
    weights = counted.unsqueeze(2).to(rows.dtype)
    return (rows * weights).sum(1) / weights.sum(1).clamp(min=1)


def compared(vectors: Tensor, parts: int) -> Tensor:
    """The features of each item: its vector (n,…,D), or of two texts [u, v, |u - v|, u * v] (n,…,4D)."""
    if parts == 1:
        return vectors
    one, other = rearrange(vectors, "(n two) ... d -> two n ... d", two=2)
    return torch.cat((one, other, (one - other).abs(), one * other), dim=-1)
