"""oneDNN's products are float32's, and attention by plain products is the fused kernel's."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from archs.core import matrix_products as products
from archs.core.attention import PRODUCTS_UP_TO, attend, visible
from archs.core.matrix_products import by_onednn, chosen, onednn_is_exact
from archs.masks import CAUSAL, FULL, Mask, document, order

CPU = torch.device("cpu")
SEGMENTS = torch.tensor([[0, 0, 0, 1, 1, 1, -1, -1], [-1, 0, 0, 0, 0, 0, 0, 0]])
RANK = torch.tensor([[4, 0, 2, 6, 0, 2, 0, 0], [8, 6, 4, 2, 0, 10, 14, 12]])
MASKS = {
    "full": FULL,
    "causal": CAUSAL,
    "packed and padded": CAUSAL & document(SEGMENTS),
    "query rows, the first of which sees nothing": order(RANK - 1, RANK),
}
needs_onednn = pytest.mark.skipif(not onednn_is_exact(), reason="oneDNN's products are not float32's here")


def switch() -> str:
    matmul: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    return matmul.fp32_precision


@pytest.mark.parametrize("shape", [(1, 64, 64), (130, 256, 768), (512, 256, 1024), (1024, 1024, 96)])
def test_a_product_within_has_the_error_of_float32(shape: tuple[int, int, int]) -> None:
    rows, inner, columns = shape
    rng = torch.Generator().manual_seed(0)
    one, two = torch.randn(rows, inner, generator=rng), torch.randn(inner, columns, generator=rng)
    exact = one.double() @ two.double()
    with by_onednn(CPU) as taken:
        assert (switch() == "bf16") == taken == onednn_is_exact()
        for found in (one @ two, one @ two.t().contiguous().t(), one.t().contiguous().t() @ two):
            assert float((found - exact).abs().max() / exact.abs().max()) < products.FLOAT32


def test_the_switch_is_as_before_afterwards_even_after_an_error() -> None:
    before = switch()
    with by_onednn(CPU) as taken:
        assert chosen() == taken == onednn_is_exact()
        with pytest.raises(ZeroDivisionError), by_onednn(CPU):
            _ = 1 / 0
        assert chosen() == taken, "an inner one ended the outer one"
    assert not chosen()
    assert switch() == before


def test_where_a_trial_shows_less_than_float32_nothing_is_switched(monkeypatch: pytest.MonkeyPatch) -> None:
    onednn_is_exact.cache_clear()
    monkeypatch.setattr(products, "FLOAT32", 1e-12)  # as if this processor rounded to bfloat16
    before = switch()
    try:
        with by_onednn(CPU) as taken:
            assert not taken
            assert not chosen()
            assert switch() == before
    finally:
        onednn_is_exact.cache_clear()


def test_for_another_device_nothing_is_switched_and_its_libraries_can_ask_for_the_precision() -> None:
    before = switch()
    with by_onednn(torch.device("meta")) as taken:
        assert not taken
        assert not chosen()
        assert switch() == before
        assert torch.get_float32_matmul_precision() == "highest"


def test_the_first_to_enter_may_leave_before_the_second() -> None:
    before, one, two = switch(), by_onednn(CPU), by_onednn(CPU)
    taken = one.__enter__()
    two.__enter__()
    one.__exit__(None, None, None)
    assert chosen() == taken, "the second is still inside"
    two.__exit__(None, None, None)
    assert not chosen()
    assert switch() == before


def qkv() -> list[Tensor]:
    rng = torch.Generator().manual_seed(0)
    return [torch.randn(2, 3, 8, 16, generator=rng, requires_grad=True) for _ in range(3)]


@needs_onednn
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("name", MASKS)
def test_attention_by_products_has_the_values_and_gradients_of_the_fused_kernel(
    name: str, biased: bool
) -> None:
    bias = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    found: list[list[Tensor]] = []
    for backend in ("products", "full" if MASKS[name] == FULL else "dense"):
        given = qkv()
        seen = visible(MASKS[name], 2, 8, 8, CPU, backend=backend)
        out = attend(*given, seen.plus(bias) if biased else seen)
        out.square().sum().backward()
        found.append([out, *(each.grad for each in given if each.grad is not None)])
    assert len(found[0]) == 4
    for ours, fused in zip(*found, strict=True):
        assert ours.isfinite().all()
        torch.testing.assert_close(ours, fused, atol=1e-5, rtol=1e-5)


@needs_onednn
@pytest.mark.parametrize("mask", [FULL, CAUSAL], ids=str)
def test_few_keys_go_by_products_only_within_and_many_never(mask: Mask) -> None:
    assert visible(mask, 2, PRODUCTS_UP_TO, PRODUCTS_UP_TO, CPU).backend != "products"
    with by_onednn(CPU):
        assert visible(mask, 2, PRODUCTS_UP_TO, PRODUCTS_UP_TO, CPU).backend == "products"
        assert visible(mask, 2, PRODUCTS_UP_TO + 1, PRODUCTS_UP_TO + 1, CPU).backend != "products"


@needs_onednn
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_models_of_other_types_attend_by_products_too(dtype: torch.dtype) -> None:
    given = [each.detach().to(dtype) for each in qkv()]
    for mask in MASKS.values():
        found = attend(*given, visible(mask, 2, 8, 8, CPU, backend="products"))
        fused = attend(*given, visible(mask, 2, 8, 8, CPU, backend="dense"))
        assert found.dtype == dtype
        torch.testing.assert_close(found, fused, atol=3e-2, rtol=3e-2)
