"""The family, its mask, and an encoder-decoder's stacks."""

from __future__ import annotations

from typing import Literal

from pydantic import field_validator

from experiments.recipe.config import Config
from experiments.recipe.presets import known


class FamilyConfig(Config):
    """`name` is one of `archs.FAMILIES` or the import path of a class: `package.module.Class`.

    `mask` is the import path of a rule (q, k) or (b, q, k), or of a builder Batch -> Mask, that replaces a
    single stack's own mask. `stacks`: an encoder-decoder's beside a single stack's L layers, "halves" of L,
    "double" = two of L (twice the parameters), "shared" = two of L with one set of weights; None = halves,
    deeper where FLOPs are matched.
    """

    name: str
    mask: str | None = None
    stacks: Literal["halves", "double", "shared"] | None = None

    _name_is_known = field_validator("name")(known("family"))
