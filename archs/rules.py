"""A user's function as a mask: a rule over places is kept within documents, a builder decides everything."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from archs.batch import Batch, MaskBuilder
from archs.errors import UserError
from archs.masks import Mask, asked, checked, document


def mask_builder(function: Callable[..., Any], name: str) -> MaskBuilder:
    """A builder from what a user wrote, told apart by how many arguments it has to be given:

        def near(q, k)       a rule: True where place q of a row may look at place k of the same document
        def near(b, q, k)    the same, told the number of the batch's row
        def mine(batch)      a builder: the Mask it returns decides everything, documents and padding too

    A rule of `k <= q` over two documents `A B | C` shows `A: A`, `B: A B`, `C: C`. Raises UserError if it is
    none of these, and for what a rule does wrong at a few places.
    """
    given = _arguments(function, name)
    if given == 1:
        return function
    rule = _Places(function, name, told_row=given == 3)
    _rehearse(rule)
    return _WithinDocuments(rule)


@dataclass(frozen=True, eq=False)
class _Places:
    """The user's rule, checked wherever it is asked: composed with another its answer could no longer be."""

    function: Callable[..., Any]
    name: str
    told_row: bool

    def __call__(self, b: Tensor, q: Tensor, k: Tensor) -> Tensor:
        seen = self.function(b, q, k) if self.told_row else self.function(q, k)
        return checked(seen, self.name, b, q, k)


@dataclass(frozen=True, eq=False)
class _WithinDocuments:
    rule: _Places

    def __call__(self, batch: Batch) -> Mask:
        return Mask(self.rule, self.rule.name) & document(batch.segments)


def _arguments(function: Callable[..., Any], name: str) -> int:
    """How many arguments the function must be given: 1, 2 or 3."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # written in C, it need not tell
        parameters = ()
    needed = [
        p for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]
    if len(needed) in (1, 2, 3) and not any(p.kind == p.KEYWORD_ONLY for p in needed):
        return len(needed)
    came = ", ".join(p.name for p in needed) or "no arguments that it needs"
    raise UserError(
        f"mask '{name}' takes {came}; write def rule(q, k), def rule(b, q, k), or def my_mask(batch) that "
        "returns a Mask"
    )


def _rehearse(rule: _Places) -> None:
    """Asks the rule as attention will: for all places, for the newest row of a cache, for a single one."""
    b, q, k = torch.arange(2)[:, None, None], torch.arange(5)[None, :, None], torch.arange(7)[None, None]
    try:
        seen = asked(rule, rule.name, b, q, k).expand(2, 5, 7)
        newest = asked(rule, rule.name, b, q[:, 4:], k[:, :, :5]).expand(2, 1, 5)
        single = asked(rule, rule.name, b[1, 0, 0], q[0, 4, 0], k[0, 0, 3])
    except UserError:
        raise
    except Exception as error:
        why = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(f"mask '{rule.name}' fails for integer tensors of places, with {why}") from error
    if not (newest.equal(seen[:, 4:, :5]) and single.equal(seen[1, 4, 3])):
        raise UserError(
            f"mask '{rule.name}' answers otherwise for a place alone than among others; let it depend on q "
            "and k of the cell alone, or what is written one token at a time is not what was trained"
        )
