"""How likely token ids are to a family: equal shapes are asked in one batch, so that nothing is padded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from archs.families.encoder_ae import EncoderAE
from archs.families.family import Family, Unit
from experiments.evaluation.scoring.batching import batches, chunks, tokens_at_once
from experiments.evaluation.scoring.checks import Pll, check_lengths
from objectives.base import Objective
from objectives.select_parts import number_words, traits


class TokenScores(NamedTuple):
    """The unit, -log p of each of a text's tokens, and whether each is the likeliest one there."""

    unit: Unit
    nats: list[float]
    greedy: bool


def score_tokens(
    family: Family,
    objective: Objective,
    texts: Sequence[tuple[Sequence[int], Sequence[int]]],
    pll: Pll | None = None,
) -> Iterator[TokenScores]:
    """Of each (context ids, text ids), in order, some at a time.

    Raises UserError, with the text's number, for one that exceeds learned positions, before the first.
    """
    shapes = [(len(context), len(text)) for context, text in texts]
    check_lengths(family, objective, shapes)
    most = tokens_at_once(family.config.vocabulary)
    for chunk in chunks(shapes):
        found: dict[int, TokenScores] = {}
        for numbers in batches(shapes, chunk, most):
            context, text = (torch.tensor([texts[number][side] for number in numbers]) for side in (0, 1))
            found.update(zip(numbers, _ask(family, objective, context.long(), text, pll, most), strict=True))
        yield from (found[number] for number in chunk)


@torch.no_grad()
def _ask(
    family: Family, objective: Objective, context: Tensor, text: Tensor, pll: Pll | None, most: int
) -> list[TokenScores]:
    """context (B,L), text (B,R), nothing padded -> B answers; an encoder-AE's passes have `most` tokens."""
    batch = objective.ask(context, text)
    there = batch.to(next(family.parameters()).device)
    if isinstance(family, EncoderAE):
        words = None
        if pll == "word_l2r":
            words = number_words(*traits(batch.tokens, batch.segments, objective.vocabulary))
            words = words.to(there.device)
        score = family.score(there, max(1, most // batch.tokens.shape[1]), words)
    else:
        score = family.score(there)
    asked = batch.weights > 0
    nats = (-score.nats.cpu()[asked]).view(text.shape).tolist()
    greedy = score.greedy.cpu()[asked].view(text.shape).all(dim=1).tolist()
    return [TokenScores(score.unit, *each) for each in zip(nats, greedy, strict=True)]
