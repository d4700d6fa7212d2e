"""The report of a sweep with claims: what its scores say is on the page, and nothing that they do not."""

from __future__ import annotations

import itertools
import json
import math
import re
import shutil
from pathlib import Path

import claims_folder
import numpy as np
import pandas as pd
import pytest
import sweep_folder
from scipy import stats
from test_report import Words

from archs.errors import UserError
from experiments.evidence.claims.endpoints import ENDPOINTS
from experiments.report import compare, write
from experiments.report.claimed import Claimed, claimed
from experiments.report.claims.section import words_of
from experiments.report.formats import latex
from experiments.runs.reading import load

pytestmark = pytest.mark.slow

S = claims_folder.SEEDS
ORDER = ENDPOINTS["sentence_order"].measures[0].numerator


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """C11 is there, C9 is not, C12 is too small to tell; two controls, two definitions of the budget."""
    folder = claims_folder.write_claims(tmp_path_factory.mktemp("runs") / "three")
    claims_folder.add_deviation(folder, "claim C9: expect was noise, is large")
    write(folder)
    return folder


@pytest.fixture(scope="module")
def written_small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """C11 and a control, under one definition of the budget: 40 runs."""
    place = tmp_path_factory.mktemp("runs") / "small"
    return claims_folder.write_claims(place, ["C11"], ["more_compute"], stops=["flops"], items=60)


@pytest.fixture
def small(written_small: Path, tmp_path: Path) -> Path:
    return shutil.copytree(written_small, tmp_path / "small")


def differences(folder: Path, one: str, two: str, table: str, column: str) -> np.ndarray:
    """D[s, i] in points, of what the scores hold."""
    arms = [
        [pd.read_parquet(folder / arm / f"seed{s}" / "scores" / f"{table}.parquet")[column] for s in range(S)]
        for arm in (one, two)
    ]
    return 100 * (np.asarray(arms[0], dtype=float) - np.asarray(arms[1], dtype=float))


def by_hand(values: np.ndarray) -> dict[str, float]:
    """Mean, interval and both p-values, by the formulas of the protocol and nothing of the package."""
    s, i = values.shape
    mean, seeds, items = values.mean(), values.mean(1), values.mean(0)
    rest = values - seeds[:, None] - items[None, :] + mean
    ms_s = i * ((seeds - mean) ** 2).sum() / (s - 1)
    ms_i = s * ((items - mean) ** 2).sum() / (i - 1)
    ms_r = (rest**2).sum() / ((s - 1) * (i - 1))
    error = math.sqrt(max(ms_s + ms_i - ms_r, ms_s, ms_i) / (s * i))
    if ms_s >= ms_r and ms_i >= ms_r:
        spread = ms_s**2 / (s - 1) + ms_i**2 / (i - 1) + ms_r**2 / ((s - 1) * (i - 1))
        df = (ms_s + ms_i - ms_r) ** 2 / spread
    else:
        df = s - 1 if ms_s >= ms_i else i - 1
    df = max(df, s - 1)
    half = stats.t.ppf(0.975, df) * error
    flips = [abs(np.dot(signs, seeds)) for signs in itertools.product((1, -1), repeat=s)]
    return {
        "mean": mean,
        "low": mean - half,
        "high": mean + half,
        "crossed": 2 * stats.t.sf(abs(mean) / error, df),
        "sign_flip": float(np.mean(np.array(flips) >= abs(seeds.sum()) - 1e-9)),
    }


def text_of(folder: Path) -> str:
    return " ".join(Words((folder / "report" / "index.html").read_text(encoding="utf-8")).text.split())


def p_text(p: float) -> str:
    return "< 0.0001" if p < 1e-4 else f"{p:.2g}"


CONTRASTS = [
    ("C11", "sop", "nsp", "order", ORDER),
    ("C9", "ae_span", "ae_mlm", "party", "correct"),
    ("C12", "nsp", "nsp_off", "party", "correct"),
]


