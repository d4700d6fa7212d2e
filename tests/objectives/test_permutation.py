import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_text import EOS, MASK, PAD, VOCABULARY, WORDS, random_windows, real, seeded, seeds, windows

from archs.masks import document, order
from objectives.base import Windows
from objectives.permutation import Permutation


def objective(k=6):
    return Permutation(VOCABULARY, "permuted", k=k)


def test_all_that_can_be_predicted_is_when_there_is_too_little():
    # Two ordinary tokens, three slots: both are targets, in one order or the other.
    batch = objective(k=2).build(Windows(torch.tensor([[40, EOS, 42, EOS, EOS, EOS]])), seeded())
    assert batch.tokens.tolist() == batch.targets.tolist() == [[40, EOS, 42, EOS, EOS, EOS]]
    assert batch.queries.tolist() == [[0, 2, -1]]
    assert batch.weights.tolist() == [[1, 0, 1, 0, 0, 0]]
    assert batch.rank.tolist() in ([[1, 0, 2, 0, 0, 0]], [[2, 0, 1, 0, 0, 0]])


def test_at_k_one_every_token_but_the_first_in_the_order_is_asked():
    batch = objective(k=1).build(Windows(torch.tensor([[40, 41, 42]])), seeded())
    assert batch.queries.tolist() == [[0, 1, 2]]
    assert sorted(batch.rank[0].tolist()) == [1, 2, 3]
    assert batch.weights.tolist() == (batch.rank > 1).float().tolist()


def test_a_document_with_a_token_of_context_loses_nothing():
    text = Windows(torch.tensor([[40, EOS, 50, 51, PAD]]), torch.tensor([[0, 0, 1, 1, -1]]))
    batch = objective(k=1).build(text, seeded())
    assert batch.queries.tolist() == [[0, 2, 3, -1, -1]]
    assert batch.weights[0, :2].tolist() == [1, 0]
    assert batch.weights[0, 2:4].sum() == 1  # 50 51 has no eos yet: its first in the order sees nothing
    assert batch.weights[0, 4] == 0


@given(text=windows, seed=seeds, k=st.integers(1, 8))
@settings(max_examples=80, deadline=None)
def test_a_fixed_number_of_ordinary_tokens_is_ranked(text, seed, k):
    batch = objective(k).build(text, seeded(seed))
    number = max(1, round(text.tokens.shape[1] / k))
    maskable = (text.tokens >= WORDS) & real(text)
    assert batch.queries.shape == (len(text.tokens), number)
    assert torch.equal(batch.tokens, text.tokens)
    for row in range(len(text.tokens)):
        columns = [c for c in batch.queries[row].tolist() if c >= 0]
        assert len(columns) == min(number, int(maskable[row].sum()))
        assert columns == sorted(columns) == batch.rank[row].nonzero()[:, 0].tolist()
        assert batch.queries[row, len(columns) :].tolist() == [-1] * (number - len(columns))
        assert sorted(batch.rank[row, columns].tolist()) == list(range(1, len(columns) + 1))
        assert maskable[row, columns].all()
    assert (batch.rank[batch.weights > 0] > 0).all()


@given(text=windows, seed=seeds, k=st.integers(1, 4))
@settings(max_examples=80, deadline=None)
def test_a_token_is_asked_if_and_only_if_its_query_sees_something(text, seed, k):
    batch = objective(k).build(text, seeded(seed))
    columns = batch.queries.clamp(min=0)
    query_rank, key_rank = 2 * batch.rank.gather(1, columns) - 1, 2 * batch.rank
    rule = order(query_rank, key_rank)
    if batch.segments is not None:
        rule = rule & document(batch.segments.gather(1, columns), batch.segments)
    q, k_ = torch.arange(columns.shape[1]), torch.arange(batch.tokens.shape[1])
    seen = rule.dense(len(columns), q, k_)
    for row in range(len(columns)):
        for slot, column in enumerate(batch.queries[row].tolist()):
            if column < 0:
                continue
            visible = seen[row, slot].nonzero()[:, 0].tolist()
            assert column not in visible
            assert (batch.rank[row, visible] < batch.rank[row, column]).all()
            assert bool(visible) == bool(batch.weights[row, column] > 0)


def test_the_order_is_random():
    text = random_windows(3000, 7, "full", 0)
    batch = objective(k=3).build(text, seeded())
    assert batch.queries.shape == (3000, 2)
    often = (batch.rank == 1).float().mean(0)
    assert (often - 1 / 7).abs().max() < 0.03


def test_a_continuation_is_asked_from_left_to_right():
    batch = objective().ask(torch.tensor([[50, 51]]), torch.tensor([[60, 61]]))
    assert batch.tokens.tolist() == [[50, 51, 60, 61]]
    assert batch.rank.tolist() == [[0, 0, 1, 2]]
    assert batch.queries.tolist() == [[2, 3]]
    prompt = objective().prompt(torch.tensor([[50, 51]]), 2)
    assert prompt.tokens.tolist() == [[50, 51, MASK, MASK]]
    assert prompt.rank.tolist() == [[0, 0, 1, 2]]
    assert prompt.queries.tolist() == [[2, 3]]


@pytest.mark.parametrize("width", [1, 3, 5, 31])
def test_odd_widths_work(width):
    batch = objective().build(random_windows(2, width, "full", 0), seeded())
    assert batch.queries.shape == (2, max(1, round(width / 6)))
