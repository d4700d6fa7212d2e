"""The shape of the core."""

from __future__ import annotations

from dataclasses import MISSING, fields
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_type_hints

from pydantic import Field, create_model, model_validator

from archs.config import DROPOUTS, CoreConfig, Positions
from archs.errors import UserError
from experiments.recipe.config import Amount, Config, Count

# What a size does not say of a core: the family and the budget's solver do.
DECIDED_ELSEWHERE = ("max_length", "decoder_layers", "shared_stacks")


def _bounded(name: str, hint: Any) -> Any:
    """An option's type with the bounds that CoreConfig asks of it, so that a mistake is told with its key."""
    if isinstance(hint, UnionType):  # X | None
        return _bounded(name, get_args(hint)[0]) | None
    if name in DROPOUTS:
        return Annotated[float, Field(ge=0, lt=1)]
    if name == "token_types":
        return Annotated[int, Field(ge=0)]
    return {int: Count, float: Amount}.get(hint, hint)


def _options() -> dict[str, Any]:
    """CoreConfig's options that have a default, for pydantic: by name their type and default."""
    hints = get_type_hints(CoreConfig)
    return {
        option.name: (_bounded(option.name, hints[option.name]), option.default)
        for option in fields(CoreConfig)
        if option.default is not MISSING and option.name not in DECIDED_ELSEWHERE
    }


Options: type[Config] = create_model("Options", __base__=Config, **_options())


class SizeConfig(Options):
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
    decoder_layers: Count | None = None
    depth: Count | None = None
    if TYPE_CHECKING:  # options that the budget reads, for type checkers, which do not see created fields
        positions: Positions
        shared_layers: bool

    @model_validator(mode="after")
    def _is_a_core(self) -> SizeConfig:
        try:
            self.core(self.vocabulary, max_length=self.length)
        except UserError as error:
            raise ValueError(f"size: {error}") from error
        return self

    def core(self, vocabulary: int, max_length: int) -> CoreConfig:
        """The single stack of this shape."""
        options = self.model_dump(exclude={"length", "vocabulary", "decoder_layers", "depth"})
        return CoreConfig(vocabulary=vocabulary, max_length=max_length, **options)
