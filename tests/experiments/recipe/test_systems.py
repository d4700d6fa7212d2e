"""Published systems as recipes: they compose, they match, they can be changed, the table tells the truth."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from archs.errors import UserError
from experiments.cli import app
from experiments.commands.systems import markdown
from experiments.recipe.build import SHIPPED, build
from experiments.recipe.compose import compose_recipe
from experiments.recipe.recipe import Recipe
from experiments.recipe.systems import systems
from experiments.runs.folder import RunFolder
from experiments.sweeps.compose import compose_sweep
from experiments.sweeps.plan import plans

NAMES = (
    "bert",
    "roberta",
    "albert",
    "electra",
    "spanbert",
    "ernie",
    "structbert",
    "macbert",
    "nezha",
    "gpt",
    "t5",
    "bart",
    "mass",
    "unilm",
    "unilmv2",
    "xlnet",
    "prophetnet",
    "ernie_gen",
    "ul2",
    "gpt_bert",
    "encoder_decoder_joint",
)


@pytest.mark.slow
def test_the_systems_of_the_survey_are_there_and_the_sweep_has_them_all() -> None:
    assert set(systems()) == set(NAMES)
    assert set(compose_sweep("systems", [])[0].arms) == set(NAMES)


@pytest.fixture(scope="module")
def small_sweep() -> dict[tuple[str, int], Recipe]:
    """{(arm, seed): recipe} of the sweep of all systems at another size."""
    return compose_sweep("systems", ["size=small"])[1]


@pytest.mark.parametrize("name", NAMES)
def test_a_system_is_a_recipe_of_a_few_lines_that_can_be_built(
    name: str, small_sweep: dict[tuple[str, int], Recipe]
) -> None:
    system = systems()[name]
    assert len(system.overrides) <= 6
    recipe = compose_recipe([f"system={name}"])
    build(recipe)
    assert recipe.label == name
    # What the sweep trains is what the system says, whatever else it is given.
    arm = small_sweep[name, 0]
    assert (arm.family, arm.objective) == (recipe.family, recipe.objective)
    assert arm.size.width == 256


@pytest.mark.slow
def test_all_systems_cost_the_same_flops_a_token_within_the_tolerance() -> None:
    recipes = compose_sweep("systems", [])[1]
    planned = plans(recipes)
    assert {plan.arm for plan in planned} == set(NAMES)
    assert len({plan.reference for plan in planned}) == 1
    assert all(abs(plan.deviation) <= 0.02 for plan in planned)


@pytest.mark.slow
def test_the_words_of_the_table_agree_with_the_recipe() -> None:
    pieces = {"whole_word": "whole words", "ngrams": "n-grams", "whole_word_spans": "spans of whole words"}
    for name, system in systems().items():
        recipe = compose_recipe([f"system={name}"])
        options, asks = recipe.objective.options, SHIPPED[recipe.objective.name]
        select = options.get("select", "")
        select = select["name"] if isinstance(select, dict) else select
        if select:
            assert pieces[select] in system.selection
        if "rate" in options and asks.families == ("encoder_ae",):
            assert f"{options['rate']:.0%}" in system.selection
        pair = {"nsp": "NSP", "sop": "SOP", "sentence_structure": "previous"}.get(recipe.objective.name)
        assert (pair or "none") in system.sentence_task or recipe.objective.name == "denoising"
        assert ("token types" in system.structure) == (recipe.size.token_types == 2)
        assert ("shared" in system.structure) == recipe.size.shared_layers


def test_one_factor_of_a_system_is_changed_by_one_override() -> None:
    plain, changed = (
        compose_recipe(["system=bert", *more])
        for more in ([], ["objective.options.select=whole_word", "name=mine"])
    )
    assert changed.label == "mine"
    assert changed.objective.options == {**plain.objective.options, "select": "whole_word"}
    assert changed.size == plain.size
    assert compose_recipe(["size.layers=2", "system=bert"]).size.layers == 2


def test_an_unknown_system_is_one_line_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"unknown system 'robert'.*roberta"):
        compose_recipe(["system=robert"])


def test_a_system_of_ones_own_is_a_file_beside_the_presets(tmp_path: Path) -> None:
    (tmp_path / "system").mkdir()
    words = dict.fromkeys(
        ("paper", "selection", "replacement", "sentence_task", "structure", "leaves_out"), "-"
    )
    file = tmp_path / "system" / "mine.yaml"
    file.write_text(yaml.safe_dump({**words, "overrides": ["family=decoder_ar", "size.layers=3"]}))
    assert compose_recipe(["system=mine"], tmp_path).size.layers == 3
    for overrides, said in (
        ([], r"mine\.yaml: overrides"),
        (["system=bert"], r"mine\.yaml: .*cannot name another"),
    ):
        file.write_text(yaml.safe_dump({**words, "overrides": overrides}))
        with pytest.raises(UserError, match=said):
            compose_recipe(["system=mine"], tmp_path)
    with pytest.raises(UserError, match="no folder 'nowhere'"):
        compose_recipe(["system=mine"], Path("nowhere"))


def test_a_system_cannot_be_given_to_arms_that_differ_in_what_it_says() -> None:
    with pytest.raises(UserError, match="family is what the arms of five_families differ in"):
        compose_sweep("five_families", ["system=bert"])


@pytest.mark.slow
def test_the_command_lists_every_system_and_which_are_trained(tmp_path: Path) -> None:
    # What has a system's name alone is none.
    for name, made in (
        ("bert", ["system=bert", "size=tiny"]),
        ("roberta", ["system=roberta", "objective=sop"]),
    ):
        folder = RunFolder(tmp_path / "systems" / name / "seed0")
        folder.path.mkdir(parents=True)
        folder.set_status("done")
        compose_recipe(made).to_yaml(folder.recipe)
    shown = CliRunner(env={"COLUMNS": "300"}).invoke(app, ["systems", "--runs", str(tmp_path)])
    assert shown.exit_code == 0, shown.output
    for name in NAMES:
        assert len(re.findall(rf"^ ?{name} ", shown.output, re.MULTILINE)) == 2, name
    assert re.search(r"^ ?bert .* yes \(1\)", shown.output, re.MULTILINE)
    assert re.search(r"^ ?roberta .* no", shown.output, re.MULTILINE)
    assert "leaves out of the original" in shown.output


@pytest.mark.slow
def test_the_table_of_the_docs_is_what_the_command_prints() -> None:
    docs = (Path(__file__).parents[3] / "docs" / "systems.md").read_text(encoding="utf-8")
    assert markdown() in docs, "paste what `pentarch systems --markdown` prints into docs/systems.md"
