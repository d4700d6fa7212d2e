"""A model whose head was not trained to predict tokens gets no number that says it does."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
import pytest

from archs.decoding.decoding import GREEDY
from archs.errors import UserError
from experiments import cli
from experiments.evaluation.scoring.scoring import score_texts
from experiments.evaluation.writing import generate_text
from experiments.evidence.results import METRICS, NLL, PLL, Spread, measure
from experiments.report.sections.results import NO_LANGUAGE_MODEL, result_rows
from experiments.runs.reading import load
from experiments.runs.run import restore
from experiments.storage.json_files import read_json
from experiments.sweeps import run as sweeping
from experiments.sweeps.compose import compose_sweep

pytestmark = pytest.mark.slow

SWEEP = """
name: heads
question: What does detecting replaced tokens learn?
arms:
  masked: [family=encoder_ae, objective=mlm]
  replaced: [family=encoder_ae, objective=replaced_tokens]
"""
SMALL = [
    "size=tiny",
    "size.vocabulary=4096",
    "budget=smoke",
    "budget.amount=3",
    "training.batch=4",
    "training.accelerator=cpu",
    "training.threads=1",
    "tracking=none",
    "evaluation.pseudo_likelihood_windows=2",
    "evaluation.finetune.steps=2",
    "evaluation.finetune.batch=4",
    "evaluation.finetune.examples=16",
    "evaluation.target=true",
    "evaluation.order=true",
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """runs/heads: masked language modelling beside replaced token detection."""
    out, presets = tmp_path_factory.mktemp("runs"), tmp_path_factory.mktemp("presets")
    (presets / "sweep").mkdir()
    (presets / "sweep" / "heads.yaml").write_text(SWEEP)
    pairs = out / "pairs.jsonl"
    pairs.write_text('{"good": "The people are.", "bad": "The people is."}\n' * 2)
    task = f"evaluation.tasks=[{{task: {{name: pairs, kind: minimal_pairs, path: '{pairs}'}}}}]"
    sweeping.run(*compose_sweep("heads", [*SMALL, task, f"out={out}", f"data.cache={cache}"], presets))
    return out / "heads"


def test_it_is_finetuned_and_never_asked_for_tokens_before(finished: Path) -> None:
    folder = finished / "replaced" / "seed0"
    assert {path.stem for path in (folder / "scores").iterdir()} == {"party", "infill", "target", "order"}
    found = read_json(folder / "evaluation.json")
    assert found["likelihood"] is None
    assert found["language_model"] is False
    assert found["flow"]["ok"]
    assert read_json(folder / "samples.json") == []
    assert read_json(finished / "masked" / "seed0" / "evaluation.json")["language_model"] is True


def test_a_task_that_it_cannot_answer_costs_it_no_other_result(finished: Path) -> None:
    told = {arm: read_json(finished / arm / "seed0" / "evaluation.json") for arm in ("masked", "replaced")}
    assert told["masked"]["not_asked"] == {}
    assert "trained no head that predicts tokens" in told["replaced"]["not_asked"]["pairs, zero_shot"]
    assert told["replaced"]["party"] is not None
    assert (finished / "masked" / "seed0" / "tasks" / "pairs-zero_shot.json").exists()
    assert "replaced was not asked pairs" in (finished / "report" / "report.md").read_text()


def test_the_report_says_so_in_place_of_a_number(finished: Path) -> None:
    rows = pd.read_parquet(finished / "results.parquet")
    of_replaced = set(rows[rows.arm == "replaced"].metric)
    tasks = {"party_accuracy", "infill_chrf", "infill_first_word", "target_nats_per_byte"}
    assert of_replaced == tasks | {"order_mean", "order_first"}
    sweep = load(finished)
    masked, replaced = result_rows(sweep, measure(sweep), list(METRICS))
    cells = dict(zip(METRICS, replaced.cells, strict=True))
    assert cells[NLL] == cells[PLL] == NO_LANGUAGE_MODEL
    assert all(isinstance(cell, Spread) for metric, cell in cells.items() if metric not in (NLL, PLL))
    assert masked.cells[0] == "has none"
    page = (finished / "report" / "index.html").read_text()
    assert f'<td class="none">{NO_LANGUAGE_MODEL}</td>' in page
    assert "No language model: replaced." in page


def test_it_is_refused_to_score_and_to_write(finished: Path) -> None:
    folder = finished / "replaced" / "seed0"
    with pytest.raises(UserError, match="objective 'replaced_tokens' trained no head that predicts tokens"):
        generate_text(folder, "The state", 4, GREEDY)
    with pytest.raises(UserError, match="objective 'replaced_tokens' trained no head that predicts tokens"):
        score_texts(restore(folder), ["the state"])


@pytest.mark.parametrize("words", [("generate", "--prompt", "The state"), ("score", "--text", "The state")])
def test_the_commands_refuse_it_in_one_line(words, finished: Path, monkeypatch, capsys) -> None:
    command, *options = words
    folder = str(finished / "replaced" / "seed0")
    monkeypatch.setattr(sys, "argv", ["pentarch", command, folder, *options])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    told = capsys.readouterr()
    assert ended.value.code == 2
    assert told.out == ""
    assert told.err.startswith("error: objective 'replaced_tokens' trained no head")
    assert told.err.count("\n") == 1
