"""Claims on standard tasks: endpoints by name, what a sweep is asked, and verdicts from the tasks' items."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from claims_folder import SEEDS, write_claims

from archs.errors import UserError
from experiments.data.store import Corpus
from experiments.evaluation.asking import ask_run, items_of
from experiments.evaluation.modes import MODES
from experiments.evidence.claims.claim import Claim
from experiments.evidence.claims.decision import decision
from experiments.evidence.claims.endpoint import Prior
from experiments.evidence.claims.endpoints import endpoint_of
from experiments.evidence.claims.registered import registered
from experiments.evidence.claims.verdicts import Decision
from experiments.evidence.stats import crossed_test
from experiments.recipe.config import validated
from experiments.recipe.recipe import Recipe
from experiments.runs.folder import RunFolder
from experiments.runs.reading import load
from experiments.storage.json_files import read_json
from experiments.sweeps import run as sweeping
from experiments.sweeps.compose import compose_sweep
from experiments.sweeps.design import Design, design
from experiments.tasks.kinds import KINDS

U = "task:mr+cola+snli+sst2+stsb"
SMALL = ["size=tiny", "tracking=none", "budget.stop=flops", "budget.amount=2e10", "training.batch=8"]
ON_MR = {
    "statement": "one beats two",
    "kind": "superiority",
    "contrasts": [{"one": 1, "two": -1}],
    "endpoints": ["task:mr"],
    "published": {"source": "nobody"},
    "expect": "nothing",
}


def test_each_mode_of_each_kind_has_a_function_that_asks_it() -> None:
    assert {name: kind.modes for name, kind in KINDS.items()} == {
        name: tuple(modes) for name, modes in MODES.items()
    }


def test_an_endpoint_takes_its_unit_and_direction_from_the_primary_metric() -> None:
    mr, written = endpoint_of("task:mr"), endpoint_of("task:e2e_nlg")
    assert (mr.title, mr.unit, mr.sign, mr.decimals) == ("Accuracy on mr", "points", 1, 1)
    assert [measure.table for measure in mr.measures] == ["task-mr-finetuned"]
    assert (written.unit, written.sign, written.decimals) == ("nats/byte", -1, 3)
    assert mr.task
    assert written.task


def test_accuracy_matthews_and_spearman_average_as_points() -> None:
    composite = endpoint_of(U)
    assert (composite.title, composite.unit) == ("Mean of mr, cola, snli, sst2, stsb", "points")
    metrics = [measure.asked.metric for measure in composite.measures if measure.asked]
    assert metrics == ["accuracy", "matthews", "accuracy", "accuracy", "spearman"]
    assert composite.prior == Prior(seed=1.0, item=8.0, residual=50.0, items=5000)


def test_another_mode_and_a_task_of_ones_own_are_named_in_full() -> None:
    assert endpoint_of("task:mr@frozen+cola").title == "Mean of mr (frozen), cola"
    own = endpoint_of("task:my-reviews@static:macro_f1")
    assert own.title == "Macro F1 on my-reviews (static)"
    assert own.measures[0].table == "task-my-reviews-static"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("task:mrr", "unknown task 'mrr'; choose one of: mr, "),
        ("task:reviews", "task:reviews@finetuned:accuracy"),
        ("task:mr@zero_shot", "unknown mode of mr 'zero_shot'; choose one of: "),
        ("task:mr:acuracy", "unknown metric of mr 'acuracy'; choose one of: accuracy"),
        ("task:mr+e2e_nlg", "there is no mean of mr in points, e2e_nlg in nats/byte"),
        ("task:mr+cola+mr", "names mr twice"),
        ("task:mr+", "came ''"),
        ("task:lambada:word_perplexity", "is in perplexity"),
        ("tasks:mr", "unknown endpoint 'tasks:mr'; choose one of: task:NAME"),
    ],
)
def test_a_mistake_in_an_endpoint_is_one_line(name: str, words: str) -> None:
    with pytest.raises(UserError) as refused:
        validated(Claim, ON_MR | {"endpoints": [name]})
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_claim_on_tasks_is_read_without_torch() -> None:
    code = (
        "import sys\nfrom experiments.evidence.claims.endpoints import endpoint_of\n"
        f"endpoint_of({U!r})\nprint('torch' in sys.modules, 'pandas' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def designed(*overrides: str) -> Design:
    return design(*compose_sweep("claims", [*SMALL, "claims=C9", "controls=[]", "budgets=flops", *overrides]))


def test_a_sweep_is_asked_the_tasks_of_its_claims_alone_and_scratch_is_an_arm() -> None:
    found = designed(
        "endpoints.understanding=task:mr+cola@frozen",
        "evaluation.tasks=[{task: mr}, {task: sst2}, {task: cola, mode: frozen}, {task: cola}]",
    )
    assert found.scratch == {"ae_mlm": "scratch.ae_mlm", "ae_span": "scratch.ae_mlm"}
    for recipe in found.runs.values():
        asks = [(ask.task.name, ask.mode, ask.finetune.scratch) for ask in recipe.evaluation.tasks]
        assert asks == [("mr", None, False), ("cola", "frozen", False)]
        assert not recipe.evaluation.party


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tasks", "words"),
    [
        ("[]", "'evaluation.tasks=[{task: {preset: mr}, mode: finetuned}]'"),
        ("[{task: cola}]", "decided on mr, which evaluation.tasks does not list"),
        ("[{task: mr, mode: frozen}]", "decided on mr, which evaluation.tasks does not list"),
        ("[{task: mr}, {task: mr, examples: 10}]", "lists mr 2 times in the mode finetuned"),
        ("[{task: {preset: mr, metrics: [macro_f1]}}]", "task:mr@finetuned:macro_f1"),
    ],
)
def test_recipes_that_do_not_ask_a_claims_task_are_refused_before_training(tasks: str, words: str) -> None:
    with pytest.raises(UserError) as refused:
        designed("endpoints.understanding=task:mr", f"evaluation.tasks={tasks}")
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_sweep_may_put_a_composite_in_an_endpoints_place_and_its_hash_says_so() -> None:
    before, _ = compose_sweep("claims", ["claims=[C5,C8]", "controls=[]"])
    more = [f"endpoints.understanding={U}", "endpoints.generation=task:e2e_nlg+scitldr"]
    sweep, _ = compose_sweep("claims", ["claims=[C5,C8]", "controls=[]", *more])
    assert sweep.claims["C5"].endpoints == [U, "task:e2e_nlg+scitldr"]
    assert list(sweep.claims["C8"].order) == [U, "task:e2e_nlg+scitldr"]
    assert all(before.claims[name].digest() != sweep.claims[name].digest() for name in ("C5", "C8"))


@pytest.mark.parametrize(
    ("sweep", "override", "words"),
    [
        ("claims", "endpoints.understandin=task:mr", "choose one of: understanding"),
        ("claims", "endpoints.understanding=task:mrr", "unknown task 'mrr'"),
        ("claims", "endpoints.understanding=task:e2e_nlg", "came nats/byte, must be in points"),
        ("five_families", "endpoints.understanding=task:mr", "makes none"),
    ],
)
def test_an_endpoint_that_cannot_be_put_in_anothers_place_is_one_line(
    sweep: str, override: str, words: str
) -> None:
    with pytest.raises(UserError) as refused:
        compose_sweep(sweep, [*(["claims=C9"] if sweep == "claims" else []), override])
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def keep(run: Path, task: str, values: np.ndarray, digest: str = "aa") -> None:
    rows = pd.DataFrame({"item": range(len(values)), "value": values, "digest": digest})
    rows.to_parquet(run / "scores" / f"task-{task}-finetuned.parquet", index=False)


@pytest.fixture(scope="module")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, np.ndarray]]:
    """Spans beat tokens by 9 points of mr (30 items) and 1 of cola (10); by arm and task (seeds, items)."""
    folder, rng = tmp_path_factory.mktemp("made_up") / "claims", np.random.default_rng(0)
    write_claims(
        folder, ["C9"], ["more_compute"], ["flops"], items=8, endpoints={"understanding": "task:mr+cola"}
    )
    levels = {"ae_span": (79.0, 41.0), "ae_mlm": (70.0, 40.0), "scratch.ae_span": (50.0, 0.0)}
    drawn = {}
    for arm, level in levels.items():
        for task, mean, items in zip(("mr", "cola"), level, (30, 10), strict=True):
            drawn[f"{arm} {task}"] = mean + rng.normal(0, 1, (SEEDS, items))
            for seed in range(SEEDS):
                keep(folder / arm / f"seed{seed}", task, drawn[f"{arm} {task}"][seed])
    return folder, drawn


def decided(folder: Path) -> Decision:
    said = registered(folder)
    assert said is not None
    return decision(load(folder), said)


def test_a_composites_verdict_is_that_of_the_tasks_alike(
    made_up: tuple[Path, dict[str, np.ndarray]],
) -> None:
    folder, drawn = made_up
    found = decided(folder)
    [outcome], [assay, *each] = found.claims, found.assays
    [finding] = outcome.readings[0].findings
    mr, cola = (drawn[f"ae_span {task}"] - drawn[f"ae_mlm {task}"] for task in ("mr", "cola"))
    by_hand = np.hstack([mr * 40 / (2 * 30), cola * 40 / (2 * 10)])
    assert np.allclose(finding.table.values, by_hand)
    assert finding.test.mean == pytest.approx((mr.mean() + cola.mean()) / 2)
    assert finding.test.mean == pytest.approx(5, abs=0.3)
    expected = crossed_test(by_hand)
    assert (finding.test.p, finding.test.low, finding.test.high) == (expected.p, expected.low, expected.high)
    assert (outcome.verdict, assay.passed) == ("supported", True)
    assert assay.gain is not None
    assert assay.gain.mean == pytest.approx((24.5 + 40.5) / 2, abs=0.5)
    assert [one.endpoint for one in each] == ["task:mr@finetuned:accuracy", "task:cola@finetuned:matthews"]
    gains = [one.gain.mean for one in each if one.gain is not None]
    assert gains == pytest.approx([24.5, 40.5], abs=0.5)


def test_runs_that_were_asked_other_texts_are_not_paired(
    made_up: tuple[Path, dict[str, np.ndarray]],
) -> None:
    folder, drawn = made_up
    run = folder / "ae_mlm" / "seed3"
    keep(run, "cola", drawn["ae_mlm cola"][3], digest="bb")
    with pytest.raises(UserError, match="different items") as refused:
        decided(folder)
    assert "\n" not in str(refused.value)
    keep(run, "cola", drawn["ae_mlm cola"][3])
    assert decided(folder).claims[0].verdict == "supported"


def test_a_run_without_the_task_leaves_the_claim_not_testable(
    made_up: tuple[Path, dict[str, np.ndarray]],
) -> None:
    folder, drawn = made_up
    (folder / "ae_mlm" / "seed3" / "scores" / "task-cola-finetuned.parquet").unlink()
    [outcome] = decided(folder).claims
    keep(folder / "ae_mlm" / "seed3", "cola", drawn["ae_mlm cola"][3])
    assert outcome.verdict == "not testable"
    assert outcome.why == "arm 'ae_mlm' has no Mean of mr, cola for 1 of 8 seeds"


def test_items_are_those_of_the_chosen_outcome_mean_over_finetuning_seeds() -> None:
    def outcome(model: str, examples: int, part: str = "test", baseline: bool = False) -> dict[str, Any]:
        return {
            "variant": {"model": model, "examples": examples, "part": part},
            "baseline": baseline,
        }

    outcomes = [
        outcome("pretrained", 10),
        outcome("pretrained", 100),
        outcome("pretrained", 100, "apart"),
        outcome("scratch", 100),
        outcome("majority", 999, baseline=True),
    ]
    rows = [
        {**one["variant"], "item": item, "finetuning_seed": seed, "value": 100.0 * place + 10 * item + seed}
        for place, one in enumerate(outcomes)
        for seed in (0, 1)
        for item in (1, 0)
    ]
    found = items_of({"outcomes": outcomes, "data": {"digest": "aa"}}, pd.DataFrame(rows))
    assert found is not None
    assert found.to_dict("list") == {"item": [0, 1], "value": [100.5, 110.5], "digest": ["aa", "aa"]}


CLAIM = """
statement: Whole words beat pieces
kind: superiority
contrasts: [{words: 1, pieces: -1}]
endpoints: ["task:colours@finetuned:accuracy"]
published: {source: nobody}
expect: noise
"""
SWEEP = """
name: colours
question: Is it worth hiding whole words?
seeds: 2
claims: colours
arms:
  words: [family=encoder_ae, objective=mlm, objective.options.select=whole_word]
  pieces: [family=encoder_ae, objective=mlm, objective.options.select=uniform]
