import pytest
import torch
from hypothesis import given, settings
from toy_text import (
    BOS,
    EOS,
    MASK,
    PAD,
    VOCABULARY,
    WORDS,
    documents,
    random_windows,
    rates,
    real,
    runs,
    seeded,
    seeds,
    tiny,
    windows,
)

from archs.errors import UserError
from archs.flow.whole_pass import check_flow
from objectives.base import Windows
from objectives.mass import MASS
from objectives.replace import bert


def objective(**options):
    return MASS(VOCABULARY, "source_target", **options)


def test_the_fragment_is_masked_in_the_source_and_predicted_at_its_own_positions():
    text = Windows(torch.tensor([[40, 41, 42, 43, 44, 45, EOS]]))
    hide = torch.tensor([[False, False, True, True, True, False, False]])
    batch = objective().batch(text, hide, seeded())
    assert batch.source.tolist() == [[40, 41, MASK, MASK, MASK, 45, EOS]]
    assert batch.tokens.tolist() == [[BOS, 42, 43, PAD, PAD, PAD, PAD]]
    assert batch.targets.tolist() == [[42, 43, 44, PAD, PAD, PAD, PAD]]
    assert batch.weights.tolist() == [[1, 1, 1, 0, 0, 0, 0]]
    assert batch.positions.tolist() == [[2, 3, 4, 0, 0, 0, 0]]
    assert batch.source_positions.tolist() == [[0, 1, 2, 3, 4, 5, 6]]
    assert batch.totals == {"tokens": 3.0}


def test_each_document_of_a_packed_row_has_a_fragment_of_its_own():
    text = Windows(
        torch.tensor([[40, 41, EOS, 50, 51, 52, 53, EOS, EOS, PAD]]),
        torch.tensor([[0, 0, 0, 1, 1, 1, 1, 1, 2, -1]]),
    )
    hide = torch.tensor([[False, True, False, False, True, True, False, False, False, False]])
    batch = objective().batch(text, hide, seeded())
    assert batch.source.tolist() == [[40, MASK, EOS, 50, MASK, MASK, 53, EOS, EOS, PAD]]
    assert batch.source_segments.tolist() == text.segments.tolist()
    assert batch.tokens[0, :4].tolist() == [BOS, BOS, 51, PAD]
    assert batch.targets[0, :4].tolist() == [41, 51, 52, PAD]
    assert batch.segments[0, :4].tolist() == [0, 1, 1, -1]
    assert batch.positions[0, :3].tolist() == [1, 1, 2]


@given(text=windows, seed=seeds, rate=rates)
@settings(max_examples=100, deadline=None)
def test_every_document_loses_one_run_of_the_share_and_no_special_token(text, seed, rate):
    hide = objective(rate=rate).fragments(text, seeded(seed))
    assert not hide[VOCABULARY.special[text.tokens] | ~real(text)].any()
    ordinary = text.tokens >= WORDS
    for row, flags in enumerate(hide):
        numbers = torch.zeros_like(text.tokens[row]) if text.segments is None else text.segments[row]
        for number in numbers[numbers >= 0].unique():
            inside = flags[(numbers == number) & ordinary[row]]
            length = len(inside)
            assert int(inside.sum()) == min(max(round(rate * length), 1), length)
            assert len(runs(inside.tolist())) == min(length, 1)


@given(text=windows, seed=seeds, rate=rates)
@settings(max_examples=60, deadline=None)
def test_the_targets_put_in_the_place_of_the_masks_give_the_text(text, seed, rate):
    batch = objective(rate=rate).build(text, seeded(seed))
    assert batch.source.shape == text.tokens.shape
    restored = batch.source.clone()
    for row in range(len(restored)):
        asked = batch.weights[row] > 0
        restored[row, restored[row] == MASK] = batch.targets[row, asked]
        # The position id of a target is that of the mask it stands behind.
        masked = batch.source_positions[row, batch.source[row] == MASK]
        assert batch.positions[row, asked].tolist() == masked.tolist()
    assert documents(restored, text.segments) == documents(text.tokens, text.segments)
    assert batch.supervised == int((batch.source == MASK).sum())


