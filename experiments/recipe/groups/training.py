"""The part of a recipe that says how a run is trained."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from experiments.recipe.config import Amount, Config, Count, Fraction


class TrainingConfig(Config):
    """How a run is trained; the same for all arms of a sweep.

    `batch`: rows of one optimiser step, over all `devices` processes and `accumulate` forward passes.
    `strategy`: "ddp" copies the weights to each process, "fsdp2" divides them. `learning_rate`: the peak. It
    is reached after the fraction `warmup` of the budget, and then falls on a cosine to the fraction `final`
    of the peak. `precision` and `accelerator`: Lightning's names. `clip`: the largest norm of the gradient.
    `checkpoint_activations`: saves memory: each block keeps only its input and is computed again in the
    backward pass. Budgets and audits still count the FLOPs of a step without it. `workers`: processes beside
    each device that build batches ahead of time; 0 = batches are built between steps. The batches are the
    same either way. `checkpoint_every`, `log_every`: in optimiser steps. `threads`: CPU threads, None =
    PyTorch's choice.
    """

    batch: Count = 16
    accumulate: Count = 1
    learning_rate: Amount = 2e-3
    warmup: Fraction = 0.05
    final: Fraction = 0.1
    weight_decay: Annotated[float, Field(ge=0)] = 0.1
    # YAML gives a list: the two numbers are checked strictly, the tuple is not.
    betas: Annotated[tuple[Fraction, Fraction], Field(strict=False)] = (0.9, 0.95)
    clip: Amount = 1.0
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    accelerator: Literal["auto", "cpu", "gpu", "mps"] = "auto"
    devices: Count = 1
    strategy: Literal["ddp", "fsdp2"] = "ddp"
    checkpoint_every: Count = 100
    threads: Count | None = None
    compile: bool = False
    checkpoint_activations: bool = False
    workers: Annotated[int, Field(ge=0)] = 0
    log_every: Count = 10

    @model_validator(mode="after")
    def _divides(self) -> TrainingConfig:
        parts = self.accumulate * self.devices
        if self.batch % parts:
            raise ValueError(
                f"training.batch {self.batch} must be a multiple of training.accumulate x "
                f"training.devices = {parts}"
            )
        return self

    @model_validator(mode="after")
    def _can_be_divided(self) -> TrainingConfig:
        if self.strategy == "fsdp2" and self.devices == 1:
            raise ValueError(
                "training.strategy=fsdp2 divides the weights over training.devices, which is 1; set it to 2 "
                "or more, or leave training.strategy out"
            )
        if self.strategy == "fsdp2" and self.precision == "16-mixed":
            raise ValueError(
                "training.strategy=fsdp2 came with training.precision=16-mixed and allows 32-true and "
                "bf16-mixed; set one of them, or training.strategy=ddp"
            )
        return self
