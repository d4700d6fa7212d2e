import math

import pytest
import torch
from hypothesis import given, settings
from toy_text import EOS, VOCABULARY, random_windows, rates, real, runs, seeded, seeds, windows

from objectives.select import (
    geometric_spans,
    ngrams,
    poisson_spans,
    random_spans,
    uniform,
    whole_word,
    whole_word_spans,
)
from objectives.select_parts import number_words, traits

ALL = [uniform, whole_word, ngrams, whole_word_spans, random_spans, geometric_spans, poisson_spans]


def hidden(select, text, seed, **options):
    return select(text.tokens, *traits(text.tokens, text.segments, VOCABULARY), seeded(seed), **options)


def maskable(text):
    return (~VOCABULARY.special[text.tokens]) & real(text)


def budgets(text, rate):
    counts = maskable(text).sum(1).tolist()
    return [min(n, max(1, round(rate * n))) for n in counts]


def test_a_word_is_a_start_and_what_follows_it_up_to_a_start_or_a_special_token():
    starts = torch.tensor([[1, 0, 1, 0, 0, 1], [0, 0, 1, 0, 0, 0]]).bool()
    special = torch.tensor([[0, 0, 0, 0, 0, 0], [0, 0, 0, 1, 0, 0]]).bool()
    assert number_words(starts, special).tolist() == [[0, 0, 1, 1, 1, 2], [0, 0, 1, 2, 3, 3]]


@pytest.mark.parametrize("select", ALL)
@given(text=windows, seed=seeds, rate=rates)
@settings(max_examples=60, deadline=None)
def test_no_special_token_is_hidden_and_something_is_where_anything_can_be(select, text, seed, rate):
    hide = hidden(select, text, seed, rate=rate)
    assert hide.shape == text.tokens.shape
    assert hide.dtype == torch.bool
    assert not (hide & ~maskable(text)).any()
    assert torch.equal(hide.any(1), maskable(text).any(1))


@pytest.mark.parametrize("select", ALL)
def test_the_seed_alone_decides_what_is_hidden(select):
    text = random_windows(4, 40, "packed", 3)
    assert torch.equal(hidden(select, text, 7), hidden(select, text, 7))
    assert not torch.equal(hidden(select, text, 7), hidden(select, text, 8))


@given(text=windows, seed=seeds, rate=rates)
@settings(max_examples=60, deadline=None)
def test_uniform_hides_exactly_the_rounded_rate_of_each_row(text, seed, rate):
    assert hidden(uniform, text, seed, rate=rate).sum(1).tolist() == budgets(text, rate)


def test_uniform_hides_every_place_equally_often():
    text = random_windows(4000, 10, "full", 0)
    often = hidden(uniform, text, 0, rate=0.3).float().mean(0)
    assert (often - 0.3).abs().max() < 0.03


def words_of(starts, allowed):
    """(start, end) of each word among the allowed cells."""
    found = []
    for column, (starting, ok) in enumerate(zip(starts, allowed, strict=True)):
        if not ok:
            continue
        if found and found[-1][1] == column and not starting:
            found[-1][1] = column + 1
        else:
            found.append([column, column + 1])
    return found


@given(text=windows, seed=seeds, rate=rates)
@settings(max_examples=60, deadline=None)
def test_whole_word_hides_words_whole_and_misses_the_rate_by_less_than_a_word(text, seed, rate):
    hide = hidden(whole_word, text, seed, rate=rate).tolist()
    starts, special = traits(text.tokens, text.segments, VOCABULARY)
    for row, begins, allowed, budget in zip(
        hide, starts.tolist(), (~special).tolist(), budgets(text, rate), strict=True
    ):
        words = words_of(begins, allowed)
        for start, end in words:
            assert len(set(row[start:end])) == 1
        longest = max((end - start for start, end in words), default=1)
        assert abs(sum(row) - budget) < longest


def test_whole_word_stops_a_word_at_a_special_token():
    # 36 37 is a word; behind eos 39 begins one of its own although it does not start a word.
    tokens = torch.tensor([[36, 37, EOS, 39, 41]])
    found = {
        tuple(hidden(whole_word, random_like(tokens), seed, rate=0.5)[0].long().tolist())
        for seed in range(20)
    }
    assert found == {(1, 1, 0, 0, 0), (0, 0, 0, 1, 1)}


