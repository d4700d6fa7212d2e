"""Cloze: the last word of a text, given all before it (LAMBADA, Paperno et al. 2016)."""

from __future__ import annotations

import pandas as pd

from experiments.tasks.kind import Answer, Example, Kind, Question, text_of
from experiments.tasks.task import TaskConfig
from experiments.tasks.zero_shot import Ids, encoded, outcome, scored
from experiments.token_scores import TokenScores


def example(row: Example, task: TaskConfig) -> Example:
    """The text, what stands before its last word, and the word with the white space before it."""
    before, word = apart(text_of(row, "text"))
    return {"text": before + word, "before": before, "word": word}


def apart(text: str) -> tuple[str, str]:
    """`"to the people. "` is `"to the"` and `" people."`. Raises ValueError for a text of one word."""
    words = text.split()
    if len(words) < 2:
        raise ValueError("its text is one word; a cloze needs words before the last one")
    text = text.rstrip()
    before = text[: -len(words[-1])].rstrip()
    return before, text[len(before) :]


def zero_shot(question: Question) -> Answer:
    """A word is right if greedy decoding would write it: each of its tokens is the likeliest one there.

    Teacher-forced: each token is asked given the true ones before it. An encoder-AE's is behind a mask, the
    word's later tokens with it unless pll=original; so it is told the word's number of tokens.
    """
    length = question.run.recipe.size.length
    found, cut = [], {}
    for part, items in question.data.asked.items():
        texts = encoded(question, [(item["before"], item["word"]) for item in items])
        fitting = [fitted(*pair, length) for pair in texts]
        cut[part] = sum(len(one) > len(kept) for (one, _), (kept, _) in zip(texts, fitting, strict=True))
        rows = judged(items, list(scored(question, fitting)))
        found.append(outcome(part, rows))
    return Answer(found, cut=cut)


def judged(items: list[Example], words: list[TokenScores]) -> pd.DataFrame:
    """One row a word: item, nats, tokens, bytes with its white space, unit, correct (0 or 1)."""
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
    """The context without its beginning, so that both together have at most `length` tokens."""
    return context[max(0, len(context) + len(word) - length) :], word


def text(example: Example) -> str:
    return example["text"]


CLOZE = Kind(
    name="cloze",
    required=("text",),
    optional=(),
    metrics=("cloze_accuracy", "word_perplexity"),
    modes={"zero_shot": zero_shot},
    example=example,
    text=text,
    policy="what stands before the word loses its beginning, to the model's window",
)
