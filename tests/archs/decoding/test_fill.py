"""An encoder-AE fills blanks: all at once and the least sure again, or from left to right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from writing import lively, with_blanks

from archs import Family
from archs.batch import Batch
from archs.decoding.decoding import GREEDY, Decoding
from archs.decoding.fill import left_to_right, mask_predict
from archs.errors import UserError

Make = Callable[..., Family]
MASK = 9
LEFT_TO_RIGHT = Decoding(fill="left_to_right")
# How sure the scripted model is of blanks 0 to 3 each time; 0.5 where the blank is written already.
SURE = [[5.0, 1.0, 3.0, 2.0], [0.5, 4.0, 1.0, 6.0], [0.5, 8.0, 4.5, 0.5], [0.5, 0.5, 9.0, 0.5]]


def scripted(rounds: list[list[int]]) -> Callable[[Tensor, slice], Tensor]:
    """A model that answers 10 * (how often it was asked) + blank, and notes which blanks were open."""

    def logits_of(tokens: Tensor, wanted: slice) -> Tensor:
        rounds.append(tokens[0].eq(MASK).nonzero().flatten().tolist())
        logits = torch.zeros(*tokens.shape, 200)
        for blank in range(4):
            sure = SURE[len(rounds) - 1][blank] if len(rounds) <= len(SURE) else 1.0
            logits[:, blank, 10 * len(rounds) + blank] = sure
        return logits[:, wanted]

    return logits_of


FOUR_BLANKS = torch.tensor([[1, 1, 1, 1, 0]]).bool()


def test_mask_predict_opens_the_least_sure_again_and_writes_in_blanks_only() -> None:
    rounds: list[list[int]] = []
    out = mask_predict(FOUR_BLANKS, scripted(rounds), MASK, GREEDY)
    # Blank 0 stays from the first round (5), blank 3 from the second (6), blank 1 from the third (8).
    assert rounds == [[0, 1, 2, 3], [1, 2, 3], [1, 2], [2]]
    assert out.tolist() == [[10, 31, 42, 23, 0]]


def test_two_rounds_of_mask_predict_open_the_less_sure_half_again() -> None:
    rounds: list[list[int]] = []
    out = mask_predict(FOUR_BLANKS, scripted(rounds), MASK, Decoding(rounds=2))
    assert rounds == [[0, 1, 2, 3], [1, 3]]
    assert out.tolist() == [[10, 21, 12, 23, 0]]


def test_mask_predict_without_blanks_asks_nothing() -> None:
    rounds: list[list[int]] = []
    out = mask_predict(torch.zeros(1, 5).bool(), scripted(rounds), MASK, GREEDY)
    assert rounds == []
    assert out.tolist() == [[0, 0, 0, 0, 0]]


def test_from_left_to_right_the_first_round_hides_what_comes_and_the_next_one_blank_alone() -> None:
    rounds: list[list[int]] = []
    out = left_to_right(FOUR_BLANKS[:, :4], scripted(rounds), MASK, replace(LEFT_TO_RIGHT, rounds=2))
    assert rounds == [[0, 1, 2, 3], [1, 2, 3], [2, 3], [3], [0], [1], [2], [3]]
    assert out.tolist() == [[50, 61, 72, 83]]
    rounds = []
    out = left_to_right(FOUR_BLANKS[:, :4], scripted(rounds), MASK, replace(LEFT_TO_RIGHT, rounds=1))
    assert len(rounds) == 4
    assert out.tolist() == [[10, 21, 32, 43]]


def test_a_round_that_changes_nothing_is_the_last() -> None:
    asked: list[Tensor] = []

    def logits_of(tokens: Tensor, wanted: slice) -> Tensor:
        asked.append(tokens)
        return torch.eye(20)[[4, 6]][None, wanted]

    out = left_to_right(torch.ones(1, 2).bool(), logits_of, MASK, replace(LEFT_TO_RIGHT, rounds=9))
    assert out.tolist() == [[4, 6]]
    assert len(asked) == 4  # one round to write, one that finds nothing to change


def best(family: Family, batch: Batch, hidden: Tensor) -> Tensor:
    """The likeliest token (B,T) of each cell with the cells `hidden` (B,T) masked; a mask is no answer."""
    with torch.no_grad():
        logits = family.logits(family.hidden(replace(batch, tokens=batch.tokens.masked_fill(hidden, 3))).rows)
    logits[..., 3] = float("-inf")
    return logits.argmax(-1)


def test_an_encoder_ae_writes_its_blanks_in_the_order_of_columns(make_family: Make) -> None:
    family, batch = lively(make_family("encoder_ae")), with_blanks("ragged")
    found = best(family, batch, batch.weights > 0)
    written = family.generate(batch, 3, Decoding(rounds=1)).tolist()
    assert written == [found[0, 2:5].tolist(), [int(found[1, 3]), -1, -1]]


def test_an_encoder_ae_from_left_to_right_reads_what_it_wrote(make_family: Make) -> None:
    family, batch = lively(make_family("encoder_ae")), with_blanks("in the middle")
    tokens, hidden = batch.tokens.clone(), batch.weights > 0
    columns = torch.tensor([[2, 3, 4], [1, 3, 5]])
    rows = torch.arange(2)
    rounds = []
    for _ in range(2):
        for at in columns.T:
            hidden = hidden | torch.zeros(2, 7).index_put((rows, at), torch.tensor(1.0)).bool()
            tokens[rows, at] = best(family, replace(batch, tokens=tokens), hidden)[rows, at]
            hidden[rows, at] = False
        rounds.append(tokens.gather(1, columns))
    for number, expected in enumerate(rounds, 1):
        written = family.generate(batch, 3, replace(LEFT_TO_RIGHT, rounds=number))
        assert torch.equal(written, expected)
    assert not torch.equal(*rounds), "a second round has something to do here"


@pytest.mark.parametrize("how", [GREEDY, LEFT_TO_RIGHT])
@pytest.mark.parametrize("name", ["ragged", "left padded", "everywhere"])
def test_an_encoder_ae_fills_a_batch_as_its_rows_one_at_a_time(
    name: str, how: Decoding, make_family: Make
) -> None:
    # Learned positions: with rotary ones, blanks alone are the same at every cell, and rounding chooses.
    family, batch = lively(make_family("encoder_ae", positions="learned")), with_blanks(name)
    together = family.generate(batch, 3, how)
    for row in range(2):
        alone = family.generate(batch.rows(slice(row, row + 1)), 3, how)
        assert torch.equal(alone, together[row : row + 1])


@pytest.mark.parametrize("how", [GREEDY, LEFT_TO_RIGHT])
def test_after_a_stop_token_an_encoder_ae_leaves_padding(how: Decoding, make_family: Make) -> None:
    family, batch = lively(make_family("encoder_ae")), with_blanks("ragged")
    whole = family.generate(batch, 3, how)[0].tolist()
    last = whole.index(whole[1])
    cut = family.generate(batch, 4, replace(how, stop=(whole[1],)))
    assert cut[0].tolist() == [*whole[: last + 1], *[-1] * (3 - last)]


@pytest.mark.parametrize("how", [GREEDY, LEFT_TO_RIGHT, Decoding(temperature=5.0)])
def test_an_encoder_ae_writes_no_forbidden_token_and_no_mask(how: Decoding, make_family: Make) -> None:
    family, batch = make_family("encoder_ae"), with_blanks("in the middle")
    forbid = torch.ones(50, dtype=torch.bool)
    forbid[[3, 17, 23]] = False  # 3 is the mask
    written = family.generate(batch, 3, replace(how, forbid=forbid), torch.Generator().manual_seed(0))
    assert set(written.flatten().tolist()) <= {17, 23}


def test_that_a_mask_is_never_written_counts_as_forbidden(make_family: Make) -> None:
    family, batch = make_family("encoder_ae"), with_blanks("in the middle")
    with pytest.raises(UserError, match="stop token 3 is the mask, which is never written; drop it"):
        family.generate(batch, 3, Decoding(stop=(5, 3)))
    with pytest.raises(UserError, match="forbid leaves no token to write beside the mask"):
        family.generate(batch, 3, Decoding(forbid=torch.arange(50) != 3))


def test_a_batch_without_a_mask_token_of_the_vocabulary_is_refused(make_family: Make) -> None:
    family, batch = make_family("encoder_ae"), with_blanks("in the middle")
    for extras, message in (
        ({}, r'without extras\["mask"\]; give extras='),
        ({"mask": torch.tensor([50])}, r'token 50 of the extras\["mask"\] is not in the vocabulary'),
    ):
        for ask in (family.score, lambda asked: family.generate(asked, 3)):
            with pytest.raises(UserError, match=message):
                ask(replace(batch, extras=extras))


@pytest.mark.parametrize("how", [GREEDY, LEFT_TO_RIGHT])
def test_an_encoder_ae_without_room_writes_nothing(how: Decoding, make_family: Make) -> None:
    family, batch = make_family("encoder_ae"), with_blanks("ragged")
    assert family.generate(batch, 0, how).shape == (2, 0)
    nothing = replace(batch, weights=torch.zeros(2, 7))
    assert family.generate(nothing, 2, how).tolist() == [[-1, -1], [-1, -1]]


@pytest.mark.parametrize("name", ["in the middle", "several documents"])
@pytest.mark.parametrize("kind", ["encoder_ae", "permuted_lm"])
def test_what_stands_in_a_blank_does_not_matter(kind: str, name: str, make_family: Make) -> None:
    family, batch = lively(make_family(kind)), with_blanks(name)
    after = replace(batch, tokens=torch.where(batch.weights > 0, 7, batch.tokens))
    assert torch.equal(family.generate(batch, 3), family.generate(after, 3))


def test_beams_are_refused_where_blanks_are_filled(make_family: Make) -> None:
    family, batch = make_family("encoder_ae"), with_blanks("ragged")
    with pytest.raises(UserError, match="beams=2: beam search is for left to right; encoder_ae fills blanks"):
        family.generate(batch, 3, Decoding(beams=2))
    with pytest.raises(UserError, match="encoder_ae has no steps from left to right"):
        family.steps(batch, 3)
