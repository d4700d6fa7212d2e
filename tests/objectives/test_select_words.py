"""N-grams and geometric spans of whole words."""

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from toy_text import EOS, VOCABULARY, random_windows, rates, seeded, seeds, windows

from archs.errors import UserError
from objectives.base import Windows
from objectives.mlm import MLM
from objectives.select import (
    geometric_spans,
    ngrams,
    poisson_spans,
    random_spans,
    whole_word,
    whole_word_spans,
)
from objectives.select_parts import number_words, traits


def drawn(select, starts, seeds=range(60), special=None):
    """All that these starts are seen to hide."""
    starts = torch.tensor([starts]).bool()
    special = torch.zeros_like(starts) if special is None else torch.tensor([special]).bool()
    return {tuple(select(starts.long(), starts, special, seeded(seed))[0].long().tolist()) for seed in seeds}


def test_an_n_gram_of_two_words_is_hidden_with_all_its_pieces():
    bigrams = partial(ngrams, rate=0.6, shares=[0, 1])
    assert drawn(bigrams, [1, 0, 1, 1, 1]) == {(1, 1, 1, 0, 0), (0, 0, 0, 1, 1)}


def test_unigrams_and_spans_of_one_word_are_whole_words():
    for select in (partial(ngrams, shares=[1]), partial(whole_word_spans, longest=1), whole_word):
        found = drawn(partial(select, rate=0.5), [1, 0, 1, 0, 0, 1])
        assert {(0, 0, 1, 1, 1, 0), (1, 1, 0, 0, 0, 1)} <= found


def test_a_span_of_up_to_three_words_may_take_half_the_row():
    spans = partial(whole_word_spans, p=0.01, longest=3, rate=0.5)
    assert {(1, 1, 1, 0, 0, 0), (0, 0, 0, 1, 1, 1)} <= drawn(spans, [1, 0, 1, 1, 1, 1], range(200))


@pytest.mark.parametrize("select", [partial(ngrams, shares=[0, 0, 1]), partial(whole_word_spans, p=0.001)])
def test_an_n_gram_ends_at_a_special_token(select):
    # Two documents of two words; each is one n-gram.
    found = drawn(partial(select, rate=0.5), [1, 1, 1, 1, 1], special=[0, 0, 1, 0, 0])
    assert (1, 1, 0, 0, 0) in found
    assert (0, 0, 0, 1, 1) in found
    assert all(not row[2] for row in found)


@pytest.mark.parametrize("select", [ngrams, whole_word_spans])
@given(text=windows, seed=seeds, rate=rates)
@settings(max_examples=40, deadline=None)
def test_words_are_hidden_whole_and_the_rate_is_missed_by_less_than_a_group(select, text, seed, rate):
    starts, special = traits(text.tokens, text.segments, VOCABULARY)
    hide = select(text.tokens, starts, special, seeded(seed), rate=rate)
    word = number_words(starts, special)
    for row in range(len(hide)):
        maskable = int((~special[row]).sum())
        lengths = [int((word[row] == n).sum()) for n in word[row].unique()]
        for number in word[row].unique():
            assert len(hide[row][word[row] == number].unique()) == 1
        longest = sum(sorted(lengths)[-(4 if select is ngrams else 10) :])
        budget = min(maskable, max(1, round(rate * maskable)))
        assert abs(int(hide[row].sum()) - budget) < max(longest, 1)


def test_the_n_grams_of_macbert_have_its_shares():
    # Every token is a word. At a low rate few n-grams touch.
    ones = torch.ones(400, 2000, dtype=torch.bool)
    hide = ngrams(ones.long(), ones, ~ones, seeded(), rate=0.02)
    edges = torch.nn.functional.pad(hide, (1, 1)).long().diff(dim=1)
    lengths = (edges == -1).nonzero()[:, 1] - (edges == 1).nonzero()[:, 1]
    shares = torch.bincount(lengths, minlength=5)[1:5] / len(lengths)
    assert (shares - torch.tensor([0.4, 0.3, 0.2, 0.1])).abs().max() < 0.03
    assert abs(hide.float().mean() - 0.02) < 0.001


def test_the_spans_of_spanbert_have_a_mean_of_almost_four_words():
    ones = torch.ones(100, 8000, dtype=torch.bool)
    hide = whole_word_spans(ones.long(), ones, ~ones, seeded(), rate=0.01)
    edges = torch.nn.functional.pad(hide, (1, 1)).long().diff(dim=1)
    lengths = ((edges == -1).nonzero()[:, 1] - (edges == 1).nonzero()[:, 1]).float()
    assert abs(lengths.mean() - 3.8) < 0.15
    assert abs((lengths == 1).float().mean() - 0.2 / (1 - 0.8**10)) < 0.03


@pytest.mark.parametrize("select", [ngrams, whole_word_spans])
def test_every_word_is_hidden_equally_often(select):
    ones = torch.ones(4000, 30, dtype=torch.bool)
    often = select(ones.long(), ones, ~ones, seeded(), rate=0.3).float().mean(0)
    assert (often - often.mean()).abs().max() < 0.05


@pytest.mark.parametrize(
    ("select", "options", "message"),
    [
        (ngrams, {"shares": []}, r"select 'ngrams': shares=\[\] are not shares"),
        (ngrams, {"shares": [0.5, 0.4]}, r"shares=\[0.5, 0.4\] .* sum to 1; MacBERT has"),
        (ngrams, {"shares": [1.5, -0.5]}, "are not shares"),
        (ngrams, {"shares": [float("nan")]}, "are not shares"),
        (whole_word_spans, {"p": 0.0}, "select 'whole_word_spans': p=0.0 is not between 0 and 1"),
        (whole_word_spans, {"longest": 0}, "longest=0 is below 1"),
        (geometric_spans, {"p": 1.0}, "select 'geometric_spans': p=1.0 is not between 0 and 1"),
        (geometric_spans, {"longest": -1}, "longest=-1 is below 1"),
        (poisson_spans, {"mean": 0.0}, "select 'poisson_spans': mean=0.0 is not above 0"),
        (poisson_spans, {"mean": float("nan")}, "mean=nan is not above 0"),
        (poisson_spans, {"mean": float("inf")}, "mean=inf is not above 0"),
        (random_spans, {"mean": 0.5}, "select 'random_spans': mean=0.5 is not at least 1"),
    ],
)
def test_impossible_lengths_and_shares_are_one_line(select, options, message):
    objective = MLM(VOCABULARY, "in_place", select=partial(select, **options))
    with pytest.raises(UserError, match=message) as error:
        objective.build(random_windows(2, 20, "full", 0), seeded())
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("select", [ngrams, whole_word_spans, poisson_spans])
def test_a_row_of_one_token_hides_it_and_a_row_of_specials_hides_nothing(select):
    text = Windows(torch.tensor([[40], [EOS]]))
    assert select(text.tokens, *traits(text.tokens, None, VOCABULARY), seeded()).tolist() == [[True], [False]]
