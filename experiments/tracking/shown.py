"""Sends a run's audit and scores to its tracker.

The report reads the same files with the same functions, so that a dashboard and the report always agree.
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
    """Logs the audit, as the report's table and as numbers, one step after the last; and the model."""
    run = read_run(folder, seed)
    assert run.audit is not None
    plan = {
        name: value for name, value in run.audit["plan"].items() if name != "config"
    }  # it is in the recipe
    numbers = flatten({"audit": {**run.audit, "plan": plan}})
    follow.log(run.audit["spent"]["steps"] + 1, {**_spent(run), "audit_table": of_run(run)})
    follow.summary({_slashed(name): value for name, value in numbers.items() if value is not None})
    follow.model(folder)


def show_evaluated(follow: Tracker, folder: Path, seed: int, who_sees_whom: np.ndarray) -> None:
    """Logs every score, the samples, and which token sees which, two steps after the last."""
    run = read_run(folder, seed)
    assert run.audit is not None
    shown = {"samples": run.samples, "who_sees_whom": who_sees_whom}
    follow.log(run.audit["spent"]["steps"] + 2, {**_spent(run), **shown})
    follow.summary(scores(run))


def scores(run: RunRecord) -> dict[str, Any]:
    """Returns `score/NAME` as in results.parquet, and `evaluation/…` for each value of evaluation.json."""
    # Imports pandas and scipy, which training does not need.
    from experiments.evidence.results import of_one_run

    metrics = {f"score/{row['metric']}": row["value"] for row in of_one_run(replace(run, state="done"))}
    evaluation = {f"evaluation/{_slashed(name)}": value for name, value in flatten(run.evaluation).items()}
    return metrics | {name: value for name, value in evaluation.items() if value is not None}


def _spent(run: RunRecord) -> dict[str, Any]:
    """Returns the values of the x-axes at the end of training."""
    assert run.audit is not None
    return {name: value for name, value in run.audit["spent"].items() if name != "steps"}


def _slashed(name: str) -> str:
    """Returns a dotted key with slashes. W&B groups columns by slashes, and reads dots as mappings."""
    return name.replace(".", "/")
