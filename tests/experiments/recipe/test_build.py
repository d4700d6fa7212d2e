"""Names become classes: presets and code agree, import paths work, what cannot be built is one line."""

import inspect
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

from archs import FAMILIES
from archs.errors import UserError
from experiments.recipe.build import FUNCTIONS, SHIPPED, build, family_class
from experiments.recipe.compose import compose_recipe
from experiments.recipe.imports import import_path
from experiments.recipe.presets import configs_dir
from experiments.recipe.recipe import Recipe
from objectives import OBJECTIVES
from objectives.base import Vocabulary


def vocabulary() -> Vocabulary:
    special = torch.zeros(64, dtype=torch.bool)
    special[:8] = True
    return Vocabulary(64, ~special, special, 0, 1, 2, mask=3, cls=4, sep=5, sentinels=(6, 7))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_preset_s_options_are_the_objective_s_own_defaults(name: str):
    """configs/ shows what can be changed; a plain `Objective(vocabulary, layout)` must mean the same."""
    content = yaml.safe_load((configs_dir() / "objective" / f"{name}.yaml").read_text(encoding="utf-8"))
    parameters = inspect.signature(OBJECTIVES[name]).parameters
    defaults = {key: parameter.default for key, parameter in parameters.items() if key not in FUNCTIONS}
    for key in ("vocabulary", "layout"):
        del defaults[key]
    assert content.get("options", {}) == defaults


def test_presets_cover_the_shipped_families_and_objectives():
    for group, shipped in (("family", FAMILIES), ("objective", SHIPPED)):
        files = list((configs_dir() / group).glob("*.yaml"))
        assert {file.stem for file in files} >= set(shipped)
        assert {yaml.safe_load(file.read_text(encoding="utf-8"))["name"] for file in files} == set(shipped)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_can_be_built_with_its_natural_objective(family: str):
    recipe = compose_recipe([f"family={family}"])
    made = build(recipe).objective(vocabulary(), family_class(recipe).layout)
    assert type(made) is SHIPPED[recipe.objective.name]


MODULE = '''
from archs.families.encoder_ae import EncoderAE
from objectives.mlm import MLM

def every_third_word(tokens, word_starts, special, rng, *, offset: int = 0):
    return ((word_starts.cumsum(1) + offset) % 3 == 0) & ~special

class Wide(EncoderAE):
    """A family."""

class Sorted(MLM):
    name = "sorted"
    def __init__(self, vocabulary, layout, depth: int):
        super().__init__(vocabulary, layout)
        self.depth = depth

NUMBER = 3
'''


@pytest.fixture
def mine(own_module: Callable[[str], str]) -> str:
    return own_module(MODULE)


def test_classes_and_functions_of_one_s_own_are_built_from_import_paths(mine: str):
    chosen = f"objective.options.select={{name: {mine}.every_third_word, offset: 1}}"
    recipe = compose_recipe([f"family={mine}.Wide", "objective=mlm", chosen])
    family = family_class(recipe)
    assert family.__name__ == "Wide"
    made = build(recipe).objective(vocabulary(), family.layout)
    tokens = torch.arange(8, 16)[None]
    nothing = torch.zeros_like(tokens, dtype=torch.bool)
    hidden = made.select(tokens, ~nothing, nothing, torch.Generator())
    assert hidden.int().tolist() == [[0, 1, 0, 0, 1, 0, 0, 1]]
    own = compose_recipe(["family=encoder_ae", f"objective={mine}.Sorted", "objective.options.depth=2"])
    assert build(own).objective(vocabulary(), "in_place").depth == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["family=nowhere_at_all.Wide"], ["no module 'nowhere_at_all'"]),
        (["family=MINE.Wild"], ["unknown name in module", "choose one of: Wide"]),
        (["family=MINE.NUMBER"], ["subclass of archs.families.family.Family"]),
        (["family=MINE..Wide"], ["no import path"]),
        (["objective=MINE.Wide"], ["subclass of objectives.base.Objective"]),
        (["objective=MINE.Sorted"], ["needs the option 'depth'"]),
        (["objective=MINE.Sorted", "objective.options.depth=2.5"], ["option 'depth'", "2.5", "integer"]),
        (["objective.options.select=MINE.NUMBER"], ["no function"]),
        (["objective.options.select=unifrm"], ["choose one of: uniform"]),
        (["objective.options.select=traits"], ["unknown objective.options.select 'traits'"]),
        (["objective.options.select={name: uniform, rat: 1}"], ["option of select 'uniform'", "rate"]),
        (["objective.options.select={name: uniform, rate: 0.3}"], ["objective.options.rate"]),
        (["objective.options.select={name: MINE.every_third_word, offset: x}"], ["option 'offset'", "'x'"]),
        (["objective.options.replace=bart"], ["choose one of: bert"]),
        (["objective.options.rate=high"], ["option 'rate' of objective 'mlm'", "'high'"]),
        (["objective=causal"], ["'causal' cannot train family 'encoder_ae'", "mlm", "decoder_ar"]),
    ],
)
def test_what_cannot_be_built_is_refused_in_one_line(overrides: list[str], words: list[str], mine: str):
    recipe = compose_recipe(["family=encoder_ae", *(one.replace("MINE", mine) for one in overrides)])
    with pytest.raises(UserError) as caught:
        build(recipe)
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in words), message


def test_an_error_inside_a_module_of_one_s_own_stays_loud(mine: str):
    Path(f"{mine}_b.py").write_text("import nothing_of_that_name")
    with pytest.raises(ModuleNotFoundError, match="nothing_of_that_name"):
        import_path(f"{mine}_b.f", str(Path.cwd()), "family")


def test_a_saved_recipe_builds_from_another_folder(mine: str, tmp_path_factory: pytest.TempPathFactory):
    recipe = compose_recipe([f"family={mine}.Wide", "objective=mlm"])
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    recipe.to_yaml(elsewhere / "recipe.yaml")
    os.chdir(elsewhere)
    assert family_class(Recipe.from_yaml("recipe.yaml")).__name__ == "Wide"
