"""The examples that a run is asked, and what the baselines predict for them; both are kept in memory."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from experiments.recipe.groups.task import AskConfig, TaskConfig
from experiments.tasks.kind import LEARNED, Data, Example, Outcome
from experiments.tasks.kinds import KINDS
from experiments.tasks.modes import mode_of
from experiments.tasks.rows import load


def examples_of(ask: AskConfig) -> Data:
    """Returns a task's data with the subsets that `ask` names. The last result is kept for the next run."""
    return _examples(
        ask.task.model_dump_json(), mode_of(ask) in LEARNED, ask.items, ask.validation, _file_times(ask.task)
    )


def _file_times(task: TaskConfig) -> tuple[int, ...]:
    """Returns when the task's files were last written, so that changed files are read again."""
    files = [] if task.path is None else sorted(Path(task.path).glob("*")) or [Path(task.path)]
    return tuple(file.stat().st_mtime_ns for file in files if file.exists())


@lru_cache(maxsize=1)
def _examples(task: str, training: bool, items: int | None, judged: int, times: tuple[int, ...]) -> Data:
    config = TaskConfig.model_validate_json(task)
    data = load(config, KINDS[config.kind], training)
    test, validation = subset(data.test, items), subset(data.validation, judged)
    notes = [*data.notes]
    if len(validation) < len(data.validation):
        notes.append(f"trials are judged by {judged:,} of {len(data.validation):,} validation examples")
    digest = data.digest
    if len(test) < len(data.test):
        notes.append(f"{len(test):,} of {len(data.test):,} test items, drawn by a fixed seed")
        digest = hashlib.sha256(f"{digest} {len(test)}".encode()).hexdigest()[:16]
    return replace(data, test=test, validation=validation, notes=notes, digest=digest)


def subset(items: list[Example], wanted: int | None) -> list[Example]:
    """Returns `wanted` of the items, drawn by a fixed seed, in order; of each paradigm its share."""
    if wanted is None or wanted >= len(items):
        return items
    rng, groups = np.random.default_rng(0), {}
    for place, item in enumerate(items):
        groups.setdefault(item.get("paradigm"), []).append(place)
    chosen: list[int] = []
    for places in groups.values():
        share = max(1, round(wanted * len(places) / len(items)))
        chosen += rng.permutation(places)[:share].tolist()
    return [items[place] for place in sorted(chosen)]


@lru_cache(maxsize=1)
def baselines_of(kind: str, data: Data, most: int) -> list[Outcome]:
    """Returns the baselines' outcomes on the same test, fitted on the first `most` training examples."""
    fit = KINDS[kind].baselines
    if fit is None:
        return []
    train = data.train[:most]
    return [
        Outcome({"model": name, "examples": len(train), "part": part}, rows)
        for part, items in data.asked.items()
        for name, rows in fit(train, items).items()
    ]
