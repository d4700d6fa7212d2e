"""The typed, frozen description of one run.

Values come from two places. What has a name (a size, a budget, a corpus, an objective) is a preset in
`configs/`; a value that no preset sets is a default of the classes here and in `groups/`. In Python a group
may be given as the name of its preset, as on the command line:

    Recipe(family="permuted_lm", objective="permutation", size="tiny", budget="smoke")
    pentarch train family=permuted_lm objective=permutation size=tiny budget=smoke
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, field_validator

from experiments.recipe.config import FOLDER, Config, is_config, validated
from experiments.recipe.groups.budget import BudgetConfig
from experiments.recipe.groups.data import DataConfig
from experiments.recipe.groups.evaluation import EvaluationConfig
from experiments.recipe.groups.family import FamilyConfig
from experiments.recipe.groups.objective import ObjectiveConfig
from experiments.recipe.groups.size import SizeConfig
from experiments.recipe.groups.tracking import TrackingConfig
from experiments.recipe.groups.training import TrainingConfig
from experiments.recipe.presets import preset, read_yaml
from experiments.storage.whole import write_whole

# Fields that do not change what is trained: the run's place, name and tracker, and who builds its batches.
NOT_CONTENT: dict[str, Any] = {
    "out": True,
    "name": True,
    "user_path": True,
    "tracking": True,
    "data": {"cache"},
    "training": {"workers"},
}


class Recipe(Config):
    """Everything that decides one run. A group may be given as a model, a dict, or the name of a preset.

    `init_from`: the folder of a trained run, whose weights and tokenizer this run begins with; in a sweep's
    arm also the name of another arm; None = fresh weights. `name` replaces `<family>-<objective>` in the
    run's folder. `user_path`: the folder added to `sys.path` before an import path is resolved.
    """

    family: FamilyConfig
    objective: ObjectiveConfig
    size: SizeConfig = Field(default="mini", validate_default=True)  # type: ignore[assignment]
    budget: BudgetConfig = Field(default="ten_minutes", validate_default=True)  # type: ignore[assignment]
    data: DataConfig = Field(default="auto", validate_default=True)  # type: ignore[assignment]
    training: TrainingConfig = TrainingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    tracking: TrackingConfig = TrackingConfig()
    init_from: str | None = None
    seed: Annotated[int, Field(ge=0)] = 0
    out: str = "runs"
    name: Annotated[str, Field(pattern=rf"^({FOLDER})?$")] = ""
    user_path: str | None = None

    @field_validator(
        "family", "objective", "size", "budget", "data", "training", "evaluation", "tracking", mode="before"
    )
    @classmethod
    def _load_preset(cls, value: Any, info: Any) -> Any:
        return preset(info.field_name, value) if isinstance(value, str) else value

    @property
    def label(self) -> str:
        """Returns `name`, or `<family>-<objective>` with `stacks` between them if set.

        Of an import path the last part is used.
        """
        family, objective = (part.name.rpartition(".")[2] for part in (self.family, self.objective))
        return self.name or "-".join(part for part in (family, self.family.stacks, objective) if part)

    @property
    def import_paths(self) -> list[str]:
        """Returns the import paths in the recipe, which name the user's own code."""
        names = [self.family.name, self.family.mask or ""]
        names += [self.data.segmenter or "", self.data.annotator or ""]
        return [*self.objective.import_paths, *(name for name in names if "." in name)]

    def folder(self, group: str = "train") -> Path:
        """Returns the run's folder, `<out>/<group>/<label>/seed<k>`; `group` is the sweep's name."""
        return Path(self.out) / group / self.label / f"seed{self.seed}"

    def digest(self) -> str:
        """Returns 16 hex digits that change with every field but those of NOT_CONTENT.

        Of `init_from` the last three parts count, sweep, arm and seed, so that moved runs keep their digest.
        """
        content = self.model_dump(mode="json", exclude=NOT_CONTENT)
        content["init_from"] = None if self.init_from is None else Path(self.init_from).parts[-3:]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    def as_yaml(self) -> str:
        """Returns the recipe as YAML, with every value written out."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)

    def to_yaml(self, path: Path | str) -> None:
        """Writes the recipe with every value, to be read by `from_yaml`."""
        write_whole(Path(path), self.as_yaml().encode())

    @classmethod
    def from_yaml(cls, path: Path | str) -> Recipe:
        """Reads a saved recipe. Raises UserError if the file is missing or not a valid recipe."""
        return validated(cls, read_yaml(Path(path)), f"{path}: ")


GROUPS: tuple[str, ...] = tuple(
    name for name, spec in Recipe.model_fields.items() if is_config(spec.annotation)
)


Recipes = dict[tuple[str, int], Recipe]  # by arm and seed
