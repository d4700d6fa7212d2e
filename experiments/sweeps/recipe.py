"""The typed, frozen description of a sweep: its arms, their tuning, and the claims that it decides."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from archs.errors import unknown
from experiments.evidence.claims.claim import Claim
from experiments.recipe.config import FOLDER, Amount, Config, Count, Fraction


class TuningConfig(Config):
    """Equal tuning: each arm tries the same learning rates (and warm-ups), and keeps the best of them.

    A trial is a run of its own at `fraction` of the arm's budget, on a seed that no result uses, and is
    judged by the arm's own validation loss. If an arm's best learning rate is at an end of the grid, the grid
    grows at that end for all arms, at most `extensions` times; a rate at an end even then is flagged.
    """

    learning_rates: Annotated[list[Amount], Field(min_length=2)]
    warmups: list[Fraction] = Field(default_factory=list)
    fraction: Annotated[float, Field(gt=0, le=1)] = 0.2
    extensions: Annotated[int, Field(ge=0)] = 1

    @model_validator(mode="after")
    def _rises(self) -> TuningConfig:
        for name in ("learning_rates", "warmups"):
            values = getattr(self, name)
            if sorted(set(values)) != values:
                raise ValueError(f"tuning.{name}: came {values}, must be different values, least first")
        return self


class SweepRecipe(Config):
    """Arms that differ in what their overrides say and in nothing else.

    `question` is one sentence for the report; `seeds=3` runs every arm with the seeds 0, 1 and 2;
    `overrides` go to all arms, before those of the arm. `tuning` gives each arm a learning rate of its own.

    `claims` are the claims and controls of `evidence/claims/claim.py`, by name; with any, only the arms that
    they need are run. They are decided under each of `budgets` and at each of `scales`. `budgets`: "flops",
    "tokens" or both; the one that the recipes do not use gets the amount that a decoder-AR of the size would
    spend. `scales`: factors on the amount, of which 1 decides. `excused`: {control: reason} of controls that
    may fail; the report shows the reason. `endpoints`: {endpoint: another}, as
    `{understanding: task:mr+cola}`: claims and controls whose files name the first are decided on the second.
    """

    name: Annotated[str, Field(pattern=rf"^{FOLDER}$")]
    question: str
    seeds: Count = 1
    arms: Annotated[dict[str, list[str]], Field(min_length=1)]
    overrides: list[str] = Field(default_factory=list)
    tuning: TuningConfig | None = None
    claims: dict[str, Claim] = Field(default_factory=dict)
    excused: dict[str, str] = Field(default_factory=dict)
    endpoints: dict[str, str] = Field(default_factory=dict)
    budgets: list[Literal["flops", "tokens"]] = Field(default_factory=list)
    scales: list[Amount] = Field(default_factory=lambda: [1.0])

    @field_validator("budgets", "scales", mode="before")
    @classmethod
    def _one_is_a_list(cls, given: Any) -> Any:
        return given if isinstance(given, list) else [given]

    @field_validator("arms")
    @classmethod
    def _arms_are_folders(cls, arms: dict[str, list[str]]) -> dict[str, list[str]]:
        for arm in arms:
            if not re.fullmatch(FOLDER, arm):
                raise ValueError(f"arm '{arm}' names a folder: use letters, digits, '_', '-' and '.'")
        return arms

    @model_validator(mode="after")
    def _claims_have_what_they_need(self) -> SweepRecipe:
        for name in ("budgets", "scales"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise ValueError(f"{name}: {values} names one twice; list each once")
        for name in ("budgets", "excused", "endpoints") if not self.claims else ():
            if getattr(self, name):
                raise ValueError(
                    f"{name}: is for claims, and this sweep makes none; add claims=…, or leave it out"
                )
        if not self.claims and self.scales != [1.0]:
            raise ValueError("scales: is for claims, and this sweep makes none; an arm's own is budget.scale")
        if 1.0 not in self.scales:
            raise ValueError(f"scales: came {self.scales}, must hold 1, the scale that decides")
        controls = [name for name, claim in self.claims.items() if claim.role == "control"]
        for name, reason in self.excused.items():
            if name not in controls:
                raise ValueError(f"excused: {unknown('control', name, controls)}")
            if not reason.strip():
                raise ValueError(
                    f"excused.{name}: a control is excused for a reason; write it, in a sentence"
                )
        if self.claims and self.seeds < 2:
            raise ValueError(
                "claims are decided over seeds: came seeds=1, must be 2 or more; eight are usual"
            )
        return self