@pytest.mark.parametrize(("name", "one", "two", "table", "column"), CONTRASTS)
@pytest.mark.parametrize("stop", ["", ".tokens"])
def test_effects_and_both_p_values_are_those_of_the_scores(
    three: Path, name: str, one: str, two: str, table: str, column: str, stop: str
) -> None:
    found = by_hand(differences(three, one + stop, two + stop, table, column))
    numbers = f"{found['mean']:+.1f} points [{found['low']:+.1f}, {found['high']:+.1f}]"
    text = text_of(three)
    assert numbers in text
    around = text[text.index(numbers) :][:400]
    assert f"{p_text(found['crossed'])} sign-flip {p_text(found['sign_flip'])}" in around
    said = json.loads((three / "report" / "verdicts.json").read_text())["outcomes"][name]["readings"]
    [reading] = [
        each for each in said if each["budget"] == ("tokens" if stop else "flops") and each["pooling"] == ""
    ]
    part = reading["parts"][0]
    assert part["mean"] == pytest.approx(found["mean"], abs=1e-9)
    assert part["p_crossed"] == pytest.approx(found["crossed"], rel=1e-6)
    assert part["p_sign_flip"] == pytest.approx(found["sign_flip"], abs=1e-12)


def test_every_seed_s_paired_difference_is_a_dot(three: Path) -> None:
    text = text_of(three)
    for seed, value in enumerate(differences(three, "sop", "nsp", "order", ORDER).mean(1)):
        assert f"sop - nsp, by FLOPs, seed {seed}: {value:+.1f} points" in text


def test_a_real_effect_is_supported_and_no_effect_is_not(three: Path) -> None:
    verdicts = {each.name: each.verdict for each in of(three).decision.claims}
    assert verdicts == {"C11": "supported", "C9": "could not have been seen", "C12": "undecided"}
    text = text_of(three)
    assert "3 claims: 1 supported, 1 could not have been seen, 1 undecided." in text
    assert "No verdict on which arm is better" not in text
    assert "arms are still not ranked" in text


def test_corrected_p_is_holm_s_of_the_three_claims(three: Path) -> None:
    raw = {name: by_hand(differences(three, *rest)) for name, *rest in CONTRASTS if name != "C12"}
    outcomes = {each.name: each for each in of(three).decision.claims}
    assert outcomes["C11"].readings[0].p == pytest.approx(2 / 2**S), "the larger of both tests' p"
    assert raw["C11"]["crossed"] < 2 / 2**S
    assert outcomes["C11"].readings[0].adjusted == pytest.approx(3 * 2 / 2**S)
    assert f"0.023 raw {2 / 2**S:.2g}" in text_of(three)


def of(folder: Path) -> Claimed:
    found = claimed(load(folder))
    assert found is not None
    return found


def test_controls_and_assay_are_shown_with_what_they_came_to(three: Path) -> None:
    text = text_of(three)
    assert re.search(r"more_compute Four times the compute lowers bits per byte held", text)
    share = next(each.relabelling for each in of(three).decision.controls if each.relabelling is not None)
    assert f"{share:.1%} of relabellings gave a verdict" in text
    for assay in of(three).decision.assays:
        assert assay.gain is not None
        assert f"{assay.gain.mean:+.1f} [{assay.gain.low:+.1f}, {assay.gain.high:+.1f}]" in text


