"""Span corruption: contiguous spans are hidden instead of single tokens."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from archs.batch import PADDING, Batch
from archs.errors import UserError
from objectives.base import Layout, Objective, Vocabulary, Windows
from objectives.layouts import pair, start
from objectives.mlm import MLM, check_rate
from objectives.select import geometric_spans, random_spans
from objectives.select_parts import traits
from objectives.sentinels import sentinels
from objectives.widths import SLACK, rounded, widened

T5_MEAN = 3.0


class Span(Objective):
    """T5's spans and sentinels (Raffel et al. 2020), or in place SpanBERT's spans (Joshi et al. 2020).

    rate: share of the tokens to hide. mean: mean length of T5's spans. In place, lengths are SpanBERT's
    (geometric, p 0.2, at most 10: mean 3.8), and `mean` cannot be changed.

    >>> text = windows([[40, 41, 42, 43, 44, 45, 46, 2]])
    >>> t5 = Span(VOCABULARY, "source_target", rate=0.4, mean=2.0)
    >>> show(t5.build(text, seeded(1)), "source", "tokens", "targets", "weights")
    source   40  6 42 43  7 46  2  0
    tokens    1  6 41  7 44 45  0  0
    targets   6 41  7 44 45  2  0  0
    weights   1  1  1  1  1  1  0  0
    >>> in_place = Span(VOCABULARY, "in_place", rate=0.4)
    >>> show(in_place.build(text, seeded(1)), "tokens", "targets", "weights")
    tokens    3  3  3 43 44 45 46  2
    targets  40 41 42 43 44 45 46  2
    weights   1  1  1  0  0  0  0  0
    """

    name = "span"
    families = ("encoder_ae", "decoder_ar", "prefix_lm", "encoder_decoder")

    def __init__(
        self, vocabulary: Vocabulary, layout: Layout, rate: float = 0.15, mean: float = T5_MEAN
    ) -> None:
        super().__init__(vocabulary, layout)
        if layout == "in_place" and mean != T5_MEAN:
            raise UserError(
                f"objective 'span': mean={mean} sets the length of T5's spans; encoder_ae has SpanBERT's "
                f"(mean 3.8), so leave mean at {T5_MEAN}, or use mlm with a select of your own"
            )
        self.variant = (
            _InPlace(vocabulary, layout, select=geometric_spans, rate=rate)
            if layout == "in_place"
            else _Sentinels(vocabulary, layout, rate, mean)
        )

    def build(self, windows: Windows, rng: torch.Generator) -> Batch:
        return self.variant.build(windows, rng)

    def ask(self, context: Tensor, continuation: Tensor) -> Batch:
        return self.variant.ask(context, continuation)

    def prompt(self, context: Tensor, length: int) -> Batch:
        return self.variant.prompt(context, length)


class _InPlace(MLM):
    """SpanBERT's spans, replaced 80/10/10."""

    name = "span"


class _Sentinels(Objective):
    """The source is the text with a sentinel for each span; the target is each sentinel and its span."""

    name = "span"
    needs = ("sentinels",)

    def __init__(self, vocabulary: Vocabulary, layout: Layout, rate: float, mean: float) -> None:
        super().__init__(vocabulary, layout)
        check_rate(rate, self.name)
        if mean < 1:
            raise UserError(f"objective 'span': mean={mean} is below 1, the shortest span; T5 uses {T5_MEAN}")
        self.rate = rate
        self.mean = mean

    def build(self, windows: Windows, rng: torch.Generator) -> Batch:
        """The source's width has one of two values whatever the seed: the usual one, or the window's.

        A full row always fits the usual width. A row that packs many short documents may hide too few tokens
        to fit.
        """
        tokens, segments = windows.tokens, windows.segments
        spans = partial(random_spans, rate=self.rate, mean=self.mean)
        hide = spans(tokens, *traits(tokens, segments, self.vocabulary), rng)
        source, source_segments, target, target_segments = sentinels(tokens, segments, hide, self.vocabulary)
        usual, worst, target_width = self.widths(tokens.shape[1])
        source_width = usual if source.shape[1] <= usual else worst
        return pair(
            self.layout,
            widened(source, source_width, self.vocabulary.pad),
            widened(source_segments, source_width, PADDING),
            widened(target, target_width, self.vocabulary.pad),
            widened(target_segments, target_width, PADDING),
            self.vocabulary,
        )

    def widths(self, window: int) -> tuple[int, int, int]:
        """Widths: usual source, largest source, target. No row hides more tokens or spans than a full one."""
        hidden = max(round(self.rate * window), 1)
        spans = max(round(hidden / self.mean), 1)
        return min(rounded(window - hidden + spans + SLACK), window), window, rounded(hidden + spans + 1)

    def ask(self, context: Tensor, continuation: Tensor) -> Batch:
        sentinel = self._sentinel(context)
        target = torch.cat((sentinel, continuation), 1)
        weights = torch.ones(target.shape)
        weights[:, 0] = 0
        source = torch.cat((context, sentinel), 1)
        return pair(self.layout, source, None, target, None, self.vocabulary, weights)

    def prompt(self, context: Tensor, length: int) -> Batch:
        sentinel = self._sentinel(context)
        source = torch.cat((context, sentinel), 1)
        first = torch.cat((torch.full_like(sentinel, self.vocabulary.bos), sentinel), 1)
        return start(self.layout, source, first)

    def _sentinel(self, context: Tensor) -> Tensor:
        return context.new_full((len(context), 1), self.vocabulary.sentinels[0])
