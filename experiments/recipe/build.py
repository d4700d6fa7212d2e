"""Names of a recipe become classes and functions. Only import paths that a user wrote are imported."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any

from archs import FAMILIES, CoreConfig, Family
from archs.errors import UserError, unknown
from archs.families.single_stack import MaskBuilder, SingleStack
from archs.rules import mask_builder
from experiments.recipe.arguments import check_arguments
from experiments.recipe.groups.objective import ObjectiveConfig, PartConfig
from experiments.recipe.imports import check_call, import_path
from experiments.recipe.recipe import Recipe
from objectives import OBJECTIVES, Objective, replace_similar
from objectives import replace as replace_functions
from objectives import select as select_functions
from objectives.base import Layout, Vocabulary
from objectives.mixture import Mixture, Part, layout_and_mask

# What a recipe may name. A mixture is made of the others.
SHIPPED: dict[str, type[Objective]] = {**OBJECTIVES, Mixture.name: Mixture}

# Parts of an objective that are functions: where the shipped ones are, and what they are called with.
FUNCTIONS: dict[str, tuple[tuple[ModuleType, ...], list[str]]] = {
    "select": ((select_functions,), ["tokens", "word_starts", "special", "rng"]),
    "replace": ((replace_functions, replace_similar), ["tokens", "hide", "vocabulary", "rng"]),
}


@dataclass(frozen=True, eq=False)
class BuiltPart:
    """One objective of a mixture.

    layout: how it is given a pair; mask: the mask it brings, None for the family's own; mode: its mode token.
    """

    objective_class: type[Objective]
    options: dict[str, Any]
    layout: Layout
    mask: MaskBuilder | None
    mode: int | None


@dataclass(frozen=True, eq=False)
class Built:
    """The classes and functions that a recipe names, each found once, checked to go together.

    mask: the user's mask builder, None for the family's own. options: the objective's keyword arguments, with
    `select` and `replace` bound to their functions; parts: of a mixture, by name.
    """

    recipe: Recipe
    family_class: type[Family]
    mask: MaskBuilder | None
    objective_class: type[Objective]
    options: dict[str, Any]
    parts: dict[str, BuiltPart]

    def family(self, config: CoreConfig) -> Family:
        """The recipe's family of this shape, under the user's mask if the recipe names one."""
        return self.family_class(config, **({} if self.mask is None else {"mask": self.mask}))

    def objective(self, vocabulary: Vocabulary, layout: Layout | None = None) -> Objective:
        """The recipe's objective; layout: None is that of the recipe's family.

        Raises UserError if the tokenizer lacks a special token that the objective needs.
        """
        options = dict(self.options)
        if "parts" in options:
            options["parts"] = {
                name: Part(
                    part.objective_class(vocabulary, part.layout, **part.options), part.mask, part.mode
                )
                for name, part in self.parts.items()
            }
        return self.objective_class(vocabulary, layout or self.family_class.layout, **options)


def build(recipe: Recipe) -> Built:
    """Finds what the recipe names. Raises UserError unless the objective can train the family and takes its
    options.
    """
    family, objective = family_class(recipe), _objective_class(recipe, recipe.objective)
    _check_pair(recipe, family, objective)
    mask = mask_of(recipe)
    options = _options(recipe, recipe.objective, objective)
    parts = {name: _part(recipe, family, name, part) for name, part in recipe.objective.parts.items()}
    return Built(recipe, family, mask, objective, options, parts)


def family_class(recipe: Recipe) -> type[Family]:
    """The family that the recipe names. Raises UserError if there is none of that name or import path."""
    return _class(recipe, "family", recipe.family.name, FAMILIES, Family)


def mask_of(recipe: Recipe) -> MaskBuilder | None:
    """The user's rule or builder, as a builder. Raises UserError for a family with more masks than one."""
    path = recipe.family.mask
    if path is None:
        return None
    if not issubclass(family_class(recipe), SingleStack):
        single = [name for name, other in FAMILIES.items() if issubclass(other, SingleStack)]
        raise UserError(
            f"family '{recipe.family.name}' has more than one mask, so family.mask cannot replace it; it can "
            f"for: {', '.join(single)}"
        )
    function: Any = import_path(path, recipe.user_path, "family.mask")
    if not callable(function):
        raise UserError(f"family.mask '{path}' is no function but {function!r}; write def rule(q, k)")
    return mask_builder(function, path)


