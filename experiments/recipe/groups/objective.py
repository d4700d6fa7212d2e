"""The objective, its options, and the parts of a mixture."""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_validator, model_validator

from archs.errors import UserError
from experiments.recipe.config import Config, Count, validated
from experiments.recipe.presets import known, preset


class ObjectiveConfig(Config):
    """`name` is one of `objectives.OBJECTIVES` or an import path; `options` are its keyword arguments.

    `options.select` and `options.replace` name a function of `objectives.select` or `objectives.replace`,
    or an import path, alone or with keyword arguments of its own: `{name: uniform, rate: 0.3}`.
    """

    name: str
    options: dict[str, Any] = Field(default_factory=dict)

    _name_is_known = field_validator("name")(known("objective"))

    @model_validator(mode="after")
    def _functions_have_names(self) -> ObjectiveConfig:
        for part in ("select", "replace"):
            given = self.options.get(part, "")
            if not isinstance(given, str) and not (isinstance(given, dict) and "name" in given):
                raise ValueError(f"options.{part}: came {given!r}, must be a name or {{name: …, option: …}}")
        return self

    @property
    def parts(self) -> dict[str, PartConfig]:
        """Of a mixture, by name. Raises UserError for an entry that is no part."""
        given = self.options.get("parts", {}) if self.name == "mixture" else {}
        if not isinstance(given, dict):
            raise UserError(f"objective.options.parts: came {given!r}, must be {{PART: {{name: mlm, …}}}}")
        parts = {}
        for name, content in given.items():
            where = f"objective.options.parts.{name}"
            if not str(name).isidentifier():
                raise UserError(f"{where}: a part's name is made of letters, digits and '_'")
            if isinstance(content, str):
                content = {"name": content}
            if not isinstance(content, dict):
                raise UserError(f"{where}: came {content!r}, must be {{name: mlm, options: {{…}}}}")
            parts[name] = validated(PartConfig, content, f"{where}: ")
            if "." not in parts[name].name and preset("objective", parts[name].name)["name"] == "mixture":
                raise UserError(f"{where}: a mixture has no mixtures in it; list their parts instead")
        return parts

    @property
    def functions(self) -> list[str]:
        """The selections and replacements that are named here, in parts too."""
        given = [self.options[part] for part in ("select", "replace") if self.options.get(part) is not None]
        names = [each if isinstance(each, str) else each["name"] for each in given]
        return names + [name for part in self.parts.values() for name in part.functions]

    @property
    def import_paths(self) -> list[str]:
        """Code of the user's that is named here, in parts too."""
        names = [self.name, *(part.name for part in self.parts.values()), *self.functions]
        return [name for name in names if "." in name]


class PartConfig(ObjectiveConfig):
    """An objective of a mixture, `{name: mlm, options: {rate: 0.3}}` or its name alone.

    `mode`: 1, 2, …: which mode token stands before its texts.
    """

    mode: Count | None = None
