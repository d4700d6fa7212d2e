"""Import paths that a user wrote become functions and classes; nothing else is imported."""

from __future__ import annotations

import difflib
import importlib
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from archs.errors import UserError, unknown


def import_path(path: str, user_path: str | None, what: str) -> Any:
    """`package.module.attribute`, looked for in the user's folder too. Raises UserError if it is not there.

    What goes wrong *inside* the user's module stays loud.
    """
    module_name, _, attribute = path.rpartition(".")
    if not module_name or not all(part.isidentifier() for part in path.split(".")):
        raise UserError(f"{what} '{path}' is no import path; write package.module.name")
    # Last, so that a file of the user's called like a library's does not take its place.
    if user_path is not None and user_path not in sys.path:
        sys.path.append(user_path)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        there = _modules_there(error.name, user_path)
        raise UserError(
            f"{what} '{path}': no module '{error.name}' in '{user_path}'{there} or among the installed "
            "packages; run from the folder that holds it, or install it"
        ) from error
    if not hasattr(module, attribute):
        public = [name for name, value in vars(module).items() if callable(value) and name[0] != "_"]
        error = unknown(f"name in module '{module.__name__}' ({module.__file__})", attribute, public)
        raise UserError(f"{what} '{path}': {error}")
    return getattr(module, attribute)


def _modules_there(missing: str, user_path: str | None) -> str:
    """The user's own modules beside the missing one, nearest names first: " (there: mine, other)"."""
    parent, _, name = missing.rpartition(".")
    files = Path(user_path or ".", *parent.split(".")).glob("*.py")
    names = [file.stem for file in files if file.stem.isidentifier()]
    near = difflib.get_close_matches(name, names, n=5, cutoff=0.0)
    return f" (there: {', '.join(near)})" if near else ""


def check_call(function: Callable, called_with: list[str], who: str, *, more: bool = False) -> None:
    """Raises UserError unless a user's function takes these arguments by place; more: and others by name."""
    try:
        signature = inspect.signature(function)
    except ValueError:  # some builtins tell nothing
        return
    try:
        (signature.bind_partial if more else signature.bind)(*called_with)
    except TypeError as error:
        raise UserError(
            f"{who} is called with ({', '.join(called_with)}) and takes {signature}; change what it takes"
        ) from error
