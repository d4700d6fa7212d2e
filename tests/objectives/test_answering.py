"""Tagged and AnswerSpan: what their losses count, the same for all five families."""

import pytest
import torch
from toy_text import VOCABULARY, tiny

from archs import FAMILIES
from objectives.answer_span import AnswerSpan
from objectives.tagged import Tagged

TEXTS = torch.tensor([[4, 40, 80, 41, 5], [4, 42, 81, 5, 0]])
SEGMENTS = torch.tensor([[0, 0, 0, 0, 0], [0, 0, 0, 0, -1]])


@pytest.mark.parametrize("kind", FAMILIES)
def test_the_loss_of_tags_is_the_mean_over_the_words_that_are_read(kind):
    family = tiny(kind)
    asks = Tagged(VOCABULARY, family.layout, classes=3)
    modules = asks.modules(family)
    rows, labels = torch.tensor([[1, 3], [2, -1]]), torch.tensor([[1, 0], [2, 0]])
    batch = asks.read(TEXTS, SEGMENTS, rows, labels)
    logp = asks.answers(family, modules, batch).log_softmax(2)
    expected = -(logp[0, 0, 1] + logp[0, 1, 0] + logp[1, 0, 2]) / 3
    assert torch.allclose(asks.loss(family, modules, batch).value, expected)
    labels[1, 1] = 2  # of a word that is not read
    other = asks.loss(family, modules, asks.read(TEXTS, SEGMENTS, rows, labels)).value
    assert torch.equal(other, asks.loss(family, modules, batch).value)


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_word_is_answered_by_its_own_row(kind):
    family = tiny(kind)
    asks = Tagged(VOCABULARY, family.layout, classes=3)
    modules = asks.modules(family)
    batch = asks.read(TEXTS, SEGMENTS, torch.tensor([[3, 1], [2, -1]]), torch.zeros(2, 2).long())
    states = family.hidden(batch).rows
    expected = modules["answer"](torch.stack((states[0, 3], states[0, 1], states[1, 2])))
    assert torch.allclose(asks.answers(family, modules, batch).flatten(0, 1)[:3], expected)


@pytest.mark.parametrize("kind", FAMILIES)
def test_the_loss_of_a_span_is_the_mean_of_both_ends_among_the_choices(kind):
    family = tiny(kind)
    asks = AnswerSpan(VOCABULARY, family.layout)
    modules = asks.modules(family)
    choices = torch.tensor([[1, 0, 1, 1, 0], [1, 1, 1, 0, 0]]).bool()
    batch = asks.read(TEXTS, SEGMENTS, choices, torch.tensor([[2, 3], [0, 0]]))
    logits = asks.answers(family, modules, batch)
    assert torch.equal(logits.isneginf(), ~choices.unsqueeze(1).expand(2, 2, 5))
    logp = logits.log_softmax(2)
    expected = -(logp[0, 0, 2] + logp[0, 1, 3] + logp[1, 0, 0] + logp[1, 1, 0]) / 4
    assert torch.allclose(asks.loss(family, modules, batch).value, expected)
