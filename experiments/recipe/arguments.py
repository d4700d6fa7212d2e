"""Options that a recipe gives to a class or function, checked against its signature."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from archs.errors import UserError, unknown


def check_arguments(
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
