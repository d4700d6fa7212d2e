"""Masked language modelling (Devlin et al. 2019), with new masks at every step (Liu et al. 2019)."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace as with_changes
from functools import partial

import torch
from torch import Tensor

from archs.batch import PADDING, Batch
from archs.errors import UserError
from objectives.base import Layout, Select, Vocabulary, Windows
from objectives.blank_filling import BlankFilling
from objectives.chunker import KINDS, chunks_of
from objectives.replace import Replace, bert, replaced
from objectives.select import uniform
from objectives.select_parts import checked, traits


class MLM(BlankFilling):
    """`select` chooses the tokens to hide, `replace` puts others in their place, and the model predicts them.

    select, replace: functions as in objectives.select and objectives.replace. rate: share of the tokens to
    hide, given to a `select` that takes `rate`.

    >>> mlm = MLM(VOCABULARY, "in_place", select=hiding(41, 42), replace=mask_only)
    >>> show(mlm.build(windows([[40, 41, 42, 43, 2]]), seeded()), "tokens", "targets", "weights")
    tokens   40  3  3 43  2
    targets  40 41 42 43  2
    weights   0  1  1  0  0
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
        return self.masked(windows.tokens, windows.segments, rng, marks=windows.marks)

    def masked(
        self,
        tokens: Tensor,
        segments: Tensor | None,
        rng: torch.Generator,
        pair_label: Tensor | None = None,
        token_types: Tensor | None = None,
        marks: Tensor | None = None,
    ) -> Batch:
        """The batch of tokens (B,W) in which some tokens are hidden and predicted."""
        windows = Windows(tokens, segments, marks=marks)
        if not self._rehearsed:
            rehearsal = _rehearsal(windows, self.vocabulary)
            hidden(self.select, rehearsal, self.vocabulary, torch.Generator().manual_seed(0))
            self._rehearsed = True
        hide = hidden(self.select, windows, self.vocabulary, rng)
        seen = replaced(self.replace, tokens, hide, self.vocabulary, rng)
        return Batch.of(seen, tokens, hide, segments=segments, pair_label=pair_label, token_types=token_types)


def hidden(select: Select, windows: Windows, vocabulary: Vocabulary, rng: torch.Generator) -> Tensor:
    """The cells of the windows that `select` hides, (B,W) bool.

    A `select` with a parameter `entity` or `phrase` is given the number of each token's chunk. Raises
    UserError as `checked` does.
    """
    takes = inspect.signature(select).parameters
    chunks = {kind: chunks_of(kind, windows, vocabulary) for kind in KINDS if kind in takes}
    if chunks:
        select = partial(select, **chunks)
    of_text = traits(windows.tokens, windows.segments, vocabulary, windows.marks)
    return checked(select, windows.tokens, *of_text, rng)


def _rehearsal(windows: Windows, vocabulary: Vocabulary) -> Windows:
    """The windows with an eos and padding in them, on which `select` is tried before the first step.

    In a long text the first special token may come hours after training began.
    """
    width = windows.tokens.shape[1]
    tokens, padding = windows.tokens.clone(), torch.arange(width) >= width - width // 4
    tokens[:, width // 2] = vocabulary.eos
    tokens[:, padding] = vocabulary.pad
    segments = torch.zeros_like(tokens).masked_fill(padding, PADDING)
    return with_changes(windows, tokens=tokens, segments=segments)


def check_rate(rate: float, who: str) -> None:
    """Raises UserError unless 0 < rate <= 1."""
    if not 0 < rate <= 1:
        raise UserError(f"objective '{who}': rate={rate} is not above 0 and at most 1; BERT and T5 use 0.15")


def check_weight(weight: float, who: str) -> None:
    """Raises UserError unless the weight of a second loss is a number from 0 on."""
    if not 0 <= weight < float("inf"):
        raise UserError(f"objective '{who}': weight={weight} is not a number from 0 on; 1 is usual")
