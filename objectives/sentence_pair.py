"""Pairs of text parts beside masked language modelling: does the second part follow the first?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace as with_changes
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from archs.batch import PADDING, Batch
from archs.core.heads import Classifier
from archs.errors import UserError
from archs.families.family import Family
from objectives.base import Layout, Loss, Vocabulary, Windows
from objectives.loss import token_loss, weighted_cross_entropy
from objectives.mlm import MLM, check_weight
from objectives.replace import Replace, bert
from objectives.select import uniform

Answer = Literal["next", "previous", "random"]


class SentencePair(MLM):
    """[cls] A [sep] B [sep], with a label: the number of the pair's relation in `answers`.

    All relations are equally likely. A row is cut at a random place in its middle half.

        next      A and B are neighbours
        previous  they are swapped: the second stands first
        random    B is the end of another row, as long as the row's own

    Rows of several documents or with padding are cut too, but not swapped, and have no label (-1). Tokens are
    hidden as in MLM. weight: of the pair's loss; 0 is the control: the same input without that loss.
    """

    answers: ClassVar[tuple[Answer, ...]]
    needs = ("mask", "cls", "sep")
    moves_text = True

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
        self.weight = weight

    def build(self, windows: Windows, rng: torch.Generator) -> Batch:
        arranged, types, label = self.pairs(windows, rng)
        return self.masked(arranged.tokens, arranged.segments, rng, label, types, arranged.marks)

    def pairs(self, windows: Windows, rng: torch.Generator) -> tuple[Windows, Tensor, Tensor]:
        """The windows (B,W+3) before masking, their token types (B,W+3) and labels (B)."""
        length = _lengths(windows)
        luck = torch.rand(2, len(length), generator=rng)
        cut = (length // 4 + (luck[0] * (length // 2 + 1)).long()).clamp(min=1).minimum(length - 1)
        cut = cut.clamp(min=0)
        askable = length > 1
        if windows.segments is not None:
            askable &= (windows.segments == windows.segments[:, :1]).all(1)
        if "random" in self.answers:
            askable &= askable.sum() > 1
        last = len(self.answers) - 1
        label = torch.where(askable, last - (luck[1] * len(self.answers)).long(), PADDING)
        if "random" in self.answers:
            windows = self.mixed(windows, cut, askable, label == self.answers.index("random"), rng)
        swapped = torch.zeros_like(askable)
        if "previous" in self.answers:
            swapped = label == self.answers.index("previous")
        return *self.arrange(windows, cut, swapped), label

    def mixed(
        self, windows: Windows, cut: Tensor, askable: Tensor, random: Tensor, rng: torch.Generator
    ) -> Windows:
        """Gives the `random` rows (B) bool another `askable` row's tokens and marks after their cut (B)."""
        width = windows.tokens.shape[1]
        others = askable.nonzero().squeeze(1)
        if len(others) < 2:
            return windows
        number = (askable.cumsum(0) - 1).clamp(min=0)
        further = 1 + (torch.rand(len(number), generator=rng) * (len(others) - 1)).long()
        other = others[(number + further) % len(others)]
        foreign = random[:, None] & (torch.arange(width) >= cut[:, None])
        tokens, marks = windows.tokens, windows.marks
        return with_changes(
            windows,
            tokens=torch.where(foreign, tokens[other], tokens),
            marks=None if marks is None else torch.where(foreign, marks[other], marks),
        )

    def arrange(self, windows: Windows, cut: Tensor, swapped: Tensor) -> tuple[Windows, Tensor]:
        """The windows (B,W+3) and token types (B,W+3) of rows cut after `cut` tokens (B).

        swapped (B) bool: the two parts change places. [cls] belongs to the row's first document, each [sep]
        to the document before it. The types are BERT's: 0 up to the first [sep], 1 after it.
        """
        assert self.vocabulary.cls is not None
        assert self.vocabulary.sep is not None
        tokens, segments = windows.tokens, windows.segments
        rows, width = tokens.shape
        length = _lengths(windows)[:, None]
        first = torch.where(swapped[:, None], length - cut[:, None], cut[:, None])
        slots = torch.arange(width)
        turned = (slots + (swapped * cut)[:, None]) % length.clamp(min=1)
        column = slots + 1 + (slots >= first).long() + (slots >= length).long()
        ends = torch.cat((first + 1, length + 2), 1)
        arranged = tokens.new_full((rows, width + 3), self.vocabulary.pad)
        arranged.scatter_(1, column, tokens.gather(1, turned)).scatter_(1, ends, self.vocabulary.sep)
        arranged[:, 0] = self.vocabulary.cls
        types = (torch.arange(width + 3) > first + 1).long()
        marks = windows.marks
        if marks is not None:
            marks = marks.new_zeros(arranged.shape).scatter_(1, column, marks.gather(1, turned))
            marks.scatter_(1, ends, 0)
        if segments is None:
            return with_changes(windows, tokens=arranged, marks=marks), types
        placed = segments.new_full(arranged.shape, PADDING).scatter_(1, column, segments)
        placed[:, 0] = segments[:, 0]
        placed.scatter_(1, ends, placed.gather(1, ends - 1))
        arranged.masked_fill_(placed < 0, self.vocabulary.pad)
        return with_changes(windows, tokens=arranged, segments=placed, marks=marks), types

    def modules(self, family: Family) -> nn.ModuleDict:
        """The classifier on [cls]. Raises UserError for a family with one token type, too few for a pair."""
        if family.config.token_types == 1:
            raise UserError(
                f"objective '{self.name}': size.token_types=1 is too few for a pair's two parts; give 2, or "
                "0 for none"
            )
        return nn.ModuleDict({"pair": Classifier(family.config.width, classes=len(self.answers))})

    def loss(self, family: Family, modules: nn.ModuleDict, batch: Batch) -> Loss:
        """Terms "tokens" and "pair", which is predicted from the [cls] row."""
        assert batch.pair_label is not None
        hidden = family.hidden(batch)
        _, targets, weights = batch.asked()
        of_tokens = token_loss(family, hidden.targets, targets, weights, batch.totals["tokens"])
        of_pair = pair_loss(modules["pair"](hidden.rows[:, :1]), batch)
        terms = {"tokens": of_tokens.detach(), "pair": of_pair.detach()}
        return Loss(of_tokens + self.weight * of_pair, terms)


def pair_loss(logits: Tensor, batch: Batch) -> Tensor:
    """Cross-entropy of the rows' classes, logits (B,C), divided by the stored total; label -1 = no label."""
    assert batch.pair_label is not None
    weights = (batch.pair_label >= 0).float()
    return weighted_cross_entropy(logits, batch.pair_label.clamp(min=0), weights, batch.totals["pair"])


def _lengths(windows: Windows) -> Tensor:
    """The number of tokens in each row that are not padding (B)."""
    if windows.segments is None:
        return torch.full((len(windows.tokens),), windows.tokens.shape[1])
    return (windows.segments >= 0).sum(1)
