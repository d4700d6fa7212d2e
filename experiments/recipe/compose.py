"""Presets and `key=value` overrides become recipes. Hydra composes and does nothing else.

`family=permuted_lm` chooses a preset; `size.layers=6` sets a value. What the recipe allows is pydantic's to
say, so every value may be set, whether a preset mentions it or not.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException, MissingConfigException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from archs.errors import UserError, unknown
from experiments.recipe.config import validated
from experiments.recipe.groups.task import AskConfig, from_here
from experiments.recipe.overrides import SEARCHPATH, key_of, parse, quoted, set_value, translate
from experiments.recipe.presets import configs_dir
from experiments.recipe.recipe import Recipe
from experiments.recipe.systems import expanded

TASK = "task"


def compose_recipe(
    overrides: list[str], config_dir: Path | None = None, arms: Collection[str] = ()
) -> Recipe:
    """The recipe of one run from `configs/train.yaml` and overrides; the last of two equal keys wins.

    `system=NAME` stands for the overrides of a published system, in front of all others. `arms`: those of its
    sweep, which `init_from` may name in place of a folder.

    `config_dir` holds presets of the user's own beside the shipped ones, in folders of the same names:
    family/, size/, sweep/ and so on. Raises UserError, one line, on anything that is no recipe.
    """
    overrides = expanded(overrides, config_dir)
    check_keys(overrides, list(Recipe.model_fields))
    content = _from_here(composed([text for one in overrides for text in translate(one)], config_dir), arms)
    recipe = _tasks_from_here(validated(Recipe, content))
    return recipe.model_copy(update={"user_path": str(Path.cwd())}) if recipe.import_paths else recipe


def _from_here(content: dict[str, Any], arms: Collection[str]) -> dict[str, Any]:
    """Files of the user's by their full path, so that a run can be asked from any folder."""
    for key in ("path", "tokenizer"):
        given = content.get("data", {}).get(key)
        if isinstance(given, str):
            content["data"][key] = str(Path(given).expanduser().absolute())
    begins = content.get("init_from")
    if isinstance(begins, str) and begins not in arms:
        content["init_from"] = str(Path(begins).expanduser().absolute())
    return content


def _tasks_from_here(recipe: Recipe) -> Recipe:
    """The paths of its tasks in full, too, which only the tasks' presets may name."""
    tasks = [ask.model_copy(update={"task": from_here(ask.task)}) for ask in recipe.evaluation.tasks]
    return recipe.model_copy(update={"evaluation": recipe.evaluation.model_copy(update={"tasks": tasks})})


def compose_ask(overrides: list[str], config_dir: Path | None = None) -> AskConfig:
    """How a task is asked: `task=NAME` is a preset, `task.key=…` one of its values, all else of AskConfig."""
    check_keys(overrides, list(AskConfig.model_fields))
    parsed = [parse(one) for one in overrides]
    named = [str(one.value()) for one in parsed if one.key_or_group == TASK]
    if not named:
        raise UserError("no task is named; add task=NAME, such as task=party, or --lm-eval NAME")
    values = [set_value(one, under="ask.") for one in parsed if one.key_or_group != TASK]
    content = composed([f"+task@ask.task={quoted(named[-1])}", *values], config_dir)["ask"]
    ask = validated(AskConfig, content)
    return ask.model_copy(update={"task": from_here(ask.task)})


def composed(overrides: list[str], config_dir: Path | None) -> dict[str, Any]:
    """The composed configuration as plain dicts, every interpolation resolved."""
    if config_dir is not None:
        overrides = [*overrides, f"{SEARCHPATH}=[{quoted(f'file://{config_dir.absolute()}')}]"]
    searchpaths = [one for one in overrides if key_of(one) == SEARCHPATH]
    if len(searchpaths) > 1:
        raise UserError(f"presets are looked for in one place: give one --config-dir or {SEARCHPATH}")
    for one in searchpaths:
        _check_searchpath(one)
    try:
        with initialize_config_dir(str(configs_dir().absolute()), version_base="1.3"):
            found = compose("train", overrides)
        return OmegaConf.to_container(found, resolve=True)  # type: ignore[return-value]
    except MissingConfigException as error:
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        if error.options is None:
            raise UserError(f"cannot compose the recipe: {_one_line(error)}") from error
        raise unknown(group, name, error.options) from error
    except (HydraException, OmegaConfBaseException, yaml.YAMLError, ValueError) as error:
        raise UserError(f"cannot compose the recipe: {_one_line(error)}") from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def check_keys(overrides: list[str], allowed: list[str]) -> None:
    """Raises UserError for an override of another key than those allowed."""
    for one in overrides:
        parse(one)
        if key_of(one) != SEARCHPATH and key_of(one).split(".")[0] not in allowed:
            raise unknown("key", key_of(one), allowed)


def _check_searchpath(text: str) -> None:
    """Hydra only warns of a missing folder, and reads the shipped preset where names clash."""
    folders = parse(text).value()
    for folder in folders if isinstance(folders, list) else [folders]:
        if not str(folder).startswith("file://"):
            raise UserError(f"{SEARCHPATH}: came '{folder}', must be [file:///FOLDER]; or use --config-dir")
        mine = Path(str(folder).removeprefix("file://"))
        if not mine.is_dir():
            raise UserError(f"no folder '{mine}' to read presets from")
        for file in sorted(mine.glob("*/*.yaml")):
            if (configs_dir() / file.relative_to(mine)).exists():
                raise UserError(f"'{file}' has the name of a shipped preset; rename it")
