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
    equal,
    random_windows,
    rates,
    real,
    seeded,
    seeds,
    tiny,
    windows,
)

from archs.errors import UserError
from archs.flow.whole_pass import check_flow
from objectives.base import Windows
from objectives.joint import Joint
from objectives.mlm import MLM
from objectives.replace import mask_only


def objective(**options):
    return Joint(VOCABULARY, "source_target", **options)


def second_and_third(tokens, word_starts, special, rng):
    hide = torch.zeros_like(special)
    hide[:, 1:3] = True
    return hide & ~special


def everything(tokens, word_starts, special, rng):
    return ~special


def loss_of(asks, family, batch):
    return asks.loss(family, asks.modules(family), batch)


def test_the_encoder_is_asked_for_what_is_hidden_and_the_decoder_for_the_text():
    text = Windows(torch.tensor([[40, 41, 42, 43, EOS]]))
    batch = objective(select=second_and_third, replace=mask_only, rate=0.5).build(text, seeded())
    assert batch.source.tolist() == [[40, MASK, MASK, 43, EOS]]
    assert batch.tokens.tolist() == [[BOS, 40, 41, 42, 43]]
    assert batch.targets.tolist() == [[40, 41, 42, 43, EOS]]
    assert batch.weights.tolist() == [[1, 1, 1, 1, 1]]
    assert batch.extras["source_targets"].tolist() == [[40, 41, 42, 43, EOS]]
    assert batch.extras["source_weights"].tolist() == [[0, 1, 1, 0, 0]]
    assert batch.extras["source_columns"].tolist() == [[1, 2]]
    assert batch.totals == {"tokens": 5.0, "source": 2.0}
    assert objective().supervised(batch) == 7


def test_packed_documents_are_written_each_from_its_own_bos_and_padding_is_asked_nothing():
    text = Windows(torch.tensor([[40, EOS, 50, 51, PAD]]), torch.tensor([[0, 0, 1, 1, -1]]))
    batch = objective(select=second_and_third, replace=mask_only, rate=0.5).build(text, seeded())
    assert batch.source.tolist() == [[40, EOS, MASK, 51, PAD]]
    assert batch.tokens.tolist() == [[BOS, 40, BOS, 50, PAD]]
    assert batch.weights.tolist() == [[1, 1, 1, 1, 0]]
    assert batch.segments.tolist() == batch.source_segments.tolist() == text.segments.tolist()
    assert batch.extras["source_columns"].tolist() == [[2, -1]]


@given(text=windows, seed=seeds, rate=rates)
@settings(max_examples=80, deadline=None)
def test_the_source_is_mlm_s_batch_and_the_targets_are_the_text(text, seed, rate):
    batch = objective(rate=rate).build(text, seeded(seed))
    mlm = MLM(VOCABULARY, "in_place", rate=rate).build(text, seeded(seed))
    assert torch.equal(batch.source, mlm.tokens)
    assert torch.equal(batch.extras["source_weights"], mlm.weights)
    assert torch.equal(batch.extras["source_targets"], text.tokens)
    assert torch.equal(batch.targets, text.tokens)
    assert torch.equal(batch.weights > 0, real(text))
    columns = batch.extras["source_columns"]
    assert columns.shape[1] == max(round(rate * text.tokens.shape[1]), 1)
    for chosen, weights in zip(columns, mlm.weights, strict=True):
        assert chosen[chosen >= 0].tolist() == weights.nonzero()[:, 0].tolist()
    assert batch.totals["source"] == mlm.totals["tokens"]


def test_a_selection_that_hides_more_than_the_rate_has_room():
    batch = objective(select=everything).build(random_windows(2, 9, "full", 0), seeded())
    assert batch.extras["source_columns"].tolist() == [list(range(9))] * 2


@pytest.mark.parametrize("kind", ["full", "packed", "padded"])
def test_the_encoder_s_loss_is_that_of_the_head_at_the_hidden_cells(kind):
    family, asks = tiny("encoder_decoder"), objective(weight=0.5)
    batch = asks.build(random_windows(4, 30, kind, 2), seeded())
    loss = loss_of(asks, family, batch)
    hidden = batch.extras["source_weights"] > 0
    logits = family.logits(family.encode(batch)[0][hidden])
    expected = torch.nn.functional.cross_entropy(logits, batch.extras["source_targets"][hidden])
    torch.testing.assert_close(loss.terms["source"], expected)
    written = -family.score(batch).nats.sum() / batch.totals["tokens"]
    torch.testing.assert_close(loss.terms["tokens"], written)
    torch.testing.assert_close(loss.value, written + 0.5 * expected)


