"""Published systems as recipes: a system is a list of overrides, and what it leaves out of the original."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from archs.errors import UserError, unknown
from experiments.recipe.config import Config, validated
from experiments.recipe.overrides import key_of
from experiments.recipe.presets import configs_dir, read_yaml

if TYPE_CHECKING:
    pass


KEY = "system"


class System(Config):
    """One file of `configs/system/`: words for the table, and the overrides that make the recipe."""

    paper: str
    selection: str
    replacement: str
    sentence_task: str
    structure: str
    leaves_out: str
    overrides: Annotated[list[str], Field(min_length=1)]


def systems(config_dir: Path | None = None) -> dict[str, System]:
    """Every system by name, the shipped ones and those of `config_dir`. Raises UserError for a file amiss."""
    if config_dir is not None and not config_dir.is_dir():
        raise UserError(f"no folder '{config_dir}' to read presets from")
    folders = [configs_dir(), *([] if config_dir is None else [config_dir])]
    files = {file.stem: file for folder in folders for file in sorted((folder / KEY).glob("*.yaml"))}
    found = {name: validated(System, read_yaml(file), f"{file}: ") for name, file in files.items()}
    for name, system in found.items():
        if any(key_of(one) == KEY for one in system.overrides):
            raise UserError(
                f"{files[name]}: a system cannot name another in its overrides; list them instead"
            )
    return found


def expanded(overrides: list[str], config_dir: Path | None = None) -> list[str]:
    """The overrides with `system=NAME` written out, in front of all others, which may change it."""
    named = [one.partition("=")[2] for one in overrides if key_of(one) == KEY]
    rest = [one for one in overrides if key_of(one) != KEY]
    if not named:
        return rest
    known = systems(config_dir)
    if named[-1] not in known:
        raise unknown(KEY, named[-1], known)
    return [f"name={named[-1]}", *known[named[-1]].overrides, *rest]
