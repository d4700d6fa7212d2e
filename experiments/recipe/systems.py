"""Published systems, such as BERT, as lists of overrides, with what each leaves out of the original."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from archs.errors import UserError, unknown
from experiments.recipe.config import Config, validated
from experiments.recipe.overrides import key_of
from experiments.recipe.presets import configs_dir, read_yaml

KEY = "system"


class System(Config):
    """One file of `configs/system/`: the texts of the table, and the overrides that make the recipe."""

    paper: str
    selection: str
    replacement: str
    sentence_task: str
    structure: str
    leaves_out: str
    overrides: Annotated[list[str], Field(min_length=1)]


def systems(config_dir: Path | None = None) -> dict[str, System]:
    """Returns {name: system} of the shipped systems and those of `config_dir`.

    Raises UserError for a file that is not a valid system.
    """
    if config_dir is not None and not config_dir.is_dir():
        raise UserError(f"no folder '{config_dir}' to read presets from")
    folders = [configs_dir(), *([] if config_dir is None else [config_dir])]
    files = {file.stem: file for folder in folders for file in sorted((folder / KEY).glob("*.yaml"))}
    read = {name: validated(System, read_yaml(file), f"{file}: ") for name, file in files.items()}
    for name, system in read.items():
        if any(key_of(text) == KEY for text in system.overrides):
            raise UserError(
                f"{files[name]}: a system cannot name another in its overrides; list them instead"
            )
    return read


def expanded(overrides: list[str], config_dir: Path | None = None) -> list[str]:
    """Returns the overrides with `system=NAME` replaced by the system's own.

    They stand before all others, so that those may change them.
    """
    names = [text.partition("=")[2] for text in overrides if key_of(text) == KEY]
    rest = [text for text in overrides if key_of(text) != KEY]
    if not names:
        return rest
    name, known = names[-1], systems(config_dir)
    if name not in known:
        raise unknown(KEY, name, known)
    return [f"name={name}", *known[name].overrides, *rest]
