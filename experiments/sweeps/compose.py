"""Composes a sweep from its preset and overrides: its arms, their recipes, and its launcher."""

from __future__ import annotations

from pathlib import Path

from archs.errors import UserError, unknown
from experiments.evidence.claims.claim import ALL, CONTROLS, check_arms, read_claims
from experiments.evidence.claims.replaced import replaced
from experiments.recipe.compose import check_keys, compose_recipe, composed
from experiments.recipe.config import flatten, validated
from experiments.recipe.overrides import SEARCHPATH, key_of, parse, quoted, set_value
from experiments.recipe.recipe import GROUPS, NOT_CONTENT, Recipe
from experiments.recipe.systems import KEY, expanded
from experiments.sweeps.launch.config import CONFIGS, AnyLauncher
from experiments.sweeps.order import check_stages, with_its_parent
from experiments.sweeps.recipe import SweepRecipe

LAUNCHER = "launcher"


def compose_sweep(
    name: str, overrides: list[str], config_dir: Path | None = None
) -> tuple[SweepRecipe, dict[tuple[str, int], Recipe]]:
    """Returns a sweep and its recipes, {(arm, seed): recipe}.

    An override of one of the sweep's own keys (`seeds=3`, `arms.mine=[…]`, `~arms.prefix_lm`, `claims=[C11]`)
    changes the sweep; any other changes every arm. A sweep with claims keeps only the arms that they name.
    Raises UserError if an override sets a key that the arms differ in, or if the arms differ in a key that no
    arm declares.
    """
    own = [*SweepRecipe.model_fields, CONTROLS]
    check_keys(overrides, [*own, *(key for key in Recipe.model_fields if key not in own), KEY])
    of_sweep = [one for one in overrides if key_of(one).split(".")[0] in own]
    common = [one for one in overrides if one not in of_sweep]
    if any(key_of(one) == KEY for one in common):
        common = expanded(common, config_dir)[1:]  # without the first, a name: each arm has its own
    sweep = _sweep(name, of_sweep, [one for one in common if key_of(one) == SEARCHPATH], config_dir)
    arms = {arm: expanded(its, config_dir) for arm, its in sweep.arms.items()}
    declared = sorted({key_of(one) for its in arms.values() for one in its})
    if sweep.tuning is not None:
        _refuse_tuned_keys([*sweep.overrides, *common, *(one for its in arms.values() for one in its)])
    for one in common:
        _refuse_arms_keys(sweep.name, one, declared)
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
    """Returns the configuration of the launcher, which trains a sweep's runs.

    `launcher=NAME` is a preset, `launcher.key=…` changes one of its values.
    """
    keys = [key_of(one) for one in overrides]
    named = [one for one, key in zip(overrides, keys, strict=True) if key == LAUNCHER]
    name = str(parse(named[-1]).value()) if named else "inline"
    values = [set_value(parse(one)) for one, key in zip(overrides, keys, strict=True) if key != LAUNCHER]
    content = composed([f"+{LAUNCHER}={quoted(name)}", *values], config_dir)[LAUNCHER]
    kind = content.get("name")
    if kind not in CONFIGS:
        raise unknown("launcher.name", str(kind), CONFIGS)
    return validated(CONFIGS[kind], content, f"{LAUNCHER}: ")


def is_of_launcher(override: str) -> bool:
    """Returns whether an override sets where runs are trained, and so is no part of a recipe."""
    return key_of(override).split(".")[0] == LAUNCHER


def _sweep(name: str, overrides: list[str], searchpath: list[str], config_dir: Path | None) -> SweepRecipe:
    parsed = [parse(one) for one in overrides]
    changes = [set_value(one, under="sweep.") for one in parsed if not one.is_delete()]
    dropped = [one.key_or_group.removeprefix("arms.") for one in parsed if one.is_delete()]
    content = composed([*searchpath, f"+sweep={quoted(name)}", *changes], config_dir)["sweep"]
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


def _overlap(one: str, other: str) -> bool:
    """Returns whether setting one key also sets the other, or a part of it."""
    return one == other or one.startswith(f"{other}.") or other.startswith(f"{one}.")


def _refuse_arms_keys(sweep: str, override: str, declared: list[str]) -> None:
    """Raises UserError if an override of all arms sets the seed, or a key that the arms differ in."""
    key = key_of(override)
    chosen = key in GROUPS and isinstance(parse(override).value(), str)
    if key == "seed":
        raise UserError("a sweep numbers its seeds itself; write seeds=3 for the seeds 0, 1 and 2")
    for other in declared:
        if chosen and other.startswith(f"{key}."):
            continue  # a preset for all arms; what they differ in is set on top of it
        if _overlap(key, other):
            raise UserError(
                f"{other} is what the arms of {sweep} differ in, so {key} cannot be set for all of them; "
                f"change an arm instead: 'arms.NAME=[{other}=…]'"
            )


def _refuse_tuned_keys(overrides: list[str]) -> None:
    for one in overrides:
        if key_of(one) == "training.learning_rate":
            raise UserError(
                f"{one} would be overwritten by what tuning chooses; set tuning.learning_rates=[…], or "
                "tuning=null"
            )


def _check_controlled(sweep: str, recipes: dict[str, Recipe], declared: list[str]) -> None:
    """Raises UserError if arms differ in a key that no arm declares, as a preset may cause."""
    arms = [flatten(recipe.model_dump(exclude=NOT_CONTENT)) for recipe in recipes.values()]
    for leaf in sorted(set().union(*arms)):
        present = [leaf in arm for arm in arms]
        same = all(present) and all(arm[leaf] == arms[0][leaf] for arm in arms)
        if not same and not any(_overlap(leaf, key) for key in declared):
            raise UserError(
                f"the arms of {sweep} differ in {leaf}, which no arm declares; give it to all of them, or "
                f"write it into the arms: {leaf}=…"
            )
