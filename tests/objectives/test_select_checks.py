"""A selection or a replacement of a user's own that returns what it must not: one line that names it."""

import pytest
import torch
from toy_text import EOS, MASK, VOCABULARY, equal, random_windows, seeded

from archs.errors import UserError
from objectives import select
from objectives.base import Windows
from objectives.mlm import MLM
from objectives.sop import SOP


def returns_nothing(tokens, word_starts, special, rng):
    pass


def too_narrow(tokens, word_starts, special, rng):
    return ~special[:, 1:]


def one_row(tokens, word_starts, special, rng):
    return ~special[0]


def numbers(tokens, word_starts, special, rng):
    return (~special).long()


def everything(tokens, word_starts, special, rng):
    return torch.ones_like(special)


@pytest.mark.parametrize("objective", [MLM, SOP])
@pytest.mark.parametrize(
    ("pick", "message"),
    [
        (returns_nothing, "returned NoneType, no tensor; return .B,W. bool"),
        (too_narrow, r"returned \(\d+, \d+\) bool; return \(\d+, \d+\) bool, like its tokens"),
        (one_row, r"returned \(\d+,\) bool; return"),
        (numbers, r"returned \(\d+, \d+\) int64; return \(\d+, \d+\) bool"),
        (everything, r"hides \d+ special tokens or cells of padding; return hide & ~special"),
    ],
)
def test_a_selection_that_returns_what_it_must_not_is_named_in_one_line(objective, pick, message):
    with pytest.raises(UserError, match=message) as error:
        objective(VOCABULARY, "in_place", select=pick).build(random_windows(3, 20, "padded", 1), seeded())
    assert str(error.value).startswith(f"select 'test_select_checks.{pick.__name__}' ")
    assert "\n" not in str(error.value)


def test_a_selection_of_special_tokens_is_refused_before_the_first_one_comes():
    text = random_windows(2, 20, "full", 0)
    with pytest.raises(UserError, match="hides 12 special tokens or cells of padding"):
        MLM(VOCABULARY, "in_place", select=everything).build(text, seeded())


def test_what_is_checked_first_does_not_change_what_is_drawn():
    text = random_windows(2, 20, "full", 0)
    objective = MLM(VOCABULARY, "in_place")
    assert equal(objective.build(text, seeded(1)), objective.build(text, seeded(1)))


def test_padding_alone_is_enough_to_be_refused():
    def all_but_eos(tokens, word_starts, special, rng):
        return tokens != EOS

    text = Windows(torch.arange(40, 48)[None])
    with pytest.raises(UserError, match="hides 2 special tokens or cells of padding"):
        MLM(VOCABULARY, "in_place", select=all_but_eos).build(text, seeded())


def test_a_selection_inside_static_is_the_one_that_is_named():
    def wrong(tokens, word_starts, special, rng):
        return select.static(tokens, word_starts, special, rng, of=numbers)

    with pytest.raises(UserError, match=r"^select 'test_select_checks.numbers' returned"):
        MLM(VOCABULARY, "in_place", select=wrong).build(random_windows(2, 20, "full", 0), seeded())


def shorter(tokens, hide, vocabulary, rng):
    return tokens[:, 1:]


def fractions(tokens, hide, vocabulary, rng):
    return tokens.float()


def all_masked(tokens, hide, vocabulary, rng):
    return torch.full_like(tokens, MASK)


def beyond(tokens, hide, vocabulary, rng):
    return torch.where(hide, 100, tokens)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (returns_nothing, "returned NoneType, no tensor"),
        (shorter, r"returned \(2, 19\) int64; return \(2, 20\) int64"),
        (fractions, r"returned \(2, 20\) float32; return \(2, 20\) int64"),
        (all_masked, "changed tokens that are not hidden"),
        (beyond, "wrote ids from .* to 100; the vocabulary's are 0 to 99"),
    ],
)
def test_a_replacement_that_returns_what_it_must_not_is_named_in_one_line(write, message):
    with pytest.raises(UserError, match=message) as error:
        MLM(VOCABULARY, "in_place", replace=write).build(random_windows(2, 20, "full", 0), seeded())
    assert str(error.value).startswith(f"replace 'test_select_checks.{write.__name__}' ")
    assert "\n" not in str(error.value)


def test_a_replacement_that_writes_into_its_tokens_does_not_change_what_is_asked():
    def in_place(tokens, hide, vocabulary, rng):
        tokens[hide] = MASK
        return tokens

    batch = MLM(VOCABULARY, "in_place", replace=in_place, rate=1.0).build(
        Windows(torch.tensor([[40, EOS, 42]])), seeded()
    )
    assert batch.tokens.tolist() == [[MASK, EOS, MASK]]
    assert batch.targets.tolist() == [[40, EOS, 42]]