def random_like(tokens):
    text = random_windows(*tokens.shape, "full", 0)
    return type(text)(tokens)


@given(text=windows, seed=seeds, rate=rates)
@settings(max_examples=60, deadline=None)
def test_random_spans_are_as_many_and_as_long_as_t5_says(text, seed, rate):
    hide = hidden(random_spans, text, seed, rate=rate, mean=3.0)
    inner = text.segments is not None
    for row, count, kept in zip(
        hide.tolist(), budgets(text, rate), (maskable(text).sum(1)).tolist(), strict=True
    ):
        number = min(max(1, round(count / 3)), kept - count + 1, count)
        if inner:  # cut at specials, never split by them
            assert sum(row) <= count
            assert len(runs(row)) <= number
        else:
            assert sum(row) == count
            assert len(runs(row)) == number


@pytest.mark.parametrize("select", [random_spans, geometric_spans, poisson_spans])
def test_what_lies_behind_a_special_token_is_not_hidden(select):
    # Of two tokens to hide, one span; it begins on 36 and is cut, or lies wholly behind.
    text = random_like(torch.tensor([[36, EOS, 38, 40, 42]]))
    options = {random_spans: {"mean": 3.0}, geometric_spans: {"p": 0.001}, poisson_spans: {"mean": 100.0}}[
        select
    ]
    found = {tuple(hidden(select, text, seed, rate=0.5, **options)[0].long().tolist()) for seed in range(60)}
    found -= {(1, 0, 0, 1, 0), (1, 0, 0, 0, 1), (1, 0, 1, 0, 0), (0, 0, 1, 0, 1)}  # two spans of one
    assert found == {(1, 0, 0, 0, 0), (0, 0, 1, 1, 0), (0, 0, 0, 1, 1)}


@pytest.mark.parametrize("select", [geometric_spans, poisson_spans])
@given(text=windows, seed=seeds, rate=rates)
@settings(max_examples=60, deadline=None)
def test_drawn_spans_hide_exactly_the_rounded_rate_of_a_full_row(select, text, seed, rate):
    counts = hidden(select, text, seed, rate=rate).sum(1).tolist()
    for count, budget in zip(counts, budgets(text, rate), strict=True):
        assert count <= budget if text.segments is not None else count == budget


def test_geometric_spans_have_the_lengths_of_spanbert():
    # At a low rate in wide rows few spans touch and few are truncated.
    text = random_windows(40, 8000, "full", 0)
    hide = hidden(geometric_spans, text, 0, rate=0.01).tolist()
    lengths = torch.tensor([end - start for row in hide for start, end in runs(row)])
    assert abs(lengths.float().mean() - 3.8) < 0.2
    assert abs((lengths == 1).float().mean() - 0.2 / (1 - 0.8**10)) < 0.03
    assert (lengths > 10).float().mean() < 0.03


def test_poisson_spans_have_the_lengths_of_bart_without_the_empty_ones():
    text = random_windows(40, 8000, "full", 0)
    hide = hidden(poisson_spans, text, 0, rate=0.01).tolist()
    lengths = torch.tensor([end - start for row in hide for start, end in runs(row)])
    some = 1 - math.exp(-3)
    assert abs(lengths.float().mean() - 3 / some) < 0.2
    for length in (1, 2, 3, 5):
        share = 3**length * math.exp(-3) / math.factorial(length) / some
        assert abs((lengths == length).float().mean() - share) < 0.03


def test_a_long_poisson_span_is_cut_to_the_rate():
    text = random_like(torch.tensor([[36, 38, 40, 42, 44, 46]]))
    found = {
        tuple(hidden(poisson_spans, text, seed, rate=0.5, mean=1e4)[0].long().tolist()) for seed in range(40)
    }
    assert found == {(1, 1, 1, 0, 0, 0), (0, 1, 1, 1, 0, 0), (0, 0, 1, 1, 1, 0), (0, 0, 0, 1, 1, 1)}


@pytest.mark.parametrize("select", [random_spans, geometric_spans, poisson_spans])
def test_spans_hide_every_place_about_equally_often(select):
    text = random_windows(4000, 30, "full", 0)
    often = hidden(select, text, 0, rate=0.3).float().mean(0)
    assert (often[3:-3] - 0.3).abs().max() < 0.05
    assert often.min() > 0.1  # the edges have spans from one side only
