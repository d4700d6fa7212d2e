"""Cloze: the last word of a text, given all before it (LAMBADA, Paperno et al. 2016)."""

from __future__ import annotations

import pandas as pd

from experiments.evaluation.question import Answer, Question
from experiments.evaluation.scoring.token_scores import TokenScores
from experiments.evaluation.zero_shot.scores import Ids, encoded, outcome, scored
from experiments.tasks.kind import Example


def zero_shot(question: Question) -> Answer:
    """A word is right if greedy decoding would write it: every one of its tokens is the likeliest.

    Teacher-forced: each token is predicted given the true ones before it. An encoder-AE predicts it behind a
    mask, with the word's later tokens masked too unless pll=original; so it sees the word's number of tokens.
    """
    length = question.run.recipe.size.length
    outcomes, cut = [], {}
    for part, items in question.data.asked.items():
        texts = encoded(question, [(item["before"], item["word"]) for item in items])
        fitting = [fitted(*pair, length) for pair in texts]
        cut[part] = sum(len(one) > len(kept) for (one, _), (kept, _) in zip(texts, fitting, strict=True))
        rows = judged(items, list(scored(question, fitting)))
        outcomes.append(outcome(part, rows))
    return Answer(outcomes, cut=cut)


def judged(items: list[Example], words: list[TokenScores]) -> pd.DataFrame:
    """One row for each word: item, nats, tokens, bytes with its white space, unit, correct (0 or 1)."""
    return pd.DataFrame(
        {
            "item": range(len(items)),
            "nats": [sum(word.nats) for word in words],
            "tokens": [len(word.nats) for word in words],
            "bytes": [len(item["word"].encode()) for item in items],
            "unit": [word.unit for word in words],
            "correct": [float(word.greedy) for word in words],
        }
    )


def fitted(context: Ids, word: Ids, length: int) -> tuple[Ids, Ids]:
    """Cuts the beginning of the context so that both together have at most `length` tokens."""
    return context[max(0, len(context) + len(word) - length) :], word
