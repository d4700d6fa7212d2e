"""The real corpus, tokenised once a test run."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from run_files import KilledError

from experiments import cli
from experiments.data.sources.addresses import Addresses
from experiments.data.store import Corpus, load_corpus
from experiments.recipe.compose import compose_recipe
from experiments.recipe.recipe import Recipe
from experiments.training import train as training
from experiments.training.listeners import Bar
from experiments.training.module import Pretraining


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where tokenised text is kept; parallel workers share it."""
    folder = tmp_path_factory.getbasetemp()
    shared = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    return Path(shared) / "address_corpus"


@pytest.fixture(scope="session")
def address_corpus(cache: Path) -> Corpus:
    """The State of the Union addresses with a vocabulary of 4,096."""
    return load_corpus(Addresses(), cache=cache)


@pytest.fixture
def compose(cache: Path, tmp_path: Path) -> Callable[..., Recipe]:
    """A recipe for a run of seconds in a temporary folder: `compose("family=prefix_lm", …)`."""

    def composed(*overrides: str) -> Recipe:
        small = ["size=tiny", "budget=smoke", "tracking=none", "training.batch=8", "training.accelerator=cpu"]
        small += ["training.threads=1"]  # tests run side by side
        shorter = ["evaluation.likelihood_windows=8", "evaluation.pseudo_likelihood_windows=2"]
        finetune = ["evaluation.finetune.steps=2", "evaluation.finetune.batch=4"]
        places = [f"out={tmp_path}/runs", f"data.cache={cache}", "size.vocabulary=4096"]
        return compose_recipe([*small, *shorter, *finetune, *places, *overrides])

    return composed


@pytest.fixture
def finished(monkeypatch: pytest.MonkeyPatch) -> list[Pretraining]:
    """The module of each run that ends its training from here on."""
    modules: list[Pretraining] = []
    finish = training.finish

    def keep(run, module, *rest):
        modules.append(module)
        finish(run, module, *rest)

    monkeypatch.setattr(training, "finish", keep)
    return modules


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Writes a user's module into their folder, the present one from here on; its name, no other test's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def write(text: str) -> str:
        name = f"mine_{abs(hash(tmp_path))}"
        (tmp_path / f"{name}.py").write_text(text)
        return name

    return write


@pytest.fixture
def kill_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Makes training raise after that step, whatever was written by then; `monkeypatch.undo()` ends it."""

    def arm(step: int) -> None:
        def act(self: Bar, module: Pretraining) -> None:
            if module.spent.steps == step:
                raise KilledError

        monkeypatch.setattr(Bar, "__call__", act)

    return arm


@pytest.fixture
def pentarch(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """A command: its exit code, what it prints, and what it says on stderr."""

    def command(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["pentarch", *words])
        capfd.readouterr()
        code = 0
        try:
            cli.main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        told = capfd.readouterr()
        return code, told.out, told.err

    return command
