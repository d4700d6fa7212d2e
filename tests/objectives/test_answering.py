"""Tagged and AnswerSpan: what their losses count, for all five families; and the token types of a pair."""

from dataclasses import replace

import pytest
import torch
from toy_text import VOCABULARY, tiny

from archs import FAMILIES, CoreConfig, build
from objectives.answer_span import AnswerSpan
from objectives.layouts import parts_marked, read
from objectives.pooled import Pooled
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


PAIR = torch.tensor([[4, 40, 5, 80, 41, 5], [4, 42, 81, 5, 43, 5]])
TYPES = torch.tensor([[0, 0, 0, 1, 1, 1], [0, 0, 0, 0, 1, 1]])


@torch.no_grad()
@pytest.mark.parametrize("kind", ["encoder_ae", "decoder_ar"])
def test_the_second_text_of_a_row_has_the_second_token_type(kind):
    torch.manual_seed(0)
    family = build(kind, CoreConfig(100, 2, 32, 2, 64, 64, token_types=2)).eval()
    one, both = torch.zeros(2).long(), torch.zeros_like(PAIR)
    typed = family.hidden(replace(read(family.layout, PAIR, both, VOCABULARY), token_types=TYPES)).rows
    pooled = Pooled(VOCABULARY, family.layout)
    head = pooled.modules(family)
    expected = head["answer"](torch.stack([typed[0, [1, 3, 4]].mean(0), typed[1, [1, 2, 4]].mean(0)]))
    torch.testing.assert_close(pooled.answers(family, head, pooled.read(PAIR, both, one)), expected)
    tagged = Tagged(VOCABULARY, family.layout, classes=3)
    head, words = tagged.modules(family), torch.tensor([[1, 4], [1, 4]])
    expected = head["answer"](typed[:, [1, 4]])
    torch.testing.assert_close(tagged.answers(family, head, tagged.read(PAIR, both, words, words)), expected)
    span = AnswerSpan(VOCABULARY, family.layout)
    head, batch = span.modules(family), span.read(PAIR, both, both == 0, words)
    torch.testing.assert_close(span.answers(family, head, batch), head["answer"](typed).transpose(1, 2))


@pytest.mark.parametrize("types", [0, 1])
def test_a_family_without_a_second_token_type_reads_texts_without_types(types):
    family = build("encoder_ae", CoreConfig(100, 2, 32, 2, 64, 64, token_types=types))
    batch = read(family.layout, PAIR, None, VOCABULARY)
    assert parts_marked(batch, family, VOCABULARY) is batch


def test_a_tokenizer_that_spells_every_frame_alike_marks_the_second_text_alone():
    family = build("encoder_ae", CoreConfig(100, 2, 32, 2, 64, 64, token_types=2))
    alike = replace(VOCABULARY, cls=None, sep=None, bos=2, eos=2)
    batch = read(family.layout, torch.tensor([[2, 40, 2, 41, 2]]), None, alike)
    types = parts_marked(batch, family, alike).token_types
    assert types is not None
    assert types.tolist() == [[0, 0, 0, 1, 1]]
