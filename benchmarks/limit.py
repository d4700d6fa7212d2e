"""The machine's limit: the matrix products of a training step alone, each in its fastest layout.

The products of a step of ours are recorded by shape. A `Products` then does the same products and nothing
else. Their FLOPs over their seconds is the machine's rate at these shapes. The FLOPs that a step needs over
that rate is the least time that it could take. Operands that fit stay in caches, so the limit is rather too
fast than too slow.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from archs.core.cross_entropy import chunks
from archs.core.matrix_products import by_onednn
from benchmarks.measuring import timed
from benchmarks.workload import Ours, Shape

Multiply = Callable[[], Tensor]


@dataclass(frozen=True)
class Product:
    """`batch` matrix products of shape (rows,inner) x (inner,columns)."""

    batch: int
    rows: int
    inner: int
    columns: int

    @property
    def flops(self) -> int:
        return 2 * self.batch * self.rows * self.inner * self.columns


class Recorder(TorchDispatchMode):
    """Counts the matrix products of the code inside, including attention and the backward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.products: Counter[Product] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.products.update(multiplied(func._schema.name, args))
        return func(*args, **(kwargs or {}))


def multiplied(operator: str, args: tuple[Any, ...]) -> Iterator[Product]:
    """The products of one call of an operator, such as `aten::mm`."""
    if operator in ("aten::mm", "aten::bmm", "aten::addmm", "aten::baddbmm"):
        one, two = args[-2:] if operator in ("aten::mm", "aten::bmm") else args[1:3]
        yield Product(math.prod(one.shape[:-2]), one.shape[-2], one.shape[-1], two.shape[-1])
    elif operator == "pentarch::linear_cross_entropy":
        (N, E), V = args[0].shape, len(args[1])
        for here in chunks(N, V, args[0].device):
            n = here.stop - here.start
            yield from (Product(1, n, E, V), Product(1, n, V, E), Product(1, V, n, E))
    elif "_scaled_dot_product_" in operator:
        backward = operator.endswith("_backward")
        q, k = args[1:3] if backward else args[:2]
        B, (Q, E), K = q.shape[0] * q.shape[1], q.shape[2:], k.shape[2]
        scores, read = Product(B, Q, E, K), Product(B, Q, K, E)
        # Backward, the gradients of scores and queries have these shapes, those of keys and values a third.
        yield from (scores, read, *(2 * (Product(B, K, Q, E),) if backward else ()))


def recorded(family: str, shape: Shape, packed: bool = False) -> Counter[Product]:
    """The products of the family's forward and backward pass.

    Recorded on fake tensors, without arithmetic, as on a CPU. Shapes do not depend on values. The device
    decides only how many rows a head takes at once.
    """
    ours = Ours(family, shape, packed=packed)
    batch = ours.batch(1)
    with FakeTensorMode(allow_non_fake_inputs=True), Recorder() as recorder:
        ours.loss(batch).backward()
    return recorder.products


class Products:
    """Recorded products, ready to run: each as often as it was recorded, in its fastest layout.

    default: use the library that torch.mm chooses by default; else the one that ours trains with.
    """

    def __init__(
        self, products: Counter[Product], device: torch.device, dtype: torch.dtype, default: bool = False
    ) -> None:
        self.flops = sum(product.flops * times for product, times in products.items())
        self.library = nullcontext if default else partial(by_onednn, device)
        with self.library():
            self.work = [
                (fastest(layouts(product, device, dtype)), times) for product, times in products.items()
            ]

    def step(self) -> None:
        with self.library():
            for multiply, times in self.work:
                for _ in range(times):
                    multiply()


def layouts(product: Product, device: torch.device, dtype: torch.dtype) -> list[Multiply]:
    """The product with each layout of its operands."""

    def operand(rows: int, columns: int) -> Tensor:
        each = (product.batch,) if product.batch > 1 else ()
        return torch.randn(*each, rows, columns, device=device).to(dtype)

    one, two = operand(product.rows, product.inner), operand(product.inner, product.columns)
    one_turned, two_turned = (each.mT.contiguous() for each in (one, two))
    multiply = torch.bmm if product.batch > 1 else torch.mm
    return [
        lambda: multiply(one, two),
        lambda: multiply(one, two_turned.mT),
        lambda: multiply(one_turned.mT, two),
    ]


def fastest(variants: list[Multiply], trials: int = 5) -> Multiply:
    seconds = [min(timed(variant) for _ in range(trials)) for variant in variants]
    return variants[seconds.index(min(seconds))]
