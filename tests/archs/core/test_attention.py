"""One attention in several backends, its choice, and its cache."""

from __future__ import annotations

import copy
import logging

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from archs.core import attention
from archs.core.attention import Visible, attend, visible
from archs.core.cache import KeyValues
from archs.masks import CAUSAL, FULL, NOTHING, Mask, document, order, prefix

CPU = torch.device("cpu")
SEGMENTS = torch.tensor([[0, 0, 0, 0, 1, 1, 1, -1, -1], [0, 0, 0, 0, 0, 0, 0, 0, 0]])
MARKED = torch.tensor([[1, 1, 0, 0, 1, 1, 0, 0, 1], [1, 1, 1, 1, 0, 0, 0, 0, 0]]).bool()
RANK = torch.tensor([[4, 0, 2, 6, 0, 2, 0, 0, 0], [0, 8, 6, 4, 2, 0, 10, 14, 12]])


def masks_on(device: torch.device) -> dict[str, Mask]:
    segments, marked, rank = (each.to(device) for each in (SEGMENTS, MARKED, RANK))
    return {
        "full": FULL,
        "causal": CAUSAL,
        "document": FULL & document(segments),
        "causal & document": CAUSAL & document(segments),
        "prefix": (CAUSAL | prefix(marked)) & document(segments),
        "order": order(rank) & document(segments),
        "query rows": order(rank - 1, rank),
    }


MASKS = masks_on(CPU)


