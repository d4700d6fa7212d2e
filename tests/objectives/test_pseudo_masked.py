from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_text import (
    EOS,
    MASK,
    PAD,
    SENTINELS,
    VOCABULARY,
    WORDS,
    random_windows,
    rates,
    real,
    seeded,
    seeds,
    tiny,
    windows,
)

from archs import CoreConfig, build
from archs.batch import Batch
from archs.errors import UserError
from archs.flow.whole_pass import check_flow
from archs.masks import CAUSAL, Mask, prefix
from objectives.base import Windows
from objectives.pseudo_masked import PseudoMasked, mask

PSEUDO = SENTINELS[0]
SHORT = Windows(torch.tensor([[40, 41, 42, 43, 44, 45, EOS]]))


def objective(**options):
    return PseudoMasked(VOCABULARY, "in_place", **options)


def sharp():
    """Two layers far from uniform attention, in float64."""
    torch.manual_seed(0)
    family = build("encoder_ae", CoreConfig(100, 2, 16, 2, 32, 64)).double().eval()
    with torch.no_grad():
        for parameter in family.parameters():
            parameter.mul_(3)
    return family


def logits(family, batch):
    """Of every row (B,T,V)."""
    with torch.no_grad():
        return family.logits(family.hidden(batch).rows)


def test_originals_and_pseudo_masks_stand_behind_the_text_at_its_positions():
    """The class docstring's example: block 1 is `43 44`, block 2 is `41`."""
    batch = objective().batch(SHORT, torch.tensor([[3, 4, 1, -1]]), torch.tensor([[1, 1, 2, 0]]))
    assert batch.tokens.tolist() == [
        [40, MASK, 42, MASK, MASK, 45, EOS, 43, 44, 41, PAD, PSEUDO, PSEUDO, PSEUDO, PAD, PAD]
    ]
    assert batch.positions.tolist() == [[0, 1, 2, 3, 4, 5, 6, 3, 4, 1, 0, 3, 4, 1, 0, 0]]
    assert batch.extras["rank"].tolist() == [[0, 0, 0, 0, 0, 0, 0, 2, 2, 4, 0, 1, 1, 3, 0, 0]]
    assert batch.segments.tolist() == [[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, -1, 0, 0, 0, -1, -1]]
    assert batch.weights.tolist() == [[0, 1, 0, 1, 1, 0, 0, 0, 0, 0, 0, 1, 1, 1, 0, 0]]
    assert batch.targets[batch.weights > 0].tolist() == [41, 43, 44, 43, 44, 41]
    assert batch.totals == {"tokens": 6.0}


def test_who_sees_whom_in_the_example():
    batch = objective().batch(SHORT, torch.tensor([[3, 4, 1, -1]]), torch.tensor([[1, 1, 2, 0]]))
    columns = torch.arange(16)
    seen = batch.mask(batch).dense(1, columns, columns)[0]
    text = [0, 1, 2, 3, 4, 5, 6]
    expected = {
        **dict.fromkeys(text, text),
        7: [*text, 7, 8],  # the originals of block 1
        8: [*text, 7, 8],
        9: [*text, 7, 8, 9],  # of block 2
        11: [*text, 11, 12],  # the pseudo masks of block 1
        12: [*text, 11, 12],
        13: [*text, 7, 8, 13],  # of block 2
        **{spare: [] for spare in (10, 14, 15)},
    }
    assert {row: seen[row].nonzero()[:, 0].tolist() for row in columns.tolist()} == expected


def test_the_documents_of_a_packed_row_keep_their_positions_and_do_not_see_each_other():
    text = Windows(torch.tensor([[40, 41, EOS, 50, 51, 52, PAD]]), torch.tensor([[0, 0, 0, 1, 1, 1, -1]]))
    batch = objective().batch(text, torch.tensor([[4, 0]]), torch.tensor([[1, 2]]))
    assert batch.tokens[0, 7:11].tolist() == [51, 40, PSEUDO, PSEUDO]
    assert batch.positions[0, 7:11].tolist() == [1, 0, 1, 0]
    assert batch.segments[0, 7:].tolist() == [1, 0, 1, 0, *[-1] * 5]
    columns = torch.arange(16)
    seen = batch.mask(batch).dense(1, columns, columns)[0]
    assert seen[10].nonzero()[:, 0].tolist() == [0, 1, 2, 10]  # block 2, without the original of block 1


