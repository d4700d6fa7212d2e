"""Scores of token ids by a family. Equal shapes share a batch, so that nothing is padded."""

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
    """The unit, -log p of each of a text's tokens, and whether every token is the likeliest one."""

    unit: Unit
    nats: list[float]
    greedy: bool


def score_tokens(
    family: Family,
    objective: Objective,
    texts: Sequence[tuple[Sequence[int], Sequence[int]]],
    pll: Pll | None = None,
) -> Iterator[TokenScores]:
    """Yields the scores of each (context ids, text ids) in order.

    Raises UserError before the first score, with the text's number, for a text that exceeds learned
    positions.
    """
    shapes = [(len(context), len(text)) for context, text in texts]
    check_lengths(family, objective, shapes)
    most = tokens_at_once(family.config.vocabulary)
    for chunk in chunks(shapes):
        by_number: dict[int, TokenScores] = {}
        for numbers in batches(shapes, chunk, most):
            context, text = (torch.tensor([texts[number][side] for number in numbers]) for side in (0, 1))
            by_number.update(
                zip(numbers, _score_batch(family, objective, context.long(), text, pll, most), strict=True)
            )
        yield from (by_number[number] for number in chunk)


@torch.no_grad()
def _score_batch(
    family: Family, objective: Objective, context: Tensor, text: Tensor, pll: Pll | None, most: int
) -> list[TokenScores]:
    """context (B,L), text (B,R), nothing padded -> B scores.

    An encoder-AE's passes have at most `most` tokens.
    """
    batch = objective.ask(context, text)
    on_device = batch.to(next(family.parameters()).device)
    if isinstance(family, EncoderAE):
        words = None
        if pll == "word_l2r":
            words = number_words(*traits(batch.tokens, batch.segments, objective.vocabulary))
            words = words.to(on_device.device)
        score = family.score(on_device, max(1, most // batch.tokens.shape[1]), words)
    else:
        score = family.score(on_device)
    scored = batch.weights > 0
    nats = (-score.nats.cpu()[scored]).view(text.shape).tolist()
    greedy = score.greedy.cpu()[scored].view(text.shape).all(dim=1).tolist()
    return [TokenScores(score.unit, *each) for each in zip(nats, greedy, strict=True)]