def qkv(queries: int = 9, keys: int = 9, heads: int = 4, kv_heads: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    rng = torch.Generator().manual_seed(0)
    return (
        torch.randn(2, heads, queries, 16, generator=rng),
        torch.randn(2, kv_heads, keys, 16, generator=rng),
        torch.randn(2, kv_heads, keys, 16, generator=rng),
    )


def by_hand(q: Tensor, k: Tensor, v: Tensor, seen: Tensor) -> Tensor:
    """softmax(q k / sqrt E) v over the keys seen; zeros where none is."""
    weights = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).exp() * seen.unsqueeze(1)
    return (weights / weights.sum(-1, keepdim=True).clamp(min=1e-30)) @ v


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("name", MASKS)
def test_dense_equals_flex_attention_equals_attention_by_hand(name: str) -> None:
    mask, cells = MASKS[name], torch.arange(9)
    with torch.no_grad():
        dense = attend(*qkv(), visible(mask, 2, 9, 9, CPU, backend="dense"))
        flex = attend(*qkv(), visible(mask, 2, 9, 9, CPU, backend="flex"))
    torch.testing.assert_close(dense, by_hand(*qkv(), mask.dense(2, cells, cells)), atol=1e-5, rtol=0)
    torch.testing.assert_close(flex, dense, atol=1e-5, rtol=0)


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize(("queries", "keys"), [(130, 130), (200, 75), (127, 129), (1, 300)])
def test_flex_attention_takes_widths_that_are_no_multiple_of_its_blocks(queries: int, keys: int) -> None:
    rng = torch.Generator().manual_seed(0)
    rank = torch.randint(9, (2, 300), generator=rng)
    mask = order(rank[:, :queries], rank[:, :keys]) & document(rank[:, :queries] // 3, rank[:, :keys] // 3)
    with torch.no_grad():
        dense = attend(*qkv(queries, keys), visible(mask, 2, queries, keys, CPU, backend="dense"))
        flex = attend(*qkv(queries, keys), visible(mask, 2, queries, keys, CPU, backend="flex"))
    torch.testing.assert_close(flex, dense, atol=1e-5, rtol=0)


def test_is_causal_equals_the_causal_mask_made_dense() -> None:
    dense = attend(*qkv(), visible(CAUSAL, 2, 9, 9, CPU, backend="dense"))
    torch.testing.assert_close(attend(*qkv(), Visible("is_causal")), dense, atol=1e-5, rtol=0)


def test_a_query_that_sees_no_key_gives_zeros_and_finite_gradients() -> None:
    q, k, v = (part.requires_grad_() for part in qkv())
    out = attend(q, k, v, visible(CAUSAL & document(SEGMENTS), 2, 9, 9, CPU))
    assert out[0, :, 7:].eq(0).all()
    assert out[0, :, :7].ne(0).all()
    out.square().sum().backward()
    for part in (q, k, v):
        assert part.grad is not None
        assert part.grad.isfinite().all()
    assert q.grad is not None
    assert q.grad[0, :, 7:].eq(0).all()


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_a_query_that_sees_no_key_gives_zeros_in_flex_attention() -> None:
    with torch.no_grad():
        out = attend(*qkv(), visible(NOTHING, 2, 9, 9, CPU, backend="flex"))
    assert out.eq(0).all()


def test_is_causal_is_taken_only_for_an_equal_mask_with_as_many_queries_as_keys_and_no_cache() -> None:
    assert visible(CAUSAL, 2, 9, 9, CPU).backend == "is_causal"
    assert visible(copy.deepcopy(CAUSAL), 2, 9, 9, CPU).backend == "is_causal"
    assert visible(CAUSAL & document(None), 2, 9, 9, CPU).backend == "is_causal"
    assert visible(CAUSAL, 2, 9, 9, CPU, start=0).backend == "dense"
    assert visible(CAUSAL, 2, 1, 9, CPU).backend == "dense"
    assert visible(CAUSAL, 2, 9, 8, CPU).backend == "dense"
    assert visible(CAUSAL & document(SEGMENTS), 2, 9, 9, CPU).backend == "dense"
    assert visible(Mask(lambda b, q, k: k <= q, "causal"), 2, 9, 9, CPU).backend == "dense"


def test_no_mask_is_made_where_nothing_is_hidden() -> None:
    assert visible(FULL, 2, 9, 9, CPU) == Visible("full")
    assert visible(FULL & document(None), 2, 1, 9, CPU, start=8) == Visible("full")


def test_cuda_takes_blocks_for_long_composed_masks_where_it_compiles_but_not_for_a_cached_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cuda = torch.device("cuda")  # only the choice is made: nothing is put there
    many = attention.DENSE_UP_TO + 1
    assert attention._choose(MASKS["prefix"], many, many, cuda, None, False) == "dense"
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert attention._choose(MASKS["prefix"], many, many, cuda, None, False) == "flex"
    assert attention._choose(MASKS["prefix"], many, many - 1, cuda, None, False) == "dense"
    assert attention._choose(MASKS["prefix"], many, many, cuda, None, True) == "dense"
    assert attention._choose(MASKS["prefix"], many, many, cuda, None, False, drops=True) == "dense"
    assert attention._choose(MASKS["prefix"], 1, many, cuda, many - 1, False) == "dense"
    assert attention._choose(CAUSAL, many, many, cuda, None, False) == "is_causal"
    assert attention._choose(CAUSAL, many, many, cuda, None, False, drops=True) == "is_causal"


@pytest.mark.parametrize("way", ["dense", "products", "biased"])
def test_a_hidden_key_is_not_read_however_large_its_score(way: str) -> None:
    q, k = torch.full((1, 1, 3, 1), 300.0), torch.tensor([-300.0, 0, 300]).view(1, 1, 3, 1)
    if way == "biased":
        seen = visible(CAUSAL, 1, 3, 3, CPU, biased=True).plus(torch.zeros(1, 1, 3, 3))
    else:
        seen = visible(CAUSAL, 1, 3, 3, CPU, backend=way)  # type: ignore[arg-type]
    v = torch.arange(3.0).view(1, 1, 3, 1)
    assert attend(q, k, v, seen, scale=1.0).flatten().tolist() == [0, 1, 2]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_bias_in_float32_hides_in_half_precision_too(dtype: torch.dtype) -> None:
    q, k, v = (part.to(dtype) for part in qkv())
    seen = visible(MASKS["document"], 2, 9, 9, CPU, biased=True).plus(torch.zeros(2, 4, 9, 9))
    expected = by_hand(q.float(), k.float(), v.float(), MASKS["document"].dense(2, *(torch.arange(9),) * 2))
    torch.testing.assert_close(attend(q, k, v, seen).float(), expected, atol=2e-2, rtol=2e-2)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="asks a GPU's kernels")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("backend", ["dense", "biased", "flex"])
