"""Finetuning on pairs: a target given a source, in the same way for all families."""

from __future__ import annotations

import torch
from torch import Tensor

from archs.batch import Batch
from objectives.base import Layout, Objective, Vocabulary
from objectives.layouts import blanks, pair, sees_something, start
from objectives.replace import mask_only
from objectives.select_parts import choose


class Conditional(Objective):
    """Built from pairs with `pairs`, not from windows.

    Single stacks read [source; target]; prefix and permuted LM read the source in both directions. In place,
    a random share of the target is masked and predicted, which trains for mask-predict (Ghazvininejad et al.
    2019).

    >>> source, target = torch.tensor([[50, 51]]), torch.tensor([[40, 2]])
    >>> causal = Conditional(VOCABULARY, "concatenated").pairs(source, None, target, None, seeded())
    >>> show(causal, "tokens", "targets", "weights")
    tokens   50 51  1 40
    targets  50 51 40  2
    weights   0  0  1  1
    >>> in_place = Conditional(VOCABULARY, "in_place")
    >>> outcomes(lambda rng: in_place.pairs(source, None, target, None, rng), "tokens")
    tokens  50 51  3  2
    tokens  50 51  3  3
    tokens  50 51 40  3
    """

    name = "conditional"
    families = ("encoder_ae", "decoder_ar", "encoder_decoder", "prefix_lm", "permuted_lm")

    def __init__(self, vocabulary: Vocabulary, layout: Layout) -> None:
        super().__init__(vocabulary, layout)
        if layout == "in_place":
            vocabulary.require(("mask",), self.name)

    def pairs(
        self,
        source: Tensor,
        source_segments: Tensor | None,
        target: Tensor,
        target_segments: Tensor | None,
        rng: torch.Generator,
    ) -> Batch:
        """A training batch; arguments as for `layouts.pair`.

        In place, a uniform number from 1 to n of a row's n target tokens is masked and predicted.
        """
        weights = None
        if self.layout == "permuted":
            weights = sees_something(source, source_segments, target, target_segments).float()
        whole = pair(self.layout, source, source_segments, target, target_segments, self.vocabulary, weights)
        if self.layout != "in_place":
            return whole
        in_target = whole.weights > 0
        number = in_target.sum(1)
        count = (torch.rand(len(number), generator=rng) * number).long().add(1).minimum(number)
        hide = choose(in_target, count, rng)
        seen = mask_only(whole.tokens, hide, self.vocabulary, rng)
        return Batch.of(seen, whole.targets, hide, segments=whole.segments, extras=whole.extras)

    def prompt_pair(self, source: Tensor, lengths: Tensor, source_segments: Tensor | None = None) -> Batch:
        """A prompt for generation, given sources (B,S) and lengths (B) of the targets.

        In place and permuted, row b has lengths[b] blanks. In other layouts a row ends with bos, and lengths
        are ignored. source_segments (B,S), -1 = padding, if sources differ in length.

        >>> source, segments = torch.tensor([[50, 51], [52, 0]]), torch.tensor([[0, 0], [0, -1]])
        >>> causal = Conditional(VOCABULARY, "concatenated")
        >>> show(causal.prompt_pair(source, torch.tensor([2, 2]), segments), "tokens", "positions")
        tokens     50 51  1
                   52  0  1
        positions   0  1  2
                    0  0  1
        """
        if self.layout in ("in_place", "permuted"):
            return blanks(self.layout, source, lengths, self.vocabulary, source_segments)
        first = source.new_full((len(source), 1), self.vocabulary.bos)
        return start(self.layout, source, first, source_segments)

    def ask(self, context: Tensor, continuation: Tensor) -> Batch:
        return pair(self.layout, context, None, continuation, None, self.vocabulary)

    def prompt(self, context: Tensor, length: int) -> Batch:
        return self.prompt_pair(context, torch.full((len(context),), length))
