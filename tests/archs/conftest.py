"""Small families, and batches that every family can read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from archs import CoreConfig, Family, build
from archs.batch import Batch, positions_within

VOCABULARY = 50

# Nine cells in two rows, and seven source cells: segments of tokens, segments of the source.
LAYOUTS: dict[str, tuple[list[list[int]] | None, list[list[int]] | None]] = {
    "unpacked": (None, None),
    "packed": (
        [[0, 0, 0, 0, 0, 1, 1, 1, 1], [0, 0, 0, 1, 1, 1, 1, 2, 2]],
        [[0, 0, 0, 1, 1, 1, 1], [0, 0, 1, 1, 2, 2, 2]],
    ),
    "padded": (
        [[0, 0, 0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, -1, -1, -1]],
        [[0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, -1, -1, -1]],
    ),
    "left padded": (
        [[-1, -1, 0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 0, 0]],
        [[-1, -1, -1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0]],
    ),
    "packed and padded": (
        [[0, 0, 0, 0, 0, 1, 1, 1, -1], [-1, 0, 0, 0, 1, 1, -1, 2, 2]],
        [[0, 0, 0, 1, 1, 1, -1], [0, 0, -1, 1, 1, 2, -1]],
    ),
}


@pytest.fixture(scope="package", autouse=True)
def _one_thread() -> Iterator[None]:
    """Models this small lose more to a second thread's start than they gain, most of all on shared cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def layouts() -> dict[str, tuple[Tensor | None, Tensor | None]]:
    """Segments (B,T) and source segments (B,S) by name."""
    return {
        name: tuple(None if part is None else torch.tensor(part) for part in pair)  # type: ignore[misc]
        for name, pair in LAYOUTS.items()
    }


@pytest.fixture(scope="session")
def make_family() -> Callable[..., Family]:
    def make(kind: str, seed: int = 0, **changes: Any) -> Family:
        """A seeded family in eval mode: 2 layers, width 16; an encoder-decoder has 2 + 2 layers."""
        torch.manual_seed(seed)
        shape: dict[str, Any] = {
            "vocabulary": VOCABULARY,
            "layers": 2,
            "width": 16,
            "heads": 2,
            "ffn": 32,
            "max_length": 64,
            "decoder_layers": 2 if kind == "encoder_decoder" else None,
        }
        return build(kind, CoreConfig(**{**shape, **changes})).eval()

    return make


@pytest.fixture(scope="session")
def make_batch() -> Callable[..., Batch]:
    def make(
        segments: Tensor | None = None,
        source_segments: Tensor | None = None,
        *,
        rows: int = 2,
        length: int = 9,
        source_length: int = 7,
        vocabulary: int = VOCABULARY,
        asked: float = 0.4,
        seed: int = 0,
    ) -> Batch:
        """Random tokens; about `asked` of the real cells have weight, a rank and a query row.

        The first three cells of each document are its prefix; ranks are in random order; query rows are in
        another order, and rows that ask less than the others have unused ones.
        """
        rng = torch.Generator().manual_seed(seed)
        if segments is not None:
            rows, length = segments.shape
        if source_segments is not None:
            source_length = source_segments.shape[1]
        tokens = torch.randint(vocabulary, (rows, length), generator=rng)
        real = torch.ones_like(tokens, dtype=torch.bool) if segments is None else segments >= 0
        weights = (torch.rand(rows, length, generator=rng) < asked) & real
        weights |= (torch.arange(length) == real.long().argmax(1, keepdim=True) + 1) & real  # never empty
        chance = torch.rand(rows, length, generator=rng).masked_fill(~weights, 2.0)
        place = chance.argsort(1).argsort(1) + 1
        shuffled = torch.rand(rows, length, generator=rng).masked_fill(~weights, 2.0).argsort(1)
        width = int(weights.sum(1).max())
        queries = shuffled[:, :width].masked_fill(torch.arange(width) >= weights.sum(1, keepdim=True), -1)
        return Batch.of(
            tokens,
            torch.randint(vocabulary, (rows, length), generator=rng),
            weights.float(),
            segments=segments,
            source=torch.randint(vocabulary, (rows, source_length), generator=rng),
            source_segments=source_segments,
            is_prefix=positions_within(tokens, segments) < 3,
            rank=torch.where(weights, place, 0),
            queries=queries,
            extras={"mask": torch.full((rows, 1), 3)},
        )

    return make


@pytest.fixture(scope="session")
def loss() -> Callable[[Family, Batch], Tensor]:
    def weighted(family: Family, batch: Batch) -> Tensor:
        """Nats per unit of weight of the global batch, from hidden states at the targets only."""
        _, targets, weights = batch.asked()
        logits = family.logits(family.asked(batch))
        nats = functional.cross_entropy(logits, targets, reduction="none")
        return (nats * weights).sum() / batch.totals["tokens"]

    return weighted