@pytest.mark.parametrize("name", MASKS)
def test_a_gpu_s_kernels_equal_attention_by_hand_where_nothing_is_seen_too(
    name: str, backend: str, dtype: torch.dtype
) -> None:
    cells, cuda = torch.arange(9), torch.device("cuda")
    mask, seen = masks_on(cuda)[name], MASKS[name].dense(2, cells, cells)
    given = [part.to(cuda, dtype).requires_grad_() for part in qkv()]

    def found(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        if backend == "biased":
            none = torch.zeros(2, 4, 9, 9, device=cuda)
            return attend(q, k, v, visible(mask, 2, 9, 9, cuda, biased=True).plus(none))
        return attend(q, k, v, visible(mask, 2, 9, 9, cuda, backend=backend))  # type: ignore[arg-type]

    rows = (torch.compile(found) if backend == "flex" else found)(*given)
    close = {"atol": 2e-2, "rtol": 2e-2} if dtype == torch.bfloat16 else {"atol": 1e-5, "rtol": 0}
    expected = by_hand(*(part.detach().float().cpu() for part in given), seen)
    torch.testing.assert_close(rows.float().cpu(), expected, **close)
    rows.float().square().sum().backward()
    for part in given:
        assert part.grad is not None
        assert part.grad.isfinite().all()
    assert given[0].grad is not None
    assert given[0].grad.cpu().transpose(1, 2)[~seen.any(dim=-1)].eq(0).all()


def test_the_newest_row_of_a_causal_cache_sees_everything_without_a_mask() -> None:
    assert visible(CAUSAL, 2, 1, 9, CPU, start=8) == Visible("full")
    assert visible(CAUSAL, 2, 1, 9, CPU, start=8, biased=True) == Visible("full")
    assert visible(CAUSAL, 2, 2, 9, CPU, start=7).backend == "dense"


@pytest.mark.parametrize("name", MASKS)
def test_a_bias_is_added_to_the_scores_of_what_is_seen_only(name: str) -> None:
    q, k, v = qkv()
    bias = torch.randn(2, 4, 9, 9, generator=torch.Generator().manual_seed(1)).requires_grad_()
    out = attend(q, k, v, visible(MASKS[name], 2, 9, 9, CPU, biased=True).plus(bias))
    seen = MASKS[name].dense(2, torch.arange(9), torch.arange(9))
    weights = (q @ k.transpose(-1, -2) / 4 + bias).exp() * seen.unsqueeze(1)
    expected = (weights / weights.sum(-1, keepdim=True).clamp(min=1e-30)) @ v
    torch.testing.assert_close(out, expected, atol=1e-5, rtol=0)
    (gradient,) = torch.autograd.grad(out.sum(), bias)
    assert gradient.isfinite().all()
    assert gradient[~seen.unsqueeze(1).expand(-1, 4, -1, -1)].eq(0).all()


def test_one_query_with_a_cache_is_asked_by_its_row_number() -> None:
    q, k, v = qkv()
    whole = attend(q, k, v, visible(MASKS["prefix"], 2, 9, 9, CPU))
    step = visible(MASKS["prefix"], 2, 1, 6, CPU, start=5)
    one = attend(q[:, :, 5:6], k[:, :, :6], v[:, :, :6], step)
    torch.testing.assert_close(one, whole[:, :, 5:6], atol=1e-6, rtol=0)


@pytest.mark.parametrize("kv_heads", [1, 2])
@pytest.mark.parametrize("name", ["full", "causal", "prefix"])
def test_grouped_heads_equal_repeated_heads(name: str, kv_heads: int) -> None:
    q, k, v = qkv(kv_heads=kv_heads)
    seen = visible(MASKS[name], 2, 9, 9, CPU)
    all_k, all_v = (
        torch.stack([part[:, head * kv_heads // 4] for head in range(4)], dim=1) for part in (k, v)
    )
    torch.testing.assert_close(attend(q, k, v, seen), attend(q, all_k, all_v, seen))


def test_scale_replaces_one_over_the_root_of_the_head_width() -> None:
    q, k, v = qkv()
    seen = visible(FULL, 2, 9, 9, CPU)
    weights = (q @ k.transpose(-1, -2) * 0.5).softmax(-1)
    torch.testing.assert_close(attend(q, k, v, seen, scale=0.5), weights @ v, atol=1e-5, rtol=0)
    expected = functional.scaled_dot_product_attention(q, k, v)
    torch.testing.assert_close(attend(q, k, v, seen), expected)


def test_the_backend_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    mask = Mask(CAUSAL.rule, "seen in this test only") & document(SEGMENTS)
    with caplog.at_level(logging.INFO, logger="archs.core.attention"):
        visible(mask, 2, 9, 9, CPU)
        visible(mask, 2, 9, 9, CPU)
    assert caplog.messages == [
        "attention: mask 'seen in this test only & document' on cpu goes through dense"
    ]


def test_a_cache_gives_back_what_was_appended_in_order() -> None:
    _, k, v = qkv()
    cache = KeyValues(capacity=9)
    assert cache.length == 0
    for start, end in ((0, 4), (4, 5), (5, 9)):
        held_k, held_v = cache.append(k[:, :, start:end], v[:, :, start:end])
        assert cache.length == end
        assert torch.equal(held_k, k[:, :, :end])
        assert torch.equal(held_v, v[:, :, :end])


def test_a_cache_refuses_more_rows_than_it_holds() -> None:
    _, k, v = qkv()
    with pytest.raises(ValueError, match="holds 8 rows, 9 were written"):
        KeyValues(capacity=8).append(k, v)
    cache = KeyValues(capacity=9)
    cache.append(k, v)
    with pytest.raises(ValueError, match="holds 9 rows, 10 were written"):
        cache.append(k[:, :, :1], v[:, :, :1])
