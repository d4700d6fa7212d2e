"""The leak that would make every number worthless: a row that can read the token it is asked for.

A token of the text is exchanged for another, the batch is built again with the same chance, and what the
rows that ask for it say must not change. Objectives whose source shows the text (BART's, deshuffling, the
joint one) are asked with the source held as it was.
"""

from dataclasses import replace

import pytest
import torch
from toy_text import EOS, VOCABULARY, seeded, tiny

from archs import FAMILIES
from objectives import OBJECTIVES
from objectives.base import Windows
from objectives.replace import mask_only

SHOW_THE_TEXT = {"denoising", "deshuffling", "joint"}
TAKE_REPLACE = {"mlm", "nsp", "sop", "sentence_structure", "mass", "masked_next", "joint"}
WITH_NOISE = {"span_by_span": {"noise": 0.0}}
PAIRS = [(name, family) for name, kind in OBJECTIVES.items() for family in kind.families]
WIDTH, MIDDLE = 13, 6
WORDS = torch.arange(36, 98)  # no sentence ends


def texts(seed):
    """Two rows of different tokens, and the same with one token exchanged for one that is not there.

    Every other text is packed: eos in the middle ends a document.
    """
    order = torch.randperm(len(WORDS), generator=seeded(seed))
    tokens = WORDS[order[: 2 * WIDTH]].view(2, WIDTH)
    cell, packed = seed % WIDTH, bool(seed % 2)
    if packed:
        tokens[:, MIDDLE] = EOS
        cell += cell == MIDDLE
    other = tokens.clone()
    spare = WORDS[order[2 * WIDTH :]]
    other[0, cell] = spare[spare % 2 == tokens[0, cell] % 2][0]  # begins a word if the other did
    segments = (torch.arange(WIDTH) > MIDDLE).long().repeat(2, 1) if packed else None
    return Windows(tokens, segments), Windows(other, segments), int(tokens[0, cell]), int(other[0, cell])


def answers(family, batch, token):
    """Log-probabilities (n,V) of the rows that ask for this token."""
    index, targets, weights = batch.asked()
    with torch.no_grad():
        logp = family.logits(family.hidden(batch).targets).log_softmax(-1)
    return logp[(targets == token) & (weights > 0)], index[(targets == token) & (weights > 0)]


def differences(name, family, build, seeds=range(40)):
    """The largest change of an answer when its own token changes, over cells; and how many were asked."""
    largest, asked = 0.0, 0
    for seed in seeds:
        one, two, before, after = texts(seed)
        first, second = (build(text, seeded(seed)) for text in (one, two))
        if name in SHOW_THE_TEXT and first.source is not None:
            second = replace(second, source=first.source)
        elif name in SHOW_THE_TEXT:  # one stack: [source; target]
            shown = torch.cat((first.tokens[:, :WIDTH], second.tokens[:, WIDTH:]), 1)
            second = replace(second, tokens=shown)
        said, where = answers(family, first, before)
        again, there = answers(family, second, after)
        assert where.tolist() == there.tolist()
        if len(said):
            asked += 1
            largest = max(largest, float((said - again).abs().max()))
    return largest, asked


def family_and_objective(name, kind):
    family = tiny(kind)
    options = {"replace": mask_only} if name in TAKE_REPLACE else WITH_NOISE.get(name, {})
    return family, OBJECTIVES[name](VOCABULARY, FAMILIES[kind].layout, **options)


@pytest.mark.parametrize(("name", "kind"), PAIRS)
def test_what_a_row_says_does_not_depend_on_the_token_it_is_asked_for(name, kind):
    family, objective = family_and_objective(name, kind)
    largest, asked = differences(name, family, objective.build)
    assert asked >= 3
    assert largest < 1e-5


@pytest.mark.parametrize(("name", "kind"), PAIRS)
def test_a_planted_leak_is_seen(name, kind):
    """One cell that every row may read holds the sum of what is asked: a trace of each target."""
    family, objective = family_and_objective(name, kind)

    def leaking(windows, rng):
        batch = objective.build(windows, rng)
        tokens = batch.tokens.clone()
        trace = 36 + (batch.targets * (batch.weights > 0)).sum(1) % 62
        tokens[:, WIDTH if name == "deshuffling" and kind != "encoder_decoder" else 0] = (
            trace  # its first cells are the source, held
        )
        rank = batch.rank
        if rank is not None:
            rank = rank.clone()
            rank[:, 0] = 0
        return replace(batch, tokens=tokens, rank=rank)

    largest, _ = differences(name, family, leaking)
    assert largest > 1e-4
