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
from experiments.claims.claim import ALL, CONTROLS, check_arms, read_claims
from experiments.claims.replaced import replaced
from experiments.launch.config import CONFIGS, AnyLauncher
from experiments.overrides import SEARCHPATH, key_of, parse, quoted, set_value, translate
from experiments.presets import configs_dir
from experiments.recipe import GROUPS, NOT_CONTENT, Recipe
from experiments.sweep_recipe import SweepRecipe
from experiments.systems import KEY, expanded
from experiments.tasks.task import AskConfig, from_here
from experiments.validate import flatten, validated
from experiments.waves import check_stages, with_its_parent

LAUNCHER, TASK = "launcher", "task"


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
    _check_keys(overrides, list(Recipe.model_fields))
    content = _from_here(_compose([text for one in overrides for text in translate(one)], config_dir), arms)
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


def compose_sweep(
    name: str, overrides: list[str], config_dir: Path | None = None
) -> tuple[SweepRecipe, dict[tuple[str, int], Recipe]]:
    """A sweep, and its recipes by (arm, seed).

    Overrides of the sweep's own keys (`seeds=3`, `arms.mine=[…]`, `~arms.prefix_lm`, `claims=[C11]`) go to
    the sweep, all others to every arm. A sweep with claims keeps the arms that they name. Raises UserError if
    an override is of a key that the arms differ in, or if they differ in a key that none of them declares.
    """
    own = [*SweepRecipe.model_fields, CONTROLS]
    _check_keys(overrides, [*own, *(key for key in Recipe.model_fields if key not in own), KEY])
    mine = [one for one in overrides if key_of(one).split(".")[0] in own]
    common = [one for one in overrides if one not in mine]
    if any(key_of(one) == KEY for one in common):
        common = expanded(common, config_dir)[1:]  # without its name: arms have theirs
    sweep = _sweep(name, mine, [one for one in common if key_of(one) == SEARCHPATH], config_dir)
    arms = {arm: expanded(its, config_dir) for arm, its in sweep.arms.items()}
    declared = sorted({key_of(one) for its in arms.values() for one in its})
    if sweep.tuning is not None:
        _refuse_what_is_tuned([*sweep.overrides, *common, *(one for its in arms.values() for one in its)])
    for one in common:
        _refuse_in_sweep(sweep.name, one, declared)
    first = {
        arm: compose_recipe([*sweep.overrides, *its, *common, f"name={quoted(arm)}"], config_dir, arms)
        for arm, its in arms.items()
    }
    _check_controlled(sweep.name, first, declared)
    check_stages(sweep, first)
    return sweep, {
        (arm, seed): with_its_parent(recipe.model_copy(update={"seed": seed}), first, sweep.name)
        for arm, recipe in first.items()
        for seed in range(sweep.seeds)
    }


def compose_launcher(overrides: list[str], config_dir: Path | None = None) -> AnyLauncher:
    """Where a sweep's runs are trained: `launcher=NAME` is a preset, `launcher.key=…` one of its values."""
    keys = [key_of(one) for one in overrides]
    named = [one for one, key in zip(overrides, keys, strict=True) if key == LAUNCHER]
    name = str(parse(named[-1]).value()) if named else "inline"
    values = [set_value(parse(one)) for one, key in zip(overrides, keys, strict=True) if key != LAUNCHER]
    content = _compose([f"+{LAUNCHER}={quoted(name)}", *values], config_dir)[LAUNCHER]
    kind = content.get("name")
    if kind not in CONFIGS:
        raise unknown("launcher.name", str(kind), CONFIGS)
    return validated(CONFIGS[kind], content, f"{LAUNCHER}: ")


def compose_ask(overrides: list[str], config_dir: Path | None = None) -> AskConfig:
    """How a task is asked: `task=NAME` is a preset, `task.key=…` one of its values, all else of AskConfig."""
    _check_keys(overrides, list(AskConfig.model_fields))
    parsed = [parse(one) for one in overrides]
    named = [str(one.value()) for one in parsed if one.key_or_group == TASK]
    if not named:
        raise UserError("no task is named; add task=NAME, such as task=party, or --lm-eval NAME")
    values = [set_value(one, under="ask.") for one in parsed if one.key_or_group != TASK]
    content = _compose([f"+task@ask.task={quoted(named[-1])}", *values], config_dir)["ask"]
    ask = validated(AskConfig, content)
    return ask.model_copy(update={"task": from_here(ask.task)})


