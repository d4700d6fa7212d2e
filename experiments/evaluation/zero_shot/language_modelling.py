"""Language modelling: bits a byte of whole documents."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

import pandas as pd

from experiments.evaluation.question import Answer, Question
from experiments.evaluation.scoring.token_scores import TokenScores
from experiments.evaluation.zero_shot.scores import Ids, encoded, outcome, scored


def zero_shot(question: Question) -> Answer:
    """Every token of a document is asked once.

    A token sees at least half a window before it, those of a document's first half window what there is. An
    encoder-AE's also sees the later ones of its own half window.
    """
    half = max(1, question.run.recipe.size.length // 2)
    found = []
    for part, items in question.data.asked.items():
        documents = [halves(ids, half) for _, ids in encoded(question, [("", one["text"]) for one in items])]
        asked = scored(question, [window for document in documents for window in document])
        rows = pd.DataFrame([summed(islice(asked, len(document))) for document in documents])
        rows.insert(0, "item", range(len(items)))
        rows["bytes"] = [len(one["text"].encode()) for one in items]
        found.append(outcome(part, rows))
    return Answer(found)


def summed(windows: Iterable[TokenScores]) -> dict[str, float | str]:
    """A document's nats, how many tokens they are of, and their unit."""
    each = list(windows)
    nats = [nats for window in each for nats in window.nats]
    return {"nats": sum(nats), "tokens": len(nats), "unit": each[0].unit}


def halves(ids: Ids, half: int) -> list[tuple[Ids, Ids]]:
    """Each half window, given the one before it: `1 2 3 4 5` by two is (, 1 2), (1 2, 3 4), (3 4, 5)."""
    return [(ids[max(0, at - half) : at], ids[at : at + half]) for at in range(0, len(ids), half)]
