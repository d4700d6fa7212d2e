from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_text import (
    BOS,
    EOS,
    MASK,
    PAD,
    SENTINELS,
    VOCABULARY,
    WORDS,
    equal,
    random_windows,
    seeded,
    seeds,
    tiny,
    windows,
)

from archs.errors import UserError
from archs.flow.whole_pass import check_flow
from archs.masks import CAUSAL, document
from objectives.base import Windows
from objectives.future import FutureNGram, stream_token
from objectives.mass import MASS
from objectives.modes import mode_token

ONE_AHEAD, TWO_AHEAD = SENTINELS[14], SENTINELS[13]
numbers_of_streams = st.integers(1, 5)


def objective(**options):
    return FutureNGram(VOCABULARY, "source_target", **options)


def seen_of(batch):
    """(B,T,T) bool."""
    columns = torch.arange(batch.tokens.shape[1])
    return batch.mask(batch).dense(len(batch.tokens), columns, columns)


def test_the_streams_behind_the_fragment_ask_the_tokens_after_the_next():
    text = Windows(torch.tensor([[40, 41, 42, 43, 44, 45, EOS]]))
    hide = torch.tensor([[False, False, True, True, True, False, False]])
    batch = objective(n=3, decay=0.5).batch(text, hide, seeded())
    assert batch.source.tolist() == [[40, 41, MASK, MASK, MASK, 45, EOS]]
    main, one, two = (batch.tokens[0, start : start + 7].tolist() for start in (0, 7, 14))
    assert main == [BOS, 42, 43, PAD, PAD, PAD, PAD]
    assert one == [ONE_AHEAD, ONE_AHEAD, PAD, PAD, PAD, PAD, PAD]
    assert two == [TWO_AHEAD, PAD, PAD, PAD, PAD, PAD, PAD]
    assert batch.targets[0, :3].tolist() == [42, 43, 44]
    assert batch.targets[0, 7:9].tolist() == [43, 44]
    assert batch.targets[0, 14:15].tolist() == [44]
    assert batch.weights[0].tolist() == [1, 1, 1, 0, 0, 0, 0, 0.5, 0.5, 0, 0, 0, 0, 0, 0.25, 0, 0, 0, 0, 0, 0]
    assert batch.positions[0].tolist() == [2, 3, 4, 0, 0, 0, 0, 4, 5, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0]
    assert batch.totals == {"tokens": 4.25, "asked": 6.0}
    seen = seen_of(batch)[0]
    rows = {row: seen[row].nonzero()[:, 0].tolist() for row in (0, 1, 2, 3, 7, 8, 9, 14)}
    assert rows == {0: [0], 1: [0, 1], 2: [0, 1, 2], 3: [], 7: [0, 7], 8: [0, 1, 8], 9: [], 14: [0, 14]}


def test_no_stream_asks_beyond_its_document():
    text = Windows(torch.tensor([[40, 41, 50, 51, 52, 53]]), torch.tensor([[0, 0, 1, 1, 1, 1]]))
    hide = torch.tensor([[True, True, False, True, True, True]])
    batch = objective().batch(text, hide, seeded())
    assert batch.tokens.tolist() == [
        [BOS, 40, BOS, 51, 52, PAD, ONE_AHEAD, PAD, ONE_AHEAD, ONE_AHEAD, PAD, PAD]
    ]
    assert batch.targets.tolist() == [[40, 41, 51, 52, 53, PAD, 41, PAD, 52, 53, PAD, PAD]]
    assert batch.segments.tolist() == [[0, 0, 1, 1, 1, -1, 0, -1, 1, 1, -1, -1]]
    assert batch.positions.tolist() == [[0, 1, 1, 2, 3, 0, 2, 0, 3, 4, 0, 0]]
    seen = seen_of(batch)[0]
    assert seen[6].nonzero()[:, 0].tolist() == [0, 6]
    assert seen[8].nonzero()[:, 0].tolist() == [2, 8]
    assert seen[9].nonzero()[:, 0].tolist() == [2, 3, 9]


@given(text=windows, seed=seeds)
@settings(max_examples=40, deadline=None)
def test_with_n_of_1_the_batch_is_mass_s(text, seed):
    ours, mass = objective(n=1).build(text, seeded(seed)), MASS(VOCABULARY, "source_target")
    theirs = mass.build(text, seeded(seed))
    for name, tensor in theirs.tensors():
        assert torch.equal(dict(ours.tensors())[name], tensor)
    columns = torch.arange(theirs.tokens.shape[1])
    causal = (CAUSAL & document(theirs.segments)).dense(len(text.tokens), columns, columns)
    assert torch.equal(seen_of(ours), causal)


@given(text=windows, seed=seeds, n=numbers_of_streams)
@settings(max_examples=60, deadline=None)
def test_each_stream_is_the_main_stream_s_targets_moved_within_the_document(text, seed, n):
    batch = objective(n=n, decay=0.5).build(text, seeded(seed))
    mass = MASS(VOCABULARY, "source_target").build(text, seeded(seed))
    width = mass.tokens.shape[1]
    assert batch.tokens.shape[1] == n * width
    asked = 0
    for row, numbers in enumerate(mass.segments.tolist()):
        for ahead in range(n):
            for place in range(width):
                cell, later = ahead * width + place, place + ahead
                if numbers[place] >= 0 and later < width and numbers[later] == numbers[place]:
                    asked += 1
                    assert batch.targets[row, cell] == mass.targets[row, later]
                    assert batch.weights[row, cell] == 0.5**ahead
                    assert batch.positions[row, cell] == mass.positions[row, later] + (ahead > 0)
                    assert batch.tokens[row, cell] == (
                        SENTINELS[15 - ahead] if ahead else mass.tokens[row, place]
                    )
                else:
                    assert batch.weights[row, cell] == 0
                    assert batch.segments[row, cell] == -1
    assert batch.supervised == asked


