"""What `ask` makes of a context and a continuation, scored: exact families give a distribution over texts."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from archs import CoreConfig, Family, build
from archs.families.encoder_ae import EncoderAE
from objectives import OBJECTIVES
from objectives.base import Objective, Vocabulary
from objectives.conditional import Conditional
from objectives.select_parts import number_words

SIZE, LENGTH = 5, 3
PAD, BOS, EOS, MASK, SENTINEL = range(SIZE)  # the model does not know which of its five tokens are special
VOCABULARY = Vocabulary(
    size=SIZE,
    word_starts=torch.tensor([True, True, True, True, False]),
    special=torch.zeros(SIZE).bool(),
    pad=PAD,
    bos=BOS,
    eos=EOS,
    mask=MASK,
    cls=BOS,
    sep=EOS,
    sentinels=(SENTINEL,),
    sentence_ends=torch.zeros(SIZE).bool(),
)
CONTINUATIONS = torch.tensor(list(itertools.product(range(SIZE), repeat=LENGTH)))
ALL = {**OBJECTIVES, "conditional": Conditional}
PAIRS = [(name, family) for name, kind in ALL.items() if kind.language_model for family in kind.families]
EXACT = [pair for pair in PAIRS if pair[1] != "encoder_ae"]
PSEUDO = [pair for pair in PAIRS if pair[1] == "encoder_ae"]
CONTEXTS = [[], [3], [2, 0, 1, 4, 3]]


def far_from_uniform(kind: str, positions: str = "rope") -> Family:
    torch.manual_seed(0)
    config = CoreConfig(vocabulary=SIZE, width=16, heads=2, ffn=32, layers=2, max_length=16)
    config = replace(config, positions=positions, decoder_layers=2 if kind == "encoder_decoder" else None)
    family = build(kind, config).eval()
    with torch.no_grad():
        for part in family.parameters():
            part.mul_(5)
    return family


def rows_of(context: list[int], rows: int) -> Tensor:
    return torch.tensor(context).long().expand(rows, -1)


def nats(family: Family, objective: Objective, context: list[int], continuations: Tensor) -> Tensor:
    """The log-probability of each continuation (rows)."""
    batch = objective.ask(rows_of(context, len(continuations)), continuations)
    assert batch.targets[batch.weights > 0].view(continuations.shape).tolist() == continuations.tolist()
    with torch.no_grad():
        return family.score(batch).nats.double().sum(1)


@pytest.mark.parametrize("context", CONTEXTS, ids=len)
@pytest.mark.parametrize("positions", ["rope", "learned"])
@pytest.mark.parametrize(("name", "kind"), EXACT)
def test_the_probabilities_of_all_continuations_sum_to_one(name, kind, positions, context):
    family = far_from_uniform(kind, positions)
    each = nats(family, ALL[name](VOCABULARY, family.layout), context, CONTINUATIONS).exp()
    assert family.unit == "nll"
    assert len(each) == SIZE**LENGTH
    assert each.max() > 2 * each.min()
    torch.testing.assert_close(each.sum().item(), 1.0, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("name", "kind"), PSEUDO)
def test_the_pseudo_likelihoods_of_all_continuations_do_not_sum_to_one(name, kind):
    family = far_from_uniform(kind)
    total = nats(family, ALL[name](VOCABULARY, "in_place"), [], CONTINUATIONS).exp().sum().item()
    assert family.unit == "pll"
    assert abs(total - 1) > 0.01  # a thousand times what is allowed above


@pytest.mark.parametrize("context", CONTEXTS, ids=len)
@pytest.mark.parametrize(("name", "kind"), EXACT)
def test_greedy_decoding_writes_the_token_that_scores_best(name, kind, context):
    family = far_from_uniform(kind)
    objective = ALL[name](VOCABULARY, family.layout)
    written = family.generate(objective.prompt(rows_of(context, 1), 1), 1)
    scored = nats(family, objective, context, torch.arange(SIZE)[:, None])
    assert written.tolist() == [[int(scored.argmax())]]


@pytest.mark.parametrize("start", [[], [3, 0]], ids=len)
def test_a_decoder_s_score_of_two_parts_is_the_first_s_and_the_second_s_given_the_first(start):
    family, objective = far_from_uniform("decoder_ar"), OBJECTIVES["causal"](VOCABULARY, "concatenated")
    one, two = torch.tensor([[4, 2, 0, 1]]), torch.tensor([[1, 1, 3]])
    whole = nats(family, objective, start, torch.cat((one, two), 1))
    parts = nats(family, objective, start, one) + nats(family, objective, start + one[0].tolist(), two)
    torch.testing.assert_close(whole, parts, atol=1e-5, rtol=0)


def test_a_text_s_words_are_numbered_by_the_vocabulary_and_hidden_from_the_asked_token_on():
    family = far_from_uniform("encoder_ae")
    assert isinstance(family, EncoderAE)
    objective = OBJECTIVES["mlm"](VOCABULARY, "in_place")
    batch = objective.ask(torch.tensor([[2]]), torch.tensor([[4, 1, 4, 4, 0]]))  # 4 goes on with a word
    words = number_words(VOCABULARY.word_starts[batch.tokens], VOCABULARY.special[batch.tokens])
    assert words.tolist() == [[0, 0, 1, 1, 1, 2]]
    seen = torch.tensor(
        [[2, 3, 1, 4, 4, 0], [2, 4, 3, 3, 3, 0], [2, 4, 1, 3, 3, 0], [2, 4, 1, 4, 3, 0], [2, 4, 1, 4, 4, 3]]
    )
    asked = torch.arange(5)
    with torch.no_grad():
        rows = family.hidden(replace(batch.rows(torch.zeros(5).long()), tokens=seen)).rows[asked, asked + 1]
        by_hand = family.logits(rows).log_softmax(-1)[asked, batch.targets[0, 1:]]
        score = family.score(batch, words=words)
    assert score.unit == "pll_word_l2r"
    torch.testing.assert_close(score.nats[0, 1:], by_hand)
