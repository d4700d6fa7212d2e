"""What is told of a run besides its learning curve: its audit once it is trained, its scores once it has any.

The report reads the same files with the same functions, so that a dashboard and it cannot disagree.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from experiments.evidence.audit import of_run
from experiments.recipe.config import flatten
from experiments.runs.reading import RunRecord, read_run
from experiments.tracking.tracker import Tracker


def show_trained(follow: Tracker, folder: Path, seed: int) -> None:
    """The audit as the report's table and as numbers, one step after the last; and the model."""
    run = read_run(folder, seed)
    assert run.audit is not None
    plan = {name: value for name, value in run.audit["plan"].items() if name != "config"}  # the recipe tells
    numbers = flatten({"audit": {**run.audit, "plan": plan}})
    follow.log(run.audit["spent"]["steps"] + 1, {**_spent(run), "audit_table": of_run(run)})
    follow.summary({_slashed(name): value for name, value in numbers.items() if value is not None})
    follow.model(folder)


def show_evaluated(follow: Tracker, folder: Path, seed: int, who_sees_whom: np.ndarray) -> None:
    """Every score, the samples, and who sees whom, two steps after the last."""
    run = read_run(folder, seed)
    assert run.audit is not None
    shown = {"samples": run.samples, "who_sees_whom": who_sees_whom}
    follow.log(run.audit["spent"]["steps"] + 2, {**_spent(run), **shown})
    follow.summary(scores(run))


def scores(run: RunRecord) -> dict[str, Any]:
    """`score/NAME` as in results.parquet, and `evaluation/…` for every value of evaluation.json."""
    from experiments.evidence.results import of_one_run  # pandas and scipy, which training does without

    found = {f"score/{row['metric']}": row["value"] for row in of_one_run(replace(run, state="done"))}
    asked = {f"evaluation/{_slashed(name)}": value for name, value in flatten(run.evaluation).items()}
    return found | {name: value for name, value in asked.items() if value is not None}


def _spent(run: RunRecord) -> dict[str, Any]:
    """Where on the x-axes what is told after training belongs."""
    assert run.audit is not None
    return {name: value for name, value in run.audit["spent"].items() if name != "steps"}


def _slashed(name: str) -> str:
    """A dotted key with slashes: by them W&B groups columns, and dots it takes for mappings."""
    return name.replace(".", "/")
