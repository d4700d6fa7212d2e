"""The examples that a question is asked with: a task's, a subset of its test, what baselines say of them."""

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
    """A task's data as it is asked; read once for the runs of a sweep that are asked one after another."""
    return _examples(
        ask.task.model_dump_json(), mode_of(ask) in LEARNED, ask.items, ask.validation, _written(ask.task)
    )


def _written(task: TaskConfig) -> tuple[int, ...]:
    """When the task's files were last written: what is kept of others must not be taken for theirs."""
    files = [] if task.path is None else sorted(Path(task.path).glob("*")) or [Path(task.path)]
    return tuple(file.stat().st_mtime_ns for file in files if file.exists())


@lru_cache(maxsize=1)
def _examples(task: str, training: bool, items: int | None, judged: int, written: tuple[int, ...]) -> Data:
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
    """So many of the items, drawn by a fixed seed, in their order; of each paradigm its share."""
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
    """Fitted on as many training examples as the models had at most, and asked the same test."""
    fit = KINDS[kind].baselines
    if fit is None:
        return []
    train = data.train[:most]
    return [
        Outcome({"model": name, "examples": len(train), "part": part}, rows)
        for part, items in data.asked.items()
        for name, rows in fit(train, items).items()
    ]
