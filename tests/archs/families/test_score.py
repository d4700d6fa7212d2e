"""Log-probabilities in nats: they sum to one where they are a chain rule's, and say which unit they are."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from archs import FAMILIES
from archs.batch import Batch
from archs.families.encoder_ae import EncoderAE

CONTEXT = [2, 0, 1, 1]


def continuations(vocabulary: int, length: int) -> Tensor:
    return torch.tensor(list(itertools.product(range(vocabulary), repeat=length)))


def ask_for_all(kind: str, vocabulary: int = 3, length: int = 3) -> Batch:
    """A row for every continuation of the context, in the kind's own layout, asked token by token."""
    new = continuations(vocabulary, length)
    context = torch.tensor(CONTEXT).expand(len(new), -1)
    if kind == "encoder_decoder":
        shifted = torch.cat((torch.zeros(len(new), 1).long(), new[:, :-1]), 1)
        return Batch.of(shifted, new, torch.ones(new.shape), source=context)
    whole = torch.cat((context, new), 1)
    weights = torch.cat((torch.zeros(context.shape), torch.ones(new.shape)), 1)
    if kind == "permuted_lm":
        rank = torch.cat((torch.zeros_like(context), torch.arange(1, length + 1).expand_as(new)), 1)
        queries = torch.arange(4, 4 + length).expand_as(new)
        return Batch.of(whole, weights=weights, rank=rank, queries=queries)
    is_prefix = torch.arange(3 + length).expand(len(new), -1) < 4
    return Batch.of(whole[:, :-1], whole[:, 1:], weights[:, 1:], is_prefix=is_prefix)