def test_hashes_and_deviations_are_on_the_page_and_in_the_terminal(
    three: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    write(three)
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    assert re.search(r"C11 +sop - nsp .* 0\.023 +\+34\.5", printed)
    text = text_of(three)
    for digest in of(three).registered.digests.values():
        assert digest in text
    for place in (text, " ".join(printed.split())):
        assert "claim C9: expect was noise, is large" in place
        assert "could not have been seen" in " ".join(place.split())
    assert "deviations since: none" not in text


def test_without_deviations_the_page_says_none(small: Path) -> None:
    write(small)
    assert "Deviations after training began: none." in text_of(small)


def test_a_control_that_fails_leaves_no_verdict_anywhere(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in range(S):
        paths = [
            small / arm / f"seed{seed}" / "scores" / "likelihood.parquet" for arm in ("half_ar", "eighth_ar")
        ]
        held = [path.read_bytes() for path in paths]
        for path, content in zip(paths, held[::-1], strict=True):
            path.write_bytes(content)
    write(small)
    text = text_of(small)
    assert "Apparatus not validated: more_compute did not hold, so no verdicts are printed." in text
    content = json.loads((small / "report" / "verdicts.json").read_text())
    assert content["validated"] is False
    claim = content["outcomes"]["C11"]
    assert {claim["verdict"], *(each["verdict"] for each in claim["readings"])} == {"not testable"}
    assert "supported" not in text
    printed = " ".join(capsys.readouterr().out.split())
    assert "Apparatus not validated: more_compute" in printed
    assert "supported" not in printed
    assert "supported" not in (small / "report" / "report.md").read_text()


def test_an_excused_control_is_told_with_its_reason_and_gates_nothing(small: Path) -> None:
    for path in small.glob("eighth_ar/seed*/scores/likelihood.parquet"):
        shutil.copy(small / "half_ar" / path.parents[1].name / "scores" / "likelihood.parquet", path)
    claims_folder.change(small / "claims.json", excused={"more_compute": "half of too little is too little"})
    write(small)
    text = text_of(small)
    assert "did not hold" in text
    assert "excused: half of too little is too little" in text
    # The only one: what is left is no control at all, and so no verdict.
    assert of(small).decision.failed_controls == []
    assert "no control gates the claims" in text
    assert "more_compute gates nothing, by decision: half of too little is too little" in text


def test_a_claim_whose_runs_are_missing_says_so(small: Path) -> None:
    shutil.rmtree(small / "nsp" / "seed3")
    shutil.rmtree(small / "nsp" / "seed5")
    write(small)
    text = text_of(small)
    assert "38 runs finished of 40." in text
    assert "nsp, seeds 3, 5 : missing" in text
    assert "has no Order of sentences, by a linear probe for 2 of 8 seeds" in text
    assert of(small).decision.claims[0].verdict == "not testable"


def test_a_diverged_run_counts_and_the_other_seeds_decide(small: Path) -> None:
    sweep_folder.set_status(small / "nsp" / "seed3", "diverged", why="the loss became nan")
    write(small)
    text = text_of(small)
    assert "nsp, seed 3 : diverged" in text
    assert "7 of 8 seeds enter" in text
    kept = np.delete(differences(small, "sop", "nsp", "order", ORDER), 3, axis=0)
    assert f"{by_hand(kept)['mean']:+.1f} points" in text


def test_a_task_that_cannot_tell_pretrained_from_scratch_informs_no_claim(small: Path) -> None:
    for seed in range(S):
        better = small / "sop" / f"seed{seed}" / "scores" / "order.parquet"
        shutil.copy(better, small / "scratch.sop" / f"seed{seed}" / "scores" / "order.parquet")
    write(small)
    assert "the assay failed: pretrained arms do not beat those from scratch" in text_of(small)
    assert "supported" not in text_of(small)


def test_markdown_and_latex_say_the_page_s_numbers(three: Path) -> None:
    markdown = (three / "report" / "report.md").read_text(encoding="utf-8")
    tex = (three / "report" / "table.tex").read_text(encoding="utf-8")
    for name, one, two, table, column in CONTRASTS:
        found = by_hand(differences(three, one, two, table, column))
        interval = f"[{found['low']:+.1f}, {found['high']:+.1f}]"
        for text in (markdown, tex):
            assert f"{found['mean']:+.1f} points" in text
            assert interval in text
            assert re.search(rf"^.*{name}.*{re.escape(interval)}", text, re.MULTILINE)
    assert "claim C9: expect was noise, is large" in markdown
    for head in ("Verdicts", "Tuning", "Results", "Budget audit", "Methods", "Controls and assay"):
        assert f"## {head}" in markdown
    rows = [re.sub(r"\\\|", "", line).count("|") for line in markdown.splitlines() if line.startswith("|")]
    assert min(rows) > 2


def test_every_row_of_the_latex_has_its_table_s_columns_and_braces_match(three: Path) -> None:
    tex = (three / "report" / "table.tex").read_text(encoding="utf-8")
    plain = re.sub(r"\\[{}]", "", tex)
    assert plain.count("{") == plain.count("}")
    tables = re.findall(r"\\begin\{tabular\}\{([lr]+)\}(.*?)\\end\{tabular\}", tex, re.DOTALL)
    assert len(tables) == 2, "verdicts and results"
    for columns, body in tables:
        rows = [row for row in body.splitlines() if row.endswith(r"\\")]
        assert {len(re.findall(r"(?<!\\)&", row)) + 1 for row in rows} == {len(columns)}
        assert not re.search(r"(?<!\\)[%#_$](?!\\?pm)", body.replace(r"$\pm$", ""))
    assert r"ae\_span - ae\_mlm" in tex


def test_what_latex_reads_as_commands_is_escaped() -> None:
    assert latex.escaped(r"a_b & 5% {x} \ # $1 ~^ < ± >") == (
        r"a\_b \& 5\% \{x\} \textbackslash{} \# \$1 \textasciitilde{}\textasciicircum{} "
        r"\textless{} $\pm$ \textgreater{}"
    )


def test_the_grid_s_edge_is_flagged_and_trials_are_counted(three: Path) -> None:
    text = text_of(three)
    assert "At the edge of the grid: ae_mlm" in text
    assert "at the greatest rate tried: a better one may lie beyond" in text
    tuning = json.loads((three / "tuning.json").read_text())
    trials = sum(map(len, tuning["trials"].values()))
    runs = sum(json.loads(path.read_text())["spent"]["flops"] for path in three.glob("*/seed*/audit.json"))
    share = trials * 1e12 / (trials * 1e12 + runs)
    assert f"{trials} trials cost" in text
    assert f"{share:.1%} of the sweep's FLOPs" in text
    assert "none was tuned for its own" not in text


def test_items_are_listed_by_their_mean_difference_with_their_texts(three: Path) -> None:
    means = differences(three, "sop", "nsp", "order", ORDER).mean(0)
    order = np.argsort(-means, kind="stable")
    best, worst = int(order[0]), int(order[-1])
    text = text_of(three).partition("Every item's difference, and the largest")[2]
    first, last = (text.index(f"order {item} {means[item]:+.1f} ") for item in (best, worst))
    assert first < last, "most in favour first"
    assert f"<order {best}>" in text[first:last]
    assert (
        f"{int((differences(three, 'sop', 'nsp', 'order', ORDER)[:, best] > 0).sum())} above"
        in text[first:last]
    )


def test_readings_say_whether_the_sign_is_stable(three: Path) -> None:
    remarks = {claim.name: claim.remarks for claim in words_of(of(three)).claims}
    means = {
        stop: differences(three, f"ae_span{stop}", f"ae_mlm{stop}", "party", "correct").mean()
        for stop in ("", ".tokens")
    }
    stable = len({value > 0 for value in means.values()}) == 1
    assert ("the sign is stable" in remarks["C9"][0].lower()) == stable
    assert remarks["C11"][0] == "The sign is stable, in favour of the statement in all 4 readings."


def test_shares_of_variance_and_correlations_stand_behind_each_effect(three: Path) -> None:
    told = next(claim for claim in words_of(of(three)).claims if claim.name == "C11")
    shares = [int(cell.text.rstrip("%")) for cell in told.behind.rows[0][4:7]]
    assert 99 <= sum(shares) <= 101
    arms = [
        np.array([pd.read_parquet(three / arm / f"seed{s}/scores/order.parquet")[ORDER] for s in range(S)])
        for arm in ("sop", "nsp")
    ]
    over = [np.corrcoef(arms[0].mean(axis), arms[1].mean(axis))[0, 1] for axis in (1, 0)]
    assert [cell.text for cell in told.behind.rows[0][2:4]] == [f"{value:.2f}" for value in over]


def test_overlap_and_repetition_are_told(small: Path) -> None:
    claims_folder.change(small / "sop" / "seed0" / "audit.json", epochs=6.5)
    write(small)
    text = text_of(small)
    assert "Repetition regime: sop read the text more than 4 times (up to 6.5)" in text
    assert "0.31 to 6.50 repetition regime" in text
    assert "party 1.20% 0.21% 77 3 all" in text


def test_methods_say_what_was_done(three: Path) -> None:
    text = text_of(three).partition("Generated from the recipes")[2]
    for words in (
        "State of the Union",
        "3 claims, their contrasts, margins and endpoints were registered and hashed before training",
        "1 deviation followed",
        "over 8 seeds",
        "4 peak learning rates",
        "Satterthwaite",
        "Holm",
        "torch 2.13.0",
    ):
        assert words in text


def test_a_statement_is_escaped(small: Path) -> None:
    said = json.loads((small / "claims.json").read_text())
    said["claims"]["C11"]["statement"] = "<script>alert(1)</script> & 100% of it_s"
    (small / "claims.json").write_text(json.dumps(said))
    page = write(small).read_text(encoding="utf-8")
    assert "script" not in Words(page).tags
    assert "<script>alert(1)</script> & 100% of it_s" in Words(page).text
    assert r"\<script\>" in (small / "report" / "report.md").read_text()


def test_verdicts_json_knows_no_infinity(tmp_path: Path) -> None:
    folder = claims_folder.write_claims(
        tmp_path / "two", ["C11"], ["more_compute"], stops=["flops"], seeds=2, items=20
    )
    write(folder)

    def refuse(name: str) -> None:
        raise AssertionError(name)

    content = json.loads((folder / "report" / "verdicts.json").read_text(), parse_constant=refuse)
    part = content["outcomes"]["C11"]["readings"][0]["parts"][0]
    assert part["smallest_visible"] is None, "two seeds can show nothing"
    assert "none with so few seeds" in text_of(folder)


def test_two_sweeps_stand_side_by_side_with_what_differs(three: Path, small: Path) -> None:
    page = compare(three, small)
    assert page == three / "report" / "vs-small.html"
    text = " ".join(Words(page.read_text(encoding="utf-8")).text.split())
    for folder in (three, small):
        found = by_hand(differences(folder, "sop", "nsp", "order", ORDER))
        assert f"{found['mean']:+.1f} points [{found['low']:+.1f}, {found['high']:+.1f}]" in text
    assert "C12 Next-sentence prediction adds nothing in one alone" in text
    assert "not claimed" in text
    assert "cells of claims FLOPs; raw tokens FLOPs" in text
    assert "three was changed after training began" in text
    assert "Apparatus" not in text


def test_sweeps_of_other_text_and_other_claims_are_warned_of(written_small: Path, small: Path) -> None:
    for path in small.glob("*/seed*/audit.json"):
        claims_folder.change(path, corpus="0123456789abcdef")
    said = json.loads((small / "claims.json").read_text())
    said["digests"]["C11"] = "ffffffffffffffff"
    (small / "claims.json").write_text(json.dumps(said))
    there = small.rename(small.with_name("other"))
    text = " ".join(Words(compare(written_small, there).read_text(encoding="utf-8")).text.split())
    assert "They read different text (digests 72cc4da73c314c8a and 0123456789abcdef)" in text
    assert "Under one name they make different claims (by hash): C11" in text


def test_sweeps_without_claims_are_compared_by_their_arms(tmp_path: Path) -> None:
    one = sweep_folder.write_sweep(tmp_path / "one", ["decoder_ar", "prefix_lm"])
    two = sweep_folder.write_sweep(tmp_path / "two", ["prefix_lm", "permuted_lm"], seeds=2)
    text = " ".join(Words(compare(one, two).read_text(encoding="utf-8")).text.split())
    assert "Neither sweep makes claims" in text
    assert "prefix_lm" in text
    assert "arms of one alone decoder_ar permuted_lm" in text
    assert "seeds 1 2" in text


def test_a_sweep_is_not_compared_with_itself(written_small: Path) -> None:
    with pytest.raises(UserError, match="give two different sweeps"):
        compare(written_small, written_small)