overrides: [size=tiny, size.vocabulary=4096, size.length=16, budget=smoke, budget.scale=0, tracking=none,
            training.batch=8, training.accelerator=cpu, training.threads=1, evaluation.samples=0,
            evaluation.likelihood_windows=2, evaluation.pseudo_likelihood_windows=1]
"""
GRID = "{learning_rates: [1e-3], seeds: 2, epochs: 1, batch: 8, poolings: [mean]}"


@pytest.mark.slow
def test_a_claim_on_a_task_of_ones_own_comes_to_a_word_end_to_end(
    tmp_path: Path, cache: Path, address_corpus: Corpus
) -> None:
    """Nothing is trained, so an arm is its own model from scratch: the assay fails, with a gain of 0."""
    for group, text in (("claims", CLAIM), ("sweep", SWEEP)):
        (tmp_path / group).mkdir()
        (tmp_path / group / "colours.yaml").write_text(text)
    words = {0: ["red", "blue", "green"], 1: ["old", "new", "great"]}
    rows = [{"text": f"The {words[n % 2][n % 3]} house, number {n}", "label": n % 2} for n in range(30)]
    for split, part in (("train", rows[:18]), ("validation", rows[18:22]), ("test", rows[22:])):
        pd.DataFrame(part).to_json(tmp_path / f"{split}.jsonl", orient="records", lines=True)
    task = f"{{name: colours, kind: classification, path: '{tmp_path}', labels: [colour, other]}}"
    overrides = [f"out={tmp_path}/runs", f"data.cache={cache}"]
    composed = [*overrides, f"evaluation.tasks=[{{task: {task}, finetune: {GRID}}}]"]
    sweeping.run(*compose_sweep("colours", composed, tmp_path))
    folder = tmp_path / "runs" / "colours"
    tables = {
        (arm, seed): pd.read_parquet(
            folder / arm / f"seed{seed}" / "scores" / "task-colours-finetuned.parquet"
        )
        for arm in ("scratch.words", "words", "pieces")
        for seed in (0, 1)
    }
    for (arm, seed), table in tables.items():
        answer = read_json(folder / arm / f"seed{seed}" / "tasks" / "colours-finetuned.json")
        told = answer["outcomes"][0]["metrics"]["accuracy"]["value"]
        assert np.mean(table["value"].to_numpy()) == pytest.approx(told)
        assert table["item"].tolist() == list(range(8))
        assert table["digest"].unique().tolist() == [answer["data"]["digest"]]
        assert not any(one["variant"]["model"] == "scratch" for one in answer["outcomes"])
        assert table.equals(tables["scratch.words", seed])
    [assay] = decided(folder).assays
    [outcome] = decided(folder).claims
    assert assay.gain is not None
    assert assay.gain.mean == 0
    assert outcome.verdict == "not testable"
    assert "no control gates the claims" in outcome.why
    assert "Accuracy on colours" in (folder / "report" / "report.md").read_text()
    other = Recipe.from_yaml(folder / "words" / "seed0" / "recipe.yaml").evaluation.tasks[0]
    with pytest.raises(UserError, match=r"answer to another question, which differs in examples"):
        ask_run(folder / "words" / "seed0", other.model_copy(update={"examples": [5]}))
    apart = other.task.model_copy(update={"name": "apart"})
    ask_run(folder / "words" / "seed0", other.model_copy(update={"examples": [5], "task": apart}))
    kept = RunFolder(folder / "words" / "seed0").scores / "task-colours-finetuned.parquet"
    assert pd.read_parquet(kept).equals(tables["words", 0])
    assert json.loads((folder / "claims.json").read_text())["digests"].keys() == {"colours"}
