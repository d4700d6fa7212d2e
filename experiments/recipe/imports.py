"""Imports the functions and classes that a user names by import path, and nothing else."""

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
    """Returns what `package.module.attribute` names. The user's folder is searched last.

    Raises UserError if it does not exist. An exception *inside* the user's module is raised as it is.
    """
    module_name, _, attribute = path.rpartition(".")
    if not module_name or not all(part.isidentifier() for part in path.split(".")):
        raise UserError(f"{what} '{path}' is no import path; write package.module.name")
    # Appended, so that a user's file with a library's name does not replace the library.
    if user_path is not None and user_path not in sys.path:
        sys.path.append(user_path)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        nearest = _nearest_modules(error.name, user_path)
        raise UserError(
            f"{what} '{path}': no module '{error.name}' in '{user_path}'{nearest} or among the installed "
            "packages; run from the folder that holds it, or install it"
        ) from error
    if not hasattr(module, attribute):
        public = [name for name, value in vars(module).items() if callable(value) and name[0] != "_"]
        error = unknown(f"name in module '{module.__name__}' ({module.__file__})", attribute, public)
        raise UserError(f"{what} '{path}': {error}")
    return getattr(module, attribute)


def _nearest_modules(missing: str, user_path: str | None) -> str:
    """Returns the user's modules with names near the missing one, " (there: mine, other)", or ""."""
    parent, _, name = missing.rpartition(".")
    files = Path(user_path or ".", *parent.split(".")).glob("*.py")
    modules = [file.stem for file in files if file.stem.isidentifier()]
    names = difflib.get_close_matches(name, modules, n=5, cutoff=0.0)
    return f" (there: {', '.join(names)})" if names else ""


def check_call(function: Callable, called_with: list[str], who: str, *, more: bool = False) -> None:
    """Raises UserError unless a user's function can be called with these positional arguments.

    more: whether the function may need further arguments, given by name.
    """
    try:
        signature = inspect.signature(function)
    except ValueError:  # some builtins have no signature
        return
    try:
        (signature.bind_partial if more else signature.bind)(*called_with)
    except TypeError as error:
        raise UserError(
            f"{who} is called with ({', '.join(called_with)}) and takes {signature}; change what it takes"
        ) from error
