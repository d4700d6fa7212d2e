"""The report: everything the runs left is on the page, computed from their scores, and nothing is ranked."""

from __future__ import annotations

import json
import math
import re
import shutil
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
import sweep_folder

from archs.errors import UserError
from experiments.evidence.results import METRICS, NLL, ORDER_FIRST, ORDER_MEAN, PLL, Spread, measure
from experiments.evidence.results import spread as spread_of
from experiments.recipe.recipe import Recipe
from experiments.report import write
from experiments.report.formats.terminal import HEADINGS
from experiments.report.sections.results import baselines, result_rows
from experiments.runs.reading import load

FAMILIES = list(sweep_folder.OBJECTIVES)


class Words(HTMLParser):
    """The page's text as a reader sees it, and the names of its elements."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text, self.tags = "", set[str]()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.text += f" {data}"


def page_of(folder: Path) -> str:
    return write(folder).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def one_seed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = sweep_folder.write_sweep(tmp_path_factory.mktemp("runs") / "one_seed", FAMILIES)
    write(folder)
    return folder


@pytest.fixture(scope="module")
def three_seeds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With one failed, one unfinished, one missing, one trained run, and one that never started."""
    folder = sweep_folder.write_sweep(tmp_path_factory.mktemp("runs") / "three_seeds", FAMILIES, seeds=3)
    sweep_folder.set_status(
        folder / "prefix_lm" / "seed2", "failed", why="DivergedError: the loss\nbecame nan"
    )
    sweep_folder.set_status(folder / "permuted_lm" / "seed0", "running")
    sweep_folder.set_status(folder / "permuted_lm" / "seed2", "trained")
    (folder / "encoder_decoder" / "seed2" / "status.json").unlink()
    shutil.rmtree(folder / "permuted_lm" / "seed1")
    write(folder)
    return folder


