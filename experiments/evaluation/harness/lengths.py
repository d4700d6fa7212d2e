"""Fits texts into a run's window: a long context loses its beginning, a long document is divided."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from functools import cached_property, lru_cache
from itertools import pairwise

import numpy as np
import torch

from experiments.data.tokenizer.tokenizer import Tokenizer
from objectives.base import Objective


class Window:
    """How much text fits if no stack may read more than `tokens`, counting tokens that the objective adds.

    Computed from the shapes of the objective's own batches, so it holds for every layout.
    """

    def __init__(self, objective: Objective, tokens: int) -> None:
        self.tokens = tokens
        self._objective = objective
        self.room = lru_cache(maxsize=None)(self._room)

    def _room(self, text: int) -> int:
        """The most tokens of context that fit beside `text` tokens of text; -1 if the text alone does not."""
        return bisect_right(range(self.tokens + 1), self.tokens, key=lambda n: self._width(n, text)) - 1

    @cached_property
    def longest(self) -> int:
        """The most tokens of text that fit without context."""
        return bisect_right(range(1, self.tokens + 1), self.tokens, key=lambda n: self._width(0, n))

    def _width(self, context: int, text: int) -> int:
        batch = self._objective.ask(torch.zeros(1, context).long(), torch.zeros(1, text).long())
        source = 0 if batch.source is None else batch.source.shape[1]
        return max(batch.tokens.shape[1], source)


def ending(tokenizer: Tokenizer, text: str, most: int) -> str:
    """The longest end of a text with at most `most` tokens, cut between tokens and tokenised again."""
    while True:
        ids, spans = tokenizer.encode_with_spans(text)
        if len(ids) <= most:
            return text
        text = text[next(cut for cut in _cuts(spans, len(text))[len(ids) - most :] if cut) :]


def divided(tokenizer: Tokenizer, text: str, window: Window) -> Iterator[tuple[str, str]]:
    """Divides a document into (context, part) in order.

    The parts join to the document; each token is scored once.

    The first part is as long as fits. Every other part has at most half a window, and as much of the text
    before it as fits as its context. A part begins with a word if possible: then it is tokenised as in the
    document.
    """
    ids, spans = tokenizer.encode_with_spans(text)
    cuts, words, done = _cuts(spans, len(text)), [*tokenizer.word_starts[ids], True], 0
    while done < len(ids):
        most = window.longest if done == 0 else window.tokens // 2
        ends = [end for end in range(done + 1, min(done + most, len(ids)) + 1) if cuts[end]]
        end = max((end for end in ends if words[end]), default=ends[-1])
        before, part = text[: cuts[done]], text[cuts[done] : cuts[end]]
        yield ending(tokenizer, before, max(0, window.room(len(tokenizer.encode(part))))), part
        done = end


def _cuts(spans: np.ndarray, length: int) -> list[int | None]:
    """The character at which the first 0, 1, … n tokens end; None if that is inside a character."""
    inner = [int(end) if start >= end else None for (_, end), (start, _) in pairwise(spans)]
    return [0, *inner, length]