def test_fragments_begin_anywhere_alike():
    hide = objective().fragments(random_windows(4000, 8, "full", 0), seeded())
    begins = hide.long().argmax(1).bincount(minlength=5)
    assert len(begins) == 5
    assert (begins / 4000 - 0.2).abs().max() < 0.03  # 4.7 standard errors


def test_widths_are_one_of_two_whatever_the_rows():
    widths = set()
    for seed in range(20):
        for kind in ("full", "packed", "padded"):
            batch = objective().build(random_windows(8, 64, kind, seed), seeded(seed))
            widths.add(batch.tokens.shape[1])
    assert widths <= {40, 64}
    assert 40 in widths


def test_a_replacement_of_the_user_s_choice_stands_in_the_source():
    text = random_windows(400, 50, "full", 0)
    batch = objective(replace=bert).build(text, seeded())
    asked = objective().build(text, seeded()).source == MASK
    assert abs((batch.source[asked] == MASK).float().mean() - 0.8) < 0.02
    assert torch.equal(batch.source[~asked], text.tokens[~asked])


def test_a_continuation_is_asked_behind_as_many_masks():
    context = torch.tensor([[50, 51]])
    batch = objective().ask(context, torch.tensor([[60, 61, 62]]))
    assert batch.source.tolist() == [[50, 51, MASK, MASK, MASK]]
    assert batch.tokens.tolist() == [[BOS, 60, 61]]
    assert batch.positions.tolist() == [[2, 3, 4]]
    prompt = objective().prompt(context, 3)
    assert prompt.source.tolist() == [[50, 51, MASK, MASK, MASK]]
    assert prompt.tokens.tolist() == [[BOS]]
    assert prompt.positions.tolist() == [[2]]


@pytest.mark.parametrize("kind", ["full", "packed", "padded"])
def test_information_flows_as_declared_and_never_from_a_target_to_itself(kind):
    batch = objective().build(random_windows(2, 13, kind, 3), seeded())
    assert check_flow(tiny("encoder_decoder"), batch).ok


@given(text=windows, seed=seeds)
@settings(max_examples=60, deadline=None)
def test_nothing_that_is_read_up_to_a_target_tells_it(text, seed):
    batch = objective().build(text, seeded(seed))
    for row, column in (batch.weights > 0).nonzero().tolist()[:4]:
        place = (batch.source[row] == MASK).nonzero()[column, 0]
        other = text.tokens.clone()
        other[row, place] = WORDS if other[row, place] != WORDS else WORDS + 1
        changed = objective().build(Windows(other, text.segments), seeded(seed))
        assert changed.targets[row, column] == other[row, place]
        assert torch.equal(changed.source, batch.source)
        assert torch.equal(changed.tokens[row, : column + 1], batch.tokens[row, : column + 1])


def test_a_source_that_shows_the_fragment_is_caught():
    """What the property above would say of an objective that forgot to mask."""
    text = random_windows(1, 8, "full", 0)
    leaky = objective(replace=lambda tokens, hide, vocabulary, rng: tokens)
    batch = leaky.build(text, seeded())
    other = Windows((text.tokens - WORDS + 1) % (100 - WORDS) + WORDS)
    assert not torch.isin(batch.source, torch.tensor(MASK)).any()
    hide = leaky.fragments(text, seeded())
    assert not torch.equal(leaky.build(other, seeded()).source[hide], batch.source[hide])
    assert torch.equal(
        objective().build(other, seeded()).source[hide], objective().build(text, seeded()).source[hide]
    )


@pytest.mark.parametrize("rate", [0.0, -0.5, 1.5])
def test_an_impossible_rate_is_refused(rate):
    with pytest.raises(UserError, match=f"objective 'mass': rate={rate} is not above 0"):
        objective(rate=rate)