def read(folder: Path) -> str:
    return (folder / "report" / "index.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_page_stands_alone(one_seed: Path) -> None:
    page = read(one_seed)
    assert not re.search(r"https?:|//[a-z]|@import|url\((?!#)", page)
    assert not {"script", "link", "img", "iframe", "object"} & Words(page).tags


@pytest.mark.slow
def test_every_arm_seed_and_result_is_on_the_page(three_seeds: Path) -> None:
    text = Words(read(three_seeds)).text
    found = pd.read_parquet(three_seeds / "results.parquet")
    metrics = {metric.name: metric for metric in METRICS}
    for row in found.to_dict("records"):
        assert row["arm"] in text
        if row["metric"] in metrics:
            assert metrics[row["metric"]].text(row["value"]) in text
            tip = f"{row['arm']}, seed {row['seed']}: {metrics[row['metric']].text(row['value'])}"
            assert tip in text, "every seed is a dot"
    assert len(found["seed"].unique()) == 3


def test_results_are_those_of_the_scores(one_seed: Path) -> None:
    found = pd.read_parquet(one_seed / "results.parquet").set_index(["arm", "seed", "metric"])
    assert list(found.columns) == ["value", "unit", "items"]
    for arm in FAMILIES:
        tables = {
            path.stem: pd.read_parquet(path) for path in (one_seed / arm / "seed0" / "scores").iterdir()
        }
        rows = tables["likelihood"]
        unit = rows["unit"][0]
        bits = rows["nats"].sum() / math.log(2) / rows["bytes"].sum()
        expected = {
            f"{unit}_bits_per_byte": (bits, len(rows)),
            "party_accuracy": (100 * tables["party"]["correct"].mean(), 1000),
            "infill_chrf": (tables["infill"]["chrf"].mean(), 200),
            "infill_first_word": (100 * tables["infill"]["first_word"].mean(), 200),
            "target_nats_per_byte": (tables["target"]["nats"].sum() / tables["target"]["bytes"].sum(), 200),
            "order_mean": (100 * tables["order"]["correct_mean"].mean(), len(rows)),
            "order_first": (100 * tables["order"]["correct_first"].mean(), len(rows)),
        }
        for metric, (value, items) in expected.items():
            row = found.loc[(arm, 0, metric)]
            assert row["value"] == pytest.approx(value, rel=1e-12)
            assert row["items"] == items


def test_one_seed_has_no_interval(one_seed: Path) -> None:
    text = Words(read(one_seed)).text
    assert "One seed: no interval" in text
    assert "±" not in text
    assert Spread(NLL, {0: 1.0}, 64).half_width is None


def test_three_seeds_have_students_t_interval() -> None:
    spread = Spread(NLL, {0: 1.0, 1: 2.0, 2: 4.0}, 64)
    by_hand = 4.302652729911275 * math.sqrt(7 / 3) / math.sqrt(3)  # t(.975, 2) x deviation / sqrt(seeds)
    assert spread.mean == pytest.approx(7 / 3)
    assert spread.half_width == pytest.approx(by_hand, rel=1e-9)
    assert spread.interval == "± 3.795"


def test_the_intervals_are_on_the_page(three_seeds: Path) -> None:
    text = Words(read(three_seeds)).text
    found = measure(load(three_seeds))
    spread = spread_of(found, "decoder_ar", NLL)
    assert spread is not None
    assert len(spread.values) == 3
    assert spread.interval in text


@pytest.mark.slow
def test_runs_that_did_not_finish_are_named_and_give_no_result(
    three_seeds: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    write(three_seeds)
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    told = {
        "prefix_lm, seed 2": "failed at 100% of its budget (DivergedError: the loss became nan)",
        "permuted_lm, seed 0": "unfinished at 100% of its budget",
        "permuted_lm, seed 1": "missing",
        "permuted_lm, seed 2": "trained, not evaluated",
        "encoder_decoder, seed 2": "never started",
    }
    for text in (Words(read(three_seeds)).text, printed):
        plain = " ".join(text.split())
        assert "10 runs finished of 15" in plain
        for run, story in told.items():
            assert re.search(rf"{run} ?: {re.escape(story)}", plain), run
    found = pd.read_parquet(three_seeds / "results.parquet")
    assert "permuted_lm" not in set(found["arm"])


@pytest.mark.slow
def test_every_metric_is_in_the_terminal_within_80_columns(
    three_seeds: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    write(three_seeds)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert set(HEADINGS) == {metric.name for metric in METRICS}
    words = {word for heading in HEADINGS.values() for word in heading.split()}
    assert words <= {word for line in lines for word in line.split()}, "no heading is folded"
    spread = spread_of(measure(load(three_seeds)), "decoder_ar", METRICS[-1])
    assert spread is not None
    assert {spread.text, spread.interval.removeprefix("± ")} <= set(" ".join(lines).split())


def test_baselines_of_the_probe_stand_beside_it(one_seed: Path) -> None:
    sweep = load(one_seed)
    found = baselines(sweep, measure(sweep))
    assert found["majority"][ORDER_FIRST] == found["majority"][ORDER_MEAN] == [48.8]
    assert found["input embeddings"] == {ORDER_MEAN: [50.3]}


def test_an_arm_without_results_says_so_and_keeps_its_place(three_seeds: Path) -> None:
    sweep = load(three_seeds)
    rows = result_rows(sweep, measure(sweep), list(METRICS))
    assert [row.arm for row in rows] == FAMILIES
    assert rows[-1].cells == ["not measured"] * len(METRICS)


def test_pseudo_likelihood_shares_no_cell_and_no_axis_with_likelihood(one_seed: Path) -> None:
    sweep = load(one_seed)
    for row in result_rows(sweep, measure(sweep), [NLL, PLL]):
        nll, pll = row.cells
        kinds = ("has none", Spread) if row.arm == "encoder_ae" else (Spread, "not asked")
        for cell, kind in zip((nll, pll), kinds, strict=True):
            assert cell == kind if isinstance(kind, str) else isinstance(cell, kind)
    labels = re.findall(r'aria-label="(Bits per byte[^"]*)"', read(one_seed))
    assert len(labels) == 2
    for label in labels:
        assert ("encoder_ae" in label) == ("pseudo" in label)
        assert ("decoder_ar" in label) != ("pseudo" in label)


def test_arms_stand_in_their_declared_order_whatever_they_reached(one_seed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "turned"
    shutil.copytree(one_seed, folder)
    sweep_folder.declare(folder, FAMILIES[::-1], 1)
    assert load(folder).arms == FAMILIES[::-1]


@pytest.mark.slow
def test_text_from_models_and_from_the_sweep_is_escaped(one_seed: Path, tmp_path: Path) -> None:
    page = read(one_seed)
    assert "&lt;b&gt;the&lt;/b&gt; peace &amp; order 0" in page
    assert "<b>the</b>" not in page
    folder = tmp_path / "hostile"
    sweep_folder.write_sweep(folder, ["decoder_ar"], question="<script>alert(1)</script> & why?")
    (folder / "decoder_ar").rename(folder / "a<img>$x_1$")
    (folder / "sweep.json").write_text(
        (folder / "sweep.json").read_text().replace('"decoder_ar": [', '"a<img>$x_1$": [')
    )
    seed = folder / "a<img>$x_1$" / "seed0"
    (seed / "samples.json").write_text(
        json.dumps([{"prompt": "</dd><script>", "continuation": "\x00\x1b</style>", "decoding": "x"}])
    )
    page = page_of(folder)
    assert not {"script", "img"} & Words(page).tags
    assert "<script>alert(1)</script> & why?" in unescape(page)
    assert "␀␛&lt;/style&gt;" in page


def test_no_verdict_is_printed_and_why_is_said(one_seed: Path) -> None:
    text = " ".join(Words(read(one_seed)).text.split())
    assert "No verdict on which arm is better is printed" in text
    assert "There is one seed an arm" in text
    assert "tokens per core parameter" in text
    assert "none was tuned for its own" in text


@pytest.mark.slow
def test_the_audit_shows_what_was_planned_beside_what_was_spent(one_seed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "short"
    shutil.copytree(one_seed, folder)
    path = folder / "decoder_ar" / "seed0" / "audit.json"
    content = json.loads(path.read_text())
    content["spent"]["tokens"] = 777_777
    path.write_text(json.dumps(content))
    text = " ".join(Words(page_of(folder)).text.split())
    assert "777,777 planned 819,200" in text
    assert "from 777,777 to 819,200 raw tokens" in text


def test_the_audit_shows_p_and_m_and_what_twice_the_parameters_is_off(one_seed: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(one_seed, tmp_path / "double")
    path = folder / "encoder_decoder" / "seed0" / "audit.json"
    content = json.loads(path.read_text())
    content["plan"] |= {"multiple": 2, "times_parameters": 1.996, "times_flops": 0.851}
    path.write_text(json.dumps(content))
    text = " ".join(Words(page_of(folder)).text.split())
    assert "2.00 P, 0.85 M" in text
    assert "of 2 x the reference's" in text
    assert "of the same (encoder_decoder: of twice that)" in text
    assert text.count("not recorded") == 4, "audits of older runs do not tell"


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [1, 3])
def test_the_audit_is_in_the_terminal_within_eighty_columns(
    seeds: int, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    folder = sweep_folder.write_sweep(tmp_path / "terminal", FAMILIES, seeds)
    path = folder / "decoder_ar" / "seed0" / "audit.json"
    content = json.loads(path.read_text())
    content["spent"]["tokens"] = 777_777
    path.write_text(json.dumps(content))
    write(folder)
    shown = capsys.readouterr().out
    audit = shown[: shown.index("P, M: times")]
    assert max(len(line) for line in shown.splitlines()) <= 80
    assert all(family in audit for family in FAMILIES)
    assert ("777,777" in audit, "819,200" in audit, "…" in audit) == (True, True, False)


@pytest.mark.slow
@pytest.mark.parametrize("stacks", ["double", "shared"])
def test_what_sets_an_encoder_decoder_apart_is_said_of_its_own_stacks(
    stacks: str, one_seed: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(one_seed, tmp_path / "stacks")
    path = folder / "encoder_decoder" / "seed0" / "recipe.yaml"
    path.write_text(path.read_text().replace("stacks: null", f"stacks: {stacks}"))
    text = " ".join(Words(page_of(folder)).text.split())
    assert "it splits its depth" in read(one_seed)
    assert "it splits its depth" not in text
    assert {"double": "twice as many", "shared": "one set of weights"}[stacks] in text


@pytest.mark.slow
def test_an_untrained_arm_is_on_the_page_beside_what_the_others_spent(one_seed: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(one_seed, tmp_path / "untrained")
    run = folder / "decoder_ar" / "seed0"
    recipe = Recipe.from_yaml(run / "recipe.yaml")
    budget = recipe.budget.model_copy(update={"scale": 0.0})
    recipe.model_copy(update={"budget": budget}).to_yaml(run / "recipe.yaml")
    content = json.loads((run / "audit.json").read_text())
    content["plan"]["steps"] = 0
    content |= {"spent": dict.fromkeys(content["spent"], 0), "epochs": 0, "attention": []}
    (run / "audit.json").write_text(json.dumps(content))
    (run / "metrics.jsonl").write_text("")
    text = " ".join(Words(page_of(folder)).text.split())
    assert "every run stops at 0 to 4e12 training FLOPs" in text
    assert "none read" in text
    assert "planned 0" in text
    assert "The arms read 1.0 tokens per core parameter" in text, "an untrained arm was to read nothing"


@pytest.mark.slow
def test_recipes_from_before_there_was_a_scale_make_the_same_page(one_seed: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(one_seed, tmp_path / "one_seed")
    for path in folder.glob("*/seed0/recipe.yaml"):
        path.write_text(re.sub("  (scale|reference_length): .*\n", "", path.read_text()))
        assert Recipe.from_yaml(path).budget.spends == 4e12
    here = str(tmp_path / "one_seed"), str(one_seed)
    assert page_of(folder).replace(*here) == read(one_seed)


@pytest.mark.slow
def test_what_was_not_measured_is_said_and_breaks_nothing(one_seed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bare"
    shutil.copytree(one_seed, folder)
    for arm in FAMILIES:
        seed = folder / arm / "seed0"
        (seed / "scores" / "infill.parquet").unlink()
        path = seed / "evaluation.json"
        nothing = {"party": None, "infill": None, "gates": None, "flow": None}
        path.write_text(json.dumps(json.loads(path.read_text()) | nothing))
        (seed / "samples.json").write_text("[]")
    (folder / "decoder_ar" / "seed0" / "scores" / "party.parquet").unlink()
    text = " ".join(Words(page_of(folder)).text.split())
    assert "not measured" in text
    assert "Infill, chrF" not in text
    assert "No finished run has written any" in text


def test_runs_that_only_began_make_a_page(tmp_path: Path) -> None:
    folder = tmp_path / "began"
    run = sweep_folder.write_run(folder / "decoder_ar" / "seed0", "decoder_ar", 0)
    for path in run.iterdir():
        if path.name not in ("recipe.yaml", "metrics.jsonl"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    (run / "metrics.jsonl").write_text("")
    text = " ".join(Words(page_of(folder)).text.split())
    assert "0 runs finished; no sweep.json says how many were meant" in text
    assert "decoder_ar, seed 0 : never started" in text
    assert pd.read_parquet(folder / "results.parquet").empty


@pytest.mark.slow
def test_twenty_arms_of_any_name_differ_in_colour_dash_or_mark(tmp_path: Path) -> None:
    from experiments.report.figures.curves import looks

    names = [f"arm-{number}.with_a_rather_long_name" for number in range(20)]
    assert len(set(looks(names).values())) == 20
    folder = tmp_path / "many"
    for number, name in enumerate(names):
        sweep_folder.write_run(folder / name / "seed0", FAMILIES[number % 5], 0, number)
    text = Words(page_of(folder)).text
    assert all(name in text for name in names)


def test_a_folder_without_runs_is_a_one_line_error(tmp_path: Path) -> None:
    (tmp_path / "report").mkdir()
    with pytest.raises(UserError, match=r"holds no run; give a sweep's folder.*$"):
        write(tmp_path)
