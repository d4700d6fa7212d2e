"""Masks from a user's function: a rule over cells, which is kept within documents, or a mask builder."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from archs.batch import Batch, MaskBuilder
from archs.errors import UserError
from archs.masks import Mask, checked, document, evaluated


def mask_builder(function: Callable[..., Any], name: str) -> MaskBuilder:
    """A mask builder from a user's function. The number of its required arguments tells which kind it is:

        def near(q, k)        a rule: True where cell q of a row may see cell k of the same document
        def near(b, q, k)     a rule that also depends on the number of the row in the batch
        def my_mask(batch)    a builder: its Mask is used as it is, and must handle documents and padding

    The rule `k <= q` over two documents `A B | C`: A sees A, B sees A and B, C sees C. Raises UserError for
    any other function, and for a rule that fails in a trial on a few cells.
    """
    arguments = _arguments(function, name)
    if arguments == 1:
        return function
    rule = _UserRule(function, name, takes_row=arguments == 3)
    _rehearse(rule)
    return _WithinDocuments(rule)


@dataclass(frozen=True, eq=False)
class _UserRule:
    """A user's rule. Its result is checked at every call, since a composed mask's no longer can be."""

    function: Callable[..., Any]
    name: str
    takes_row: bool

    def __call__(self, b: Tensor, q: Tensor, k: Tensor) -> Tensor:
        seen = self.function(b, q, k) if self.takes_row else self.function(q, k)
        return checked(seen, self.name, b, q, k)


@dataclass(frozen=True, eq=False)
class _WithinDocuments:
    rule: _UserRule

    def __call__(self, batch: Batch) -> Mask:
        return Mask(self.rule, self.rule.name) & document(batch.segments)


def _arguments(function: Callable[..., Any], name: str) -> int:
    """The number of the function's required arguments: 1, 2 or 3. Raises UserError for any other."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # a function written in C may have no signature
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


def _rehearse(rule: _UserRule) -> None:
    """Calls the rule as attention will: for all cells, for the newest row of a cache, and for a single cell.

    Raises UserError if the rule fails or the three disagree.
    """
    b, q, k = torch.arange(2)[:, None, None], torch.arange(5)[None, :, None], torch.arange(7)[None, None]
    try:
        seen = evaluated(rule, rule.name, b, q, k).expand(2, 5, 7)
        newest = evaluated(rule, rule.name, b, q[:, 4:], k[:, :, :5]).expand(2, 1, 5)
        single = evaluated(rule, rule.name, b[1, 0, 0], q[0, 4, 0], k[0, 0, 3])
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
