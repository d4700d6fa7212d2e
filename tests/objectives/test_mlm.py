import torch
from hypothesis import given, settings
from toy_text import EOS, MASK, VOCABULARY, WORDS, rates, real, seeded, seeds, windows

from objectives.base import Windows
from objectives.mlm import MLM
from objectives.replace import mask_only
from objectives.select import whole_word


def every_third(tokens, word_starts, special, rng):
    """A selection of a user's own, which takes no rate."""
    return (torch.arange(tokens.shape[1]) % 3 == 0).expand(tokens.shape) & ~special


def test_hidden_tokens_are_asked_where_they_stood():
    objective = MLM(VOCABULARY, "in_place", select=every_third, replace=mask_only)
    batch = objective.build(Windows(torch.tensor([[40, 41, 42, EOS, 44, 45, 46, 47]])), seeded())
    assert batch.tokens.tolist() == [[MASK, 41, 42, EOS, 44, 45, MASK, 47]]
    assert batch.targets.tolist() == [[40, 41, 42, EOS, 44, 45, 46, 47]]
    assert batch.weights.tolist() == [[1, 0, 0, 0, 0, 0, 1, 0]]
    assert batch.positions.tolist() == [[0, 1, 2, 3, 4, 5, 6, 7]]
    assert batch.segments is None


@given(text=windows, seed=seeds, rate=rates)
@settings(max_examples=60, deadline=None)
def test_what_is_not_asked_is_unchanged_and_the_rate_is_exact(text, seed, rate):
    batch = MLM(VOCABULARY, "in_place", rate=rate).build(text, seeded(seed))
    asked = batch.weights > 0
    assert torch.equal(batch.targets, text.tokens)
    assert torch.equal(batch.tokens[~asked], text.tokens[~asked])
    assert (text.tokens[asked] >= WORDS).all()
    maskable = (real(text) & (text.tokens >= WORDS)).sum(1).tolist()
    assert asked.sum(1).tolist() == [min(n, max(1, round(rate * n))) for n in maskable]
    assert batch.segments is text.segments


def test_masking_is_dynamic():
    text = Windows(torch.arange(WORDS, WORDS + 60)[None])
    rng = seeded()
    objective = MLM(VOCABULARY, "in_place")
    one, two = objective.build(text, rng), objective.build(text, rng)
    assert not torch.equal(one.weights, two.weights)


def test_the_rate_reaches_the_selection():
    text = Windows(torch.arange(WORDS, WORDS + 60)[None])
    batch = MLM(VOCABULARY, "in_place", select=whole_word, rate=0.5).build(text, seeded())
    assert batch.supervised == 30


def test_ask_hides_nothing_and_names_the_mask_token():
    batch = MLM(VOCABULARY, "in_place").ask(torch.tensor([[50]]), torch.tensor([[60, 61]]))
    assert batch.tokens.tolist() == batch.targets.tolist() == [[50, 60, 61]]
    assert batch.extras["mask"].tolist() == [MASK]
