"""The finetuning grid, the same for every family: equal trials on validation, then nested seeds on test."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from archs.batch import Batch
from archs.families.family import Family
from experiments.data.seeds import mixed
from experiments.evaluation.finetuned.variants import models
from experiments.evaluation.question import Answer, Question, primary
from experiments.recipe.groups.task import FinetuneGrid
from experiments.runs.run import Run
from experiments.tasks.kind import Example, Outcome
from experiments.training.finetuning import finetune
from experiments.training.learner import Learner
from objectives.base import Objective

POOL = 16  # batches whose examples are sorted by length together


@dataclass(frozen=True, eq=False)
class Tuned:
    """What a kind of task gives to the grid, made for one run, since families read in different layouts.

    objective: builds the objective of a choice, such as a pooling. batch: (objective, which training
    examples, a seed that depends on finetuning seed and step) -> the batch to train on. lengths: tokens of
    the training examples. predict: (learner, part) -> one row for each item of "validation", "test" or
    "apart". cut: how many texts of each part were longer than the window. validation: the score that ranks
    trials, higher is better; None = the primary metric.
    """

    objective: Callable[[str], Objective]
    batch: Callable[[Objective, np.ndarray, int], Batch]
    lengths: np.ndarray
    predict: Callable[[Learner, str], pd.DataFrame]
    cut: dict[str, int]
    validation: Callable[[Learner], float] | None = None


@dataclass
class Progress:
    """Prints a line to stderr before each finetuning: its number of how many, its model and settings."""

    task: str
    total: int
    model: str = ""
    begun: int = 0

    def tell(self, what: str) -> None:
        self.begun += 1
        print(
            f"{self.task}: finetuning {self.begun} of {self.total}: {self.model}, {what}",
            file=sys.stderr,
            flush=True,
        )


Prepare = Callable[[Run, Sequence[Example]], Tuned]
Runs = Callable[[Question], Iterator[tuple[str, Run]]]  # the models to finetune, by name


def answer(
    question: Question,
    prepare: Prepare,
    choices: Sequence[str],
    axis: str = "pooling",
    runs: Runs = models,
) -> Answer:
    """Finetunes each of the runs on every number of training examples, and evaluates the test once.

    choices: what to try as the variant's entry `axis`, such as two poolings. Each choice keeps the learning
    rate that is best on validation. The best choice on validation is the answer's first outcome, then the
    others.
    """
    grid, cut, named_runs = question.ask.finetune, {}, list(runs(question))
    outcomes: list[Outcome] = []
    trials: list[dict[str, object]] = []
    per_choice = len(grid.learning_rates) + grid.seeds - 1
    sizes = list(dict.fromkeys(min(count, len(question.data.train)) for count in question.ask.examples))
    progress = Progress(question.task.name, len(sizes) * len(named_runs) * len(choices) * per_choice)
    own_family: Family | None = None
    for count in sizes:
        train = question.data.train[:count]
        for name, run in named_runs:
            progress.model = f"{name}, {count:,} examples"
            tuned = prepare(run, train)
            cut |= tuned.cut
            kept = [
                _kept(
                    question, run, tuned, choice, {"model": name, axis: choice, "examples": count}, progress
                )
                for choice in choices
            ]
            trials += [trial for each in kept for trial in each.trials]
            kept.sort(key=lambda each: -each.score)
            outcomes += [outcome for each in kept for outcome in each.outcomes]
            if run is question.run:
                own_family = kept[0].family
    return Answer(outcomes, trials, cut, finetuned=own_family)


@dataclass(frozen=True, eq=False)
class _Kept:
    """A choice at its best learning rate: the score on validation, the family, the outcomes on the test."""

    score: float
    family: Family
    outcomes: list[Outcome]
    trials: list[dict[str, object]]


def _kept(
    question: Question,
    run: Run,
    tuned: Tuned,
    choice: str,
    variant: dict[str, str | int],
    progress: Progress,
) -> _Kept:
    """Tries every learning rate, and evaluates the test with the best."""
    best: tuple[float, float, Learner] | None = None
    trials: list[dict[str, object]] = []
    for rate in question.ask.finetune.learning_rates:
        learner, steps = finetuned(run, tuned, choice, rate, 0, question.ask.finetune, progress)
        score, lost = judged(question, tuned, learner)
        settings = {"learning_rate": rate, "finetuning_seed": 0, "diverged": lost, "steps": steps}
        trials.append({**variant, **settings, "validation": score})
        if best is None or score > best[0]:
            best = score, rate, learner
    assert best is not None
    score, rate, learner = best
    rows, further = evaluated(question, tuned, run, choice, rate, learner, progress)
    trials += [variant | each for each in further]
    outcomes = [Outcome(variant | {"part": part}, each) for part, each in rows.items()]
    return _Kept(score, learner.family, outcomes, trials)


def finetuned(
    run: Run, tuned: Tuned, choice: str, rate: float, seed: int, grid: FinetuneGrid, progress: Progress
) -> tuple[Learner, int]:
    """Finetunes once; returns the learner and its steps.

    Data order and head depend on the finetuning seed alone.
    """
    orders = batches(tuned.lengths, grid.batch, grid.epochs, seed)
    orders = orders[: grid.steps] if grid.steps else orders
    asks = tuned.objective(choice)
    progress.tell(f"{choice}, learning rate {rate:g}, seed {seed}, {len(orders)} steps")
    build_step = lambda step: tuned.batch(asks, orders[step], mixed(seed, step))  # noqa: E731
    return finetune(run, asks, build_step, len(orders), rate, seed), len(orders)


def batches(lengths: np.ndarray, batch: int, epochs: int, seed: int) -> list[np.ndarray]:
    """The examples of each step: shuffled, sorted by length within POOL batches, then the batches shuffled.

    So the examples of a batch have about one length, and little of it is padding. Pure in its arguments.
    """
    rng, steps = np.random.default_rng(seed), []
    for _ in range(epochs):
        order, epoch = rng.permutation(len(lengths)), []
        for pool in np.array_split(order, max(1, math.ceil(len(order) / (batch * POOL)))):
            ordered = pool[np.argsort(lengths[pool], kind="stable")]
            epoch += np.array_split(ordered, max(1, math.ceil(len(ordered) / batch)))
        steps += [epoch[place] for place in rng.permutation(len(epoch))]
    return steps


def evaluated(
    question: Question, tuned: Tuned, run: Run, choice: str, rate: float, first: Learner, progress: Progress
) -> tuple[dict[str, pd.DataFrame], list[dict[str, object]]]:
    """The rows of each test part over all finetuning seeds, and a record of each seed after the first.

    first: the learner of the first seed, which is the trial itself.
    """
    rows: dict[str, list[pd.DataFrame]] = {part: [] for part in question.data.asked}
    grid, further, learner = question.ask.finetune, [], first
    for seed in range(grid.seeds):
        if seed > 0:
            learner, steps = finetuned(run, tuned, choice, rate, seed, grid, progress)
            settings = {"learning_rate": rate, "finetuning_seed": seed, "diverged": diverged(learner)}
            further.append({**settings, "steps": steps})
        for part in rows:
            rows[part].append(with_finite_nats(tuned.predict(learner, part)).assign(finetuning_seed=seed))
    return {part: pd.concat(each, ignore_index=True) for part, each in rows.items()}, further


def with_finite_nats(rows: pd.DataFrame) -> pd.DataFrame:
    """Replaces nats that are not finite by 8 bits a byte, the cost of the text without a model.

    So a finetuning that diverged enters each mean as a model that knows nothing.
    """
    if "nats" not in rows:
        return rows
    nothing = math.log(2**8) * rows["bytes"]
    return rows.assign(nats=rows["nats"].where(np.isfinite(rows["nats"]), nothing))


def diverged(learner: Learner) -> bool:
    """Whether a weight is not finite."""
    return not all(bool(torch.isfinite(each).all()) for each in learner.parameters())


def judged(question: Question, tuned: Tuned, learner: Learner) -> tuple[float, bool]:
    """The score on validation (higher is better; -inf if not a number), and whether the learner diverged."""
    if diverged(learner):
        return -math.inf, True
    if tuned.validation is not None:
        score = tuned.validation(learner)
    else:
        metric = primary(question)
        value = metric.of(tuned.predict(learner, "validation"))
        score = value if metric.better == "higher" else -value
    return (-math.inf if math.isnan(score) else score), False
