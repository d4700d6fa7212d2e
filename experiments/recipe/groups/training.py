"""How an arm is trained."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from experiments.recipe.config import Amount, Config, Count, Fraction


class TrainingConfig(Config):
    """How an arm is trained; the same for all arms of a sweep.

    `batch`: rows of the global batch of one optimiser step, taken in `accumulate` parts by `devices`
    processes: `strategy` "ddp" copies what is trained to each, "fsdp2" divides it. `learning_rate` is the
    peak: reached after the share `warmup` of the budget, then falling on a cosine to the share `final` of
    itself. `precision` and `accelerator` are Lightning's names. `checkpoint_activations`: each block keeps
    only what goes into it and is computed again in the backward pass, for memory; the FLOPs that budgets and
    audits count stay those of a step without it. `workers`: processes beside each of the `devices` that build
    batches ahead of time; 0 = they are built between steps. The batches are the same.
    """

    batch: Count = 16
    accumulate: Count = 1
    learning_rate: Amount = 2e-3
    warmup: Fraction = 0.05
    final: Fraction = 0.1
    weight_decay: Annotated[float, Field(ge=0)] = 0.1
    # A list in YAML: strictness is asked of its two numbers, not of the tuple around them.
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