@given(
    text=windows, seed=seeds, rate=rates, spans=st.sampled_from([0.0, 0.4, 1.0]), longest=st.integers(2, 6)
)
@settings(max_examples=150, deadline=None)
def test_blocks_are_runs_of_ordinary_tokens_of_one_document_and_hide_the_rate(
    text, seed, rate, spans, longest
):
    columns, blocks = objective(rate=rate, spans=spans, longest=longest).blocks(text, seeded(seed))
    maskable = (text.tokens >= WORDS) & real(text)
    assert columns.shape[1] == max(1, round(rate * text.tokens.shape[1]))
    for row in range(len(columns)):
        used = columns[row] >= 0
        count, most = int(used.sum()), int(maskable[row].sum())
        assert count == min(max(round(rate * most), 1), most)
        assert not used[count:].any()
        hidden, numbers = columns[row, :count].tolist(), blocks[row, :count].tolist()
        assert len(set(hidden)) == count
        assert maskable[row, hidden].all()
        assert blocks[row, count:].tolist() == [0] * (len(used) - count)
        assert sorted(set(numbers)) == list(range(1, len(set(numbers)) + 1))
        assert numbers == sorted(numbers)
        for number in set(numbers):
            cells = [cell for cell, own in zip(hidden, numbers, strict=True) if own == number]
            assert cells == list(range(cells[0], cells[0] + len(cells)))
            assert len(cells) <= (1 if spans == 0 else longest)
            assert text.segments is None or len(text.segments[row, cells].unique()) == 1


