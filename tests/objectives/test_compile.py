"""A compiled learner is compiled for a few kinds of batch, and for no batch after those."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend
from toy_text import VOCABULARY, random_windows, seeded, tiny

from archs import FAMILIES
from archs.batch import Batch, index_targets
from archs.core import attention
from archs.core.attention import TAKEN, prepare_to_compile
from archs.core.transformer import checkpoint_activations
from benchmarks.workload import OBJECTIVE as NATURAL
from experiments.training.learner import Learner
from objectives import OBJECTIVES
from objectives.base import Objective

PAIRS = [*NATURAL.items(), ("encoder_ae", "replaced_tokens")]
WIDTH = 45  # no multiple of anything that a kernel likes
ROWS = 64
KINDS = ("packed", "full")  # segments are given, or None where there is one document a row
WARM_UP = [(kind, rows) for _ in range(2) for rows in (ROWS, ROWS // 4) for kind in KINDS]


@pytest.fixture(autouse=True)
def _nothing_is_compiled() -> Iterator[None]:
    prepare_to_compile()
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def asked(objective: Objective, kind: str, rows: int, seed: int) -> Batch:
    """ROWS rows of text, of which the first few are asked something."""
    batch = objective.build(random_windows(ROWS, WIDTH, kind, seed), seeded(seed))
    weights = batch.weights * (torch.arange(ROWS) < rows)[:, None]
    totals = {name: total * rows / ROWS for name, total in batch.totals.items()}
    return replace(batch, weights=weights, target_index=index_targets(weights), totals=totals)


def batches(objective: Objective) -> Iterator[Batch]:
    """Of both kinds, with other numbers of targets than those of the warm-up."""
    for seed in range(100, 112):
        yield asked(objective, KINDS[seed % 2], 1 + seed * 37 % ROWS, seed)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "name"), PAIRS)
def test_after_a_warm_up_no_batch_compiles_anything(kind: str, name: str) -> None:
    family = tiny(kind).train()
    learner = Learner(family, OBJECTIVES[name](VOCABULARY, family.layout))
    counter = CompileCounterWithBackend("aot_eager")
    learner.compile(backend=counter, fullgraph=True)
    for seed, (text, rows) in enumerate(WARM_UP):
        learner(asked(learner.objective, text, rows, seed)).value.backward()
    compiled = counter.frame_count
    assert compiled <= len(KINDS) * 3, "a number of targets, then any; a total, then any"
    widths = set()
    for batch in batches(learner.objective):
        learner(batch).value.backward()
        widths.add(len(batch.target_index))
    assert counter.frame_count == compiled
    assert len(widths) > 2


@pytest.mark.slow
@pytest.mark.parametrize("checkpointed", [False, True])
@pytest.mark.parametrize("kind", FAMILIES)
def test_block_masks_of_other_batches_compile_nothing_and_hide_what_dense_ones_do(
    kind: str, checkpointed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forward, as on a GPU; FlexAttention has no backward on a CPU."""
    family = tiny(kind).requires_grad_(False).train()
    if checkpointed:
        checkpoint_activations(family)
    objective = OBJECTIVES[NATURAL[kind]](VOCABULARY, family.layout)
    choose, cuda = attention._choose, torch.device("cuda")

    def as_on_a_gpu(mask, queries, keys, device, *rest):
        return choose(mask, queries, keys, cuda, *rest)

    def hidden(batch: Batch) -> Tensor:
        return family.hidden(batch).targets

    # Without a gradient there is no graph of both passes, by which alone aot_eager can compute blocks twice.
    counter = CompileCounterWithBackend("eager" if checkpointed else "aot_eager")
    compiled = torch.compile(hidden, backend=counter, fullgraph=True)
    TAKEN.clear()
    with monkeypatch.context() as patch:
        patch.setattr(attention, "_choose", as_on_a_gpu)
        patch.setattr(attention, "DENSE_UP_TO", 0)
        for seed, (text, rows) in enumerate(WARM_UP):
            compiled(asked(objective, text, rows, seed))
        before = counter.frame_count
        found = [compiled(batch) for batch in batches(objective)]
    assert counter.frame_count == before
    assert "flex" in {backend for backend, _, _ in TAKEN}
    for batch, rows in zip(batches(objective), found, strict=True):
        torch.testing.assert_close(rows, hidden(batch), atol=1e-5, rtol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU: FlexAttention's backward is there")
@pytest.mark.parametrize("checkpointed", [False, True])
@pytest.mark.parametrize("backend", ["dense", "flex"])
@pytest.mark.parametrize(("kind", "name"), PAIRS)
def test_after_a_warm_up_no_batch_compiles_anything_on_a_gpu(
    kind: str, name: str, backend: str, checkpointed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "DENSE_UP_TO", 0 if backend == "flex" else WIDTH * 2)
    family = tiny(kind).train()
    learner = Learner(family, OBJECTIVES[name](VOCABULARY, family.layout)).cuda()
    if checkpointed:
        checkpoint_activations(learner)
    counter = CompileCounterWithBackend("inductor")
    learner.compile(backend=counter, fullgraph=True)

    def step(batch: Batch) -> None:
        with torch.autocast("cuda", torch.bfloat16):
            value = learner(batch.to("cuda")).value
        value.backward()
        assert value.isfinite()

    TAKEN.clear()
    for seed, (text, rows) in enumerate(WARM_UP):
        step(asked(learner.objective, text, rows, seed))
    assert backend in {backend for backend, _, _ in TAKEN}
    compiled = counter.frame_count
    for batch in batches(learner.objective):
        step(batch)
    assert counter.frame_count == compiled
