"""Log-probabilities in nats: they sum to one where they are a chain rule's, and say which unit they are."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from archs import FAMILIES
from archs.batch import Batch

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
    with torch.no_grad():
        for row, column in batch.weights.nonzero().tolist():
            tokens = batch.tokens[row : row + 1].clone()
            tokens[0, column] = 3
            rows = family.hidden(Batch.of(tokens, segments=batch.segments[row : row + 1])).rows
            logp = family.logits(rows[0, column]).log_softmax(-1)
            by_hand[row, column] = logp[batch.targets[row, column]]
        score = family.score(batch, rows_at_once=rows_at_once)
    assert score.unit == "pll"
    torch.testing.assert_close(score.nats, by_hand)


@pytest.mark.parametrize("kind", FAMILIES)
def test_nothing_asked_scores_nothing(kind: str, make_family) -> None:
    batch = Batch.of(
        torch.zeros(2, 5).long(), source=torch.zeros(2, 3).long(), extras={"mask": torch.full((2, 1), 3)}
    )
    with torch.no_grad():
        assert make_family(kind).score(batch).nats.tolist() == [[0.0] * 5] * 2
        assert len(make_family(kind).hidden(batch).targets) == len(batch.target_index)
