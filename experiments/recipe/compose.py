"""Makes recipes from presets and `key=value` overrides. Hydra composes them and does nothing else.

`family=permuted_lm` chooses a preset; `size.layers=6` sets a value. Pydantic decides what a recipe allows,
so every value may be set, whether a preset mentions it or not.
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
    """Returns the recipe of one run, from `configs/train.yaml` and overrides; the last of equal keys wins.

    `system=NAME` is replaced by the overrides of that published system, placed before all others. `arms`: the
    arms of the sweep, which `init_from` may name instead of a folder.

    `config_dir` holds the user's own presets beside the shipped ones, in folders of the same names: family/,
    size/, sweep/ and so on. Raises UserError, one line, if the result is not a valid recipe.
    """
    overrides = expanded(overrides, config_dir)
    check_keys(overrides, list(Recipe.model_fields))
    content = _with_full_paths(
        composed([text for override in overrides for text in translate(override)], config_dir), arms
    )
    recipe = _with_full_task_paths(validated(Recipe, content))
    return recipe.model_copy(update={"user_path": str(Path.cwd())}) if recipe.import_paths else recipe


def _with_full_paths(content: dict[str, Any], arms: Collection[str]) -> dict[str, Any]:
    """Makes the paths of the user's files absolute, so that a run can be evaluated from any folder."""
    for key in ("path", "tokenizer"):
        path = content.get("data", {}).get(key)
        if isinstance(path, str):
            content["data"][key] = str(Path(path).expanduser().absolute())
    init_from = content.get("init_from")
    if isinstance(init_from, str) and init_from not in arms:
        content["init_from"] = str(Path(init_from).expanduser().absolute())
    return content


def _with_full_task_paths(recipe: Recipe) -> Recipe:
    """Makes the paths of its tasks absolute too. They are known only once the tasks' presets are read."""
    tasks = [ask.model_copy(update={"task": from_here(ask.task)}) for ask in recipe.evaluation.tasks]
    return recipe.model_copy(update={"evaluation": recipe.evaluation.model_copy(update={"tasks": tasks})})


def compose_ask(overrides: list[str], config_dir: Path | None = None) -> AskConfig:
    """Returns how a task is asked: `task=NAME` names a preset, `task.key=…` sets one of the task's values.

    Every other key is a field of AskConfig.
    """
    check_keys(overrides, list(AskConfig.model_fields))
    parsed = [parse(text) for text in overrides]
    names = [str(override.value()) for override in parsed if override.key_or_group == TASK]
    if not names:
        raise UserError("no task is named; add task=NAME, such as task=party, or --lm-eval NAME")
    values = [set_value(override, under="ask.") for override in parsed if override.key_or_group != TASK]
    content = composed([f"+task@ask.task={quoted(names[-1])}", *values], config_dir)["ask"]
    ask = validated(AskConfig, content)
    return ask.model_copy(update={"task": from_here(ask.task)})


def composed(overrides: list[str], config_dir: Path | None) -> dict[str, Any]:
    """Returns the composed configuration as plain dicts, with every interpolation resolved."""
    if config_dir is not None:
        overrides = [*overrides, f"{SEARCHPATH}=[{quoted(f'file://{config_dir.absolute()}')}]"]
    searchpaths = [text for text in overrides if key_of(text) == SEARCHPATH]
    if len(searchpaths) > 1:
        raise UserError(f"presets are looked for in one place: give one --config-dir or {SEARCHPATH}")
    for text in searchpaths:
        _check_searchpath(text)
    try:
        with initialize_config_dir(str(configs_dir().absolute()), version_base="1.3"):
            config = compose("train", overrides)
        return OmegaConf.to_container(config, resolve=True)  # type: ignore[return-value]
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
    """Raises UserError if an override sets a key that is not allowed."""
    for text in overrides:
        parse(text)
        if key_of(text) != SEARCHPATH and key_of(text).split(".")[0] not in allowed:
            raise unknown("key", key_of(text), allowed)


def _check_searchpath(text: str) -> None:
    """Raises UserError for a missing folder and for a preset named as a shipped one.

    Hydra itself would only warn of the first, and read the shipped preset for the second.
    """
    folders = parse(text).value()
    for folder in folders if isinstance(folders, list) else [folders]:
        if not str(folder).startswith("file://"):
            raise UserError(f"{SEARCHPATH}: came '{folder}', must be [file:///FOLDER]; or use --config-dir")
        path = Path(str(folder).removeprefix("file://"))
        if not path.is_dir():
            raise UserError(f"no folder '{path}' to read presets from")
        for file in sorted(path.glob("*/*.yaml")):
            if (configs_dir() / file.relative_to(path)).exists():
                raise UserError(f"'{file}' has the name of a shipped preset; rename it")
