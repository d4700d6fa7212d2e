"""The recipe: strict, frozen, the same from Python, from YAML and from the command line."""

import dataclasses
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from archs.config import CoreConfig
from archs.errors import UserError
from experiments.recipe.config import validated
from experiments.recipe.groups.budget import BudgetConfig
from experiments.recipe.groups.data import DataConfig
from experiments.recipe.groups.objective import ObjectiveConfig
from experiments.recipe.groups.size import SizeConfig
from experiments.recipe.groups.training import TrainingConfig
from experiments.recipe.presets import configs_dir
from experiments.recipe.recipe import Recipe
from experiments.sweeps.recipe import SweepRecipe

TINY = yaml.safe_load((configs_dir() / "size" / "tiny.yaml").read_text(encoding="utf-8"))


def tiny(**changes: object) -> Recipe:
    return Recipe(
        **{"family": "encoder_ae", "objective": "mlm", "size": "tiny", "budget": "smoke", **changes}
    )


def refused(**changes: object) -> str:
    """The one line that refuses a recipe with these changes."""
    with pytest.raises(UserError) as caught:
        validated(Recipe, {"family": "encoder_ae", "objective": "mlm", **changes})
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_two_names_are_a_recipe():
    recipe = Recipe(family="permuted_lm", objective="permutation")
    assert recipe.objective.options == {"k": 6}
    assert (recipe.size.layers, recipe.size.width) == (4, 128)
    assert recipe.data.source == "sotu"


def test_a_saved_recipe_reads_back_equal(tmp_path: Path):
    recipe = tiny(training={"betas": [0.9, 0.98]}, budget={"stop": "flops", "amount": 5e15})
    recipe.to_yaml(tmp_path / "recipe.yaml")
    assert Recipe.from_yaml(tmp_path / "recipe.yaml") == recipe


def test_a_size_s_dropout_of_attention_weights_is_kept_and_becomes_its_core_s(tmp_path: Path):
    tiny(size={**TINY, "attention_dropout": 0.2}).to_yaml(tmp_path / "recipe.yaml")
    read = Recipe.from_yaml(tmp_path / "recipe.yaml")
    assert read.size.attention_dropout == read.size.core(512, max_length=64).attention_dropout == 0.2


def test_a_recipe_written_before_there_was_an_option_has_its_default(tmp_path: Path):
    content = tiny().model_dump(mode="json")
    del content["size"]["attention_dropout"]
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    assert Recipe.from_yaml(tmp_path / "recipe.yaml") == tiny()


def test_a_recipe_is_frozen():
    with pytest.raises(ValidationError):
        tiny().seed = 1


@pytest.mark.parametrize("change", [{"out": "elsewhere"}, {"name": "mine"}, {"user_path": "/home/me"}])
def test_the_digest_ignores_where_a_run_lies(change: dict[str, str]):
    assert tiny(**change).digest() == tiny().digest()


@pytest.mark.parametrize("change", [{"seed": 1}, {"training": {"batch": 64}}, {"data": {"text_column": "x"}}])
def test_the_digest_changes_with_the_content(change: dict[str, object]):
    assert tiny(**change).digest() != tiny().digest()


def test_the_digest_does_not_depend_on_the_order_of_options():
    one, two = ({"rate": 0.1, "weight": 1.0}, {"weight": 1.0, "rate": 0.1})
    digests = {
        Recipe(family="encoder_ae", objective=ObjectiveConfig(name="sop", options=options)).digest()
        for options in (one, two)
    }
    assert len(digests) == 1


