"""Generation: a text is to be written given another; one or more references say what it might be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import torch

from archs.batch import Batch
from archs.families.family import Family
from archs.families.single_stack import SingleStack
from experiments.evaluation.finetuned.grid import Tuned, answer
from experiments.evaluation.finetuned.source_target import Pairs, encoded, longest_target
from experiments.evaluation.finetuned.variants import as_prefix, fresh
from experiments.evaluation.finetuned.writing import LENGTH_PENALTY, loss, nats, taught, write
from experiments.evaluation.question import Answer, Question, primary
from experiments.runs.run import Run
from experiments.tasks.kind import Example
from experiments.training.learner import Learner
from objectives.base import Objective
from objectives.conditional import Conditional


def finetuned(question: Question) -> Answer:
    """The comparison of all families under the prefix mask; then, where that is another, the family's own.

    Raises UserError for a family that cannot be asked, before anything is finetuned.
    """
    run, longest = question.run, longest_target(question.run, question.data.train)
    own = shared_way(run.family) is not run.family
    if own:
        Conditional(run.corpus.vocabulary, run.family.layout)  # may lack a mask token

    def ask(way: str, runs: list[tuple[str, Run]]) -> Answer:
        prepare = lambda run, train: prepared(question, run, train, longest)  # noqa: E731
        return answer(question, prepare, [way], "decoding", lambda _: iter(runs))

    shared = ask("shared", list(writers(question)))
    apart = ask("own", [("pretrained", run)]) if own else Answer([])
    told = {"longest": longest, "beams": question.ask.beams, "length_penalty": LENGTH_PENALTY}
    told |= {"own": run.family.decoding} if own else {}
    return Answer(
        [*shared.outcomes, *apart.outcomes],
        [*shared.trials, *apart.trials],
        shared.cut,
        {"writes": told},
        apart.finetuned if own else shared.finetuned,
    )


def writers(question: Question) -> Iterator[tuple[str, Run]]:
    """What is compared: the run under the prefix mask, and the same shape untrained."""
    run = question.run
    shared = shared_way(run.family)
    yield "pretrained", run if shared is run.family else replace(run, family=shared)
    if question.ask.finetune.scratch:
        yield "scratch", replace(run, family=as_prefix(fresh(run)))


def shared_way(family: Family) -> Family:
    """`as_prefix` of a family; the family itself where it reads and writes so as it is."""
    other = as_prefix(family)
    both = isinstance(family, SingleStack) and isinstance(other, SingleStack)
    return family if both and family.build_mask is other.build_mask else other


def prepared(question: Question, run: Run, train: Sequence[Example], longest: int) -> Tuned:
    """How one run, as its family reads, is finetuned and asked.

    Blanks end nowhere, so where the family fills them all at once its targets go on with eos to `longest`,
    as the padding of LLaDA (Nie et al. 2025), and what is written ends at the first.
    """
    others, words = question.data.held, run.corpus.vocabulary
    pairs = {"train": encoded(run, train, longest)}
    pairs |= {part: encoded(run, each, longest) for part, each in others.items()}
    asks, exact = Conditional(words, run.family.layout), run.family.unit == "nll"
    told = {part: _padded(each, longest, words.eos) for part, each in pairs.items()}
    told = told if asks.layout == "in_place" else pairs
    judges_text = "nats" not in primary(question).columns

    def batch(asks: Objective, chosen: np.ndarray, seed: int) -> Batch:
        assert isinstance(asks, Conditional)
        sources = [told["train"].sources[item] for item in chosen]
        targets = [told["train"].targets[item] for item in chosen]
        return taught(asks, sources, one_of_each(targets, seed), seed)

    def predict(learner: Learner, part: str) -> pd.DataFrame:
        rows: dict[str, object] = {"item": range(len(pairs[part]))}
        if exact:
            rows["nats"] = nats(learner.family, asks, pairs[part])
            rows["bytes"] = [sum(each) for each in pairs[part].bytes]
        if part != "validation" or judges_text:
            written = write(learner.family, asks, pairs[part].sources, longest, question.ask.beams)
            rows["prediction"] = [run.corpus.tokenizer.decode(ids).strip() for ids in written]
        return pd.DataFrame(rows | {"references": [each["references"] for each in others[part]]})

    validation = None
    if not exact and not judges_text:
        validation = lambda learner: -loss(learner.family, asks, told["validation"])  # noqa: E731
    cut = {part: each.cut for part, each in pairs.items()}
    cut |= {f"{part}'s references": each.targets_cut for part, each in pairs.items()}
    return Tuned(lambda _: asks, batch, pairs["train"].lengths, predict, cut, validation)


def one_of_each(targets: Sequence[list[list[int]]], seed: int) -> list[list[int]]:
    """The target that each source is read with at a step, a pure function of the step's seed."""
    drawn = torch.rand(len(targets), generator=torch.Generator().manual_seed(seed)).tolist()
    return [each[int(share * len(each))] for each, share in zip(targets, drawn, strict=True)]


def _padded(pairs: Pairs, longest: int, eos: int) -> Pairs:
    targets = [[each + [eos] * (longest - len(each)) for each in targets] for targets in pairs.targets]
    return replace(pairs, targets=targets)
