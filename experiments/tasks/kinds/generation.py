"""Generation: write a target text for a source text; there are one or several references."""

from __future__ import annotations

from collections.abc import Sequence

from experiments.recipe.groups.task import TaskConfig
from experiments.tasks.baselines import baselines_for_generation
from experiments.tasks.kind import EmptyError, Example, Kind


def example(row: Example, task: TaskConfig) -> Example:
    """Returns source and references. A source that is a list of sentences is joined by spaces."""
    source, references = ("" if row[role] is None else row[role] for role in ("source", "references"))
    if _is_list_of_texts(source):
        source = " ".join(source)
    for role, value in (("source", source), ("references", references)):
        if not isinstance(value, str) and not _is_list_of_texts(value):
            raise ValueError(f"its {role} is {type(value).__name__}, must be text or a list of texts")
    texts = [references] if isinstance(references, str) else references
    texts = [text.strip() for text in texts]
    for role, each in (("source", [source]), ("references", texts)):
        if not each or not all(text.strip() for text in each):
            raise EmptyError(f"its {role} is empty; leave such items out")
    return {"source": source, "references": list(dict.fromkeys(texts))}


def _is_list_of_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


def grouped(examples: Sequence[Example]) -> list[Example]:
    """Joins the examples of one source into one, at the place of the first, with all different references."""
    references_of: dict[str, list[str]] = {}
    for each in examples:
        references_of.setdefault(each["source"], []).extend(each["references"])
    return [
        {"source": source, "references": list(dict.fromkeys(references))}
        for source, references in references_of.items()
    ]


def text(example: Example) -> str:
    return "\n".join([example["source"], *example["references"]])


def unlabelled(example: Example) -> str:
    return example["source"]


GENERATION = Kind(
    name="generation",
    required=("source", "references"),
    optional=(),
    metrics=("nats_per_byte", "bleu", "chrf", "rouge1", "rouge2", "rougeL", "exact_text"),
    modes=("finetuned", "zero_shot"),
    example=example,
    text=text,
    truncation=(
        "targets end at as many tokens as most training targets have, a source at what they leave of the "
        "window: finetuned it loses its end, zero-shot its beginning"
    ),
    baselines=baselines_for_generation,
    grouped=grouped,
    unlabelled=unlabelled,
)
