"""The finetuning grid, the same for every family: equal trials on validation, then nested seeds on test."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch

from archs.batch import Batch
from archs.errors import UserError
from archs.family import Family
from archs.permuted_lm import PermutedLM
from archs.prefix_lm import PrefixLM
from archs.single_stack import SingleStack
from experiments import build
from experiments.finetune import finetune
from experiments.learner import Learner
from experiments.module import mixed
from experiments.run import Run
from experiments.tasks.kind import Answer, Example, Outcome, Question
from experiments.tasks.metrics import METRICS, Metric
from experiments.tasks.task import FinetuneGrid
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


def models(question: Question) -> Iterator[tuple[str, Run]]:
    """The run as it is; a causal one reading in both directions; and the same shape untrained.

    With positions=relative a causal stack keeps its buckets, which are for earlier keys alone: where it reads
    in both directions, all later keys share one.
    """
    run, grid = question.run, question.ask.finetune
    yield "pretrained", run
    if grid.unmasked and isinstance(run.family, SingleStack) and not run.family.both_ways:
        yield "unmasked", replace(run, family=PrefixLM.of(run.family).eval())
    if grid.scratch:
        yield "scratch", replace(run, family=fresh(run))


def fresh(run: Run) -> Family:
    """The run's family with the weights that its seed began from."""
    torch.manual_seed(run.recipe.seed)
    return build.family(run.recipe, run.family.config).to(run.device).eval()


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


def as_prefix(family: Family) -> Family:
    """A single stack's modules under the prefix mask; another family itself.

    Raises UserError for a family of one's own that has neither one stack nor a true likelihood.
    """
    if isinstance(family, SingleStack | PermutedLM):
        return PrefixLM.of(family).eval()
    if family.unit != "nll":
        raise UserError(
            f"this task needs a true likelihood of its target, and family '{family.kind}' has the unit "
            f"'{family.unit}'; derive it from SingleStack, or leave the task out"
        )
    return family


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


def primary(question: Question) -> Metric:
    from experiments.tasks.kinds import KINDS

    task = question.task
    return METRICS[(task.metrics or KINDS[task.kind].metrics)[0]]
