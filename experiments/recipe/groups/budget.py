"""What a run may spend, and what is equal between the arms of a sweep."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from experiments.recipe.config import Amount, Config, Fraction


class BudgetConfig(Config):
    """A run stops after `amount` x `scale` of what `stop` names.

    `stop`: training FLOPs, raw tokens, supervised targets, optimiser steps, or seconds of training.
    `scale`: such as 2 for an arm with twice the budget; 0 = an untrained run.
    `match`: what is equal between the arms of a sweep, within the fraction `tolerance`.
    `reference`: arms are matched to a decoder-AR with the causal objective. "own" gives it every option of
    the arm's size; "plain" only layers, width, heads and ffn, so that arms that differ in other options share
    one reference. `reference_length`: the reference's window in tokens, for arms that differ in
    `size.length`; None = the arm's own.
    """

    stop: Literal["flops", "tokens", "targets", "steps", "seconds"]
    amount: Amount
    scale: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    match: Literal["none", "core_parameters", "parameters", "flops_per_token", "flops_per_sequence"] = (
        "core_parameters"
    )
    reference: Literal["own", "plain"] = "own"
    reference_length: Annotated[int, Field(ge=2)] | None = None
    tolerance: Fraction = 0.02

    @property
    def spends(self) -> float:
        """Returns what a run spends, in the unit of `stop`; 0 = an untrained run."""
        return self.amount * self.scale
