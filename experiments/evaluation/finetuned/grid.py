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
    """What a kind brings to the grid, made for one run as it reads (a family may read in another way).

    objective: for a way of answering. batch: (objective, which training examples, a seed that is a function
    of finetuning seed and step) -> what is trained on. lengths: of the training examples, in tokens. predict:
    (learner, part) -> one row an item of "validation", "test" or "apart". cut: texts of each part that were
    longer than the window. validation: what a trial is judged by, higher better; None: the primary metric.
    """

    objective: Callable[[str], Objective]
    batch: Callable[[Objective, np.ndarray, int], Batch]
    lengths: np.ndarray
    predict: Callable[[Learner, str], pd.DataFrame]
    cut: dict[str, int]
    validation: Callable[[Learner], float] | None = None


@dataclass
class Progress:
    """A line on stderr before each finetuning: which of how many, and of what."""

    task: str
    total: int
    of: str = ""
    begun: int = 0

    def tell(self, what: str) -> None:
        self.begun += 1
        print(
            f"{self.task}: finetuning {self.begun} of {self.total}: {self.of}, {what}",
            file=sys.stderr,
            flush=True,
        )


Prepare = Callable[[Run, Sequence[Example]], Tuned]
Runs = Callable[[Question], Iterator[tuple[str, Run]]]  # what is finetuned, by name


def answer(
    question: Question,
    prepare: Prepare,
    ways: Sequence[str],
    axis: str = "pooling",
    runs: Runs = models,
) -> Answer:
    """Finetunes at every number of training examples, each of the runs, and asks the test once.

    ways: of answering, the values of the variant's word `axis`. Of each way the learning rate that is best on
    validation is kept; the way that is best there is the answer's first outcome, and the others follow.
    """
    grid, cut, asked_of = question.ask.finetune, {}, list(runs(question))
    outcomes: list[Outcome] = []
    trials: list[dict[str, object]] = []
    each_way = len(grid.learning_rates) + grid.seeds - 1
    sizes = list(dict.fromkeys(min(count, len(question.data.train)) for count in question.ask.examples))
    progress = Progress(question.task.name, len(sizes) * len(asked_of) * len(ways) * each_way)
    own: Family | None = None
    for count in sizes:
        train = question.data.train[:count]
        for name, run in asked_of:
            progress.of = f"{name}, {count:,} examples"
            tuned = prepare(run, train)
            cut |= tuned.cut
            kept = [
                _kept(question, run, tuned, way, {"model": name, axis: way, "examples": count}, progress)
                for way in ways
            ]
            trials += [trial for each in kept for trial in each.trials]
            kept.sort(key=lambda each: -each.score)
            outcomes += [outcome for each in kept for outcome in each.outcomes]
            if run is question.run:
                own = kept[0].family
    return Answer(outcomes, trials, cut, finetuned=own)


@dataclass(frozen=True, eq=False)
class _Kept:
    """A way of answering at the learning rate that validation chose: its score there, and the test's rows."""

    score: float
    family: Family
    outcomes: list[Outcome]
    trials: list[dict[str, object]]


def _kept(
    question: Question,
    run: Run,
    tuned: Tuned,
    way: str,
    variant: dict[str, str | int],
    progress: Progress,
) -> _Kept:
    """Tries every learning rate, and asks the test with the best."""
    best: tuple[float, float, Learner] | None = None
    trials: list[dict[str, object]] = []
    for rate in question.ask.finetune.learning_rates:
        learner, steps = finetuned(run, tuned, way, rate, 0, question.ask.finetune, progress)
        score, lost = judged(question, tuned, learner)
        told = {"learning_rate": rate, "finetuning_seed": 0, "diverged": lost, "steps": steps}
        trials.append({**variant, **told, "validation": score})
        if best is None or score > best[0]:
            best = score, rate, learner
    assert best is not None
    score, rate, learner = best
    rows, further = asked(question, tuned, run, way, rate, learner, progress)
    trials += [variant | each for each in further]
    outcomes = [Outcome(variant | {"part": part}, each) for part, each in rows.items()]
    return _Kept(score, learner.family, outcomes, trials)


def finetuned(
    run: Run, tuned: Tuned, way: str, rate: float, seed: int, grid: FinetuneGrid, progress: Progress
) -> tuple[Learner, int]:
    """One finetuning, and its steps. Data order and head are functions of the finetuning seed alone."""
    orders = batches(tuned.lengths, grid.batch, grid.epochs, seed)
    orders = orders[: grid.steps] if grid.steps else orders
    asks = tuned.objective(way)
    progress.tell(f"{way}, learning rate {rate:g}, seed {seed}, {len(orders)} steps")
    build_step = lambda step: tuned.batch(asks, orders[step], mixed(seed, step))  # noqa: E731
    return finetune(run, asks, build_step, len(orders), rate, seed), len(orders)


def batches(lengths: np.ndarray, batch: int, epochs: int, seed: int) -> list[np.ndarray]:
    """Which examples each step reads: shuffled, then sorted by length within POOL batches, then shuffled.

    A batch's examples are of about one length, so little of it is padding; pure in its arguments.
    """
    rng, steps = np.random.default_rng(seed), []
    for _ in range(epochs):
        order, epoch = rng.permutation(len(lengths)), []
        for pool in np.array_split(order, max(1, math.ceil(len(order) / (batch * POOL)))):
            ordered = pool[np.argsort(lengths[pool], kind="stable")]
            epoch += np.array_split(ordered, max(1, math.ceil(len(ordered) / batch)))
        steps += [epoch[place] for place in rng.permutation(len(epoch))]
    return steps


def asked(
    question: Question, tuned: Tuned, run: Run, way: str, rate: float, first: Learner, progress: Progress
) -> tuple[dict[str, pd.DataFrame], list[dict[str, object]]]:
    """Test rows, and those apart, of all finetuning seeds; and what became of those after the first.

    The first is the trial itself.
    """
    rows: dict[str, list[pd.DataFrame]] = {part: [] for part in question.data.asked}
    grid, further, learner = question.ask.finetune, [], first
    for seed in range(grid.seeds):
        if seed > 0:
            learner, steps = finetuned(run, tuned, way, rate, seed, grid, progress)
            told = {"learning_rate": rate, "finetuning_seed": seed, "diverged": diverged(learner)}
            further.append({**told, "steps": steps})
        for part in rows:
            rows[part].append(numbered(tuned.predict(learner, part)).assign(finetuning_seed=seed))
    return {part: pd.concat(each, ignore_index=True) for part, each in rows.items()}, further


def numbered(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows whose nats, where they are no numbers, are 8 bits a byte: what the text takes without a model.

    So a finetuning that diverged counts as one that knows nothing, in each mean.
    """
    if "nats" not in rows:
        return rows
    nothing = math.log(2**8) * rows["bytes"]
    return rows.assign(nats=rows["nats"].where(np.isfinite(rows["nats"]), nothing))


def diverged(learner: Learner) -> bool:
    """Whether its weights are no numbers any more."""
    return not all(bool(torch.isfinite(each).all()) for each in learner.parameters())


def judged(question: Question, tuned: Tuned, learner: Learner) -> tuple[float, bool]:
    """How good it is on validation, higher better, -inf if that is no number; and whether it diverged."""
    if diverged(learner):
        return -math.inf, True
    if tuned.validation is not None:
        score = tuned.validation(learner)
    else:
        metric = primary(question)
        value = metric.of(tuned.predict(learner, "validation"))
        score = value if metric.better == "higher" else -value
    return (-math.inf if math.isnan(score) else score), False
