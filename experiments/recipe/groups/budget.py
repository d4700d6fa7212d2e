"""What is equal between arms, and what a run may spend."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from experiments.recipe.config import Amount, Config, Fraction


class BudgetConfig(Config):
    """`match`: what is equal between the arms of a sweep, within `tolerance`; `stop`: what is spent.

    `amount` is in the unit of `stop`: training FLOPs, raw tokens, supervised targets, optimiser steps, or
    seconds of training. `reference`: what arms are matched to, a decoder-AR with the causal objective: of the
    arm's own size in every option, or "plain", of its layers, width, heads and ffn alone, so that arms that
    differ in other options of size have one reference. `reference_length`: of the reference's windows, None =
    the arm's `size.length`, for arms that differ in it. `scale` multiplies `amount`, as for an arm of twice
    the budget; 0 is an untrained run.
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
        """What a run spends, in the unit of `stop`; 0 is untrained."""
        return self.amount * self.scale
