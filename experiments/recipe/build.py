"""Names of a recipe become classes and functions. Only import paths that a user wrote are imported."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from types import ModuleType
from typing import Any, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from archs import FAMILIES, CoreConfig, Family
from archs.errors import UserError, unknown
from archs.families.single_stack import MaskBuilder, SingleStack
from archs.rules import mask_builder
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


def family_class(recipe: Recipe) -> type[Family]:
    """The family that the recipe names. Raises UserError if there is none of that name or import path."""
    return _class(recipe, "family", recipe.family.name, FAMILIES, Family)


def family(recipe: Recipe, config: CoreConfig) -> Family:
    """The recipe's family of this shape, under the user's mask if the recipe names one."""
    kind, mine = family_class(recipe), mask(recipe)
    return kind(config, **({} if mine is None else {"mask": mine}))


def mask(recipe: Recipe) -> MaskBuilder | None:
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


def objective_class(recipe: Recipe, config: ObjectiveConfig | None = None) -> type[Objective]:
    """The objective that the recipe names, or `config`, a part of it. UserError if there is none such."""
    return _class(recipe, "objective", (config or recipe.objective).name, SHIPPED, Objective)


def check(recipe: Recipe) -> None:
    """Raises UserError unless the objective can train the family and takes the options, without building."""
    _check_pair(recipe, family_class(recipe), objective_class(recipe))
    mask(recipe)
    _options(recipe, recipe.objective)
    for name, part in recipe.objective.parts.items():
        _layout_and_mask(recipe, name, part)
        try:
            _options(recipe, part)
        except UserError as error:
            raise UserError(f"part '{name}' of the mixture: {error}") from error


def objective(recipe: Recipe, vocabulary: Vocabulary, layout: Layout) -> Objective:
    """The recipe's objective with its options, `select` and `replace` bound to theirs.

    Raises UserError on what `check` refuses, and if the tokenizer lacks a special token.
    """
    check(recipe)
    options = _options(recipe, recipe.objective)
    parts = {}
    for name, part in recipe.objective.parts.items():
        layout_of_part, brings = _layout_and_mask(recipe, name, part)
        asks = objective_class(recipe, part)
        parts[name] = Part(asks(vocabulary, layout_of_part, **_options(recipe, part)), brings, part.mode)
    if "parts" in options:
        options["parts"] = parts
    return objective_class(recipe)(vocabulary, layout, **options)


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


def _layout_and_mask(recipe: Recipe, name: str, part: PartConfig) -> tuple[Layout, MaskBuilder | None]:
    """How a mixture's part is asked of the family, the first part by the family's own mask."""
    family, asks = family_class(recipe), objective_class(recipe, part)
    way = layout_and_mask(asks, family)
    if way is None:
        raise UserError(
            f"part '{name}' of the mixture, objective '{part.name}', cannot train family "
            f"'{recipe.family.name}'; it can train: {', '.join(asks.families)}"
        )
    if way[1] is not None and recipe.family.mask is not None:
        raise UserError(
            f"part '{name}' of the mixture brings a mask of its own, which family.mask={recipe.family.mask} "
            "cannot replace; leave family.mask out"
        )
    if way[1] is not None and name == next(iter(recipe.objective.parts)):
        raise UserError(
            f"the mixture's first part '{name}', objective '{part.name}', is asked in evaluation, and family "
            f"'{recipe.family.name}' cannot answer it by its own mask; list another first, in a preset of "
            "your own"
        )
    return way


def _options(recipe: Recipe, config: ObjectiveConfig) -> dict[str, Any]:
    """The constructor's keyword arguments, checked, functions bound."""
    asks, given = objective_class(recipe, config), dict(config.options)
    who = f"objective '{config.name}'"
    taken = _check_arguments(asks, ["vocabulary", "layout"], given, who, skip=[*FUNCTIONS, "parts"])
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
    _check_arguments(found, called_with, options, f"{part} '{name}'")
    return partial(found, **options) if options else found


def _check_arguments(
    function: Callable, called_with: list[str], given: dict[str, Any], who: str, skip: list[str] | None = None
) -> set[str]:
    """Checks names and types of keyword arguments against a signature; returns the names it takes."""
    parameters = list(inspect.signature(function).parameters.values())[len(called_with) :]
    named = {p.name: p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    takes_any = any(p.kind == p.VAR_KEYWORD for p in parameters)
    hints = get_type_hints(_defined(function))
    for name, value in given.items():
        if name not in named and not takes_any:
            raise (
                unknown(f"option of {who}", name, named)
                if named
                else UserError(f"{who} takes no options; leave out '{name}'")
            )
        if name in hints and name not in (skip or []):
            _check_type(hints[name], value, f"option '{name}' of {who}")
    for name, parameter in named.items():
        if parameter.default is parameter.empty and name not in given:
            raise UserError(f"{who} needs the option '{name}'; add objective.options.{name}=…")
    return set(named)


def _defined(function: Callable) -> Callable:
    """Where the annotations stand of a class, a partial or an object that is called."""
    if isinstance(function, partial):
        return _defined(function.func)
    if isinstance(function, type):
        return function.__init__
    return function if inspect.isroutine(function) else type(function).__call__


def _check_type(hint: Any, value: Any, what: str) -> None:
    try:
        adapter = TypeAdapter(hint, config=ConfigDict(strict=True, arbitrary_types_allowed=True))
        adapter.validate_python(value)
    except ValidationError as error:
        allowed = error.errors()[0]["msg"].replace("Input should", "must")
        raise UserError(f"{what}: came {value!r}, {allowed}") from error
