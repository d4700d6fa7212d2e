"""Intervals of tasks' metrics, against those that theory knows."""

from __future__ import annotations

import math
import time

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from experiments.evidence.metrics import METRICS, measured, measured_within_groups
from experiments.evidence.metrics.values import values

RNG = np.random.default_rng(7)


def paradigms() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "paradigm": ["agreement"] * 4 + ["binding"] * 2 + ["islands"] * 4,
            "correct": [1, 1, 1, 0.0, 0.5, 0.5, 1, 1, 0, 1],
        }
    )


@pytest.mark.parametrize("name", ["accuracy", "macro_f1", "matthews", "pearson", "spearman"])
def test_a_sample_of_items_is_measured_as_the_table_of_its_rows(name: str) -> None:
    rows = pd.DataFrame({"label": RNG.integers(0, 9, 12), "predicted": RNG.integers(0, 9, 12)})
    weights = RNG.multinomial(12, [1 / 12] * 12, size=20)  # of some classes nothing is drawn
    samples = [METRICS[name].of(rows.loc[np.repeat(np.arange(12), drawn)]) for drawn in weights]
    assert METRICS[name].prepare(rows)(weights.astype(float)) == pytest.approx(samples, abs=1e-8)


@pytest.mark.parametrize("name", METRICS)
def test_what_a_metric_is_without_each_item_is_that_of_the_other_items(name: str) -> None:
    generator = np.random.default_rng(1)
    label = generator.integers(0, 2 if name == "f1" else 4, 12)
    texts = [["one old text", "one"][kind % 2] for kind in label]
    columns = {
        "label": label,
        "predicted": generator.permutation(label),
        "references": [[one] for one in texts],
    }
    columns |= {"prediction": generator.permutation(texts), "correct": label % 2, "nats": label + 0.3}
    columns |= {
        "tags": [["B-A", "B-B"]] * 12,
        "predicted_tags": [[f"B-{'AB'[kind % 2]}"] * 2 for kind in label],
    }
    rows = pd.DataFrame(columns | {"bytes": label + 2})
    weighted, others = METRICS[name].prepare(rows), 1 - np.eye(12)
    assert weighted.without_each(12) == pytest.approx(weighted(others), abs=1e-9)
    assert weighted.without_each(12) == pytest.approx(
        [METRICS[name].of(rows.drop(index=i)) for i in range(12)]
    )


def test_shares_of_forty_thousand_items_and_three_seeds_take_a_second_at_most() -> None:
    one = pd.DataFrame({"item": range(40_000), "label": RNG.integers(0, 2, 40_000)})
    rows = pd.concat(
        one.assign(predicted=RNG.integers(0, 2, 40_000), finetuning_seed=seed) for seed in range(3)
    )
    before = time.process_time()
    for name in ("f1", "macro_f1", "matthews", "accuracy"):
        values(METRICS[name], rows.reset_index(drop=True))
    assert time.process_time() - before < 1


def test_minimal_pairs_count_every_paradigm_alike_with_students_t_over_paradigms() -> None:
    found = measured(METRICS["pair_accuracy"], paradigms())
    half = stats.t.ppf(0.975, 2) * np.std([75, 50, 75], ddof=1) / math.sqrt(3)
    assert (found.value, found.items, found.how) == (pytest.approx(200 / 3), 10, "Student's t over paradigms")
    assert (found.low, found.high) == pytest.approx((200 / 3 - half, 200 / 3 + half))


def test_a_subset_of_pairs_has_the_interval_of_items_within_paradigms() -> None:
    rows = pd.concat([paradigms()] * 50)
    found = measured_within_groups(METRICS["pair_accuracy"], rows)
    errors = [np.var(part["correct"]) / len(part) for _, part in rows.groupby("paradigm")]
    spread = math.sqrt(sum(errors)) / len(errors)
    assert found.how == "bootstrap over items within paradigms"
    assert found.value == pytest.approx(200 / 3)
    assert found.high - found.low == pytest.approx(100 * 2 * 1.96 * spread, rel=0.1)


def test_pairs_of_one_paradigm_or_of_none_have_the_interval_over_items() -> None:
    rows = paradigms().query("paradigm == 'agreement'")
    for table in (rows, rows[["correct"]]):
        found = measured(METRICS["pair_accuracy"], pd.DataFrame(table))
        assert (found.value, found.items, found.how) == (75, 4, "bootstrap over items")


@pytest.mark.parametrize(("name", "rows"), [("accuracy", 2000), ("pearson", 2000), ("nats_per_byte", 2000)])
def test_the_bootstrap_agrees_with_the_normal_interval_where_there_is_one(name: str, rows: int) -> None:
    generator = np.random.default_rng(3)
    label = generator.normal(size=rows)
    table = {
        "accuracy": {"label": [1] * rows, "predicted": generator.integers(0, 2, rows)},
        "pearson": {"label": label, "predicted": label + generator.normal(size=rows)},
        "nats_per_byte": {"nats": generator.exponential(size=rows), "bytes": [1.0] * rows},
    }
    wide = {"accuracy": 50.0, "pearson": 50.0, "nats_per_byte": 1.0}[
        name
    ]  # 100 (1 - r²) is 50 where r² is 0.5
    found = measured(METRICS[name], pd.DataFrame(table[name]))
    assert found.low < found.value < found.high
    assert found.high - found.low == pytest.approx(2 * 1.96 * wide / math.sqrt(rows), rel=0.1)


def test_the_same_seed_gives_the_same_interval_and_another_another() -> None:
    rows = pd.DataFrame({"label": RNG.integers(0, 2, 100), "predicted": RNG.integers(0, 2, 100)})
    first, again, other = (measured(METRICS["f1"], rows, seed) for seed in (0, 0, 1))
    assert first == again
    assert first.value == other.value
    assert (first.low, first.high) != (other.low, other.high)


def test_several_finetuning_seeds_are_a_mean_over_items_drawn_for_all_of_them() -> None:
    one = pd.DataFrame({"item": range(100), "label": [1, 0] * 50, "predicted": RNG.integers(0, 2, 100)})
    other = one.assign(predicted=1 - one["predicted"])
    seeds = pd.concat([one.assign(finetuning_seed=0), other.assign(finetuning_seed=1).iloc[::-1]])
    found = measured(METRICS["accuracy"], seeds)
    # where one is right the other errs
    assert (found.value, found.low, found.high, found.items) == (50, 50, 50, 100)
    same = pd.concat([one.assign(finetuning_seed=seed) for seed in range(3)])
    for name in ("accuracy", "matthews"):
        assert measured(METRICS[name], same).value == pytest.approx(METRICS[name].of(one))
        assert measured(METRICS[name], same).low == pytest.approx(measured(METRICS[name], one).low)


def test_finetuning_seeds_of_different_items_are_an_error() -> None:
    rows = pd.DataFrame(
        {"item": [0, 1, 0, 2], "finetuning_seed": [0, 0, 1, 1], "label": [1] * 4, "predicted": [1] * 4}
    )
    with pytest.raises(ValueError, match="not asked the same items"):
        METRICS["accuracy"].of(rows)
    with pytest.raises(ValueError, match="need the column item"):
        METRICS["accuracy"].of(rows.drop(columns="item"))


def test_a_thousand_samples_of_ten_thousand_items_take_seconds_at_most() -> None:
    rows = pd.DataFrame({"label": RNG.normal(size=10_000), "predicted": RNG.normal(size=10_000)})
    before = time.process_time()
    measured(METRICS["spearman"], rows)  # the slowest
    assert time.process_time() - before < 10
