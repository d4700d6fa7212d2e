"""Composing: every shipped preset is valid, arms differ in what they declare, mistakes are one line."""

import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from archs.errors import UserError
from benchmarks.workload import OBJECTIVE as NATURAL
from experiments.recipe.compose import compose_recipe
from experiments.recipe.presets import configs_dir
from experiments.recipe.recipe import GROUPS, NOT_CONTENT, Recipe
from experiments.sweeps.compose import compose_sweep

SHIPPED = sorted(
    (group, file.stem) for group in (*GROUPS, "sweep") for file in (configs_dir() / group).glob("*.yaml")
)
NEEDED = {
    "text": "data.path=novel.txt",
    "parquet": "data.path=novel.parquet",
    "jsonl": "data.path=novel.jsonl",
    "huggingface": "data.name=owner/name",
}


def refused(*overrides: str, config_dir: Path | None = None, sweep: str | None = None) -> str:
    """The one line that refuses these overrides."""
    compose = compose_recipe if sweep is None else partial(compose_sweep, sweep)
    with pytest.raises(UserError) as caught:
        compose(list(overrides), config_dir)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize(("group", "name"), SHIPPED)
def test_every_shipped_preset_is_valid(group: str, name: str):
    if group == "sweep":
        sweep, recipes = compose_sweep(name, [])
        assert sweep.name == name
        assert {arm for arm, _ in recipes} == set(sweep.arms)
    else:
        compose_recipe([f"{group}={name}", *([NEEDED[name]] if name in NEEDED else [])])


@pytest.mark.parametrize(("group", "name"), SHIPPED)
def test_every_shipped_preset_says_what_it_is_in_its_first_line(group: str, name: str):
    first = (configs_dir() / group / f"{name}.yaml").read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith("# ")
    assert len(first) > 20


@pytest.mark.parametrize(("family", "objective"), NATURAL.items())
def test_a_family_brings_its_natural_objective(family: str, objective: str):
    assert compose_recipe([f"family={family}"]).objective.name == objective


@pytest.mark.parametrize(
    "overrides", [["family=prefix_lm", "objective=span"], ["objective=span", "family=prefix_lm"]]
)
def test_a_given_objective_wins_over_the_natural_one(overrides: list[str]):
    assert compose_recipe(overrides).objective.name == "span"


def test_the_command_line_and_plain_python_say_the_same():
    words = {"family": "prefix_lm", "objective": "span", "size": "tiny", "budget": "smoke"}
    assert compose_recipe([f"{key}={value}" for key, value in words.items()]) == Recipe(**words)


def test_a_value_that_no_preset_mentions_can_be_set():
    recipe = compose_recipe(["size.norm=layer", "evaluation.finetune.steps=5", "training.betas=[0.9,0.98]"])
    assert (recipe.size.norm, recipe.evaluation.finetune.steps) == ("layer", 5)
    assert recipe.training.betas == (0.9, 0.98)


def test_interpolations_are_resolved():
    assert compose_recipe(["size.ffn=${size.width}"]).size.ffn == 128


@pytest.mark.parametrize("name", ["book.txt", "my book (2).txt", "bü'cher=1.txt", "[draft].txt", "a: b.txt"])
def test_a_stranger_s_text_file_needs_no_other_word(tmp_path: Path, name: str):
    (tmp_path / name).write_text("Once upon a time.")
    data = compose_recipe([f"data.path={tmp_path / name}"]).data
    assert (data.source, data.path) == ("text", str(tmp_path / name))


def test_import_paths_stay_strings_and_record_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    recipe = compose_recipe(["family=mine.Wide", "objective=mine.Sorted", "objective.options.depth=3"])
    assert (recipe.family.name, recipe.objective.name) == ("mine.Wide", "mine.Sorted")
    assert recipe.objective.options == {"depth": 3}
    assert recipe.user_path == str(tmp_path)
    masked = compose_recipe(["family=encoder_ae", "objective.options.select=mine.every_third_word"])
    assert masked.user_path == str(tmp_path)
    assert compose_recipe([]).user_path is None


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("family=encoder_ea", ["unknown family", "choose one of: encoder_ae"]),
        ("objective=mml", ["unknown objective", "choose one of: mlm"]),
        ("size=smal", ["unknown size", "choose one of: small"]),
        ("size=3", ["unknown size '3'"]),
        ("size=null", ["unknown size"]),
        ("family.name=encoder_ea", ["unknown family"]),
        ("sise=tiny", ["unknown key 'sise'", "choose one of: size"]),
        ("size.widht=3", ["unknown key 'size.widht'", "choose one of: size.width"]),
        ("seeds=3", ["unknown key 'seeds'", "choose one of: seed"]),
        ("sweep=five_families", ["unknown key 'sweep'"]),
        ("size.width=abc", ["size.width", "'abc'", "integer"]),
        ("size.width=12.5", ["12.5"]),
        ("training.clip=yes", ["training.clip", "'yes'"]),
        ("size=tiny,small", ["several values"]),
        ("size.layers=1,2", ["several values"]),
        ("seed=range(3)", ["several values"]),
        ("hydra/launcher=joblib", ["hydra/launcher=joblib", "refused"]),
        ("hydra.run.dir=x", ["hydra.run.dir", "refused"]),
        ("hydra.searchpath=[file:///nowhere/at/all]", ["/nowhere/at/all"]),
        ("size", ["key=value"]),
        ("a b=3", ["'a b=3'"]),
        ("~size.ffn", ["size.ffn is missing"]),
        ("~size.nothing", ["size.nothing"]),
        ("size.width=${size.depth}", ["size.depth"]),
    ],
)
def test_a_mistake_is_one_line(override: str, words: list[str]):
    message = refused(override)
    assert all(word in message for word in words), message


