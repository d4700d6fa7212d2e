"""The models that a task is finetuned from: pretrained, from scratch, under another mask."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch

from archs.errors import UserError
from archs.families.family import Family
from archs.families.permuted_lm import PermutedLM
from archs.families.prefix_lm import PrefixLM
from archs.families.single_stack import SingleStack
from experiments.evaluation.question import Question
from experiments.recipe.build import build
from experiments.runs.run import Run


def models(question: Question) -> Iterator[tuple[str, Run]]:
    """Yields the run as it is; a causal one with attention in both directions; and the same shape untrained.

    With positions=relative a causal stack keeps its buckets, which tell earlier keys apart only: in both
    directions all later keys share one bucket.
    """
    run, grid = question.run, question.ask.finetune
    yield "pretrained", run
    if grid.unmasked and isinstance(run.family, SingleStack) and not run.family.both_ways:
        yield "unmasked", replace(run, family=PrefixLM.of(run.family).eval())
    if grid.scratch:
        yield "scratch", replace(run, family=fresh(run))


def fresh(run: Run) -> Family:
    """The run's family with its initial weights, drawn by the run's seed."""
    torch.manual_seed(run.recipe.seed)
    return build(run.recipe).family(run.family.config).to(run.device).eval()


def as_prefix(family: Family) -> Family:
    """The family's modules under the prefix mask if it is a single stack; else the family itself.

    Raises UserError for a user's family that has neither a single stack nor a true likelihood.
    """
    if isinstance(family, SingleStack | PermutedLM):
        return PrefixLM.of(family).eval()
    if family.unit != "nll":
        raise UserError(
            f"this task needs a true likelihood of its target, and family '{family.kind}' has the unit "
            f"'{family.unit}'; derive it from SingleStack, or leave the task out"
        )
    return family