def test_a_run_does_not_cross_into_the_next_document_where_no_special_token_stands_between():
    text = Windows(
        torch.arange(40, 80)[None].expand(50, 40), (torch.arange(40) // 5)[None].expand(50, 40).clone()
    )
    columns, blocks = objective(rate=1.0, spans=1.0).blocks(text, seeded())
    for row in range(50):
        for number in blocks[row].unique():
            assert len((columns[row, blocks[row] == number] // 5).unique()) == 1


def test_a_run_is_cut_at_a_special_token_within_a_document():
    text = Windows(torch.tensor([[40, 41, EOS, 50, 51]]).expand(50, 5))
    columns, blocks = objective(rate=1.0, spans=1.0).blocks(text, seeded())
    assert (columns.sort(1).values == torch.tensor([-1, 0, 1, 3, 4])).all()
    for row in range(50):
        in_order = dict(zip(columns[row].tolist(), blocks[row].tolist(), strict=True))
        assert in_order[1] != in_order[3]
    assert (blocks.max(1).values == 2).any()


def test_blocks_are_spans_with_the_asked_probability_of_all_lengths_alike():
    # One block is too few to be truncated often: the first of many is looked at.
    columns, blocks = objective(rate=0.5).blocks(random_windows(6000, 40, "full", 0), seeded())
    lengths = (blocks == 1).sum(1)
    shares = lengths.bincount(minlength=7) / 6000
    expected = torch.tensor([0, 0.6, *[0.08] * 5])
    assert len(shares) == 7
    assert (shares - expected).abs().max() < 0.02  # three standard errors of the largest
    assert (columns[:, 0] >= 0).all()


def test_every_token_is_hidden_alike_and_the_order_is_not_that_of_the_text():
    text = random_windows(8000, 10, "full", 0)
    columns, _ = objective(rate=0.2, spans=0.0).blocks(text, seeded())
    shares = columns.flatten().bincount(minlength=10) / 16000
    assert (shares - 0.1).abs().max() < 0.01  # four standard errors
    assert abs((columns[:, 0] < columns[:, 1]).float().mean() - 0.5) < 0.02


@given(text=windows, seed=seeds, rate=rates)
@settings(max_examples=80, deadline=None)
def test_the_text_comes_back_from_either_kind_of_target_and_special_tokens_stay(text, seed, rate):
    batch = objective(rate=rate).build(text, seeded(seed))
    width = text.tokens.shape[1]
    visible, asked = batch.tokens[:, :width], batch.weights > 0
    assert torch.equal(asked[:, :width], visible == MASK)
    assert torch.equal(asked[:, width:], batch.tokens[:, width:] == PSEUDO)
    assert torch.equal(torch.where(asked[:, :width], batch.targets[:, :width], visible), text.tokens)
    assert torch.equal(visible[text.tokens < WORDS], text.tokens[text.tokens < WORDS])
    for row in range(len(visible)):
        again = asked[row, width:].nonzero()[:, 0] + width
        originals = ((batch.extras["rank"][row] > 0) & (batch.extras["rank"][row] % 2 == 0)).nonzero()[:, 0]
        for name in ("positions", "segments", "targets"):
            values = torch.zeros_like(batch.tokens) if batch.segments is None else getattr(batch, name)
            assert values[row, again].tolist() == values[row, originals].tolist()
            cells = values[row, :width][asked[row, :width]]
            assert sorted(values[row, again].tolist()) == sorted(cells.tolist())
        assert torch.equal(batch.tokens[row, originals], batch.targets[row, originals])


@pytest.mark.parametrize("kind", ["full", "packed", "padded"])
def test_information_flows_as_declared(kind):
    batch = objective(rate=0.4).build(random_windows(2, 13, kind, 3), seeded())
    report = check_flow(tiny("encoder_ae"), batch)
    assert report.ok, report


def change(text, row, column):
    other = text.tokens.clone()
    other[row, column] = WORDS if other[row, column] != WORDS else WORDS + 1
    return Windows(other, text.segments)


def own_block_too(batch: Batch) -> Mask:
    """A planted leak: pseudo masks see the originals of their own block."""
    rank = batch.extras["rank"]
    leak = Mask(lambda b, q, k: (rank[b, k] == rank[b, q] + 1) & (rank[b, q] % 2 == 1), "leak")
    return mask(batch) | leak


def test_no_row_that_asks_for_a_token_can_tell_it_and_a_leak_is_caught():
    text = random_windows(1, 24, "full", 0)
    made, family = objective(rate=0.4), sharp()
    batch = made.build(text, seeded(3))
    cells, kinds = torch.arange(24), batch.extras["rank"][0]
    for column in cells[batch.tokens[0, :24] == MASK].tolist():
        changed = made.build(change(text, 0, column), seeded(3))
        asks = (batch.weights[0] > 0) & (batch.positions[0] == column)  # its [MASK] and its pseudo mask
        assert int(asks.sum()) == 2
        assert (changed.targets[0, asks] != batch.targets[0, asks]).all()
        # Nor can those of its own block and of earlier ones.
        asks |= (batch.weights[0] > 0) & (kinds <= kinds[asks].max())
        for builder, tells in ((mask, False), (own_block_too, True)):
            one, two = (logits(family, replace(given, mask=builder)) for given in (batch, changed))
            assert torch.equal(one[0, asks], two[0, asks]) != tells


def plain(batch: Batch) -> Mask:
    return CAUSAL | prefix(batch.is_prefix)


def test_blocks_of_one_token_give_what_one_pass_a_token_would():
    """Left to right: text with its masks as prefix, the originals so far, and one pseudo mask."""
    text = random_windows(1, 20, "full", 1)
    hidden = [2, 3, 7, 12, 13, 19]
    blocks = torch.arange(1, 7)[None]
    batch = objective(rate=0.3).batch(text, torch.tensor([hidden]), blocks)
    family = sharp()
    found = logits(family, batch)[0, 26:32].log_softmax(1)
    for step, column in enumerate(hidden):
        appended = [*text.tokens[0, hidden[:step]].tolist(), PSEUDO]
        row = torch.cat((batch.tokens[0, :20], torch.tensor(appended)))[None]
        alone = Batch.of(row, is_prefix=torch.arange(row.shape[1])[None] < 20, mask=plain)
        alone = replace(alone, positions=torch.tensor([[*range(20), *hidden[:step], column]]))
        expected = logits(family, alone)[0, -1].log_softmax(0)
        torch.testing.assert_close(found[step], expected, atol=1e-5, rtol=0)
    with pytest.raises(AssertionError):  # the earlier originals count
        torch.testing.assert_close(found[0], found[1], atol=1e-5, rtol=0)


def test_the_masked_rows_say_what_a_masked_language_model_says_of_the_text_alone():
    text = random_windows(3, 20, "packed", 1)
    batch = objective(rate=0.3).build(text, seeded())
    alone = Batch.of(batch.tokens[:, :20], segments=text.segments)
    family = sharp()
    torch.testing.assert_close(logits(family, batch)[:, :20], logits(family, alone))


def test_the_losses_of_parts_of_a_batch_add_up():
    made, family = objective(), tiny("encoder_ae")
    batch = made.build(random_windows(5, 30, "packed", 0), seeded())
    modules = made.modules(family)
    whole = made.loss(family, modules, batch).value
    parts = sum(made.loss(family, modules, batch.rows(part)).value for part in (slice(0, 2), slice(2, 5)))
    torch.testing.assert_close(parts, whole)


def test_one_width_whatever_the_rows():
    made = objective()
    widths = {
        made.build(random_windows(4, 64, kind, seed), seeded(seed)).tokens.shape[1]
        for seed in range(10)
        for kind in ("full", "packed", "padded")
    }
    assert widths == {88}  # 64 and twice 10, in whole eights


def test_without_sentinels_the_pseudo_mask_is_the_mask():
    made = PseudoMasked(replace(VOCABULARY, sentinels=()), "in_place")
    batch = made.batch(SHORT, torch.tensor([[3]]), torch.tensor([[1]]))
    assert batch.tokens[0, 7:9].tolist() == [43, MASK]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rate": 0.0}, "objective 'pseudo_masked': rate=0.0 is not above 0"),
        ({"spans": 1.5}, "spans=1.5 is not a share from 0 to 1"),
        ({"spans": -0.1}, "spans=-0.1 is not a share"),
        ({"longest": 1}, "longest=1 is not from 2"),
    ],
)
def test_an_impossible_option_is_refused(options, message):
    with pytest.raises(UserError, match=message):
        objective(**options)
