"""Language modelling: bits per byte of whole documents."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

import pandas as pd

from experiments.evaluation.question import Answer, Question
from experiments.evaluation.scoring.token_scores import TokenScores
from experiments.evaluation.zero_shot.scores import Ids, encoded, outcome, scored


def zero_shot(question: Question) -> Answer:
    """Scores every token of a document once.

    A token sees at least half a window before it, or, in the first half window, all that precedes it. With an
    encoder-AE it also sees the later tokens of its own half window.
    """
    half = max(1, question.run.recipe.size.length // 2)
    outcomes = []
    for part, items in question.data.asked.items():
        documents = [
            halves(ids, half) for _, ids in encoded(question, [("", item["text"]) for item in items])
        ]
        token_scores = scored(question, [window for document in documents for window in document])
        rows = pd.DataFrame([summed(islice(token_scores, len(document))) for document in documents])
        rows.insert(0, "item", range(len(items)))
        rows["bytes"] = [len(item["text"].encode()) for item in items]
        outcomes.append(outcome(part, rows))
    return Answer(outcomes)


def summed(windows: Iterable[TokenScores]) -> dict[str, float | str]:
    """A document's nats, number of tokens and unit."""
    each = list(windows)
    nats = [nats for window in each for nats in window.nats]
    return {"nats": sum(nats), "tokens": len(nats), "unit": each[0].unit}


def halves(ids: Ids, half: int) -> list[tuple[Ids, Ids]]:
    """Each half window with the one before it: `1 2 3 4 5` by two gives (, 1 2), (1 2, 3 4), (3 4, 5)."""
    return [
        (ids[max(0, start - half) : start], ids[start : start + half]) for start in range(0, len(ids), half)
    ]
