"""Sources and what is to be written about them, in token ids, as far as both fit the model's window.

Axes: n items; of each one or more targets.
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

MOST = 0.95  # of the targets are written in full, and so is what is a little longer than they are:
LONGER = 1.2


@dataclass(frozen=True, eq=False)
class Pairs:
    """sources[i] with targets[i], each of which ends with eos unless it was cut; `bytes` of each target.

    cut, targets_cut: how many items lost some of their source, and how many of a target.
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
        """Of each source with its longest target, in tokens (n)."""
        both = zip(self.sources, self.targets, strict=True)
        return np.array([len(source) + max(map(len, targets)) for source, targets in both])


def longest_target(run: Run, examples: Sequence[Example]) -> int:
    """How many tokens are written at most: LONGER times what MOST targets have, and half a window at most.

    eos counts. Of the training examples where there are any, whatever their number, so that all are alike.
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
    """The examples' roles source and references. beside: tokens of the window that other things need."""
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
    """Bytes of a text of so many tokens, or of what its first `longest` ones stand for."""
    if tokens <= longest:
        return len(text.encode())
    _, spans = tokenizer.encode_with_spans(text)
    return len(text[: spans[longest - 1, 1]].encode())


def portions(lengths: np.ndarray, cells: int) -> list[np.ndarray]:
    """Numbers (n) in order of length, so many together that padded they have `cells` cells at most."""
    found: list[list[int]] = [[]]
    for number in np.argsort(lengths, kind="stable").tolist():
        if found[-1] and (len(found[-1]) + 1) * lengths[number] > cells:
            found.append([])
        found[-1].append(number)
    return [np.array(each) for each in found if each]


def _encoded(tokenizer: Tokenizer, examples: Sequence[Example]) -> list[list[list[int]]]:
    """The references of each example, one call for all of them."""
    ids = iter(tokenizer.encode_batch([text for example in examples for text in example["references"]]))
    return [[next(ids) for _ in example["references"]] for example in examples]
