"""The part of a recipe that names the tracker: W&B, TensorBoard or none."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from experiments.recipe.config import Config


class TrackingConfig(Config):
    """`wandb` uploads if a key is present. `entity`: a W&B team, None = the default of the key."""

    name: Literal["wandb", "tensorboard", "none"] = "wandb"
    project: Annotated[str, Field(min_length=1)] = "pentarch"
    entity: str | None = None

    @field_validator("project")
    @classmethod
    def _is_taken_by_wandb(cls, project: str) -> str:
        refused = sorted(set(project) & set("/\\#?%:"))
        if refused or len(project) > 128:
            why = f"{len(project)} characters" if not refused else f"has {' '.join(refused)}"
            raise ValueError(
                f"tracking.project: came '{project[:40]}', which W&B refuses: it {why}; at most 128 "
                "characters are allowed, and none of / \\ # ? % :"
            )
        return project
