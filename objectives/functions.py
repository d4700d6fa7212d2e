"""Helpers of selections and replacements: names for errors, options, and seeds from the text."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from archs.errors import UserError, unknown


def named(function: Callable[..., Any]) -> str:
    """The function's name in errors: `package.module.name`."""
    while isinstance(function, partial):
        function = function.func
    return f"{function.__module__}.{getattr(function, '__qualname__', type(function).__qualname__)}"


def bind(
    of: str | Callable[..., Tensor],
    shipped: Sequence[Callable[..., Tensor]],
    common: Mapping[str, Any],
    options: Mapping[str, Any],
    what: str,
) -> Callable[..., Tensor]:
    """The function `of`, by name or itself, with `options` and those of `common` that it takes.

    Raises UserError if no shipped function has that name, or if the function does not take an option.
    """
    by_name = {function.__name__: function for function in shipped}
    if isinstance(of, str) and of not in by_name:
        raise unknown(f"{what} for static's option 'of'", of, by_name)
    function = by_name[of] if isinstance(of, str) else of
    parameters = inspect.signature(function).parameters
    for name in options:
        if name not in list(parameters)[4:]:
            taken = sorted({*list(parameters)[4:]} - {*common})
            if not taken:
                raise UserError(f"{what} '{named(function)}' takes no option '{name}'; leave it out")
            raise unknown(f"option of {what} '{named(function)}'", name, taken)
    taken = {name: value for name, value in common.items() if name in parameters}
    return partial(function, **taken, **options)


def row_seeds(contents: Sequence[Tensor], copies: int, rng: torch.Generator, what: str) -> list[int]:
    """A seed for each row (B), from the row's values in all `contents` (B,W) and a copy drawn from `copies`.

    Raises UserError if copies < 1.
    """
    if copies < 1:
        raise UserError(f"{what} 'static': copies={copies} is below 1, one choice for each row; BERT has 10")
    rows = len(contents[0])
    copy = torch.randint(copies, (rows,), generator=rng).tolist()
    arrays = [content.contiguous().numpy() for content in contents]
    seeds = []
    for row in range(rows):
        digest = hashlib.blake2b(copy[row].to_bytes(8, "little"), digest_size=8)
        for array in arrays:
            digest.update(array[row])
        seeds.append(int.from_bytes(digest.digest(), "little"))
    return seeds
