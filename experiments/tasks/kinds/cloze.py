"""Cloze: predict the last word of a text from the words before it (LAMBADA, Paperno et al. 2016)."""

from __future__ import annotations

from experiments.recipe.groups.task import TaskConfig
from experiments.tasks.kind import Example, Kind, text_of


def example(row: Example, task: TaskConfig) -> Example:
    """Returns the text, the part before its last word, and the word with the white space before it."""
    before, word = apart(text_of(row, "text"))
    return {"text": before + word, "before": before, "word": word}


def apart(text: str) -> tuple[str, str]:
    """Splits off the last word: `"to the people. "` gives `"to the"` and `" people."`.

    Raises ValueError for a text of one word.
    """
    words = text.split()
    if len(words) < 2:
        raise ValueError("its text is one word; a cloze needs words before the last one")
    text = text.rstrip()
    before = text[: -len(words[-1])].rstrip()
    return before, text[len(before) :]


def text(example: Example) -> str:
    return example["text"]


CLOZE = Kind(
    name="cloze",
    required=("text",),
    optional=(),
    metrics=("cloze_accuracy", "word_perplexity"),
    modes=("zero_shot",),
    example=example,
    text=text,
    truncation="what stands before the word loses its beginning, to the model's window",
)
