"""Writing: cached equals uncached, a batch equals its rows, and each decoder keeps to its rules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from archs import FAMILIES, Family
from archs.batch import Batch
from archs.generate import mask_predict, pick

LENGTH = 4


def generate_with_logits(family: Family, batch: Batch, length: int) -> tuple[Tensor, Tensor]:
    """Greedy tokens (B,length) and the very logits (B,length,V) that each was picked from."""
    steps: list[Tensor] = []
    original = family.logits

    def recording(hidden: Tensor) -> Tensor:
        steps.append(original(hidden))
        return steps[-1]

    family.logits = recording  # type: ignore[method-assign]
    try:
        written = family.generate(batch, length)
    finally:
        del family.logits
    assert len(steps) == length, "one pass a token"
    return written, torch.stack(steps, dim=1)


def teacher_forced(family: Family, batch: Batch, written: Tensor) -> Tensor:
    """Logits (B,length,V) of one uncached pass over prompt and written tokens, where each was due."""
    T, length = batch.tokens.shape[1], written.shape[1]

    def extended(part: Tensor | None, new: Tensor) -> Tensor | None:
        return None if part is None else torch.cat((part, new.expand(len(written), length - 1)), dim=1)

    tokens = extended(batch.tokens, written[:, :-1])
    assert tokens is not None
    weights = torch.zeros(tokens.shape)
    weights[:, T - 1 :] = 1
    whole = Batch.of(
        tokens,
        weights=weights,
        segments=extended(
            batch.segments, torch.zeros(1) if batch.segments is None else batch.segments[:, -1:]
        ),
        is_prefix=extended(batch.is_prefix, torch.tensor([[False]])),
        source=batch.source,
        source_segments=batch.source_segments,
    )
    with torch.no_grad():
        logits = family.logits(family.hidden(whole).targets)
    return logits[: whole.supervised].view(len(written), length, -1)


PROMPTS: dict[str, tuple[list[list[int]] | None, list[list[int]] | None, list[list[int]]]] = {
    # segments, source segments, is_prefix
    "plain": (None, None, [[1] * 6, [1] * 6]),
    "left padded": (
        [[-1, -1, -1, 0, 0, 0], [0, 0, 0, 0, 0, 0]],
        [[0, 0, 0, 0, -1], [-1, 0, 0, 0, 0]],
        [[0, 0, 0, 1, 1, 1], [1, 1, 1, 1, 1, 1]],
    ),
    "several documents": (
        [[0, 0, 0, 1, 1, 1], [0, 1, 1, 1, 2, 2]],
        [[0, 0, 1, 1, 1], [0, 1, 1, 2, 2]],
        [[1, 1, 0, 1, 1, 1], [1, 1, 0, 0, 1, 1]],
    ),
    "prefixes of different length": (
        [[-1, 0, 0, 0, 1, 1], [-1, -1, 0, 0, 0, 0]],
        None,
        [[0, 1, 1, 0, 0, 0], [0, 0, 1, 1, 0, 0]],
    ),
    "one token": ([[0], [0]], [[0, 0, 0], [0, 0, -1]], [[1], [0]]),
}


def prompt(name: str) -> Batch:
    segments, source_segments, is_prefix = (
        None if part is None else torch.tensor(part) for part in PROMPTS[name]
    )
    assert is_prefix is not None
    rng = torch.Generator().manual_seed(1)
    source = torch.randint(50, (2, 5 if source_segments is None else source_segments.shape[1]), generator=rng)
    if segments is not None and segments.max() > 0 and source_segments is None:
        source_segments = torch.tensor([[0, 0, 1, 1, 1], [0, 0, 0, 0, 0]])
    return Batch.of(
        torch.randint(50, is_prefix.shape, generator=rng),
        segments=segments,
        source=source,
        source_segments=source_segments,
        is_prefix=is_prefix.bool(),
    )


@pytest.mark.parametrize("changes", [{}, {"positions": "learned", "kv_heads": 1, "norm_order": "post"}])
@pytest.mark.parametrize("name", PROMPTS)
@pytest.mark.parametrize("kind", ["decoder_ar", "prefix_lm", "encoder_decoder"])
def test_cached_logits_equal_uncached_ones_at_each_step(
    kind: str, name: str, changes: dict, make_family
) -> None:
    family, batch = make_family(kind, **changes), prompt(name)
    written, cached = generate_with_logits(family, batch, LENGTH)
    uncached = teacher_forced(family, batch, written)
    torch.testing.assert_close(cached, uncached, atol=1e-5, rtol=0)
    assert torch.equal(uncached.argmax(-1), written)


# tokens are blank where blanks is 1; segments
BLANKS: dict[str, tuple[list[list[int]], list[list[int]] | None]] = {
    "at the end": ([[0, 0, 0, 0, 1, 1, 1], [0, 0, 0, 0, 1, 1, 1]], None),
    "in the middle": ([[0, 0, 1, 1, 1, 0, 0], [0, 1, 0, 1, 0, 1, 0]], None),
    "at the start": ([[1, 1, 0, 0, 1, 0, 0], [1, 0, 0, 0, 0, 1, 1]], None),
    "ragged": ([[0, 0, 1, 1, 1, 0, 0], [0, 0, 0, 1, 0, 0, 0]], None),
    "several documents": (
        [[0, 1, 0, 0, 1, 1, 0], [0, 0, 1, 0, 1, 0, 0]],
        [[0, 0, 0, 1, 1, 1, 1], [0, 0, 0, 1, 1, 1, -1]],
    ),
    "left padded": (
        [[0, 0, 0, 1, 1, 0, 1], [0, 0, 1, 1, 0, 0, 1]],
        [[-1, -1, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0]],
    ),
}


def with_blanks(name: str) -> Batch:
    blanks, segments = BLANKS[name]
    tokens = torch.randint(50, (2, 7), generator=torch.Generator().manual_seed(1))
    return Batch.of(
        tokens,
        weights=torch.tensor(blanks).float(),
        segments=None if segments is None else torch.tensor(segments),
        extras={"mask": torch.full((2, 1), 3)},
    )


@pytest.mark.parametrize("changes", [{}, {"positions": "learned", "kv_heads": 1, "norm_order": "post"}])
@pytest.mark.parametrize("name", BLANKS)
def test_cached_logits_of_a_permuted_lm_equal_uncached_ones_at_each_step(
    name: str, changes: dict, make_family
) -> None:
    family, batch = make_family("permuted_lm", **changes), with_blanks(name)
    length = int(batch.weights.sum(1).max())
    written, cached = generate_with_logits(family, batch, length)
    tokens, rank, queries = batch.tokens.clone(), torch.zeros(2, 7).long(), torch.full((2, length), -1)
    for row in range(2):
        columns = batch.weights[row].nonzero().flatten()
        tokens[row, columns] = written[row, : len(columns)]
        rank[row, columns] = torch.arange(len(columns)) + 1
        queries[row, : len(columns)] = columns
        assert written[row, len(columns) :].eq(0).all(), "ragged rows are padded with 0"
    whole = Batch.of(tokens, weights=batch.weights, segments=batch.segments, rank=rank, queries=queries)
    with torch.no_grad():
        uncached = family.logits(family.hidden(whole).targets)[: whole.supervised]
    real = queries >= 0
    torch.testing.assert_close(cached[real], uncached, atol=1e-5, rtol=0)
    assert torch.equal(uncached.argmax(-1), written[real])


@pytest.mark.parametrize("name", ["in the middle", "several documents"])
def test_what_stands_in_a_blank_does_not_matter(name: str, make_family) -> None:
    batch = with_blanks(name)
    after = replace(batch, tokens=torch.where(batch.weights > 0, 7, batch.tokens))
    for kind in ("permuted_lm", "encoder_ae"):
        family = make_family(kind)
        assert torch.equal(family.generate(batch, 3), family.generate(after, 3))


def readable(kind: str) -> Batch:
    """A prompt of the kind's own layout, two rows of different shape."""
    in_place = FAMILIES[kind].layout in ("in_place", "permuted")
    return with_blanks("left padded") if in_place else prompt("left padded")


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_batch_is_written_as_its_rows_one_at_a_time(kind: str, make_family) -> None:
    family, batch = make_family(kind), readable(kind)
    together = family.generate(batch, 3)
    assert together.shape == (2, 3)
    for row in range(2):
        assert torch.equal(family.generate(batch.rows(slice(row, row + 1)), 3), together[row : row + 1])