def leaves(recipe: Recipe) -> dict[str, object]:
    content = recipe.model_dump(mode="json", exclude=NOT_CONTENT)
    return {f"{group}.{key}": value for group in GROUPS for key, value in content.get(group, {}).items()}


def test_the_five_arms_differ_in_family_and_objective_only():
    _, recipes = compose_sweep("five_families", ["size=tiny", "training.batch=8"])
    assert len(recipes) == 5
    arms = [leaves(recipe) for recipe in recipes.values()]
    differing = {key for key in arms[0] if any(arm[key] != arms[0][key] for arm in arms)}
    assert differing == {"family.name", "objective.name", "objective.options"}
    assert {arm["size.layers"] for arm in arms} == {2}


def test_seeds_are_the_sweep_s_and_change_nothing_else():
    sweep, recipes = compose_sweep("five_families", ["seeds=3"])
    assert sweep.seeds == 3
    assert len(recipes) == 15
    first = recipes["prefix_lm", 0]
    assert recipes["prefix_lm", 2] == first.model_copy(update={"seed": 2})
    assert first.folder(sweep.name) == Path("runs/five_families/prefix_lm/seed0")


def test_an_arm_can_be_added_and_left_out():
    added = "arms.span_ae=[family=encoder_ae,objective=span,objective.options.rate=0.3]"
    sweep, recipes = compose_sweep("five_families", ["~arms.permuted_lm", added])
    assert list(sweep.arms) == ["encoder_ae", "decoder_ar", "encoder_decoder", "prefix_lm", "span_ae"]
    assert recipes["span_ae", 0].objective.options == {"rate": 0.3, "mean": 3.0}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("family=prefix_lm", ["family is what the arms of five_families differ in"]),
        ("family.name=prefix_lm", ["family is what the arms of five_families differ in"]),
        ("objective.options.rate=0.3", ["objective is what the arms of five_families differ in"]),
        ("seed=3", ["seeds=3"]),
        ("seeds=0", ["seeds", "greater than or equal to 1"]),
        ("seedz=3", ["unknown key 'seedz'", "seeds"]),
        ("~arms.prefixlm", ["unknown arm 'prefixlm'", "choose one of: prefix_lm"]),
        ("arms.extra=3", ["arms.extra", "list"]),
        ("arms.extra=[family=prefixlm]", ["unknown family", "choose one of: prefix_lm"]),
    ],
)
def test_a_mistake_in_a_sweep_is_one_line(override: str, words: list[str]):
    message = refused(override, sweep="five_families")
    assert all(word in message for word in words), message


def test_an_unknown_sweep_is_answered_with_the_nearest():
    assert "choose one of: five_families" in refused(sweep="five_family")


def write(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return folder


MINE = """
name: mine
question: Do more heads help?
overrides: [size=wide, budget=smoke]
arms:
  two: [size.heads=2]
  four: [size.heads=4]
"""
WIDE = "{layers: 2, width: 96, heads: 2, ffn: 192, length: 32, vocabulary: 512}"


@pytest.mark.parametrize("by_option", [True, False])
def test_a_folder_of_one_s_own_adds_presets_and_sweeps(tmp_path: Path, by_option: bool):
    folder = write(tmp_path / "it's mine", "size/wide.yaml", WIDE)
    write(folder, "sweep/mine.yaml", MINE)
    path = "file://" + str(folder).replace("'", "\\'")
    given = [] if by_option else [f"hydra.searchpath=['{path}']"]
    sweep, recipes = compose_sweep("mine", [*given, "seeds=2"], folder if by_option else None)
    assert (sweep.question, len(recipes)) == ("Do more heads help?", 4)
    assert {recipe.size.width for recipe in recipes.values()} == {96}
    assert [recipes[arm, 0].size.heads for arm in ("two", "four")] == [2, 4]
    assert compose_recipe(["size=wide", *given], folder if by_option else None).size.ffn == 192


def test_arms_that_differ_in_an_undeclared_key_are_refused(tmp_path: Path):
    sweep = "name: s\nquestion: q\narms: {a: [family=encoder_ae], b: [family=decoder_ar]}"
    message = refused(config_dir=write(tmp_path, "sweep/sly.yaml", sweep), sweep="sly")
    assert "differ in objective.name, which no arm declares" in message


def test_a_preset_of_one_s_own_may_not_hide_behind_a_shipped_name(tmp_path: Path):
    assert "rename it" in refused("size=tiny", config_dir=write(tmp_path, "size/tiny.yaml", WIDE))


def test_a_broken_preset_is_refused_in_one_line(tmp_path: Path):
    assert refused("size=odd", config_dir=write(tmp_path, "size/odd.yaml", "layers: [2"))
    assert refused("size=odd", config_dir=write(tmp_path, "size/odd.yaml", "- 2"))


@pytest.mark.slow
def test_composing_loads_no_torch():
    code = (
        "import sys\n"
        "from experiments.sweeps.compose import compose_sweep\n"
        "compose_sweep('five_families', [])\n"
        "import experiments.cli\n"
        "print(sorted({'torch', 'lightning', 'wandb', 'datasets', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
