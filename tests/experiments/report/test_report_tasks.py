"""Tasks in the report: the numbers of the runs' files, the assay of their rows, and what was cut."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sweep_folder import write_sweep

from experiments import report
from experiments.evidence.metrics import METRICS, measured
from experiments.evidence.stats.crossed import crossed_test
from experiments.report.sections.task_tables import section
from experiments.report.sections.tasks import Asked, asked, assay
from experiments.runs.reading import load

ARMS = ["encoder_ae", "decoder_ar"]
ITEMS = 40


def outcome(model: str, right: np.ndarray, baseline: bool = False, **more: Any) -> tuple[dict, pd.DataFrame]:
    """An outcome of a file and its rows; right (n): whether each item's answer is."""
    variant = {"model": model, **more, "part": "test"}
    rows = pd.DataFrame({"item": range(len(right)), "label": 1, "predicted": right.astype(int)})
    found = measured(METRICS["accuracy"], rows)
    numbers = {"value": found.value, "low": found.low, "high": found.high, "items": found.items}
    content = {"variant": variant, "items": ITEMS, "metrics": {"accuracy": numbers}, "baseline": baseline}
    return content, rows.assign(value=100.0 * right, **variant)


def write(run: Path, outcomes: list[tuple[dict, pd.DataFrame]], task: str = "mr", **more: Any) -> None:
    content = {
        "task": task,
        "mode": "finetuned",
        "ways": [],
        "ask": {"task": {"name": task}, "examples": [1000], "items": None},
        "primary": "accuracy",
        "data": {
            "train": 100,
            "validation": 10,
            "test": ITEMS,
            "apart": 0,
            "digest": "aa",
            "notes": ["noted"],
        },
        "cut": {"test": 3, "policy": "from the end"},
        "outcomes": [each for each, _ in outcomes],
        "trials": [{"diverged": True}, {"diverged": False}],
        **more,
    }
    (run / "tasks").mkdir(exist_ok=True)
    (run / "tasks" / f"{task}-finetuned.json").write_text(json.dumps(content))
    pd.concat([rows for _, rows in outcomes]).to_parquet(run / "tasks" / f"{task}-finetuned.parquet")


@pytest.fixture
def swept(tmp_path: Path) -> Path:
    return write_sweep(tmp_path / "swept", ARMS, seeds=2)


def answers(swept: Path, better: float) -> dict[tuple[str, int], tuple[np.ndarray, np.ndarray]]:
    """Writes every run's answers, pretrained ones right `better` more often than from scratch; gives them."""
    rng, drawn = np.random.default_rng(0), {}
    for arm in ARMS:
        for seed in range(2):
            pretrained, scratch = rng.random(ITEMS) < 0.5 + better, rng.random(ITEMS) < 0.5
            drawn[arm, seed] = pretrained, scratch
            own = (
                outcome("pretrained", pretrained, pooling="own"),
                outcome("pretrained", scratch, pooling="mean"),
            )
            rest = outcome("scratch", scratch, pooling="mean"), outcome("majority", scratch, baseline=True)
            write(swept / arm / f"seed{seed}", [*own, *rest])
    return drawn


def only(swept: Path) -> Asked:
    (found,) = asked(load(swept))
    return found


def test_the_table_has_the_chosen_outcome_of_every_arm_with_its_interval_over_seeds(swept: Path) -> None:
    drawn = answers(swept, better=0.3)
    told = section(load(swept))
    assert told is not None
    (row,) = told.glance.rows
    assert [cell.text for cell in row[:1]] == ["mr, finetuned"]
    values = [100 * drawn["encoder_ae", seed][0].mean() for seed in range(2)]
    half = stats.t.ppf(0.975, 1) * np.std(values, ddof=1) / np.sqrt(2)
    assert row[3].text == f"{np.mean(values):.1f}"
    assert row[3].small == f"{np.mean(values) - half:.1f} to {np.mean(values) + half:.1f}"
    assert row[2].small == "majority"


