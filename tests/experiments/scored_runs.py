"""Runs of four steps of a made-up text, for tests that ask them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from experiments.recipe.compose import compose_recipe
from experiments.training.train import train

WORDS = ("the", "state", "of", "our", "union", "is", "strong", "and", "growing", "fast", "with", "people")
TEXT = "\n\n".join(" ".join(WORDS[(i * n) % len(WORDS)] for i in range(80)) for n in range(1, 200))


def folder(place: Path, family: str) -> Path:
    return place / "runs" / "five_families" / family / "seed0"


def four_steps(place: Path, families: Iterable[str]) -> Path:
    """The place, with a run of each family in a sweep's folders."""
    (place / "text.txt").write_text(TEXT)
    settings = ["size=tiny", "budget=smoke", "budget.amount=4", "tracking=none", "training.threads=1"]
    settings += [f"data.path={place}/text.txt", f"data.cache={place}/cache", "training.accelerator=cpu"]
    for family in families:
        train(compose_recipe([f"family={family}", *settings]), folder(place, family))
    return place
