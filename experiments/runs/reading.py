"""Reads runs and sweeps back from their folders, without loading a model."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from archs.errors import UserError
from experiments.recipe.recipe import GROUPS
from experiments.runs.folder import RunFolder
from experiments.storage.json_files import read_json, read_lines, read_record

# The loader in C if it is installed: the one in Python takes 20 ms a recipe, and a sweep may have hundreds.
SAFE = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
KEYS = ("name", "question", "arms", "seeds")  # keys of sweep.json
STATES = {
    "done": "done",
    "trained": "trained, not evaluated",
    "running": "unfinished",
    "failed": "failed",
    "diverged": "diverged",
    "pending": "never started",
    "missing": "missing: there is no such folder",
}


@dataclass(frozen=True)
class RunRecord:
    """One run, an arm with a seed, as read from its folder. What the folder lacks is None or empty.

    state: as in status.json, or "missing" if the sweep declares a run that has no folder.
    recipe: plain dicts, because a user's classes need not be importable where the run is read.
    """

    arm: str
    seed: int
    path: Path
    state: str
    why: str = ""
    recipe: dict[str, Any] = field(default_factory=dict)
    audit: dict[str, Any] | None = None
    metrics: list[dict[str, Any]] = field(default_factory=list)
    evaluation: dict[str, Any] = field(default_factory=dict)
    samples: list[dict[str, str]] = field(default_factory=list)
    environment: dict[str, Any] = field(default_factory=dict)

    @property
    def done(self) -> bool:
        return self.state == "done"

    @property
    def story(self) -> str:
        """Its state in words, with how far it got and why it stopped."""
        words = STATES.get(self.state, self.state)
        if self.state in ("running", "failed", "diverged") and self.metrics:
            words += f" at {self.metrics[-1]['fraction']:.0%} of its budget"
        return f"{words} ({self.why})" if self.why else words

    def ask(self, *keys: str) -> Any:
        """Returns a value of evaluation.json, as `run.ask("party", "majority")`; None if not measured."""
        value: Any = self.evaluation
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        return value


@dataclass(frozen=True)
class SweepRecord:
    """The runs of one folder.

    declared: how many runs the sweep declares; None without a sweep.json, as for single runs, where no run
    can be missing.
    """

    folder: Path
    name: str
    question: str
    declared: int | None
    arms: list[str]
    runs: list[RunRecord]

    def of(self, arm: str) -> list[RunRecord]:
        return [run for run in self.runs if run.arm == arm]

    @property
    def done(self) -> list[RunRecord]:
        return [run for run in self.runs if run.done]

    @property
    def unfinished(self) -> list[RunRecord]:
        return [run for run in self.runs if not run.done]

    @property
    def stories(self) -> list[tuple[str, str, str]]:
        """(arm, its seeds in words, story) of the runs that are not done."""
        seeds_of: dict[tuple[str, str], list[str]] = {}
        for run in self.unfinished:
            seeds_of.setdefault((run.arm, run.story), []).append(str(run.seed))
        return [
            (arm, f"seed{'s' if len(seeds) > 1 else ''} {', '.join(seeds)}", story)
            for (arm, story), seeds in seeds_of.items()
        ]

    @property
    def seeds(self) -> list[int]:
        return sorted({run.seed for run in self.runs})

    @property
    def recipe(self) -> dict[str, Any]:
        """The first recipe, for values that all arms share."""
        return next(run.recipe for run in self.runs if run.recipe)


def load(folder: Path) -> SweepRecord:
    """Reads `runs/<sweep>/`. Raises UserError if it holds no run."""
    runs = {(run.arm, run.seed): run for run in _runs(folder)}
    if not runs:
        raise UserError(
            f"'{folder}' holds no run; give a sweep's folder, where runs are in ARM/seed0, such as "
            "runs/five_families, or start one: pentarch sweep five_families"
        )
    sweep = read_record(folder / "sweep.json", *KEYS)
    wanted = declared(folder)
    for arm, seed in wanted:
        if (arm, seed) not in runs:
            runs[arm, seed] = RunRecord(arm, seed, folder / arm / f"seed{seed}", "missing")
    # Arms are in the order of their declaration, not of their results.
    arms = list(dict.fromkeys([arm for arm, _ in wanted] + sorted(arm for arm, _ in runs)))
    ordered = sorted(runs.values(), key=lambda run: (arms.index(run.arm), run.seed))
    if sweep is None:
        return SweepRecord(folder, folder.resolve().name, "", None, arms, ordered)
    return SweepRecord(folder, sweep["name"], sweep["question"], len(wanted), arms, ordered)


def declared(folder: Path) -> list[tuple[str, int]]:
    """Returns (arm, seed) of every run that a sweep declares, [] if the folder is not a sweep's.

    They are those of design.json or, without one, every arm with every seed.
    """
    sweep = read_record(folder / "sweep.json", *KEYS)
    if sweep is None:
        return []
    design = read_record(folder / "design.json", "seeds")
    if design is None:
        return [(arm, seed) for arm in sweep["arms"] for seed in range(sweep["seeds"])]
    return [(arm, seed) for arm, count in design["seeds"].items() for seed in range(count)]


def _runs(folder: Path) -> Iterator[RunRecord]:
    for path in sorted(folder.glob("*/seed*")):
        seed = re.fullmatch(r"seed(\d+)", path.name)
        if seed and (path / "recipe.yaml").exists():
            yield read_run(path, int(seed[1]))


def read_run(path: Path, seed: int) -> RunRecord:
    """Reads one run from a folder with a recipe. Raises UserError if one of its files is damaged."""
    folder = RunFolder(path)
    status = folder.status
    run = RunRecord(
        arm=path.parent.name,
        seed=seed,
        path=path,
        state=status["state"],
        why=" ".join(str(status.get("why", "")).split()),
        recipe=_recipe(folder.recipe),
        audit=read_json(folder.audit),
        metrics=read_lines(folder.metrics),
        evaluation=read_json(path / "evaluation.json") or {},
        samples=read_json(path / "samples.json") or [],
        environment=read_json(path / "environment.json") or {},
    )
    if run.state in ("trained", "done") and run.audit:
        steps, recorded = run.audit["spent"]["steps"], run.metrics[-1]["step"] if run.metrics else 0
        if steps != recorded:
            raise UserError(
                f"'{folder.metrics}' is cut short or damaged: it ends at step {recorded} of {steps}; delete "
                "status.json there, and train and evaluate again"
            )
    return run


def _recipe(path: Path) -> dict[str, Any]:
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), SAFE)
    except (yaml.YAMLError, UnicodeDecodeError):
        content = None
    if isinstance(content, dict) and set(GROUPS) | {"seed"} <= set(content):
        return content
    raise UserError(
        f"'{path}' is cut short or damaged; put it back, or delete the folder to have the run again"
    )
