"""The examples' vocabulary of a hundred tokens and small windows of random text for the objectives' tests."""

from __future__ import annotations

import torch
from hypothesis import strategies as st
from torch import Tensor

from archs import CoreConfig, Family, build
from archs.batch import Batch
from objectives.base import Windows
from objectives.examples import (  # noqa: F401  the tests take these from here
    BOS,
    CLS,
    EOS,
    MASK,
    PAD,
    SENTINELS,
    SEP,
    VOCABULARY,
    WORDS,
    seeded,
)


def random_windows(rows: int, width: int, kind: str, seed: int) -> Windows:
    """Full rows; rows of many short documents; or those with padding on the right, up to a whole row."""
    rng = seeded(seed)
    tokens = torch.randint(WORDS, 100, (rows, width), generator=rng)
    if kind == "full":
        return Windows(tokens)
    ends = torch.rand(tokens.shape, generator=rng) < 0.15
    tokens = tokens.masked_fill(ends, EOS)
    segments = ends.cumsum(1) - ends.long()
    if kind == "packed":
        return Windows(tokens, segments)
    lengths = torch.randint(0, width + 1, (rows, 1), generator=rng)
    padding = torch.arange(width) >= lengths
    return Windows(tokens.masked_fill(padding, PAD), segments.masked_fill(padding, -1))


windows = st.builds(
    random_windows,
    rows=st.integers(1, 4),
    width=st.integers(1, 45),
    kind=st.sampled_from(["full", "packed", "padded"]),
    seed=st.integers(0, 10**6),
)
seeds = st.integers(0, 10**6)
rates = st.sampled_from([0.05, 0.15, 0.3, 0.5, 0.8, 1.0])


def real(given: Windows) -> Tensor:
    """Cells that are not padding."""
    if given.segments is None:
        return torch.ones_like(given.tokens, dtype=torch.bool)
    return given.segments >= 0


def documents(tokens: Tensor, segments: Tensor | None) -> list[dict[int, list[int]]]:
    """Of each row, the tokens of each document, by its number."""
    numbers = torch.zeros_like(tokens) if segments is None else segments
    rows: list[dict[int, list[int]]] = []
    for row, row_numbers in zip(tokens.tolist(), numbers.tolist(), strict=True):
        found: dict[int, list[int]] = {}
        for token, number in zip(row, row_numbers, strict=True):
            if number >= 0:
                found.setdefault(number, []).append(token)
        rows.append(found)
    return rows


def runs(flags: list[bool]) -> list[tuple[int, int]]:
    """(start, end) of each run of True."""
    edges = [False, *flags, False]
    starts = [i for i in range(len(flags)) if edges[i + 1] and not edges[i]]
    ends = [i + 1 for i in range(len(flags)) if edges[i + 1] and not edges[i + 2]]
    return list(zip(starts, ends, strict=True))


def equal(one: Batch, two: Batch) -> bool:
    left, right = dict(one.tensors()), dict(two.tensors())
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def reached(seen: Tensor, layers: int = 3) -> Tensor:
    """Which cells (B,T,T) each cell depends on after some layers, itself included, by brute force."""
    known = torch.eye(seen.shape[1], dtype=torch.bool).expand(seen.shape)
    for _ in range(layers):
        known = known | ((seen.float() @ known.float()) > 0)
    return known


def merge(
    source: Tensor, source_segments: Tensor | None, target: Tensor, target_segments: Tensor | None
) -> list[dict[int, list[int]]]:
    """Puts every span back where its sentinel stands; each must be of the same document."""
    rows = []
    for given_documents, asked in zip(
        documents(source, source_segments), documents(target, target_segments), strict=True
    ):
        spans: dict[tuple[int, int], list[int]] = {}
        for number, cells in asked.items():
            current = None
            for token in cells:
                if token in SENTINELS:
                    current = (number, token)
                    spans[current] = []
                elif token != EOS:
                    spans[current].append(token)
        assert BOS not in {token for span in spans.values() for token in span}
        rows.append(
            {
                number: [t for cell in cells for t in spans.pop((number, cell), [cell])]
                for number, cells in given_documents.items()
            }
        )
        assert not spans
    return rows


def tiny(kind: str) -> Family:
    """A family of one layer, the same at every call, without dropout."""
    torch.manual_seed(0)
    decoder_layers = 1 if kind == "encoder_decoder" else None
    return build(
        kind,
        CoreConfig(
            vocabulary=100, width=16, heads=2, ffn=32, layers=1, decoder_layers=decoder_layers, max_length=64
        ),
    ).eval()
