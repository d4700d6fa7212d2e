"""The part of a recipe that names the family, its mask, and an encoder-decoder's stacks."""

from __future__ import annotations

from typing import Literal

from pydantic import field_validator

from experiments.recipe.config import Config
from experiments.recipe.presets import known


class FamilyConfig(Config):
    """`name`: one of `archs.FAMILIES`, or the import path of a class: `package.module.Class`.

    `mask`: the import path of a rule (q, k) or (b, q, k), or of a builder Batch -> Mask. It replaces the mask
    of a single stack. `stacks`: how deep an encoder-decoder's two stacks are, where a single stack has L
    layers. "halves": L/2 each; "double": L each, twice the parameters; "shared": L each with one set of
    weights; None: halves, made deeper where FLOPs are matched.
    """

    name: str
    mask: str | None = None
    stacks: Literal["halves", "double", "shared"] | None = None

    _name_is_known = field_validator("name")(known("family"))
