"""Finds and reads the presets of `configs/`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from archs.errors import UserError, unknown

IMPORTABLE = ("family", "objective")  # groups where an import path may stand instead of a preset


def configs_dir() -> Path:
    """Returns the folder of presets: `configs/` in a checkout, `experiments/configs` in a wheel."""
    experiments = Path(__file__).parents[1]
    inside = experiments / "configs"
    return inside if inside.is_dir() else experiments.parent / "configs"


def known(group: str) -> Callable[[str], str]:
    """Returns a check that a name is a shipped preset, or an import path where the group takes one."""

    def check(name: str) -> str:
        names = sorted(file.stem for file in (configs_dir() / group).glob("*.yaml"))
        if name not in names and not (group in IMPORTABLE and "." in name):
            raise unknown(group, name, names)
        return name

    return check


def preset(group: str, name: str) -> dict[str, Any]:
    """Returns the values of a shipped preset, or `{name: …}` for an import path.

    Raises UserError, which lists the presets, for an unknown name.
    """
    if "." in known(group)(name):
        return {"name": name}
    content = read_yaml(configs_dir() / group / f"{name}.yaml")
    content.pop("defaults", None)  # a family's natural objective, which only Hydra's composition uses
    return content


def read_yaml(path: Path) -> dict[str, Any]:
    """Returns a file's YAML mapping. Raises UserError if it cannot be read or is no mapping."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read '{path}': {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"'{path}' is not YAML: {' '.join(str(error).split())}") from error
    if content is None:  # only comments
        return {}
    if not isinstance(content, dict):
        raise UserError(f"'{path}' holds no mapping: lines such as 'key: value' are expected")
    return content
