"""Masked language modelling (Devlin et al. 2019), masked anew at every step (Liu et al. 2019)."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from archs.batch import Batch
from archs.errors import UserError
from objectives.base import Layout, Objective, Select, Vocabulary, Windows
from objectives.layouts import blanks, pair
from objectives.replace import Replace, bert, replaced
from objectives.select import uniform
from objectives.select_parts import checked, rehearse, traits


class MLM(Objective):
    """Hides what `select` picks behind what `replace` puts there, and asks for it.

    select and replace: functions as in objectives.select and objectives.replace. A `select` that takes no
    `rate` decides its own.
    """

    name = "mlm"
    families = ("encoder_ae",)
    needs = ("mask",)

    def __init__(
        self,
        vocabulary: Vocabulary,
        layout: Layout,
        select: Callable[..., Tensor] = uniform,
        replace: Replace = bert,
        rate: float = 0.15,
    ) -> None:
        super().__init__(vocabulary, layout)
        check_rate(rate, self.name)
        takes_rate = "rate" in inspect.signature(select).parameters
        self.select: Select = partial(select, rate=rate) if takes_rate else select
        self.replace = replace
        self._rehearsed = False

    def build(self, windows: Windows, rng: torch.Generator) -> Batch:
        return self.masked(windows.tokens, windows.segments, rng)

    def masked(
        self,
        tokens: Tensor,
        segments: Tensor | None,
        rng: torch.Generator,
        pair_label: Tensor | None = None,
        token_types: Tensor | None = None,
    ) -> Batch:
        """tokens (B,W) with some hidden, which are asked."""
        if not self._rehearsed:
            rehearse(self.select, tokens, self.vocabulary)
            self._rehearsed = True
        hide = checked(self.select, tokens, *traits(tokens, segments, self.vocabulary), rng)
        seen = replaced(self.replace, tokens, hide, self.vocabulary, rng)
        return Batch.of(seen, tokens, hide, segments=segments, pair_label=pair_label, token_types=token_types)

    def ask(self, context: Tensor, continuation: Tensor) -> Batch:
        """Nothing is hidden: the family hides the asked tokens one at a time."""
        return pair(self.layout, context, None, continuation, None, self.vocabulary)

    def prompt(self, context: Tensor, length: int) -> Batch:
        return blanks(self.layout, context, torch.full((len(context),), length), self.vocabulary)


def check_rate(rate: float, who: str) -> None:
    """Raises UserError unless 0 < rate <= 1."""
    if not 0 < rate <= 1:
        raise UserError(f"objective '{who}': rate={rate} is not above 0 and at most 1; BERT and T5 use 0.15")
