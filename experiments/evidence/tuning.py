"""The record of a sweep's tuning: the trials of each arm, and the point that each chose."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from experiments.storage.json_files import read_json

SEED = 2**31 - 1  # the seed of all trials
FILE = "tuning.json"


@dataclass(frozen=True)
class Point:
    """A point of the grid. warmup: a fraction of the trial's budget."""

    learning_rate: float
    warmup: float

    @property
    def name(self) -> str:
        return f"lr{self.learning_rate:g}-warmup{self.warmup:g}"


@dataclass(frozen=True)
class Trial:
    """One point tried for one arm. loss: its last validation loss, in nats; None if it diverged."""

    point: Point
    loss: float | None
    flops: float
    tokens: float
    seconds: float


@dataclass(frozen=True)
class Tuning:
    """Every arm's trials, in the order of the grid.

    fraction: of the budget, that a trial spends. rates: all learning rates tried, those added later included.
    """

    fraction: float
    rates: list[float]
    warmups: list[float]
    trials: dict[str, list[Trial]] = field(default_factory=dict)

    def chosen(self, arm: str) -> Point:
        """Returns the point with the least loss; of equals the one with the smaller learning rate."""
        return min(self.trials[arm], key=lambda trial: (_worst(trial.loss), trial.point.learning_rate)).point

    def end(self, arm: str) -> int:
        """Returns -1 if the arm's best learning rate is the least of the grid, +1 if the greatest, else 0."""
        rate = self.chosen(arm).learning_rate
        return (rate == self.rates[-1]) - (rate == self.rates[0])

    @property
    def cost(self) -> dict[str, float]:
        """FLOPs, tokens and seconds of all trials together."""
        every = [trial for trials in self.trials.values() for trial in trials]
        return {name: sum(getattr(trial, name) for trial in every) for name in ("flops", "tokens", "seconds")}

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {
            "seed": SEED,
            "cost": self.cost,
            "chosen": {arm: asdict(self.chosen(arm)) for arm in self.trials},
            "at_the_end_of_the_grid": [arm for arm in self.trials if self.end(arm)],
        }

    @classmethod
    def load(cls, folder: Path) -> Tuning | None:
        """Reads tuning.json of a sweep's folder; None if it was not tuned."""
        content = read_json(folder / FILE)
        if content is None:
            return None
        trials = {
            arm: [Trial(**{**trial, "point": Point(**trial["point"])}) for trial in of_arm]
            for arm, of_arm in content["trials"].items()
        }
        return cls(content["fraction"], content["rates"], content["warmups"], trials)


def _worst(loss: float | None) -> float:
    return math.inf if loss is None else loss