@pytest.mark.parametrize("kind", FAMILIES)
def test_sampling_depends_on_the_generator_only(kind: str, make_family) -> None:
    family, batch = make_family(kind), readable(kind)

    def sample(seed: int) -> Tensor:
        return family.generate(batch, 3, temperature=1.0, rng=torch.Generator().manual_seed(seed))

    first = sample(0)
    torch.manual_seed(123)
    assert torch.equal(sample(0), first)
    assert any(not torch.equal(sample(seed), first) for seed in (1, 2))


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_forbidden_token_is_never_written(kind: str, make_family) -> None:
    family, batch = make_family(kind), readable(kind)
    forbid = torch.ones(50, dtype=torch.bool)
    forbid[[17, 23]] = False
    for temperature in (0.0, 5.0):
        written = family.generate(
            batch, 3, temperature=temperature, rng=torch.Generator().manual_seed(0), forbid=forbid
        )
        assert set(written.flatten().tolist()) <= {17, 23}
    greedy = family.generate(batch, 3)
    forbid = functional.one_hot(greedy[0, 0], 50).bool()
    assert greedy[0, 0] not in family.generate(batch, 3, forbid=forbid)


def test_a_low_temperature_is_greedy_and_a_high_one_is_not() -> None:
    logits = torch.randn(64, 10, generator=torch.Generator().manual_seed(0))
    best = logits.argmax(-1)

    def agreement(temperature: float) -> float:
        chosen = pick(logits, temperature, torch.Generator().manual_seed(0))
        return (chosen == best).float().mean().item()

    assert agreement(0.0) == 1.0
    assert agreement(0.01) > 0.95
    assert agreement(100.0) < 0.5


