import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_text import BOS, EOS, PAD, VOCABULARY, documents, random_windows, seeded, seeds, windows

from objectives.base import Windows
from objectives.prefix import Prefix

PACKED = Windows(torch.tensor([[40, 41, 42, EOS, 50, EOS, PAD]]), torch.tensor([[0, 0, 0, 0, 1, 1, -1]]))


def test_half_of_each_document_is_prefix_and_the_other_half_asked():
    batch = Prefix(VOCABULARY, "concatenated", low=0.5, high=0.5).build(PACKED, seeded())
    assert batch.tokens.tolist() == [[BOS, 40, 41, 42, BOS, 50, PAD]]
    assert batch.targets.tolist() == [[40, 41, 42, EOS, 50, EOS, PAD]]
    assert batch.is_prefix.long().tolist() == [[1, 1, 1, 0, 1, 1, 0]]
    assert batch.weights.tolist() == [[0, 0, 1, 1, 0, 1, 0]]


def test_an_empty_prefix_is_bos_alone_and_asks_for_everything():
    batch = Prefix(VOCABULARY, "concatenated", low=0.0, high=0.0).build(PACKED, seeded())
    assert batch.is_prefix.long().tolist() == [[1, 0, 0, 0, 1, 0, 0]]
    assert batch.weights.tolist() == [[1, 1, 1, 1, 1, 1, 0]]


def test_a_full_prefix_still_asks_for_the_last_token():
    batch = Prefix(VOCABULARY, "concatenated", low=1.0, high=1.0).build(PACKED, seeded())
    assert batch.is_prefix.long().tolist() == [[1, 1, 1, 1, 1, 1, 0]]
    assert batch.weights.tolist() == [[0, 0, 0, 1, 0, 1, 0]]


def test_two_stacks_are_given_the_beginnings_and_the_rests():
    batch = Prefix(VOCABULARY, "source_target", low=0.5, high=0.5).build(PACKED, seeded())
    assert batch.source.tolist() == [[40, 41, 50, PAD, PAD, PAD, PAD]]
    assert batch.source_segments.tolist() == [[0, 0, 1, -1, -1, -1, -1]]
    assert batch.tokens.tolist() == [[BOS, 42, BOS, PAD, PAD, PAD, PAD]]
    assert batch.targets.tolist() == [[42, EOS, EOS, PAD, PAD, PAD, PAD]]
    assert batch.weights.tolist() == [[1, 1, 1, 0, 0, 0, 0]]
    assert batch.segments.tolist() == [[0, 0, 1, -1, -1, -1, -1]]


@given(text=windows, seed=seeds, bounds=st.sampled_from([(0.0, 1.0), (0.25, 0.75), (0.5, 0.5)]))
@settings(max_examples=80, deadline=None)
def test_every_document_is_split_once_within_the_bounds(text, seed, bounds):
    low, high = bounds
    batch = Prefix(VOCABULARY, "concatenated", low, high).build(text, seeded(seed))
    numbers = torch.zeros_like(text.tokens) if text.segments is None else text.segments
    for row in range(len(numbers)):
        for number in set(numbers[row].tolist()) - {-1}:
            inside = numbers[row] == number
            asked = batch.weights[row][inside].long().tolist()
            prefix = batch.is_prefix[row][inside].long().tolist()
            length, split = len(asked), asked.index(1)
            assert asked == [0] * split + [1] * (length - split)
            assert prefix == [1] * (split + 1) + [0] * (length - split - 1)
            assert int(low * length) - 1 <= split <= high * length
    assert not batch.is_prefix[numbers < 0].any()


@given(text=windows, seed=seeds)
@settings(max_examples=50, deadline=None)
def test_beginnings_and_rests_join_into_the_documents(text, seed):
    batch = Prefix(VOCABULARY, "source_target").build(text, seeded(seed))
    source = documents(batch.source, batch.source_segments)
    target = documents(batch.targets, batch.segments)
    expected = documents(text.tokens, text.segments)
    for given_row, asked_row, row in zip(source, target, expected, strict=True):
        assert row.keys() == asked_row.keys()  # at least one token of each document is asked
        for number, cells in row.items():
            assert given_row.get(number, []) + asked_row[number] == cells


def test_splits_are_uniform():
    batch = Prefix(VOCABULARY, "concatenated").build(random_windows(4000, 4, "full", 0), seeded())
    often = (4 - batch.weights.sum(1)).long().bincount(minlength=4) / 4000
    assert (often - 0.25).abs().max() < 0.03


def test_the_context_is_the_prefix():
    context, continuation = torch.tensor([[50, 51]]), torch.tensor([[60, 61]])
    batch = Prefix(VOCABULARY, "concatenated").ask(context, continuation)
    assert batch.tokens.tolist() == [[BOS, 50, 51, 60]]
    assert batch.is_prefix.long().tolist() == [[1, 1, 1, 0]]
    assert batch.weights.tolist() == [[0, 0, 1, 1]]
    prompt = Prefix(VOCABULARY, "concatenated").prompt(context, 2)
    assert prompt.tokens.tolist() == [[BOS, 50, 51]]
    assert prompt.is_prefix.long().tolist() == [[1, 1, 1]]
    prompt = Prefix(VOCABULARY, "source_target").prompt(context, 2)
    assert prompt.source.tolist() == [[50, 51]]
    assert prompt.tokens.tolist() == [[BOS]]
