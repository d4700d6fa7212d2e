"""Tagging: a BIO tag for each word of a text, such as named entities."""

from __future__ import annotations

import re

from archs.errors import nearest
from experiments.recipe.groups.task import TaskConfig
from experiments.tasks.baselines import baselines_for_tagging
from experiments.tasks.kind import LEARNED, EmptyError, Example, Kind

BIO = re.compile(r"O|[BI]-.+")


def example(row: Example, task: TaskConfig) -> Example:
    """Returns the words and their tags' names. The column holds names, or numbers of the task's labels."""
    for role in ("tokens", "tags"):
        if not isinstance(row[role], list):
            raise ValueError(
                f"its {role} is {type(row[role]).__name__}, must be a list; give .jsonl or .parquet, for CSV "
                "holds no lists"
            )
    words, tags = row["tokens"], row["tags"]
    if not words:
        raise EmptyError("its tokens is an empty list; leave such items out")
    for place, word in enumerate(words, start=1):
        if not isinstance(word, str) or not word.strip():
            raise ValueError(f"word {place} of its tokens is {word!r}, must be text that is not empty")
    if len(words) != len(tags):
        raise ValueError(f"it has {len(words)} tokens and {len(tags)} tags; give one tag a token")
    for label in task.labels:
        if not BIO.fullmatch(label):
            raise ValueError(f"task.labels has '{label}', must be BIO: O, B-TYPE or I-TYPE")
    return {"tokens": words, "tags": [_tag(tag, place, task) for place, tag in enumerate(tags, start=1)]}


def _tag(value: object, place: int, task: TaskConfig) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        if 0 <= value < len(task.labels):
            return task.labels[value]
        allowed = f"from 0 to {len(task.labels) - 1}" if task.labels else "a name"
        raise ValueError(f"tag {place} is {value}, must be {allowed}; set task.labels=[…]")
    if not isinstance(value, str) or not BIO.fullmatch(value):
        raise ValueError(f"tag {place} is {value!r}, must be BIO: O, B-TYPE or I-TYPE")
    if task.labels and value not in task.labels:
        names = ", ".join(nearest(value, task.labels))
        raise ValueError(f"tag {place} is {value!r}, must be one of: {names}; set task.labels=[…]")
    return value


def text(example: Example) -> str:
    return " ".join(example["tokens"])


TAGGING = Kind(
    name="tagging",
    required=("tokens", "tags"),
    optional=(),
    metrics=("entity_f1",),
    modes=LEARNED,
    example=example,
    text=text,
    truncation="whole words, from the end, to the model's window",
    baselines=baselines_for_tagging,
)
