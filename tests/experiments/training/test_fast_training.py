"""What makes training fast changes no loss: fifty steps beside the plain way to take them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from archs import FAMILIES
from archs.batch import Batch
from archs.config import CoreConfig
from archs.core import fused_backward as by_hand
from archs.core.matrix_products import by_onednn
from archs.families.family import Family
from benchmarks.workload import OBJECTIVE, SPECIAL, vocabulary
from experiments.training.learner import Learner
from objectives import OBJECTIVES
from objectives.base import Windows

STEPS, WIDTH, ROWS = 50, 32, 4
VOCABULARY = vocabulary(256)


def learner(kind: str) -> Learner:
    torch.manual_seed(0)
    depth = 2 if kind == "encoder_decoder" else None
    family = FAMILIES[kind](CoreConfig(VOCABULARY.size, 2, 32, 2, 64, 64, decoder_layers=depth))
    return Learner(family, OBJECTIVES[OBJECTIVE[kind]](VOCABULARY, family.layout))


def plain(family: Family, batch: Batch) -> Tensor:
    """All of the pass, all logits, PyTorch's own cross-entropy."""
    _, targets, weights = batch.asked()
    losses = functional.cross_entropy(family.logits(family.hidden(batch).targets), targets, reduction="none")
    return (losses * weights).sum() / batch.totals["tokens"]


def losses(trained: Learner, loss_of: Callable[[Batch], Tensor], fused: bool) -> list[float]:
    """Of fifty steps on text with a pattern, rows of several documents among it."""
    optimiser = torch.optim.AdamW(trained.parameters(), lr=2e-3, fused=fused)
    rng, found = torch.Generator().manual_seed(0), []
    for step in range(STEPS):
        start = torch.randint(SPECIAL, VOCABULARY.size - WIDTH, (ROWS, 1), generator=rng)
        tokens = start + torch.arange(WIDTH)
        tokens[:, 19::20] = VOCABULARY.eos
        segments = torch.arange(WIDTH).expand(ROWS, WIDTH) // 20 if step % 2 else None
        batch = trained.objective.build(Windows(tokens, segments), rng)
        loss = loss_of(batch)
        loss.backward()
        nn.utils.clip_grad_norm_(trained.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
        found.append(float(loss.detach()))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("kind", OBJECTIVE)
def test_the_losses_of_fifty_steps_are_those_of_the_plain_way(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast = learner(kind)
    with by_onednn(torch.device("cpu")):
        ours = losses(fast, lambda batch: fast(batch).value, fused=True)
    monkeypatch.setattr(by_hand, "ENABLED", False)
    slow = learner(kind)
    theirs = losses(slow, lambda batch: plain(slow.family, batch), fused=False)
    assert theirs[-1] < 0.95 * theirs[0], "nothing was learnt, so nothing was compared"
    assert ours == pytest.approx(theirs, abs=1e-4)