@pytest.mark.parametrize("kind", ["decoder_ar", "prefix_lm", "encoder_decoder", "permuted_lm"])
def test_probabilities_of_all_continuations_sum_to_one(kind: str, make_family) -> None:
    family = make_family(kind, vocabulary=3)
    with torch.no_grad():
        for part in family.parameters():
            part.mul_(5)  # far from uniform
        score = family.score(ask_for_all(kind))
    assert score.unit == "nll"
    each = score.nats.double().sum(1).exp()
    assert len(each) == 27
    assert each.max() > 2 * each.min()
    torch.testing.assert_close(each.sum().item(), 1.0, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", ["decoder_ar", "prefix_lm", "encoder_decoder", "permuted_lm"])
def test_of_all_continuations_one_is_greedy_and_none_that_starts_as_it_is_likelier_next(
    kind: str, make_family
) -> None:
    family, batch = make_family(kind, vocabulary=3), ask_for_all(kind)
    with torch.no_grad():
        score = family.score(batch)
    assert not score.greedy[batch.weights == 0].any()
    nats = score.nats[batch.weights > 0].view(27, 3)
    (best,) = score.greedy[batch.weights > 0].view(27, 3).all(1).nonzero().flatten().tolist()
    new = continuations(3, 3)
    for column in range(3):
        alike = (new[:, :column] == new[best, :column]).all(1)
        assert nats[best, column] == nats[alike, column].max()


def test_probabilities_in_any_order_of_a_permuted_lm_sum_to_one(make_family) -> None:
    family, new = make_family("permuted_lm", vocabulary=3), continuations(3, 3)
    tokens = torch.stack((new[:, 0], torch.full((27,), 2), new[:, 1], new[:, 2]), 1)
    rank = torch.tensor([[3, 0, 1, 2]]).expand(27, -1)
    batch = Batch.of(
        tokens, weights=(rank > 0).float(), rank=rank, queries=torch.tensor([[0, 2, 3]]).expand(27, -1)
    )
    with torch.no_grad():
        total = family.score(batch).nats.double().sum(1).exp().sum()
    torch.testing.assert_close(total.item(), 1.0, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", [kind for kind in FAMILIES if kind != "encoder_ae"])
def test_a_score_is_the_log_softmax_at_each_asked_cell_and_zero_elsewhere(
    kind: str, make_family, make_batch, loss, layouts
) -> None:
    family, batch = make_family(kind), make_batch(*layouts["packed and padded"])
    with torch.no_grad():
        nats = family.score(batch).nats
        assert nats.shape == batch.tokens.shape
        assert torch.equal(nats != 0, batch.weights > 0)
        torch.testing.assert_close(-nats.sum() / batch.totals["tokens"], loss(family, batch))


@pytest.mark.parametrize("rows_at_once", [2, 128])
def test_a_pseudo_log_likelihood_is_masking_by_hand_one_at_a_time(
    rows_at_once: int, make_family, make_batch, layouts
) -> None:
    family, batch = make_family("encoder_ae"), make_batch(*layouts["packed and padded"])
    by_hand = torch.zeros(batch.tokens.shape)
    likeliest = torch.zeros(batch.tokens.shape, dtype=torch.bool)
    with torch.no_grad():
        for row, column in batch.weights.nonzero().tolist():
            tokens = batch.tokens[row : row + 1].clone()
            tokens[0, column] = 3
            rows = family.hidden(Batch.of(tokens, segments=batch.segments[row : row + 1])).rows
            logp = family.logits(rows[0, column]).log_softmax(-1)
            by_hand[row, column] = logp[batch.targets[row, column]]
            likeliest[row, column] = logp.argmax() == batch.targets[row, column]
        score = family.score(batch, rows_at_once=rows_at_once)
    assert score.unit == "pll"
    torch.testing.assert_close(score.nats, by_hand)
    assert torch.equal(score.greedy, likeliest)


def by_hand(family: EncoderAE, batch: Batch, words: Tensor) -> Tensor:
    """PLL-word-l2r, a pass for each asked token, with loops."""
    assert batch.segments is not None
    nats = torch.zeros(batch.tokens.shape)
    for row, column in batch.weights.nonzero().tolist():
        tokens = batch.tokens[row : row + 1].clone()
        for other in range(column, tokens.shape[1]):
            if words[row, other] == words[row, column]:
                tokens[0, other] = 3
        rows = family.hidden(Batch.of(tokens, segments=batch.segments[row : row + 1])).rows
        nats[row, column] = family.logits(rows[0, column]).log_softmax(-1)[batch.targets[row, column]]
    return nats


@pytest.mark.parametrize("rows_at_once", [2, 128])
def test_the_later_tokens_of_a_word_are_hidden_beside_the_asked_one(
    rows_at_once: int, make_family, make_batch, layouts
) -> None:
    family, batch = make_family("encoder_ae"), make_batch(*layouts["packed and padded"], asked=1.0, seed=1)
    words = torch.tensor([[0, 0, 1, 1, 1, 2, 2, 2, 3], [0, 1, 1, 1, 2, 2, 3, 4, 5]])
    with torch.no_grad():
        score = family.score(batch, rows_at_once, words)
        original = family.score(batch, rows_at_once)
        torch.testing.assert_close(score.nats, by_hand(family, batch, words))
    assert (score.unit, original.unit) == ("pll_word_l2r", "pll")
    last = torch.tensor([[0, 1, 0, 0, 1, 0, 0, 1, 1], [1, 0, 0, 1, 0, 1, 1, 1, 1]]).bool()
    torch.testing.assert_close(score.nats[last], original.nats[last])
    asked_before_the_last = (batch.weights > 0) & ~last
    assert (score.nats != original.nats)[asked_before_the_last].all()


def test_where_every_word_is_one_token_both_pseudo_likelihoods_are_the_same(make_family, make_batch) -> None:
    family, batch = make_family("encoder_ae"), make_batch(asked=1.0)
    words = torch.arange(9).expand(2, 9)
    with torch.no_grad():
        assert torch.equal(family.score(batch, words=words).nats, family.score(batch).nats)


def sum_of_probabilities(family: EncoderAE, words: Tensor | None) -> float:
    """exp of the scores of all texts of three tokens, the mask token among them, summed."""
    new = continuations(family.config.vocabulary, 3)
    batch = Batch.of(new, weights=torch.ones(new.shape), extras={"mask": torch.full((len(new), 1), 3)})
    with torch.no_grad():
        each = family.score(batch, words=words).nats.double().sum(1).exp()
    return each.sum().item()


@pytest.mark.parametrize("seed", range(3))
def test_pseudo_likelihoods_of_all_texts_do_not_sum_to_one(seed: int, make_family) -> None:
    """Why they share no axis with likelihoods: they are no distribution over texts."""
    family = make_family("encoder_ae", seed=seed, vocabulary=4)
    with torch.no_grad():
        for part in family.parameters():
            part.mul_(8)
    assert abs(sum_of_probabilities(family, None) - 1) > 0.05
    two_words = torch.tensor([[0, 0, 1]]).expand(64, 3)
    assert abs(sum_of_probabilities(family, two_words) - 1) > 0.05
    # Inside one word each token is given those before it and no other: a chain rule.
    torch.testing.assert_close(
        sum_of_probabilities(family, torch.zeros(64, 3).long()), 1.0, atol=1e-5, rtol=0
    )


def alone(batch: Batch, row: int, number: int) -> tuple[Batch, Tensor]:
    """One document of a row without the rest, and its columns there."""
    assert batch.segments is not None
    assert batch.source is not None
    assert batch.source_segments is not None
    assert batch.is_prefix is not None
    assert batch.rank is not None
    cells = (batch.segments[row] == number).nonzero().squeeze(1)
    source = batch.source[row : row + 1, batch.source_segments[row] == number]
    weights = batch.weights[row : row + 1, cells]
    cut = Batch.of(
        batch.tokens[row : row + 1, cells],
        batch.targets[row : row + 1, cells],
        weights,
        source=source,
        is_prefix=batch.is_prefix[row : row + 1, cells],
        rank=batch.rank[row : row + 1, cells],
        queries=weights[0].nonzero().T,
        extras={"mask": torch.tensor([[3]])},
    )
    return cut, cells


@pytest.mark.parametrize("layout", ["packed", "padded", "left padded", "packed and padded"])
@pytest.mark.parametrize("kind", FAMILIES)
def test_a_text_scores_the_same_alone_packed_and_padded(
    kind: str, layout: str, make_family, make_batch, layouts
) -> None:
    family, batch = make_family(kind), make_batch(*layouts[layout])
    with torch.no_grad():
        together = family.score(batch).nats
        for row in range(2):
            for number in set(batch.segments[row].tolist()) - {-1}:
                cut, cells = alone(batch, row, number)
                torch.testing.assert_close(family.score(cut).nats[0], together[row, cells])


@pytest.mark.parametrize("kind", FAMILIES)
def test_nothing_asked_scores_nothing(kind: str, make_family) -> None:
    batch = Batch.of(
        torch.zeros(2, 5).long(), source=torch.zeros(2, 3).long(), extras={"mask": torch.full((2, 1), 3)}
    )
    with torch.no_grad():
        assert make_family(kind).score(batch).nats.tolist() == [[0.0] * 5] * 2
        assert len(make_family(kind).hidden(batch).targets) == len(batch.target_index)
