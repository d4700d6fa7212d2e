"""A question and its context as a model reads them: [cls] question [sep] context [sep], cut into windows.

Axes: C tokens of the context in one window, W tokens of the longest window.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from experiments.evaluation.encoding import frame, padded
from experiments.runs.run import Run
from experiments.tasks.kind import Example

Span = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Window:
    """A question with a part of its context.

    item: the number of the example. tokens: the whole row. first: the column of the first context token.
    places (C,2): the start and end character of each context token, end excluded. nowhere: the column that is
    predicted if this window holds no answer.
    """

    item: int
    tokens: list[int]
    first: int
    places: np.ndarray
    nowhere: int

    def columns(self, characters: Sequence[int]) -> Span | None:
        """First and last column of the characters start to end; None if the window lacks a part of them."""
        start, end = characters
        begins, ends = self.places[:, 0], self.places[:, 1]
        first = int(np.searchsorted(ends, start, side="right"))
        last = int(np.searchsorted(begins, end, side="left")) - 1
        if first > last or begins[first] > start or ends[last] < end:
            return None
        return first + self.first, last + self.first

    def characters(self, columns: Span) -> slice:
        """The characters of the context between these columns, both included."""
        first, last = (column - self.first for column in columns)
        return slice(int(self.places[first, 0]), int(self.places[last, 1]))


def windows(run: Run, examples: Sequence[Example]) -> tuple[list[Window], int]:
    """All windows of all items, in order, and how many items lost the end of the question or every answer."""
    cls, sep = frame(run)
    encode = run.corpus.tokenizer.encode_with_spans
    contexts = {context: encode(context) for context in {example["context"] for example in examples}}
    questions = run.corpus.tokenizer.encode_batch([example["question"] for example in examples])
    length, all_windows, cut = run.recipe.size.length, [], 0
    for item, (example, whole) in enumerate(zip(examples, questions, strict=True)):
        question = whole[: (length - 3) // 2]
        ids, places = contexts[example["context"]]
        windows_of_item = []
        for start, stop in parts(len(ids), length - 3 - len(question)):
            tokens = [cls, *question, sep, *ids[start:stop], sep]
            # As in pooling: the first row has seen everything if rows see later ones, else the last row has.
            nowhere = 0 if run.family.both_ways else len(tokens) - 1
            windows_of_item.append(Window(item, tokens, len(question) + 2, places[start:stop], nowhere))
        answerable = any(window.columns(span) for window in windows_of_item for span in example["spans"])
        cut += len(question) < len(whole) or bool(example["spans"] and not answerable)
        all_windows += windows_of_item
    return all_windows, cut


def parts(length: int, room: int) -> Iterator[Span]:
    """Start and stop of windows of `room` tokens; each starts half a room after the one before it.

    So some window holds all of a span of up to half a room. 10 tokens in a room of 4: 0 to 4, 2 to 6, 4 to 8,
    6 to 10.
    """
    start = 0
    while start + room < length:
        yield start, start + room
        start += room - room // 2
    yield start, length


def batched(given: Sequence[Window], pad: int, nowhere: bool) -> tuple[Tensor, Tensor, Tensor]:
    """tokens, segments, choices (n,W).

    choices: the context's columns, and column `nowhere` if that is True.
    """
    tokens, segments = padded([window.tokens for window in given], pad)
    choices = torch.zeros_like(tokens, dtype=torch.bool)
    for row, window in enumerate(given):
        choices[row, window.first : window.first + len(window.places)] = True
        choices[row, window.nowhere] = nowhere
    return tokens, segments, choices