def is_of_launcher(override: str) -> bool:
    """Whether an override says where runs are trained, not what they are."""
    return key_of(override).split(".")[0] == LAUNCHER


def _sweep(name: str, overrides: list[str], searchpath: list[str], config_dir: Path | None) -> SweepRecipe:
    parsed = [parse(one) for one in overrides]
    changes = [set_value(one, under="sweep.") for one in parsed if not one.is_delete()]
    dropped = [one.key_or_group.removeprefix("arms.") for one in parsed if one.is_delete()]
    content = _compose([*searchpath, f"+sweep={quoted(name)}", *changes], config_dir)["sweep"]
    if not content.get("claims", ALL):
        came = content["claims"]
        raise UserError(
            f"claims={came} leaves nothing for sweep '{name}' to decide; name claims, or claims=all"
        )
    if content.get(CONTROLS) and "claims" not in content:
        raise UserError(
            f"controls={content[CONTROLS]} are for claims, and sweep '{name}' makes none; add claims=…"
        )
    named = {role: content.pop(key, None) or [] for role, key in (("control", CONTROLS), ("claim", "claims"))}
    sweep = validated(SweepRecipe, {**content, "claims": read_claims(named, config_dir)})
    sweep = sweep.model_copy(update={"claims": replaced(sweep.claims, sweep.endpoints)})
    for arm in dropped:
        if arm not in sweep.arms:
            raise unknown("arm", arm, sweep.arms)
    arms = {arm: its for arm, its in sweep.arms.items() if arm not in dropped}
    if not arms:
        raise UserError(f"sweep '{name}' has no arm left to run; leave one of: {', '.join(sweep.arms)}")
    check_arms(sweep.claims, arms)
    if sweep.claims:
        needed = {arm for claim in sweep.claims.values() for arm in claim.arms}
        arms = {arm: its for arm, its in arms.items() if arm in needed}
    return sweep.model_copy(update={"arms": arms})


def _compose(overrides: list[str], config_dir: Path | None) -> dict[str, Any]:
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
            composed = compose("train", overrides)
        return OmegaConf.to_container(composed, resolve=True)  # type: ignore[return-value]
    except MissingConfigException as error:
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        if error.options is None:
            raise UserError(f"cannot compose the recipe: {_one_line(error)}") from error
        raise unknown(group, name, error.options) from error
    except (HydraException, OmegaConfBaseException, yaml.YAMLError, ValueError) as error:
        raise UserError(f"cannot compose the recipe: {_one_line(error)}") from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _check_keys(overrides: list[str], allowed: list[str]) -> None:
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


def _overlap(one: str, other: str) -> bool:
    """Whether setting one key also sets some of the other."""
    return one == other or one.startswith(f"{other}.") or other.startswith(f"{one}.")


def _refuse_in_sweep(sweep: str, override: str, declared: list[str]) -> None:
    key = key_of(override)
    chosen = key in GROUPS and isinstance(parse(override).value(), str)
    if key == "seed":
        raise UserError("a sweep numbers its seeds itself; write seeds=3 for the seeds 0, 1 and 2")
    for other in declared:
        if chosen and other.startswith(f"{key}."):
            continue  # a preset for all arms, and under it what they differ in
        if _overlap(key, other):
            raise UserError(
                f"{other} is what the arms of {sweep} differ in, so {key} cannot be set for all of them; "
                f"change an arm instead: 'arms.NAME=[{other}=…]'"
            )


def _refuse_what_is_tuned(overrides: list[str]) -> None:
    for one in overrides:
        if key_of(one) == "training.learning_rate":
            raise UserError(
                f"{one} would be overwritten by what tuning chooses; set tuning.learning_rates=[…], or "
                "tuning=null"
            )


def _check_controlled(sweep: str, recipes: dict[str, Recipe], declared: list[str]) -> None:
    """Arms differ in declared keys only: a preset might have changed another on the way."""
    arms = [flatten(recipe.model_dump(exclude=NOT_CONTENT)) for recipe in recipes.values()]
    for leaf in sorted(set().union(*arms)):
        present = [leaf in arm for arm in arms]
        same = all(present) and all(arm[leaf] == arms[0][leaf] for arm in arms)
        if not same and not any(_overlap(leaf, key) for key in declared):
            raise UserError(
                f"the arms of {sweep} differ in {leaf}, which no arm declares; give it to all of them, or "
                f"write it into the arms: {leaf}=…"
            )
