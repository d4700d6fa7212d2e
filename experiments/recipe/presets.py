"""Where the presets are, and what one holds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from archs.errors import UserError, unknown

IMPORTABLE = ("family", "objective")  # groups that take an import path in place of a preset


def configs_dir() -> Path:
    """The presets: at the top of a checkout, inside the package in an installed wheel."""
    experiments = Path(__file__).parents[1]
    inside = experiments / "configs"
    return inside if inside.is_dir() else experiments.parent / "configs"


def known(group: str) -> Callable[[str], str]:
    """A check that a name is that of a shipped preset, or an import path where the group takes one."""

    def check(name: str) -> str:
        names = sorted(file.stem for file in (configs_dir() / group).glob("*.yaml"))
        if name not in names and not (group in IMPORTABLE and "." in name):
            raise unknown(group, name, names)
        return name

    return check


def preset(group: str, name: str) -> dict[str, Any]:
    """A group's content: the shipped preset of that name, or `{name: …}` for an import path.

    Raises UserError that lists the presets.
    """
    if "." in known(group)(name):
        return {"name": name}
    content = read_yaml(configs_dir() / group / f"{name}.yaml")
    content.pop("defaults", None)  # a family's natural objective: for Hydra, which composes
    return content


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML mapping from a file, or a UserError."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read '{path}': {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"'{path}' is not YAML: {' '.join(str(error).split())}") from error
    if content is None:  # nothing but comments
        return {}
    if not isinstance(content, dict):
        raise UserError(f"'{path}' holds no mapping: lines such as 'key: value' are expected")
    return content
