"""The endpoints that claims are decided on: one value an item, read from `scores/*.parquet`.

The items of a mean enter a test as they are. A ratio of sums, such as nats over bytes, enters as jackknife
pseudo-values, whose mean is the ratio up to its bias.
"""

from __future__ import annotations

from functools import cache

from archs.errors import unknown
from experiments.evidence.claims.endpoint import TASK, Endpoint, Measure, Prior
from experiments.evidence.claims.task_endpoints import on_tasks

LN_2 = 0.6931471805599453

ENDPOINTS: dict[str, Endpoint] = {
    "understanding": Endpoint(
        "Understanding: party of a paragraph",
        "points",
        "higher",
        1,
        (Measure("party", "correct", times=100),),
        # Assumed, not measured: a GLUE score of a small encoder varies by 0.6 points between seeds, and two
        # models answer half of the items of a hard yes-or-no question differently.
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


@cache
def endpoint_of(name: str) -> Endpoint:
    """Returns one of ENDPOINTS, or an endpoint on standard tasks: `task:mr`, `task:mr+cola`.

    The syntax of the latter is in `task_endpoints.py`. Raises UserError for any other name.
    """
    if name.startswith(TASK):
        return on_tasks(name)
    if name not in ENDPOINTS:
        raise unknown("endpoint", name, [*ENDPOINTS, f"{TASK}NAME"])
    return ENDPOINTS[name]
