"""Scores and writes targets by a family that was finetuned on [source; target]."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from archs.batch import Batch
from archs.decoding.decoding import Decoding
from archs.families.family import Family
from experiments.evaluation.encoding import padded
from experiments.evaluation.finetuned.source_target import Pairs, portions
from experiments.evaluation.scoring.batching import tokens_at_once
from objectives.base import Vocabulary
from objectives.conditional import Conditional

LENGTH_PENALTY = 1.0  # beams are compared by their nats a token
ROUNDS = 10  # of mask-predict, as many as in Ghazvininejad et al. 2019


def taught(
    asks: Conditional, sources: Sequence[list[int]], targets: Sequence[list[int]], seed: int = 0
) -> Batch:
    """The batch that asks for the targets alone (B sources, B targets).

    seed: for objectives that hide at random.
    """
    pad = asks.vocabulary.pad
    rng = torch.Generator().manual_seed(seed)
    return asks.pairs(*padded(sources, pad), *padded(targets, pad), rng)


@torch.no_grad()
def nats(family: Family, asks: Conditional, pairs: Pairs) -> np.ndarray:
    """-log p of each item's targets given its source, summed over the targets, eos included: (n) float64.

    One teacher-forced pass. The family's unit must be "nll".
    """
    each = [(item, target) for item, targets in enumerate(pairs.targets) for target in targets]
    lengths = np.array([len(pairs.sources[item]) + len(target) for item, target in each])
    sums = np.zeros(len(pairs))
    for chosen in portions(lengths, tokens_at_once(asks.vocabulary.size)):
        items, targets = zip(*(each[number] for number in chosen), strict=True)
        batch = taught(asks, [pairs.sources[item] for item in items], targets)
        score = family.score(batch.to(family.embedding.weight.device))
        np.add.at(sums, list(items), -score.nats.sum(dim=1).double().cpu().numpy())
    return sums


@torch.no_grad()
def loss(family: Family, asks: Conditional, pairs: Pairs) -> float:
    """Mean nats of the tokens that `asks` hides of each item's first target, the same ones in every call."""
    total = count = 0.0
    for seed, chosen in enumerate(portions(pairs.lengths, tokens_at_once(asks.vocabulary.size))):
        sources = [pairs.sources[item] for item in chosen]
        batch = taught(asks, sources, [pairs.targets[item][0] for item in chosen], seed)
        batch = batch.to(family.embedding.weight.device)
        batch_loss = asks.loss(family, asks.modules(family), batch)
        total += float(batch_loss.value) * batch.totals["tokens"]
        count += batch.totals["tokens"]
    return total / count


def write(
    family: Family, asks: Conditional, sources: Sequence[list[int]], longest: int, beams: int
) -> list[list[int]]:
    """The text that the family writes for each source, without eos: at most `longest` tokens, eos counted."""
    how = decoding(asks.vocabulary, asks.layout == "in_place", beams)
    texts: list[list[int]] = [[] for _ in sources]
    lengths = np.array([len(source) + longest for source in sources])
    for chosen in portions(lengths, tokens_at_once(asks.vocabulary.size)):
        tokens, segments = padded([sources[item] for item in chosen], asks.vocabulary.pad)
        prompt = asks.prompt_pair(tokens, torch.full((len(chosen),), longest), segments)
        written = family.generate(prompt.to(family.embedding.weight.device), longest, how)
        for item, row in zip(chosen.tolist(), written.tolist(), strict=True):
            texts[item] = until(row, asks.vocabulary.eos)
    return texts


def decoding(words: Vocabulary, fills: bool, beams: int) -> Decoding:
    """Decodes up to eos, without other special tokens: by beams, or by mask-predict if the family `fills`."""
    forbid = words.special.clone()
    forbid[words.eos] = False
    if fills:
        return Decoding(stop=(words.eos,), forbid=forbid, rounds=ROUNDS)
    return Decoding(beams=beams, length_penalty=LENGTH_PENALTY, stop=(words.eos,), forbid=forbid)


def until(row: list[int], eos: int) -> list[int]:
    """A row's tokens before the first eos or padding.

    >>> until([40, 41, 2, -1], 2), until([40, 41], 2)
    ([40, 41], [40, 41])
    """
    for place, token in enumerate(row):
        if token == eos or token < 0:
            return row[:place]
    return row
