"""Items read back: means and ratios as the report has them, runs paired by seed, nothing paired wrongly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from archs.errors import UserError
from experiments.evidence.claims.endpoint import Measure
from experiments.evidence.claims.endpoints import ENDPOINTS
from experiments.evidence.claims.items import Items, contrast, items, ratio_values, table
from experiments.evidence.stats import pseudo_values

RIGHT = Measure("party", "correct", times=100)
NATS = Measure("target", "nats", "bytes")


@pytest.fixture
def scores(tmp_path: Path) -> Path:
    pd.DataFrame({"item": range(4), "correct": [1, 0, 1, 1]}).to_parquet(tmp_path / "party.parquet")
    pd.DataFrame({"item": range(2), "nats": [4.0, 9.0], "bytes": [2.0, 3.0]}).to_parquet(
        tmp_path / "target.parquet"
    )
    return tmp_path


def test_a_mean_is_its_items(scores: Path) -> None:
    found = items(scores, (RIGHT,))
    assert found is not None
    assert found.keys == ["party 0", "party 1", "party 2", "party 3"]
    assert found.values.tolist() == [100, 0, 100, 100]


def test_a_ratio_is_its_pseudo_values() -> None:
    """13 nats over 5 bytes; without the first 9 / 3, without the second 4 / 2."""
    found = ratio_values(np.array([4.0, 9.0]), np.array([2.0, 3.0]))
    assert found.tolist() == pytest.approx([2 * 13 / 5 - 3, 2 * 13 / 5 - 2])
    rng = np.random.default_rng(0)
    above, below = rng.uniform(1, 9, 50), rng.uniform(2, 5, 50)
    slowly = pseudo_values(lambda kept: above[kept].sum() / below[kept].sum(), 50)
    assert ratio_values(above, below) == pytest.approx(slowly)
    assert slowly.mean() == pytest.approx(above.sum() / below.sum(), rel=1e-2)


def test_in_a_composite_each_task_counts_alike(scores: Path) -> None:
    found = items(scores, (RIGHT, NATS))
    assert found is not None
    assert len(found.keys) == 6
    assert found.values.mean() == pytest.approx(
        (75 + ratio_values(np.array([4.0, 9.0]), np.array([2.0, 3.0])).mean()) / 2
    )


def test_what_was_not_measured_or_has_another_unit_is_none(scores: Path) -> None:
    assert items(scores, (Measure("order", "correct_mean"),)) is None
    assert items(scores, (RIGHT, Measure("order", "correct_mean"))) is None
    rows = {"item": [0], "nats": [3.0], "bytes": [2.0], "unit": ["pll"]}
    pd.DataFrame(rows).to_parquet(scores / "likelihood.parquet")
    assert items(scores, ENDPOINTS["likelihood"].measures) is None
    found = items(scores, ENDPOINTS["pseudo_likelihood"].measures)
    assert found is not None
    assert found.values.tolist() == pytest.approx([1.5 / np.log(2)])


def one(*values: float) -> Items:
    return Items([str(number) for number in range(len(values))], np.array(values))


def test_a_contrast_pairs_the_seeds_that_every_arm_has() -> None:
    arms = {"new": {0: one(1, 2), 2: one(3, 5), 1: None}, "old": {2: one(1, 1), 0: one(0, 4), 3: one(9, 9)}}
    found = contrast({"new": 1.0, "old": -1.0}, arms, sign=1)
    assert found is not None
    assert found.seeds == [0, 2]
    assert found.values.tolist() == [[1, -2], [2, 4]]
    turned = contrast({"new": 1.0, "old": -1.0}, arms, sign=-1)
    assert turned is not None
    assert turned.values.tolist() == [[-1, 2], [-2, -4]]
    assert contrast({"new": 1.0, "old": -1.0}, {"new": {0: one(1)}, "old": {1: one(1)}}, 1) is None
    assert contrast({"new": 1.0, "old": -1.0}, {"new": {0: one(1)}, "old": {}}, 1) is None


def test_runs_that_were_asked_other_items_are_not_paired() -> None:
    other = Items(["7", "8"], np.array([1.0, 2.0]))
    with pytest.raises(UserError, match="different items"):
        table({0: one(1, 2), 1: other})
    with pytest.raises(UserError, match="different items"):
        contrast({"new": 1.0, "old": -1.0}, {"new": {0: one(1, 2)}, "old": {0: other}}, 1)