def test_a_run_lies_under_its_group_label_and_seed():
    assert tiny(seed=2).folder() == Path("runs/train/encoder_ae-mlm/seed2")
    assert tiny(name="mine").folder("five_families") == Path("runs/five_families/mine/seed0")
    custom = Recipe(family="mine.nets.Wide", objective="mlm")
    assert custom.label == "Wide-mlm"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"size": {**TINY, "width": "abc"}}, ["size.width", "'abc'", "integer"]),
        ({"size": {**TINY, "width": 12.5}}, ["size.width", "12.5", "integer"]),
        ({"size": {**TINY, "width": True}}, ["size.width", "True", "integer"]),
        ({"training": {"clip": "yes"}}, ["training.clip", "'yes'", "number"]),
        ({"training": {"compile": "yes"}}, ["training.compile", "true or false"]),
        ({"training": {"betas": [0.9]}}, ["training.betas"]),
        ({"training": {"batch": 0}}, ["training.batch", "greater than or equal to 1"]),
        ({"training": {"batch": 30, "accumulate": 4}}, ["training.batch 30", "= 4"]),
        ({"size": {**TINY, "attention_dropout": 1}}, ["size.attention_dropout", "1"]),
        ({"size": {**TINY, "heads": 3}}, ["size: width 64", "heads 3"]),
        ({"size": {**TINY, "heads": 64}}, ["rope", "got 1", "change width or heads"]),
        ({"size": {**TINY, "heads": 4, "kv_heads": 3}}, ["size: heads 4", "kv_heads 3"]),
        ({"size": {"layers": 2}}, ["size.width is missing"]),
        ({"size": 3}, ["size: came 3", "size.layers"]),
        ({"objective": {"name": "mlm", "options": {"select": ["a"]}}}, ["options.select", "['a']"]),
        ({"budget": {"stop": "steps", "amount": float("inf")}}, ["budget.amount"]),
        ({"name": "a/b"}, ["name", "'a/b'"]),
        ({"name": ".."}, ["name", "'..'"]),
        ({"seed": -1}, ["seed: came -1"]),
        ({"data": {"source": "text"}}, ["data.path"]),
        ({"data": {"source": "sotu", "path": "x.txt"}}, ["sotu", "x.txt"]),
    ],
)
def test_a_wrong_value_is_refused_in_one_line(changes: dict[str, object], words: list[str]):
    message = refused(**changes)
    assert all(word in message for word in words), message


@pytest.mark.parametrize(
    ("changes", "first"),
    [
        ({"family": "encoder_ea"}, "encoder_ae"),
        ({"family": {"name": "encoder_ea"}}, "encoder_ae"),
        ({"objective": "permutations"}, "permutation"),
        ({"size": "smal"}, "small"),
        ({"size": {**TINY, "positions": "rop"}}, "rope"),
        ({"sise": "tiny"}, "size"),
        ({"training": {"learning_rat": 1.0}}, "training.learning_rate"),
        ({"objective": {"name": "mlm", "options": {"rate": 0.15}, "rate": 0.3}}, "objective.options.rate"),
        ({"data": {"source": "txt"}}, "text"),
        ({"data": "text.txt"}, "text"),
    ],
)
def test_a_misspelt_name_is_answered_with_the_nearest_first(changes: dict[str, object], first: str):
    choices = refused(**changes).partition("choose one of: ")[2].split(", ")
    near = [choice for choice in choices if not choice.endswith((".name", ".options"))]
    assert near[0] == first


@pytest.mark.parametrize(
    ("name", "source"), [("a.txt", "text"), ("a.md", "text"), ("a.parquet", "parquet"), ("a.jsonl", "jsonl")]
)
def test_a_file_s_suffix_tells_its_kind(tmp_path: Path, name: str, source: str):
    (tmp_path / name).touch()
    assert DataConfig(path=str(tmp_path / name)).source == source


def test_a_dataset_s_name_means_hugging_face():
    assert DataConfig(name="owner/name").source == "huggingface"


@pytest.mark.parametrize(
    ("content", "word"),
    [("a: [", "not YAML"), ("- a", "no mapping"), ("family: x", "unknown family"), ("", "missing")],
)
def test_a_file_that_is_no_recipe_is_refused_by_name(tmp_path: Path, content: str, word: str):
    file = tmp_path / "recipe.yaml"
    file.write_text(content)
    with pytest.raises(UserError, match=word) as caught:
        Recipe.from_yaml(file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_recipe_is_refused(tmp_path: Path):
    with pytest.raises(UserError, match="cannot read"):
        Recipe.from_yaml(tmp_path / "nothing.yaml")


@pytest.mark.parametrize("arm", ["a/b", "..", "", "-m"])
def test_an_arm_that_is_no_folder_s_name_is_refused(arm: str):
    with pytest.raises(UserError, match="names a folder"):
        validated(SweepRecipe, {"name": "s", "question": "?", "arms": {arm: ["size=tiny"]}})


@pytest.mark.parametrize("model", [SizeConfig, BudgetConfig])
def test_what_has_a_name_has_no_value_of_its_own(model: type):
    """Sizes and budgets are presets: their numbers stand in configs/ and nowhere else."""
    with pytest.raises(ValidationError):
        model()


def test_training_needs_no_preset():
    assert TrainingConfig().batch == 16


def test_a_sizes_defaults_are_the_cores():
    of_size = {name: spec.default for name, spec in SizeConfig.model_fields.items()}
    for option in dataclasses.fields(CoreConfig):
        if option.name == "shared_stacks":  # the family's to say, by family.stacks
            continue
        if option.default is not dataclasses.MISSING:
            assert of_size[option.name] == option.default, option.name
