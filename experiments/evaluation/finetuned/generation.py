"""Generation: a text is written given a source, and compared with one or more references."""

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
    """Finetunes and evaluates under the prefix mask, shared by all families; then under the family's own.

    The second part is left out if the family's own mask is the prefix mask. Raises UserError for a family
    that cannot do the task, before anything is finetuned.
    """
    run, longest = question.run, longest_target(question.run, question.data.train)
    own = under_prefix_mask(run.family) is not run.family
    if own:
        Conditional(run.corpus.vocabulary, run.family.layout)  # may lack a mask token

    def ask(decoding: str, runs: list[tuple[str, Run]]) -> Answer:
        prepare = lambda run, train: prepared(question, run, train, longest)  # noqa: E731
        return answer(question, prepare, [decoding], "decoding", lambda _: iter(runs))

    shared = ask("shared", list(writers(question)))
    own_decoding = ask("own", [("pretrained", run)]) if own else Answer([])
    writes = {"longest": longest, "beams": question.ask.beams, "length_penalty": LENGTH_PENALTY}
    writes |= {"own": run.family.decoding} if own else {}
    return Answer(
        [*shared.outcomes, *own_decoding.outcomes],
        [*shared.trials, *own_decoding.trials],
        shared.cut,
        {"writes": writes},
        own_decoding.finetuned if own else shared.finetuned,
    )


def writers(question: Question) -> Iterator[tuple[str, Run]]:
    """The runs to compare: the run under the prefix mask, and the same shape untrained."""
    run = question.run
    shared = under_prefix_mask(run.family)
    yield "pretrained", run if shared is run.family else replace(run, family=shared)
    if question.ask.finetune.scratch:
        yield "scratch", replace(run, family=as_prefix(fresh(run)))


def under_prefix_mask(family: Family) -> Family:
    """`as_prefix` of a family; the family itself if it has the prefix mask already."""
    other = as_prefix(family)
    both = isinstance(family, SingleStack) and isinstance(other, SingleStack)
    return family if both and family.build_mask is other.build_mask else other


def prepared(question: Question, run: Run, train: Sequence[Example], longest: int) -> Tuned:
    """How one run is finetuned and evaluated, in its family's own layout.

    A family that fills all blanks at once cannot end a text. So its targets are filled with eos up to
    `longest`, as LLaDA pads (Nie et al. 2025), and a prediction ends at the first eos.
    """
    others, words = question.data.held, run.corpus.vocabulary
    pairs = {"train": encoded(run, train, longest)}
    pairs |= {part: encoded(run, each, longest) for part, each in others.items()}
    asks, exact = Conditional(words, run.family.layout), run.family.unit == "nll"
    pairs_to_read = {part: _padded(each, longest, words.eos) for part, each in pairs.items()}
    pairs_to_read = pairs_to_read if asks.layout == "in_place" else pairs
    judges_text = "nats" not in primary(question).columns

    def batch(asks: Objective, chosen: np.ndarray, seed: int) -> Batch:
        assert isinstance(asks, Conditional)
        sources = [pairs_to_read["train"].sources[item] for item in chosen]
        targets = [pairs_to_read["train"].targets[item] for item in chosen]
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
        validation = lambda learner: -loss(learner.family, asks, pairs_to_read["validation"])  # noqa: E731
    cut = {part: each.cut for part, each in pairs.items()}
    cut |= {f"{part}'s references": each.targets_cut for part, each in pairs.items()}
    return Tuned(lambda _: asks, batch, pairs["train"].lengths, predict, cut, validation)


def one_of_each(targets: Sequence[list[list[int]]], seed: int) -> list[list[int]]:
    """Draws the target that each source is trained with at a step; a pure function of the step's seed."""
    drawn = torch.rand(len(targets), generator=torch.Generator().manual_seed(seed)).tolist()
    return [each[int(share * len(each))] for each, share in zip(targets, drawn, strict=True)]


def _padded(pairs: Pairs, longest: int, eos: int) -> Pairs:
    targets = [[each + [eos] * (longest - len(each)) for each in targets] for targets in pairs.targets]
    return replace(pairs, targets=targets)
