"""An objective's loss on imported weights is the loss that Hugging Face's model gives for the same batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from references import SPECIALS, VOCABULARY, made
from torch import Tensor

from archs.batch import Batch
from archs.hf import from_hf
from archs.hf.samples import hidden_by, mapping
from objectives import OBJECTIVES
from objectives.base import Windows

LIMIT = 1e-5
IGNORED = -100


def labels(batch: Batch) -> Tensor:
    return batch.targets.masked_fill(batch.weights == 0, IGNORED)


def in_place(batch: Batch) -> dict[str, Any]:
    return {
        "input_ids": batch.tokens,
        "labels": labels(batch),
        "attention_mask": real(batch.segments, batch.tokens),
    }


def shifted(batch: Batch) -> dict[str, Any]:
    """Their model moves the labels by itself: bos and the text."""
    text = torch.cat((batch.tokens[:, :1], batch.targets), 1)
    return {"input_ids": text, "labels": text}


def two_stacks(batch: Batch) -> dict[str, Any]:
    assert batch.source is not None
    return {
        "input_ids": batch.source,
        "attention_mask": real(batch.source_segments, batch.source),
        "decoder_input_ids": batch.tokens,
        "decoder_attention_mask": real(batch.segments, batch.tokens),
        "labels": labels(batch),
    }


def two_streams(batch: Batch) -> dict[str, Any]:
    assert batch.rank is not None
    assert batch.queries is not None
    asked = labels(batch).gather(1, batch.queries.clamp(min=0)).masked_fill(batch.queries < 0, IGNORED)
    return {
        "input_ids": batch.tokens,
        "perm_mask": hidden_by(batch.rank),
        "target_mapping": mapping(batch.queries, batch.tokens.shape[1]),
        "labels": asked,
    }


def real(segments: Tensor | None, tokens: Tensor) -> Tensor:
    return torch.ones_like(tokens) if segments is None else (segments >= 0).long()


CASES: list[tuple[str, str, dict[str, Any], Callable[[Batch], dict[str, Any]]]] = [
    ("bert", "mlm", {"rate": 0.4}, in_place),
    ("gpt2", "causal", {}, shifted),
    ("t5", "span", {"rate": 0.4}, two_stacks),
    ("bart", "denoising", {}, two_stacks),
    ("bart", "denoising", {"noises": [{"deletion": 0.3}, {"rotation": 1.0}]}, two_stacks),
    ("xlnet", "permutation", {"k": 3}, two_streams),
]


@pytest.mark.parametrize(("model_type", "name", "options", "theirs"), CASES)
def test_the_loss_of_a_built_batch_is_theirs(
    model_type: str, name: str, options: dict[str, Any], theirs: Callable[[Batch], dict[str, Any]]
) -> None:
    model = made(model_type)
    family = from_hf(model).eval()
    objective = OBJECTIVES[name](VOCABULARY, family.layout, **options)
    rng = torch.Generator().manual_seed(0)
    tokens = torch.randint(SPECIALS, 61, (4, 12), generator=rng)
    batch = objective.build(Windows(tokens), rng)
    ours = objective.loss(family, objective.modules(family), batch).value
    expected = model(**theirs(batch)).loss
    assert expected.item() > 1
    assert ours.item() == pytest.approx(expected.item(), abs=LIMIT)
