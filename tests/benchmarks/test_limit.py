"""The machine's limit: what is recorded of a step is what the audit counts."""

from __future__ import annotations

import pytest
import torch

from benchmarks.limit import Product, multiplied, recorded
from benchmarks.workload import OBJECTIVE, Ours, Shape

TINY = Shape(layers=2, width=32, heads=2, vocabulary=256, rows=2, length=48)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("family", OBJECTIVE)
def test_the_products_of_a_step_have_the_flops_that_its_objective_counts(family: str, packed: bool) -> None:
    products = recorded(family, TINY, packed)
    ours = Ours(family, TINY, packed=packed)
    counted = ours.learner.objective.flops(ours.learner.family, ours.batch(1))
    assert sum(each.flops * times for each, times in products.items()) == pytest.approx(counted, rel=0.02)


def test_an_onednn_linear_is_read_as_rows_by_inner_by_columns() -> None:
    x, weight = torch.empty(3, 5, 7), torch.empty(11, 7)
    call = (x, weight, None, "none", [], "")
    assert list(multiplied("mkldnn::_linear_pointwise", call)) == [Product(1, 15, 7, 11)]
