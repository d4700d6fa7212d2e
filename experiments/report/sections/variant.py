"""One outcome of a task in words: model, pooling, number of examples."""

from __future__ import annotations


def words(variant: dict[str, str | int]) -> str:
    """The variant in words, as "pretrained, mean, 2,000 examples"; the part "test" is left out."""
    shown = {key: value for key, value in variant.items() if (key, value) != ("part", "test")}
    return ", ".join(
        f"{value:,} {key}" if isinstance(value, int) else str(value) for key, value in shown.items()
    )