def _objective_class(recipe: Recipe, config: ObjectiveConfig) -> type[Objective]:
    return _class(recipe, "objective", config.name, SHIPPED, Objective)


def _part(recipe: Recipe, family: type[Family], name: str, part: PartConfig) -> BuiltPart:
    objective = _objective_class(recipe, part)
    layout, mask = _layout_and_mask(recipe, family, name, part, objective)
    try:
        options = _options(recipe, part, objective)
    except UserError as error:
        raise UserError(f"part '{name}' of the mixture: {error}") from error
    return BuiltPart(objective, options, layout, mask, part.mode)


def _class(recipe: Recipe, what: str, name: str, shipped: Mapping[str, type], base: type) -> Any:
    if "." not in name:
        if name not in shipped:
            raise unknown(what, name, shipped)
        return shipped[name]
    found = import_path(name, recipe.user_path, what)
    if isinstance(found, type) and issubclass(found, Mixture):
        raise UserError(f"{what} '{name}' is a mixture, which goes by its name: write objective=mixture")
    if not (isinstance(found, type) and issubclass(found, base)):
        raise UserError(f"{what} '{name}' must be a subclass of {base.__module__}.{base.__name__}")
    return found


def _check_pair(recipe: Recipe, family: type[Family], asks: type[Objective]) -> None:
    if family.kind in asks.families:
        return
    possible = [name for name, other in OBJECTIVES.items() if family.kind in other.families]
    raise UserError(
        f"objective '{recipe.objective.name}' cannot train family '{recipe.family.name}', which can be "
        f"trained with: {', '.join(possible)}; the objective can train: {', '.join(asks.families)}"
    )


def _layout_and_mask(
    recipe: Recipe, family: type[Family], name: str, part: PartConfig, objective: type[Objective]
) -> tuple[Layout, MaskBuilder | None]:
    """The layout of a mixture's part, and the mask it brings; the first part must bring none."""
    variant = layout_and_mask(objective, family)
    if variant is None:
        raise UserError(
            f"part '{name}' of the mixture, objective '{part.name}', cannot train family "
            f"'{recipe.family.name}'; it can train: {', '.join(objective.families)}"
        )
    layout, mask = variant
    if mask is not None and recipe.family.mask is not None:
        raise UserError(
            f"part '{name}' of the mixture brings a mask of its own, which family.mask={recipe.family.mask} "
            "cannot replace; leave family.mask out"
        )
    if mask is not None and name == next(iter(recipe.objective.parts)):
        raise UserError(
            f"the mixture's first part '{name}', objective '{part.name}', is asked in evaluation, and family "
            f"'{recipe.family.name}' cannot answer it by its own mask; list another first, in a preset of "
            "your own"
        )
    return layout, mask


def _options(recipe: Recipe, config: ObjectiveConfig, objective: type[Objective]) -> dict[str, Any]:
    """The constructor's keyword arguments, checked, functions bound."""
    given, who = dict(config.options), f"objective '{config.name}'"
    taken = check_arguments(objective, ["vocabulary", "layout"], given, who, skip=[*FUNCTIONS, "parts"])
    for part in FUNCTIONS.keys() & given.keys():
        given[part] = _function(recipe, part, given[part], taken)
    return given


def _function(recipe: Recipe, part: str, given: str | dict[str, Any], of_objective: set[str]) -> Callable:
    modules, called_with = FUNCTIONS[part]
    options = {} if isinstance(given, str) else {key: value for key, value in given.items() if key != "name"}
    name = given if isinstance(given, str) else given["name"]
    if "." in name:
        found = import_path(name, recipe.user_path, f"objective.options.{part}")
    else:
        shipped = {
            key: value
            for module in modules
            for key, value in vars(module).items()
            if inspect.isfunction(value) and list(inspect.signature(value).parameters)[:4] == called_with
        }
        if name not in shipped:
            raise unknown(f"objective.options.{part}", name, shipped)
        found = shipped[name]
    if not callable(found):
        raise UserError(f"objective.options.{part} '{name}' is no function but {found!r}")
    check_call(found, called_with, f"{part} '{name}'", more=True)
    for option in options.keys() & of_objective:
        raise UserError(f"'{option}' is an option of the objective: set objective.options.{option} instead")
    check_arguments(found, called_with, options, f"{part} '{name}'")
    return partial(found, **options) if options else found
