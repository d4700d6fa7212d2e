"""Parts of a training step alone: attention by each backend, and the loss by each implementation.

    python -m benchmarks.kernels [--device cuda] [--rounds 9]

Forward and backward, in turns. Attention of 16,384 tokens with 12 heads of 64, under the masks of packed rows
and prefixes; the loss of 16,384 targets, with a width of 768 and a vocabulary of 32,768. On a GPU in
bfloat16, in blocks, and with the plain loss compiled; on a CPU in float32, and an eighth of each amount.
These numbers decided which implementation is used: docs/performance.md has them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import partial

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from archs.core import cross_entropy
from archs.core.attention import Backend, Visible, attend, prepare_to_compile, visible
from archs.masks import CAUSAL, Mask, document, prefix
from benchmarks import command
from benchmarks.measuring import Spread, in_turns, machine
from benchmarks.workload import Shape, generator, windows

HEADS, HEAD_WIDTH, LENGTHS = 12, 64, (512, 1024, 2048)
TOKENS, WIDTH, VOCABULARY = 16_384, 768, 32_768
BLOCK = 10  # calls in a row on a GPU
Work = Callable[[], Sequence[Tensor]]


def by_mask(length: int, rows: int, device: torch.device) -> dict[str, Mask]:
    """Masks by name; documents have some 64 tokens, prefixes any length."""
    shape = Shape(rows=rows, length=length, vocabulary=VOCABULARY)
    segments = windows(shape, packed=True, steps=1)[0].segments
    assert segments is not None
    ends = torch.randint(length, (rows, 1), generator=generator(0))
    is_prefix = torch.arange(length) < ends
    packed = document(segments.to(device))
    return {
        "causal": CAUSAL,
        "packed, causal": CAUSAL & packed,
        "prefix": CAUSAL | prefix(is_prefix.to(device)),
        "packed, prefix": (CAUSAL | prefix(is_prefix.to(device))) & packed,
    }


def attention(length: int, device: torch.device) -> dict[tuple[str, str], Work]:
    """Forward and backward of attention, by mask and backend."""
    rows = tokens_on(device) // length
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    shape = (rows, HEADS, length, HEAD_WIDTH)
    q, k, v = (torch.randn(shape, device=device, dtype=dtype, requires_grad=True) for _ in range(3))
    upstream = torch.randn(shape, device=device, dtype=dtype)
    backends: tuple[Backend, ...] = ("dense", "flex") if device.type == "cuda" else ("dense",)
    works: dict[tuple[str, str], Work] = {}

    def work(attends: Callable[..., Tensor], seen: Visible) -> Sequence[Tensor]:
        return torch.autograd.grad(attends(q, k, v, seen), (q, k, v), upstream)

    for name, mask in by_mask(length, rows, device).items():
        if mask == CAUSAL:
            works[name, "is_causal"] = partial(work, attend, Visible("is_causal"))
        for backend in backends:
            seen = visible(mask, rows, length, length, device, backend=backend)
            attends = torch.compile(attend, dynamic=False) if backend == "flex" else attend
            works[name, backend] = partial(work, attends, seen)
    return works


def losses(device: torch.device) -> dict[str, Work]:
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    count = tokens_on(device)
    hidden = torch.randn(count, WIDTH, device=device).to(dtype).requires_grad_()
    weight = (torch.randn(VOCABULARY, WIDTH, device=device) * 0.02).requires_grad_()
    targets = torch.randint(VOCABULARY, (count,), device=device)
    weights = torch.ones(count, device=device)

    def plain(hidden: Tensor, weight: Tensor) -> Tensor:
        return cross_entropy.cross_entropy(hidden @ weight.to(dtype).t(), targets, weights)

    def ours(hidden: Tensor, weight: Tensor) -> Tensor:
        return cross_entropy.linear_cross_entropy(hidden, weight, None, targets, weights)

    def work(loss: Callable[..., Tensor]) -> Sequence[Tensor]:
        return torch.autograd.grad(loss(hidden, weight), (hidden, weight))

    product = weight.detach().to(dtype)

    def products() -> Sequence[Tensor]:
        logits = hidden.detach() @ product.t()
        return logits @ product, logits.t() @ hidden.detach()

    return {
        "whole logits": partial(work, plain),
        "whole logits, compiled": partial(work, torch.compile(plain)),
        "in chunks (ours)": partial(work, ours),
        "the three products alone": products,
    }


def tokens_on(device: torch.device) -> int:
    return TOKENS if device.type == "cuda" else TOKENS // 8


def milliseconds(work: Sequence[Work], rounds: int, device: torch.device) -> list[str]:
    taken = in_turns(work, rounds, block=BLOCK if device.type == "cuda" else 1)
    return [Spread.of([1e3 * seconds for seconds in each]).shown(".2f") for each in taken]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    rounds, device = command.rounds(options.rounds), command.device(options.device)
    prepare_to_compile()
    console = Console()
    for length in LENGTHS:
        torch._dynamo.reset()  # else torch stops compiling a function after eight graphs
        works = attention(length, device)
        table = Table(
            "mask", "way", "ms", title=f"attention of {tokens_on(device):,} tokens, rows of {length}"
        )
        for (mask, backend), ms in zip(works, milliseconds([*works.values()], rounds, device), strict=True):
            table.add_row(mask, backend, ms)
        console.print(table)
    loss_works = losses(device)
    table = Table("loss", "ms", title=f"of {tokens_on(device):,} targets, vocabulary {VOCABULARY:,}")
    for name, ms in zip(loss_works, milliseconds([*loss_works.values()], rounds, device), strict=True):
        table.add_row(name, ms)
    console.print(table)
    console.print(machine())


if __name__ == "__main__":
    command.run(main)