def test_the_assay_is_the_crossed_test_over_seeds_and_items(swept: Path) -> None:
    drawn = answers(swept, better=0.45)
    table = 100 * np.stack(
        [
            np.mean([drawn[arm, seed][0] * 1.0 - drawn[arm, seed][1] for arm in ARMS], axis=0)
            for seed in range(2)
        ]
    )
    expected, found = crossed_test(table), assay(only(swept))
    assert found is not None
    assert (found.difference, found.low, found.high) == pytest.approx(
        (expected.mean, expected.low, expected.high)
    )
    assert (found.passes, found.seeds, found.items) == (expected.low > 0, 2, ITEMS)


def test_no_assay_where_runs_were_asked_other_items(swept: Path) -> None:
    answers(swept, better=0.3)
    path = swept / "decoder_ar" / "seed0" / "tasks" / "mr-finetuned.json"
    content = json.loads(path.read_text())
    content["data"]["digest"] = "bb"
    path.write_text(json.dumps(content))
    assert assay(only(swept)) is None
    told = section(load(swept))
    assert told is not None
    assert "Runs differ in items: their numbers cannot be compared." in told.tasks[0].remarks


def test_no_assay_where_runs_were_asked_in_other_ways(swept: Path) -> None:
    answers(swept, better=0.3)
    path = swept / "decoder_ar" / "seed0" / "tasks" / "mr-finetuned.json"
    content = json.loads(path.read_text())
    content["ask"]["examples"] = [100]
    path.write_text(json.dumps(content))
    assert assay(only(swept)) is None
    told = section(load(swept))
    assert told is not None
    assert "Runs differ in examples: their numbers cannot be compared." in told.tasks[0].remarks


@pytest.mark.slow
def test_seeds_of_which_validation_chose_other_poolings_count_by_their_own(swept: Path) -> None:
    right, wrong = np.ones(ITEMS, dtype=bool), np.zeros(ITEMS, dtype=bool)
    for arm in ARMS:
        for seed, (first, second) in enumerate([("own", "mean"), ("mean", "own")]):
            one = outcome("pretrained", right, pooling=first)
            write(swept / arm / f"seed{seed}", [one, outcome("pretrained", wrong, pooling=second)])
    told = section(load(swept))
    assert told is not None
    assert told.glance.rows[0][3].text == "100.0"
    assert told.tasks[0].grid.rows[0][1].small == "chosen on validation, 1 of 2 seeds"


@pytest.mark.slow
def test_a_task_that_a_run_could_not_answer_is_told(swept: Path) -> None:
    answers(swept, better=0.3)
    path = swept / "decoder_ar" / "seed1" / "evaluation.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"not_asked": {"blimp, zero_shot": "no head"}}))
    told = section(load(swept))
    assert told is not None
    assert told.not_asked == ["decoder_ar was not asked blimp, zero_shot: no head (seed 1)"]
    assert told.not_asked[0] in report.write(swept).read_text()


def test_cut_texts_and_diverged_finetunings_are_told(swept: Path) -> None:
    answers(swept, better=0.3)
    told = section(load(swept))
    assert told is not None
    remarks = told.tasks[0].remarks
    assert "encoder_ae: cut, from the end: 3 of test." in remarks
    assert "4 finetunings diverged; they count and were not repeated." in remarks
    assert "Noted." in remarks


def test_the_largest_number_of_examples_is_the_main_one(swept: Path) -> None:
    few, many = np.zeros(ITEMS, dtype=bool), np.ones(ITEMS, dtype=bool)
    for arm in ARMS:
        for seed in range(2):
            sizes = outcome("pretrained", few, examples=10), outcome("pretrained", many, examples=100)
            write(swept / arm / f"seed{seed}", list(sizes))
    told = section(load(swept))
    assert told is not None
    assert told.glance.rows[0][3].text == "100.0"
    assert told.glance.rows[0][1].text == "none"  # no model from scratch, no assay


@pytest.mark.slow
def test_page_and_markdown_hold_the_tasks_and_a_sweep_without_any_has_no_such_section(swept: Path) -> None:
    report.write(swept)
    assert "## Tasks" not in (swept / "report" / "report.md").read_text()
    answers(swept, better=0.3)
    page = report.write(swept)
    assert '<section id="tasks">' in page.read_text()
    assert "mr, finetuned" in (swept / "report" / "report.md").read_text()
