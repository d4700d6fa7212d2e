"""The typed, frozen description of one run.

Where values come from: what has a name (a size, a budget, a corpus, an objective) is a preset in
`configs/`; what holds whatever the preset is a default here. A group of a recipe may be given as its
preset's name, so that plain Python and the command line say the same:

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

# Where a run lies, what it is called, who watches it and who builds its batches, not what it is.
NOT_CONTENT: dict[str, Any] = {
    "out": True,
    "name": True,
    "user_path": True,
    "tracking": True,
    "data": {"cache"},
    "training": {"workers"},
}


class Recipe(Config):
    """Everything that decides one run. A group may be a model, a dict, or the name of a preset.

    `init_from`: the folder of a trained run whose weights and tokenizer this one begins with, None = fresh
    weights; in a sweep's arm also the name of another arm. `name` replaces `<family>-<objective>` in the
    run's folder. `user_path` is the folder put on `sys.path` before an import path is resolved.
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
        """`name`, or `<family>-<objective>`, `stacks` between them; of an import path, the last part."""
        family, objective = (part.name.rpartition(".")[2] for part in (self.family, self.objective))
        return self.name or "-".join(part for part in (family, self.family.stacks, objective) if part)

    @property
    def import_paths(self) -> list[str]:
        """What is named by an import path: code of the user's."""
        names = [self.family.name, self.family.mask or ""]
        names += [self.data.segmenter or "", self.data.annotator or ""]
        return [*self.objective.import_paths, *(name for name in names if "." in name)]

    def folder(self, group: str = "train") -> Path:
        """The run's folder: `<out>/<group>/<label>/seed<k>`; `group` is the sweep's name."""
        return Path(self.out) / group / self.label / f"seed{self.seed}"

    def digest(self) -> str:
        """16 hex digits that change with the content, not with what NOT_CONTENT names.

        Of `init_from` what it is called in its sweep counts, not where that lies, as with this run itself.
        """
        content = self.model_dump(mode="json", exclude=NOT_CONTENT)
        content["init_from"] = None if self.init_from is None else Path(self.init_from).parts[-3:]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    def as_yaml(self) -> str:
        """The recipe in full."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)

    def to_yaml(self, path: Path | str) -> None:
        """Writes the recipe in full, ready for `from_yaml`."""
        write_whole(Path(path), self.as_yaml().encode())

    @classmethod
    def from_yaml(cls, path: Path | str) -> Recipe:
        """Reads a saved recipe. Raises UserError if the file is missing or no valid recipe."""
        return validated(cls, read_yaml(Path(path)), f"{path}: ")


GROUPS: tuple[str, ...] = tuple(
    name for name, spec in Recipe.model_fields.items() if is_config(spec.annotation)
)


Recipes = dict[tuple[str, int], Recipe]
