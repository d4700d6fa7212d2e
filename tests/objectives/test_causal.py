import torch
from hypothesis import given, settings
from toy_text import BOS, EOS, PAD, VOCABULARY, documents, seeded, windows

from objectives.base import Windows
from objectives.causal import Causal


def objective():
    return Causal(VOCABULARY, "concatenated")


def test_every_token_is_asked_where_the_one_before_it_is_read():
    batch = objective().build(Windows(torch.tensor([[40, 41, EOS]])), seeded())
    assert batch.tokens.tolist() == [[BOS, 40, 41]]
    assert batch.targets.tolist() == [[40, 41, EOS]]
    assert batch.weights.tolist() == [[1, 1, 1]]
    assert batch.segments is None
    assert batch.is_prefix is None


def test_each_document_begins_with_bos_and_padding_is_not_asked():
    text = Windows(torch.tensor([[40, EOS, 50, 51, PAD]]), torch.tensor([[0, 0, 1, 1, -1]]))
    batch = objective().build(text, seeded())
    assert batch.tokens.tolist() == [[BOS, 40, BOS, 50, PAD]]
    assert batch.weights.tolist() == [[1, 1, 1, 1, 0]]
    assert batch.positions.tolist() == [[0, 1, 0, 1, 0]]


@given(text=windows)
@settings(max_examples=50, deadline=None)
def test_every_raw_token_is_asked_exactly_once(text):
    batch = objective().build(text, seeded())
    asked = batch.targets.masked_fill(batch.weights == 0, -1)
    for row, expected in zip(asked.tolist(), documents(text.tokens, text.segments), strict=True):
        assert [t for t in row if t >= 0] == [t for cells in expected.values() for t in cells]


def test_ask_and_prompt_begin_with_bos():
    context, continuation = torch.tensor([[50, 51]]), torch.tensor([[60, 61]])
    batch = objective().ask(context, continuation)
    assert batch.tokens.tolist() == [[BOS, 50, 51, 60]]
    assert batch.targets.tolist() == [[50, 51, 60, 61]]
    assert batch.weights.tolist() == [[0, 0, 1, 1]]
    assert batch.is_prefix is None
    assert objective().prompt(context, 2).tokens.tolist() == [[BOS, 50, 51]]


def test_a_text_can_be_asked_from_its_first_token():
    batch = objective().ask(torch.empty(1, 0, dtype=torch.long), torch.tensor([[60, 61]]))
    assert batch.tokens.tolist() == [[BOS, 60]]
    assert batch.weights.tolist() == [[1, 1]]
