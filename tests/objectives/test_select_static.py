"""Static masking: the same choice whenever the same row is seen again."""

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from toy_text import VOCABULARY, equal, random_windows, rates, seeded, seeds, windows

from archs.errors import UserError
from objectives import replace, select
from objectives.base import Windows
from objectives.mlm import MLM
from objectives.select_parts import budget, traits

SELECTIONS = [
    "uniform",
    "whole_word",
    "ngrams",
    "whole_word_spans",
    "random_spans",
    "geometric_spans",
    "poisson_spans",
]


def hidden(text, seed, **options):
    of_text = traits(text.tokens, text.segments, VOCABULARY)
    return select.static(text.tokens, *of_text, seeded(seed), **options)


@pytest.mark.parametrize("of", SELECTIONS)
def test_a_row_hides_the_same_in_any_batch_and_with_any_seed(of):
    text = random_windows(6, 41, "full", 5)
    once = hidden(text, 1, of=of)
    shuffled = torch.tensor([3, 0, 5, 1])
    assert torch.equal(hidden(Windows(text.tokens[shuffled]), 2, of=of), once[shuffled])
    other = hidden(random_windows(6, 41, "full", 6), 1, of=of)
    assert not torch.equal(other, once)


@pytest.mark.parametrize("of", SELECTIONS)
@given(text=windows, seed=seeds, rate=rates)
@settings(max_examples=20, deadline=None)
def test_a_static_choice_keeps_what_holds_of_its_selection(of, text, seed, rate):
    hide = hidden(text, seed, of=of, rate=rate)
    _, special = traits(text.tokens, text.segments, VOCABULARY)
    assert hide.shape == text.tokens.shape
    assert not (hide & special).any()
    assert torch.equal(hide.any(1), (~special).any(1))
    if of == "uniform":
        assert torch.equal(hide.sum(1), budget(special, rate))


def test_a_static_choice_is_the_same_in_every_process():
    text = Windows(torch.tensor([[40, 41, 42, 43]]))
    assert hidden(text, 0, rate=0.5).int().tolist() == [[1, 1, 0, 0]]


def test_rows_are_masked_in_as_many_ways_as_there_are_copies():
    text = Windows(torch.arange(40, 90).repeat(200, 1))
    for copies in (1, 3):
        assert len({tuple(row) for row in hidden(text, 0, copies=copies).tolist()}) == copies


@pytest.mark.parametrize("of", ["bert", "random_token"])
def test_a_static_replacement_writes_the_same_where_the_same_is_hidden(of):
    objective = MLM(
        VOCABULARY, "in_place", select=select.static, replace=partial(replace.static, of=of), rate=0.5
    )
    text = random_windows(4, 40, "packed", 1)
    assert equal(objective.build(text, seeded(1)), objective.build(text, seeded(2)))
    dynamic = MLM(VOCABULARY, "in_place", select=select.static, rate=0.5)
    one, two = dynamic.build(text, seeded(1)), dynamic.build(text, seeded(2))
    assert torch.equal(one.weights, two.weights)
    assert not torch.equal(one.tokens, two.tokens)


def test_the_objective_s_rate_and_options_reach_the_selection_inside():
    text = Windows(torch.arange(40, 60)[None])
    pick = partial(select.static, of="poisson_spans", mean=100.0)
    batch = MLM(VOCABULARY, "in_place", select=pick, rate=0.5).build(text, seeded())
    edges = (batch.weights[0] > 0).long().diff(prepend=torch.zeros(1).long(), append=torch.zeros(1).long())
    assert batch.supervised == 10
    assert (edges == 1).sum() == 1


def test_a_function_of_one_s_own_can_be_static():
    def pick(tokens, word_starts, special, rng):
        return (torch.rand(tokens.shape, generator=rng) < 0.5) & ~special

    def always_the_same(tokens, word_starts, special, rng):
        return select.static(tokens, word_starts, special, rng, of=pick)

    objective = MLM(VOCABULARY, "in_place", select=always_the_same)
    text = random_windows(3, 30, "packed", 2)
    one, two = objective.build(text, seeded(1)), objective.build(text, seeded(2))
    assert torch.equal(one.weights, two.weights)


@pytest.mark.parametrize(
    ("function", "options", "message"),
    [
        (select.static, {"of": "ngram"}, "unknown select for static's option 'of' 'ngram'; .*: ngrams"),
        (
            select.static,
            {"of": "ngrams", "share": 1},
            "unknown option of select .*ngrams' 'share'; .* shares",
        ),
        (select.static, {"mean": 3.0}, "select 'objectives.select.uniform' takes no option 'mean'"),
        (select.static, {"copies": 0}, "select 'static': copies=0 is below 1"),
        (replace.static, {"of": "brt"}, "unknown replace for static's option 'of' 'brt'; .*: bert"),
        (replace.static, {"of": "mask_only", "masked": 1}, "replace '.*mask_only' takes no option 'masked'"),
        (replace.static, {"copies": -1}, "replace 'static': copies=-1 is below 1"),
    ],
)
def test_what_static_cannot_do_is_one_line(function, options, message):
    part = {"select" if function is select.static else "replace": partial(function, **options)}
    with pytest.raises(UserError, match=message) as error:
        MLM(VOCABULARY, "in_place", **part).build(random_windows(2, 20, "full", 0), seeded())
    assert "\n" not in str(error.value)
