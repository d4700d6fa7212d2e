"""Endpoints: what a claim is decided on, one value an item, larger is better or smaller is.

An endpoint names the rows of `scores/*.parquet` it reads. A mean over items enters a test item by item; a
ratio of sums, such as nats over bytes, as jackknife pseudo-values, whose mean is the ratio up to its bias.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # plans and mistakes need none of these
    import pandas as pd

LN_2 = 0.6931471805599453


@dataclass(frozen=True)
class Measure:
    """Sum of `numerator` over that of `denominator` (None: the number of rows), times `times`, of a table."""

    table: str
    numerator: str
    denominator: str | None = None
    times: float = 1.0
    unit_of_likelihood: str | None = None  # "nll" or "pll": rows of another unit are not this measure

    def holds(self, rows: pd.DataFrame) -> bool:
        return self.unit_of_likelihood is None or set(rows["unit"]) == {self.unit_of_likelihood}


@dataclass(frozen=True)
class Prior:
    """Standard deviations of the difference of two arms, in the endpoint's unit, that `plan` counts with.

    seed: of its mean over items, from one pretraining seed to the next; item: of an item's mean over seeds;
    residual: what is left; items: how many there are.
    """

    seed: float
    item: float
    residual: float
    items: int


@dataclass(frozen=True)
class Endpoint:
    """measures: one, or several whose mean it is (a composite). switch: of EvaluationConfig, None if always.

    task: whether a model from scratch could do it too, so that it must pass the assay. other: the same
    question under another pooling, shown beside it and never decided on. prior: as measured by
    docs/results/claims_micro.md, but where said.
    """

    title: str
    unit: str
    better: str
    decimals: int
    measures: tuple[Measure, ...]
    prior: Prior
    switch: str | None = None
    task: bool = True
    pooling: str = ""
    other: tuple[str, tuple[Measure, ...]] | None = None

    @property
    def sign(self) -> int:
        """+1 where larger is better."""
        return 1 if self.better == "higher" else -1

    def text(self, value: float) -> str:
        return f"{value:.{self.decimals}f}"


ENDPOINTS: dict[str, Endpoint] = {
    "understanding": Endpoint(
        "Understanding: party of a paragraph",
        "points",
        "higher",
        1,
        (Measure("party", "correct", times=100),),
        # Assumed, not measured: a GLUE score of a small encoder varies by 0.6 points from seed to seed, and
        # two answers to a hard yes-or-no question differ in half of the items.
        Prior(seed=1.0, item=8.0, residual=50.0, items=1000),
        switch="party",
    ),
    "generation": Endpoint(
        "Generation: infill, nats per byte of the target",
        "nats/byte",
        "lower",
        4,
        (Measure("target", "nats", "bytes"),),
        Prior(seed=0.17, item=0.16, residual=0.16, items=200),
        switch="target",
    ),
    "sentence_order": Endpoint(
        "Order of sentences, by a linear probe",
        "points",
        "higher",
        1,
        (Measure("order", "correct_first", times=100),),
        Prior(seed=12.4, item=22.0, residual=62.0, items=1000),
        switch="order",
        pooling="own token",
        other=("mean", (Measure("order", "correct_mean", times=100),)),
    ),
    "likelihood": Endpoint(
        "Bits per byte, NLL",
        "bits/byte",
        "lower",
        3,
        (Measure("likelihood", "nats", "bytes", 1 / LN_2, "nll"),),
        Prior(seed=0.03, item=0.32, residual=0.11, items=64),
        task=False,
    ),
    "pseudo_likelihood": Endpoint(
        "Bits per byte, pseudo-NLL",
        "bits/byte",
        "lower",
        3,
        (Measure("likelihood", "nats", "bytes", 1 / LN_2, "pll"),),
        Prior(seed=0.04, item=0.09, residual=0.13, items=16),
        task=False,
    ),
}