MASK = 9
# How sure the scripted model is of blanks 0 to 3 each time; 0.5 where the blank is written already.
SURE = [[5.0, 1.0, 3.0, 2.0], [0.5, 4.0, 1.0, 6.0], [0.5, 8.0, 4.5, 0.5], [0.5, 0.5, 9.0, 0.5]]


def scripted(rounds: list[list[int]]) -> Callable[[Tensor], Tensor]:
    """A model that answers 10 * (how often it was asked) + blank, and notes which blanks were open."""

    def logits_of(tokens: Tensor) -> Tensor:
        rounds.append(tokens[0].eq(MASK).nonzero().flatten().tolist())
        logits = torch.zeros(*tokens.shape, 100)
        for blank in range(4):
            logits[:, blank, 10 * len(rounds) + blank] = SURE[len(rounds) - 1][blank]
        return logits

    return logits_of


FOUR_BLANKS = torch.tensor([[1, 1, 1, 1, 0]]).bool()


def test_mask_predict_opens_the_least_sure_again_and_writes_in_blanks_only() -> None:
    rounds: list[list[int]] = []
    out = mask_predict(FOUR_BLANKS, scripted(rounds), MASK, 4, 0.0, None, None)
    # Blank 0 stays from the first round (5), blank 3 from the second (6), blank 1 from the third (8).
    assert rounds == [[0, 1, 2, 3], [1, 2, 3], [1, 2], [2]]
    assert out.tolist() == [[10, 31, 42, 23, 0]]


def test_two_rounds_of_mask_predict_open_the_less_sure_half_again() -> None:
    rounds: list[list[int]] = []
    out = mask_predict(FOUR_BLANKS, scripted(rounds), MASK, 2, 0.0, None, None)
    assert rounds == [[0, 1, 2, 3], [1, 3]]
    assert out.tolist() == [[10, 21, 12, 23, 0]]


def test_mask_predict_without_blanks_asks_nothing() -> None:
    rounds: list[list[int]] = []
    out = mask_predict(torch.zeros(1, 5).bool(), scripted(rounds), MASK, 4, 0.0, None, None)
    assert rounds == []
    assert out.tolist() == [[0, 0, 0, 0, 0]]


def test_an_encoder_ae_writes_its_blanks_in_the_order_of_columns(make_family) -> None:
    family, batch = make_family("encoder_ae"), with_blanks("ragged")
    family.mask_predict_rounds = 1  # one round: each blank's best token with all blanks masked
    masked = torch.where(batch.weights > 0, 3, batch.tokens)
    with torch.no_grad():
        logits = family.logits(family.hidden(replace(batch, tokens=masked)).rows)
    logits[..., 3] = float("-inf")  # a mask is no answer
    best = logits.argmax(-1)
    assert family.generate(batch, 3).tolist() == [best[0, 2:5].tolist(), [int(best[1, 3]), 0, 0]]
