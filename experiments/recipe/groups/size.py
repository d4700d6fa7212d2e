"""The shape of the core."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from archs.config import Activation, CoreConfig, Positions
from archs.errors import UserError
from experiments.recipe.config import Amount, Config, Count


class SizeConfig(Config):
    """Shape of the core. `length` counts raw tokens of a window; `archs.config.CoreConfig` tells the others.

    `decoder_layers` None is for single stacks, and lets the budget's solver choose an encoder-decoder's.
    `depth`: layers in place of `layers`, the widths following so that what the budget matches stays equal.
    """

    layers: Count
    width: Count
    heads: Count
    ffn: Count
    length: Annotated[int, Field(ge=2)]
    vocabulary: Count
    kv_heads: Count | None = None
    decoder_layers: Count | None = None
    depth: Count | None = None
    attention_width: Count | None = None
    embedding_width: Count | None = None
    shared_layers: bool = False
    positions: Positions = "rope"
    rope_base: Amount = 10_000.0
    relative_buckets: Count = 32
    relative_distance: Count = 128
    token_types: Annotated[int, Field(ge=0)] = 0
    window: Count | None = None
    global_every: Count | None = None
    local_rope_base: Amount | None = None
    norm: Literal["rms", "layer"] = "rms"
    norm_bias: bool = True
    norm_eps: Amount = 1e-6
    norm_order: Literal["pre", "post"] = "pre"
    embedding_norm: bool = False
    activation: Activation = "gelu"
    attention_bias: bool = False
    ffn_bias: bool = False
    attention_scaled: bool = True
    tied: bool = True
    head_transform: bool = False
    head_bias: bool = False
    logit_scale: Amount = 1.0
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    attention_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0

    @model_validator(mode="after")
    def _is_a_core(self) -> SizeConfig:
        try:
            self.core(self.vocabulary, max_length=self.length)
        except UserError as error:
            raise ValueError(f"size: {error}") from error
        return self

    def core(self, vocabulary: int, max_length: int) -> CoreConfig:
        """The single stack of this shape."""
        fields = self.model_dump(exclude={"length", "vocabulary", "decoder_layers", "depth"})
        return CoreConfig(vocabulary=vocabulary, max_length=max_length, **fields)
