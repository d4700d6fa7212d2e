"""Sampling: how often a token comes is its share among those that temperature, top-k and top-p leave."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from writing import readable

from archs import FAMILIES, Family
from archs.decoding.decoding import GREEDY, Decoding
from archs.decoding.generate import pick

DRAWS = 40_000
CHANCES = torch.tensor([0.05, 0.4, 0.02, 0.25, 0.15, 0.1, 0.03])
THE_BEST = torch.arange(7) == 1


def frequencies(logits: Tensor, **how: Any) -> Tensor:
    """How often each of V tokens is drawn from logits (V)."""
    rng = torch.Generator().manual_seed(0)
    drawn = pick(logits.expand(DRAWS, -1), Decoding(**how), rng)
    return torch.bincount(drawn, minlength=len(logits)) / DRAWS


CASES: dict[str, tuple[dict[str, Any], list[float]]] = {
    # what is set, and what is left of each chance
    "the chances themselves": ({"temperature": 1.0}, [0.05, 0.4, 0.02, 0.25, 0.15, 0.1, 0.03]),
    "squared at temperature one half": (
        {"temperature": 0.5},
        [0.0025, 0.16, 0.0004, 0.0625, 0.0225, 0.01, 0.0009],
    ),
    "top 3": ({"temperature": 1.0, "top_k": 3}, [0, 0.4, 0, 0.25, 0.15, 0, 0]),
    "top 1": ({"temperature": 1.0, "top_k": 1}, [0, 1, 0, 0, 0, 0, 0]),
    "more than there are": ({"temperature": 1.0, "top_k": 99}, CHANCES.tolist()),
    "the token that crosses p is kept": ({"temperature": 1.0, "top_p": 0.7}, [0, 0.4, 0, 0.25, 0.15, 0, 0]),
    "p below the first": ({"temperature": 1.0, "top_p": 0.1}, [0, 1, 0, 0, 0, 0, 0]),
    "as little of p as may be": ({"temperature": 1.0, "top_p": 1e-6}, [0, 1, 0, 0, 0, 0, 0]),
    "all of p": ({"temperature": 1.0, "top_p": 1.0}, CHANCES.tolist()),
    # Among the best four, of 0.9, the first two have 0.72 and three have 0.89.
    "p of what k leaves": ({"temperature": 1.0, "top_k": 4, "top_p": 0.75}, [0, 0.4, 0, 0.25, 0.15, 0, 0]),
    # Squared, the first has 0.62 and the first two 0.86.
    "p of what the temperature leaves": ({"temperature": 0.5, "top_p": 0.8}, [0, 0.16, 0, 0.0625, 0, 0, 0]),
    # Without the best, 0.6 are left: 0.25 and 0.15 have two thirds of it.
    "p of what is not forbidden": (
        {"temperature": 1.0, "top_p": 0.6, "forbid": THE_BEST},
        [0, 0, 0, 0.25, 0.15, 0, 0],
    ),
    "k of what is not forbidden": (
        {"temperature": 1.0, "top_k": 2, "forbid": THE_BEST},
        [0, 0, 0, 0.25, 0.15, 0, 0],
    ),
}


@pytest.mark.parametrize(("how", "left"), CASES.values(), ids=CASES)
def test_a_token_is_drawn_as_often_as_its_share_of_what_is_left(how: dict, left: list[float]) -> None:
    expected = torch.tensor(left) / sum(left)
    found = frequencies(CHANCES.log(), **how)
    assert found[expected == 0].sum() == 0
    # Five standard deviations: by chance, once in a million draws of a token.
    assert ((found - expected).abs() <= 5 * (expected * (1 - expected) / DRAWS).sqrt()).all()


@given(seed=st.integers(0, 10_000), k=st.integers(1, 12), p=st.floats(0.05, 1.0))
@settings(max_examples=60, deadline=None)
def test_no_token_is_drawn_that_top_k_or_top_p_leaves_out(seed: int, k: int, p: float) -> None:
    rng = torch.Generator().manual_seed(seed)
    logits = torch.randn(10, generator=rng) * 3
    order = logits.argsort(descending=True)
    allowed, mass = [], 0.0
    chances = logits[order[:k]].softmax(-1)
    for token, chance in zip(order[:k].tolist(), chances.tolist(), strict=True):
        if mass >= p - 1e-6:
            break
        allowed.append(token)
        mass += chance
    how = Decoding(temperature=1.0, top_k=k, top_p=p)
    assert set(pick(logits.expand(500, -1), how, rng).tolist()) <= set(allowed)


def test_equal_logits_are_cut_at_k_and_where_p_is_reached() -> None:
    assert (frequencies(torch.zeros(9), temperature=1.0, top_k=3) > 0).sum() == 3
    assert (frequencies(torch.zeros(8), temperature=1.0, top_p=0.5) > 0).sum() == 4


@pytest.mark.parametrize(("temperature", "drawn"), [(1e-6, 1), (1e6, 6)])
def test_at_the_ends_of_what_is_allowed_a_temperature_still_draws(temperature: float, drawn: int) -> None:
    found = frequencies(CHANCES.log() * 100, temperature=temperature, forbid=torch.arange(7) == 6)
    assert (found > 0).sum() == drawn
    assert found[6] == 0


def test_a_low_temperature_is_greedy_and_a_high_one_is_not() -> None:
    logits = torch.randn(64, 10, generator=torch.Generator().manual_seed(0))
    best = logits.argmax(-1)
    assert torch.equal(pick(logits, GREEDY), best)

    def agreement(temperature: float) -> float:
        chosen = pick(logits, Decoding(temperature=temperature), torch.Generator().manual_seed(0))
        return (chosen == best).float().mean().item()

    assert agreement(0.01) > 0.95
    assert agreement(100.0) < 0.5


@pytest.mark.parametrize("kind", FAMILIES)
def test_sampling_depends_on_the_generator_only(kind: str, make_family: Callable[..., Family]) -> None:
    family, batch = make_family(kind), readable(kind)

    def sample(seed: int) -> Tensor:
        how = Decoding(temperature=1.0, top_k=20, top_p=0.9)
        return family.generate(batch, 3, how, torch.Generator().manual_seed(seed))

    first = sample(0)
    torch.manual_seed(123)
    before = torch.random.get_rng_state()
    assert torch.equal(sample(0), first)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert any(not torch.equal(sample(seed), first) for seed in (1, 2))
