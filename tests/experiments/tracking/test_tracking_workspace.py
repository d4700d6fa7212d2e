"""The W&B page of a sweep, as the definition that W&B would store."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import wandb_files
import wandb_server

from archs.errors import UserError
from experiments import cli
from experiments.evaluation.evaluate import evaluate_run
from experiments.recipe.recipe import Recipe
from experiments.tracking.workspace import save, workspace
from experiments.training.train import train

Compose = Callable[..., Recipe]


def sections(file: Path) -> dict[str, list[dict[str, Any]]]:
    content = json.loads(file.read_text())["spec"]["section"]["panelBankConfig"]["sections"]
    return {section["name"]: section["panels"] for section in content}


def named(panel: dict[str, Any]) -> Iterator[str]:
    """What a panel reads of a run."""
    config = panel["config"]
    yield from config.get("metrics", [])
    yield from config.get("mediaKeys", [])
    if "xAxis" in config:
        yield config["xAxis"]
    if panel["viewType"] == "Weave":
        yield config["panel2Config"]["exp"]["fromOp"]["inputs"]["key"]["val"]


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "page.json"
    command = ["pentarch", "workspace", "team/pentarch", "five_families", "--json", str(file)]
    monkeypatch.setattr(sys, "argv", command)
    cli.main()
    return file


@pytest.mark.slow
def test_every_metric_that_a_panel_shows_is_one_that_runs_log(
    written: Path, compose: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    tasks = ("evaluation.target=true", "evaluation.order=true", "evaluation.finetune.examples=64")
    logged: set[str] = set()
    for family in ("decoder_ar", "encoder_ae"):  # a true and a pseudo-likelihood
        folder = tmp_path / family
        train(compose(f"family={family}", "tracking=wandb", "budget.amount=2", *tasks), folder)
        evaluate_run(folder)
        for fragment in wandb_files.fragments(folder):
            logged |= set(wandb_files.overview(fragment)["summary"])
            logged |= {name.split(".")[0] for row in wandb_files.history(fragment) for name in row}
    shown = {name for panels in sections(written).values() for panel in panels for name in named(panel)}
    assert len(shown) > 15
    assert shown - logged == set()


def test_losses_stand_against_tokens_flops_and_targets_and_scores_by_family(written: Path) -> None:
    panels = sections(written)
    for name in ("Training loss", "Validation loss"):
        assert [panel["config"]["xAxis"] for panel in panels[name]] == ["tokens", "flops", "targets"]
    scores = panels["Task scores by family"]
    assert {panel["config"]["groupBy"] for panel in scores} == {"family.value.name"}
    assert ["score/party_accuracy"] in [panel["config"]["metrics"] for panel in scores]
    assert any(panel["viewType"] == "Weave" for panel in panels["Budget audit"])


def test_the_page_is_of_one_sweep(written: Path) -> None:
    runs = json.loads(written.read_text())["spec"]["section"]["runSets"][0]
    assert "five_families" in json.dumps(runs["filters"])
    assert "jobType" in json.dumps(runs["grouping"])


def test_a_page_that_cannot_be_saved_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    page = workspace("team", "pentarch", None)
    monkeypatch.setenv("HOME", str(tmp_path))  # no netrc
    with wandb_server.refusing() as address:
        monkeypatch.setenv("WANDB_BASE_URL", address)
        monkeypatch.setenv("WANDB_API_KEY", "f" * 40)
        import wandb

        wandb.teardown()  # it reads its environment once
        try:
            with pytest.raises(UserError, match="was not saved to team/pentarch"):
                save(page)
        finally:
            wandb.teardown()


@pytest.mark.parametrize("project", ["pentarch", "team/", "/pentarch", "team/pentarch/more"])
def test_a_place_that_is_none_is_one_line(
    project: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["pentarch", "workspace", project])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 2
    assert "must be ENTITY/PROJECT" in capsys.readouterr().err


def test_without_its_package_a_workspace_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb_workspaces.workspaces", None)
    with pytest.raises(UserError, match=r"pip install \"pentarch\[workspaces\]\""):
        workspace("team", "pentarch", None)
