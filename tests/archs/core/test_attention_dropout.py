"""Dropout of attention weights: inverted, in training alone, and in every backend that has it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch._dynamo.testing import CompileCounter

from archs import FAMILIES
from archs.core import attention
from archs.core.attention import Visible, attend, prepare_to_compile, visible
from archs.core.attention_layers import Attention, CrossAttention
from archs.masks import CAUSAL, FULL, Mask, document

CPU, CELLS, P = torch.device("cpu"), 16, 0.4
SEGMENTS = torch.tensor([[0] * 5 + [1] * 9 + [-1] * 2, [-1] * 3 + [0] * 13])
PACKED = CAUSAL & document(SEGMENTS)
WAYS = ["full", "is_causal", "dense", "biased", "products", "biased products"]


def seen_by(way: str, device: torch.device = CPU) -> Visible:
    if way in ("full", "is_causal"):
        return visible(FULL if way == "full" else CAUSAL, 2, CELLS, CELLS, device, backend=way)  # type: ignore[arg-type]
    backend = "products" if way.endswith("products") else "dense"
    mask = CAUSAL & document(SEGMENTS.to(device))
    seen = visible(mask, 2, CELLS, CELLS, device, biased=True, backend=backend)
    return seen.plus(torch.zeros(2, 4, CELLS, CELLS, device=device)) if "biased" in way else seen


def given(seed: int = 0) -> list[Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return [torch.randn(2, 4, CELLS, CELLS, generator=rng) for _ in range(3)]


def weights(
    way: str, dropout: float, device: torch.device = CPU, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Values of one cell each are their weights: (B,H,Q,K)."""
    q, k, _ = (part.to(device, dtype) for part in given())
    one_each = torch.eye(CELLS, device=device, dtype=dtype).expand(2, 4, -1, -1)
    return attend(q, k, one_each, seen_by(way, device), dropout=dropout).float().cpu()


def check_weights(plain: Tensor, dropped: Tensor, **close: float) -> None:
    kept = dropped != 0
    torch.testing.assert_close(dropped, plain / (1 - P) * kept, **close)
    assert float(kept[plain > 1e-3].float().mean()) == pytest.approx(1 - P, abs=0.06)


@pytest.mark.parametrize("way", WAYS)
def test_a_weight_is_zero_or_grows_by_what_the_others_lost(way: str) -> None:
    torch.manual_seed(0)
    check_weights(weights(way, 0.0), weights(way, P))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="asks a GPU's kernels")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("way", [way for way in WAYS if "products" not in way])
def test_a_gpu_s_kernels_drop_alike(way: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    cuda, close = torch.device("cuda"), {torch.float32: 1e-5, torch.bfloat16: 2e-2}[dtype]
    check_weights(weights(way, 0.0, cuda, dtype), weights(way, P, cuda, dtype), atol=close, rtol=close)


@pytest.mark.parametrize("way", WAYS)
def test_the_mean_of_many_draws_is_attention_without_dropout(way: str) -> None:
    torch.manual_seed(0)
    seen, qkv, draws = seen_by(way), given(), 4000
    mean = torch.stack([attend(*qkv, seen, dropout=P) for _ in range(draws)]).mean(0)
    # Five standard errors of the largest value, all weight on it.
    largest = 5 * float(qkv[2].abs().max()) * (P / (1 - P) / draws) ** 0.5
    torch.testing.assert_close(mean, attend(*qkv, seen), atol=largest, rtol=0)


@pytest.mark.parametrize("way", WAYS)
def test_no_dropout_has_the_same_bits_and_draws_no_number(way: str) -> None:
    before, seen = torch.get_rng_state(), seen_by(way)
    assert torch.equal(attend(*given(), seen, dropout=0.0), attend(*given(), seen))
    assert torch.equal(torch.get_rng_state(), before)
    attend(*given(), seen, dropout=P)
    assert not torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("way", [way for way in WAYS if way not in ("full", "is_causal")])
def test_where_weights_are_dropped_a_query_that_sees_no_key_gives_zeros_and_finite_gradients(
    way: str,
) -> None:
    qkv = [part.requires_grad_() for part in given()]
    out = attend(*qkv, seen_by(way), dropout=P)
    assert out.transpose(1, 2)[SEGMENTS < 0].eq(0).all()
    out.square().sum().backward()
    assert all(part.grad is not None and part.grad.isfinite().all() for part in qkv)


def test_flex_attention_drops_nothing_silently() -> None:
    with pytest.raises(ValueError, match="FlexAttention drops no weights"):
        attend(*given(), visible(PACKED, 2, CELLS, CELLS, CPU, backend="flex"), dropout=P)


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("kind", FAMILIES)
def test_a_family_goes_through_blocks_only_where_it_drops_no_weights(
    kind: str, make_family, make_batch, layouts, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose, cuda = attention._choose, torch.device("cuda")

    def as_on_a_gpu(mask: Mask, queries: int, keys: int, _: torch.device, *rest: Any) -> str:
        return choose(mask, queries, keys, cuda, *rest)

    monkeypatch.setattr(attention, "_choose", as_on_a_gpu)
    monkeypatch.setattr(attention, "DENSE_UP_TO", 0)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    family, batch = make_family(kind, attention_dropout=P), make_batch(*layouts["packed and padded"])
    for training in (True, False):
        monkeypatch.setattr(attention, "TAKEN", taken := set())
        with torch.no_grad():
            family.train(training).hidden(batch)
        assert ("flex" in {backend for backend, *_ in taken}) is not training
        assert taken


@pytest.mark.parametrize("kind", FAMILIES)
def test_it_acts_in_training_only_and_in_every_attention(kind: str, make_family, make_batch, loss) -> None:
    family, plain, batch = make_family(kind, attention_dropout=P), make_family(kind), make_batch()
    assert torch.equal(loss(family, batch), loss(plain, batch))
    family.train()
    every = [part for part in family.modules() if isinstance(part, Attention | CrossAttention)]
    for acting in every:
        for part in every:
            part.dropout = P if part is acting else 0.0
        assert not torch.equal(loss(family, batch), loss(family, batch))


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_family_without_it_trains_on_the_bits_of_eval_and_draws_no_number(
    kind: str, make_family, make_batch, loss
) -> None:
    family, batch = make_family(kind, attention_dropout=0.0), make_batch()
    expected, before = loss(family, batch), torch.get_rng_state()
    assert torch.equal(loss(family.train(), batch), expected)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["permuted_lm", "encoder_decoder"])
def test_a_family_that_drops_weights_compiles_once_into_one_graph(
    kind: str, make_family, make_batch, layouts
) -> None:
    family, batch = make_family(kind, attention_dropout=P).train(), make_batch(*layouts["packed and padded"])
    torch._dynamo.reset()
    counter = CompileCounter()
    prepare_to_compile()
    compiled = torch.compile(family.hidden, backend=counter, fullgraph=True)
    assert not torch.equal(compiled(batch).targets, compiled(batch).targets)
    assert counter.frame_count == 1
    torch._dynamo.reset()
