"""The machine's limit: what is recorded of a step is what the audit counts."""

from __future__ import annotations

import pytest
import torch

from archs.core.cross_entropy import LOGITS
from benchmarks.limit import Product, multiplied, recorded
from benchmarks.workload import OBJECTIVE, Ours, Shape

TINY = Shape(layers=2, width=32, heads=2, vocabulary=256, rows=2, length=48)


@pytest.mark.slow
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("family", OBJECTIVE)
def test_the_products_of_a_step_have_the_flops_that_its_objective_counts(family: str, packed: bool) -> None:
    products = recorded(family, TINY, packed)
    ours = Ours(family, TINY, packed=packed)
    counted = ours.learner.objective.flops(ours.learner.family, ours.batch(1))
    assert sum(each.flops * times for each, times in products.items()) == pytest.approx(counted, rel=0.02)


def test_a_loss_is_read_as_three_products_for_each_chunk_of_its_targets() -> None:
    rows = LOGITS["cpu"] // 8192
    call = (torch.empty(rows + 3, 5), torch.empty(8192, 5), None)
    found = list(multiplied("pentarch::linear_cross_entropy", call))
    assert [each for n in (rows, 3) for each in three(n)] == found


def three(n: int) -> tuple[Product, ...]:
    return Product(1, n, 5, 8192), Product(1, n, 8192, 5), Product(1, 8192, n, 5)