def test_the_losses_of_a_batch_s_parts_add_up():
    family, asks = tiny("encoder_decoder"), objective()
    batch = asks.build(random_windows(5, 20, "packed", 1), seeded())
    whole, *parts = (
        loss_of(asks, family, part) for part in (batch, batch.rows(slice(0, 2)), batch.rows(slice(2, 5)))
    )
    torch.testing.assert_close(sum(part.value for part in parts), whole.value)
    for name in ("tokens", "source"):
        torch.testing.assert_close(sum(part.terms[name] for part in parts), whole.terms[name])


def test_text_with_nothing_to_hide_has_no_encoder_s_loss():
    family, asks = tiny("encoder_decoder"), objective()
    batch = asks.build(Windows(torch.tensor([[EOS]])), seeded())
    loss = loss_of(asks, family, batch)
    assert loss.terms["source"] == 0
    assert loss.value == loss.terms["tokens"] > 0


def telling(asks, text, seed=2):
    """The hidden cells whose token, if it is another, changes what encoder or decoder say of it."""
    family, found = tiny("encoder_decoder"), []

    def says(windows):
        batch = asks.build(windows, seeded(seed))
        hidden = family.hidden(batch)
        return batch, (family.logits(hidden.source), family.logits(hidden.rows))

    batch, before = says(text)
    for row, column in batch.extras["source_weights"].nonzero().tolist():
        other = text.tokens.clone()
        other[row, column] = WORDS if other[row, column] != WORDS else WORDS + 1
        changed, after = says(Windows(other, text.segments))
        assert (changed.targets != batch.targets).nonzero().tolist() == [[row, column]]
        both = zip(before, after, strict=True)
        if any((one[row, column] - two[row, column]).abs().max() > 1e-6 for one, two in both):
            found.append((row, column))
    return found


@given(text=windows, seed=seeds)
@settings(max_examples=25, deadline=None)
def test_neither_encoder_nor_decoder_knows_a_token_hidden_behind_a_mask(text, seed):
    assert not telling(objective(replace=mask_only), text, seed)


def test_a_source_that_shows_what_is_asked_is_caught():
    shows = objective(replace=lambda tokens, hide, vocabulary, rng: tokens)
    text = random_windows(2, 20, "full", 1)
    assert len(telling(shows, text)) == 6


@pytest.mark.parametrize("kind", ["full", "packed", "padded"])
def test_information_flows_as_declared(kind):
    batch = objective().build(random_windows(2, 13, kind, 3), seeded())
    assert check_flow(tiny("encoder_decoder"), batch).ok


def test_without_its_weight_the_encoder_s_loss_is_reported_and_not_minimised():
    family, text = tiny("encoder_decoder"), random_windows(3, 20, "full", 1)
    plain, control = objective(), objective(weight=0.0)
    assert equal(plain.build(text, seeded()), control.build(text, seeded()))
    loss = loss_of(control, family, control.build(text, seeded()))
    assert loss.value == loss.terms["tokens"]
    assert loss.terms["source"] > 0


def test_a_continuation_is_asked_behind_a_mask_for_each_token():
    context = torch.tensor([[50, 51]])
    batch = objective().ask(context, torch.tensor([[60, 61, 62]]))
    assert batch.source.tolist() == [[50, 51, MASK, MASK, MASK]]
    assert batch.tokens.tolist() == [[BOS, 50, 51, 60, 61]]
    assert batch.weights.tolist() == [[0, 0, 1, 1, 1]]
    prompt = objective().prompt(context, 3)
    assert prompt.source.tolist() == [[50, 51, MASK, MASK, MASK]]
    assert prompt.tokens.tolist() == [[BOS, 50, 51]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rate": 0.0}, "objective 'joint': rate=0.0 is not above 0"),
        ({"weight": -1.0}, "objective 'joint': weight=-1.0 is not a number from 0 on"),
        ({"weight": float("nan")}, "objective 'joint': weight=nan is not a number from 0 on"),
    ],
)
def test_an_impossible_option_is_refused(options, message):
    with pytest.raises(UserError, match=message) as error:
        objective(**options)
    assert "\n" not in str(error.value)
