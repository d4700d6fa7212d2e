"""Metrics of question answering: prediction is a string, references are the correct answers.

A question without references has no answer; the empty prediction is then correct.
The rules are those of SQuAD 1.1 (Rajpurkar et al. 2016) and 2.0 (Rajpurkar et al. 2018).
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from experiments.evidence.metrics.metric import Metric, Weighted, listed, mean

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("prediction", "references")
PUNCTUATION = str.maketrans("", "", string.punctuation)


def answer_words(text: str) -> list[str]:
    """Returns the words of an answer: lower case, without ASCII punctuation and English articles.

    >>> answer_words("The  U.S. Army, a.k.a. 'an' army")
    ['us', 'army', 'aka', 'army']
    """
    return re.sub(r"\b(?:a|an|the)\b", " ", text.lower().translate(PUNCTUATION)).split()


def exact(prediction: list[str], reference: list[str]) -> float:
    return float(prediction == reference)


def token_f1(prediction: list[str], reference: list[str]) -> float:
    """Returns the F1 of two bags of words, 0 to 1. If one is empty it is 1 if both are, else 0."""
    if not prediction or not reference:
        return float(prediction == reference)
    common = (Counter(prediction) & Counter(reference)).total()
    return 2 * common / (len(prediction) + len(reference))


def _best(compare: Callable[[list[str], list[str]], float]) -> Callable[[pd.DataFrame], Weighted]:
    """Returns a metric: the mean over questions of the best score over references, in percent.

    A reference without any word is left out. A question without references has the empty answer.
    """

    def prepare(rows: pd.DataFrame) -> Weighted:
        scores = []
        for prediction, references in zip(rows["prediction"], rows["references"], strict=True):
            words = answer_words(prediction)
            allowed = [kept for text in listed(references) if (kept := answer_words(text))] or [[]]
            scores.append(max(compare(words, reference) for reference in allowed))
        return mean(scores, times=100)

    return prepare


ANSWERS = (
    Metric("exact_match", "Exact match", "% exact", "higher", 1, COLUMNS, _best(exact)),
    Metric("token_f1", "Token F1", "0 to 100", "higher", 1, COLUMNS, _best(token_f1)),
)
