"""Shared by the kinds of task that score texts with a trained run, without training it further."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

import pandas as pd

from experiments.evaluation.question import Question
from experiments.evaluation.scoring.checks import Pll, check, encode
from experiments.evaluation.scoring.token_scores import TokenScores, score_tokens
from experiments.tasks.kind import Outcome

Ids = Sequence[int]


def pll_of(question: Question) -> Pll | None:
    """How an encoder-AE's tokens are hidden; None for families whose scores are exact."""
    return question.ask.pll if question.run.family.unit == "pll" else None


def outcome(part: str, rows: pd.DataFrame) -> Outcome:
    """The outcome of a part. Its variant names the unit, so that a table never mixes two units in one row."""
    return Outcome({"model": "pretrained", "unit": rows.unit[0], "part": part}, rows)


def encoded(question: Question, pairs: Sequence[tuple[str, str]]) -> list[tuple[list[int], list[int]]]:
    """The ids of each (context, text), tokenised separately. Raises UserError as `score_texts` does."""
    run = question.run
    check(run.family, run.objective, run.corpus.tokenizer, pll_of(question))
    return encode(pairs, run.corpus.tokenizer)


def scored(question: Question, texts: Sequence[tuple[Ids, Ids]]) -> Iterator[TokenScores]:
    """The scores of each (context ids, text ids) in order; reports texts longer than training's windows."""
    name, window = question.task.name, question.run.recipe.size.length
    longer = sum(len(context) + len(text) > window for context, text in texts)
    note = f", {longer:,} of them longer than training's windows of {window} tokens" if longer else ""
    print(f"{name}: scoring {len(texts):,} texts{note}", file=sys.stderr, flush=True)
    return score_tokens(question.run.family, question.run.objective, texts, pll_of(question))
