"""Sources and their targets in token ids, cut so that both fit the model's window.

Axes: n items, each with one or more targets.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from experiments.data.tokenizer.tokenizer import Tokenizer
from experiments.runs.run import Run
from experiments.tasks.kind import Example

MOST = 0.95  # the quantile of target lengths that fits in full
LONGER = 1.2  # times that quantile may be written, so that a somewhat longer target fits too


@dataclass(frozen=True, eq=False)
class Pairs:
    """sources[i] and its targets[i], each of which ends with eos unless it was cut; bytes[i] of each target.

    cut: how many items lost a part of their source. targets_cut: how many lost a part of a target.
    """

    sources: list[list[int]]
    targets: list[list[list[int]]]
    bytes: list[list[int]]
    cut: int
    targets_cut: int

    def __len__(self) -> int:
        return len(self.sources)

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each source and its longest target together (n)."""
        both = zip(self.sources, self.targets, strict=True)
        return np.array([len(source) + max(map(len, targets)) for source, targets in both])


def longest_target(run: Run, examples: Sequence[Example]) -> int:
    """The most tokens to write, eos included: LONGER times the MOST quantile, and at most half a window.

    Finetuning gives all training examples, however few it trains on, so that the limit is always the same.
    """
    each = [len(ids) + 1 for targets in _encoded(run.corpus.tokenizer, examples) for ids in targets]
    return min(math.ceil(LONGER * float(np.quantile(each, MOST))), run.recipe.size.length // 2)


def encoded(
    run: Run,
    examples: Sequence[Example],
    longest: int,
    loses: Literal["end", "beginning"] = "end",
    beside: int = 0,
) -> Pairs:
    """Encodes the roles source and references.

    loses: the side at which a long source is cut. beside: tokens of the window to leave free.
    """
    tokenizer, room = run.corpus.tokenizer, run.recipe.size.length - longest - beside
    sources = tokenizer.encode_batch([example["source"] for example in examples])
    kept = [ids[:room] if loses == "end" else ids[-room:] for ids in sources]
    eos, targets, sizes, targets_cut = run.corpus.vocabulary.eos, [], [], 0
    for example, each in zip(examples, _encoded(tokenizer, examples), strict=True):
        targets.append([[*ids, eos][:longest] for ids in each])
        sizes.append(
            [
                utf8(tokenizer, text, len(ids), longest)
                for text, ids in zip(example["references"], each, strict=True)
            ]
        )
        targets_cut += any(len(ids) + 1 > longest for ids in each)
    cut = sum(short != ids for short, ids in zip(kept, sources, strict=True))
    return Pairs(kept, targets, sizes, cut, targets_cut)


def utf8(tokenizer: Tokenizer, text: str, tokens: int, longest: int) -> int:
    """UTF-8 bytes of a text's first `longest` tokens, or of the whole text if it has no more.

    tokens: its length.
    """
    if tokens <= longest:
        return len(text.encode())
    _, spans = tokenizer.encode_with_spans(text)
    return len(text[: spans[longest - 1, 1]].encode())


def portions(lengths: np.ndarray, cells: int) -> list[np.ndarray]:
    """Groups the numbers 0 to n-1 in order of length; a group has at most `cells` cells when padded."""
    groups: list[list[int]] = [[]]
    for number in np.argsort(lengths, kind="stable").tolist():
        if groups[-1] and (len(groups[-1]) + 1) * lengths[number] > cells:
            groups.append([])
        groups[-1].append(number)
    return [np.array(each) for each in groups if each]


def _encoded(tokenizer: Tokenizer, examples: Sequence[Example]) -> list[list[list[int]]]:
    """The token ids of each example's references, encoded in one call."""
    ids = iter(tokenizer.encode_batch([text for example in examples for text in example["references"]]))
    return [[next(ids) for _ in example["references"]] for example in examples]
