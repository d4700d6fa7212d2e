from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from toy_text import CLS, EOS, MASK, PAD, SEP, VOCABULARY, random_windows, real, seeded, seeds, tiny, windows

from archs.errors import UserError
from archs.families.encoder_ae import EncoderAE
from objectives.base import Windows
from objectives.sop import SOP

TEXT = Windows(torch.tensor([[40, 41, 42, 43], [50, 51, 52, 53]]))


def objective(**options):
    return SOP(VOCABULARY, "in_place", **options)


def test_pieces_stand_between_cls_and_seps_and_may_be_swapped():
    pairs, types = objective().arrange(TEXT, torch.tensor([1, 3]), torch.tensor([False, True]))
    assert pairs.tokens.tolist() == [[CLS, 40, SEP, 41, 42, 43, SEP], [CLS, 53, SEP, 50, 51, 52, SEP]]
    assert types.tolist() == [[0, 0, 0, 1, 1, 1, 1], [0, 0, 0, 1, 1, 1, 1]]
    assert pairs.segments is None


def test_special_tokens_belong_to_the_document_they_stand_behind():
    packed = Windows(
        torch.tensor([[40, EOS, 50, 51, EOS, 60, PAD, PAD]]), torch.tensor([[0, 0, 1, 1, 1, 2, -1, -1]])
    )
    pair, _ = objective().arrange(packed, torch.tensor([2]), torch.tensor([False]))
    assert pair.tokens.tolist() == [[CLS, 40, EOS, SEP, 50, 51, EOS, 60, SEP, PAD, PAD]]
    assert pair.segments.tolist() == [[0, 0, 0, 0, 1, 1, 1, 2, 2, -1, -1]]


def test_a_row_of_padding_stays_padding():
    empty = Windows(torch.full((1, 3), PAD), torch.full((1, 3), -1))
    pair, _ = objective().arrange(empty, torch.tensor([0]), torch.tensor([False]))
    assert pair.tokens.tolist() == [[PAD] * 6]
    assert pair.segments.tolist() == [[-1] * 6]


@given(text=windows, seed=seeds)
@settings(max_examples=100, deadline=None)
def test_the_text_is_recovered_by_undoing_the_swap_that_the_label_tells(text, seed):
    batch = objective().build(text, seeded(seed))
    assert batch.tokens.shape[1] == text.tokens.shape[1] + 3
    full = real(text).all(1)
    single = full if text.segments is None else full & (text.segments == text.segments[:, :1]).all(1)
    for row, label in enumerate(batch.pair_label.tolist()):
        assert (label >= 0) == (bool(single[row]) and text.tokens.shape[1] > 1)
        raw = text.tokens[row][real(text)[row]].tolist()
        if not raw:
            continue
        cells = batch.targets[row].tolist()
        assert cells.count(CLS) == 1
        first, second = (column for column, token in enumerate(cells) if token == SEP)
        pieces = [cells[1:first], cells[first + 1 : second]]
        assert set(cells[second + 1 :]) <= {PAD}
        assert (pieces[1] + pieces[0] if label == 1 else pieces[0] + pieces[1]) == raw
        if len(raw) >= 4:
            cut = len(pieces[1] if label == 1 else pieces[0])
            assert len(raw) // 4 <= cut <= len(raw) // 4 + len(raw) // 2


def test_half_of_the_rows_are_swapped():
    labels = objective().build(random_windows(2000, 8, "full", 0), seeded()).pair_label
    assert abs(labels.float().mean() - 0.5) < 0.04


def test_rows_are_not_asked_for_an_order_that_several_documents_do_not_have():
    segments = torch.tensor([[0, 0, 1, 1], [3, 3, 3, 3]])
    labels = objective().build(Windows(TEXT.tokens, segments), seeded()).pair_label.tolist()
    assert labels[0] == -1
    assert labels[1] in (0, 1)


@given(text=windows, seed=seeds)
@settings(max_examples=30, deadline=None)
def test_segments_of_the_text_are_kept(text, seed):
    batch = objective().build(text, seeded(seed))
    if text.segments is None:
        assert batch.segments is None
        return
    for row in range(len(text.tokens)):
        inner = batch.segments[row][(batch.targets[row] != CLS) & (batch.targets[row] != SEP)]
        assert inner[inner >= 0].tolist() == text.segments[row][real(text)[row]].tolist()


@pytest.mark.parametrize("kind", ["full", "packed"])
def test_losses_of_parts_of_a_batch_add_up_to_the_whole_in_both_terms(kind):
    sop, family = objective(weight=0.5), tiny("encoder_ae")
    modules = sop.modules(family)
    batch = sop.build(random_windows(6, 20, kind, 0), seeded())
    whole = sop.loss(family, modules, batch)
    parts = [sop.loss(family, modules, batch.rows(slice(i, i + 2))) for i in (0, 2, 4)]
    assert set(whole.terms) == {"tokens", "pair"}
    for name, value in whole.terms.items():
        torch.testing.assert_close(sum(part.terms[name] for part in parts), value)
    torch.testing.assert_close(whole.value.detach(), whole.terms["tokens"] + 0.5 * whole.terms["pair"])


def test_at_weight_zero_the_head_learns_nothing_and_the_input_is_the_same():
    text = random_windows(4, 20, "full", 0)
    with_order, control = objective(), objective(weight=0.0)
    assert torch.equal(with_order.build(text, seeded()).tokens, control.build(text, seeded()).tokens)
    modules = control.modules(tiny("encoder_ae"))
    control.loss(tiny("encoder_ae"), modules, control.build(text, seeded())).value.backward()
    assert modules["pair"].linear.weight.grad.abs().max() == 0


def test_the_order_is_read_off_cls_alone():
    sop, family, batch = (
        objective(),
        tiny("encoder_ae"),
        objective().build(random_windows(4, 20, "full", 0), seeded()),
    )
    modules = sop.modules(family)
    expected = torch.nn.functional.cross_entropy(
        modules["pair"](family.hidden(batch).rows[:, :1]), batch.pair_label
    )
    torch.testing.assert_close(sop.loss(family, modules, batch).terms["pair"], expected.detach())
    assert (batch.tokens == MASK).any()


def test_a_pair_needs_two_token_types_or_none():
    one_type = EncoderAE(replace(tiny("encoder_ae").config, token_types=1))
    with pytest.raises(UserError, match=r"size\.token_types=1 is too few"):
        objective().modules(one_type)