@given(text=windows, seed=seeds, n=numbers_of_streams)
@settings(max_examples=60, deadline=None)
def test_a_row_sees_its_document_s_main_rows_up_to_its_own_place_and_itself(text, seed, n):
    batch = objective(n=n).build(text, seeded(seed))
    width = batch.tokens.shape[1] // n
    q, k = torch.arange(n * width)[:, None], torch.arange(n * width)[None]
    allowed = ((k < width) & (k <= q % width)) | (q == k)
    same = (batch.segments[:, :, None] == batch.segments[:, None]) & (batch.segments[:, :, None] >= 0)
    assert torch.equal(seen_of(batch), allowed & same)


def telling(asks, text, change=lambda batch: batch):
    """The asked cells (row, column) that say something else if the token they are asked for is another."""
    family, found = tiny("encoder_decoder"), []

    def says(windows):
        batch = change(asks.build(windows, seeded(2)))
        return batch, family.logits(family.hidden(batch).rows).log_softmax(-1)

    batch, before = says(text)
    width = batch.tokens.shape[1] // asks.n
    for row, place in (batch.weights[:, :width] > 0).nonzero().tolist():
        column = int((batch.source[row] == MASK).nonzero()[place, 0])
        other = text.tokens.clone()
        other[row, column] = WORDS if other[row, column] != WORDS else WORDS + 1
        changed, after = says(Windows(other, text.segments))
        asking = (changed.targets != batch.targets).nonzero().tolist()
        assert [row, place] in asking
        found += [cell for cell in asking if (before[*cell] - after[*cell]).abs().max() > 1e-6]
    return found


@pytest.mark.parametrize("kind", ["full", "packed", "padded"])
def test_no_row_of_any_stream_knows_the_token_it_is_asked_for(kind):
    assert not telling(objective(n=3), random_windows(2, 15, kind, 4))


def test_streams_that_see_the_main_row_which_reads_their_target_are_caught():
    def leaky(batch):
        return replace(batch, extras={**batch.extras, "sees": batch.extras["sees"] + 2})

    found = telling(objective(n=2), random_windows(1, 12, "full", 4), leaky)
    assert {column >= 8 for _, column in found} == {True, False}


@pytest.mark.parametrize("kind", ["full", "packed", "padded"])
def test_information_flows_as_declared(kind):
    batch = objective(n=3).build(random_windows(2, 13, kind, 3), seeded())
    assert check_flow(tiny("encoder_decoder"), batch).ok


def test_the_losses_of_a_batch_s_parts_add_up():
    family, asks = tiny("encoder_decoder"), objective(n=3, decay=0.5)
    batch = asks.build(random_windows(5, 20, "packed", 1), seeded())
    whole, *parts = (
        asks.loss(family, asks.modules(family), part).value
        for part in (batch, batch.rows(slice(0, 2)), batch.rows(slice(2, 5)))
    )
    torch.testing.assert_close(sum(parts), whole)


def test_the_loss_is_the_weighted_mean_of_the_streams():
    family, asks = tiny("encoder_decoder"), objective(decay=0.25, rate=0.5)
    batch = asks.build(random_windows(3, 16, "full", 1), seeded())
    nats = -family.score(batch).nats.view(3, 2, -1).sum((0, 2))
    loss = asks.loss(family, asks.modules(family), batch)
    # Eight tokens a fragment; the second of the two streams asks all but the first.
    torch.testing.assert_close(loss.value, (nats[0] + 0.25 * nats[1]) / (3 * (8 + 0.25 * 7)))


def test_a_continuation_is_asked_of_the_main_stream_alone_as_by_mass():
    context, continuation = torch.tensor([[50, 51]]), torch.tensor([[60, 61, 62]])
    mass = MASS(VOCABULARY, "source_target")
    asked = objective(n=3).ask(context, continuation)
    assert equal(asked, mass.ask(context, continuation))
    assert asked.mask is None
    assert equal(objective(n=3).prompt(context, 3), mass.prompt(context, 3))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 0}, "n=0 is not from 1 to 16"),
        ({"n": 17}, "n=17 is not from 1 to 16"),
        ({"decay": 0.0}, "decay=0.0 is not above 0"),
        ({"decay": 1.5}, "decay=1.5 is not above 0"),
        ({"rate": 0.0}, "objective 'future_ngram': rate=0.0"),
    ],
)
def test_an_impossible_option_is_refused(options, message):
    with pytest.raises(UserError, match=message) as error:
        objective(**options)
    assert "\n" not in str(error.value)


def test_streams_mode_tokens_and_first_spans_have_sentinels_of_their_own():
    modes = {mode_token(VOCABULARY, mode) for mode in range(1, 16)}
    streams = [stream_token(VOCABULARY, stream) for stream in range(1, 16)]
    assert set(streams).isdisjoint(modes)
    assert streams == list(reversed(SENTINELS[:15]))


def test_targets_are_counted_whatever_they_weigh():
    objective = FutureNGram(VOCABULARY, "source_target", n=3, decay=0.1)
    batch = objective.build(random_windows(4, 40, "full", 0), seeded())
    assert objective.supervised(batch) == batch.supervised > batch.totals["tokens"]
