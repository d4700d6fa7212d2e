"""Prepares a run: reads and checks everything that training needs, before the first step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from experiments.budget.plan import Plan, plan_arm
from experiments.data.store import Corpus
from experiments.data.windows import WindowStream
from experiments.recipe.build import Built, build
from experiments.recipe.recipe import Recipe
from experiments.runs.chain import Parent, order_of, parent_of
from experiments.runs.corpus import corpus_of, left_out
from experiments.runs.run import quieten

FAR = 10**9  # steps of a run that only the clock stops


@dataclass(frozen=True, eq=False)
class Prepared:
    """Everything that a run is trained with.

    parent: the run that it begins from, None for fresh weights; left_out: entry of the audit: the number of
    texts that were left out because they contain test text.
    """

    built: Built
    parent: Parent | None
    corpus: Corpus
    windows: WindowStream
    plan: Plan
    left_out: dict[str, Any]

    @property
    def recipe(self) -> Recipe:
        return self.built.recipe

    @property
    def steps(self) -> int:
        """The largest number of optimiser steps; 0 for an untrained run."""
        return FAR if self.plan.steps is None else self.plan.steps


def prepare(recipe: Recipe) -> Prepared:
    """Reads the text, sizes the arm and finds the run that it begins from.

    Raises UserError if these do not fit together.
    """
    quieten(recipe)
    parent = parent_of(recipe)
    corpus = corpus_of(recipe, None if parent is None else parent.tokenizer)
    dropped = left_out(recipe, corpus)
    order = order_of(recipe.seed, parent)
    windows = WindowStream(corpus.train, recipe.training.batch, recipe.size.length, order)
    built = build(recipe)
    plan = plan_arm(built, corpus.vocabulary)
    if parent is not None:
        parent.check_shape(recipe, plan.config)
    return Prepared(built, parent, corpus, windows, plan, dropped)
