"""What a sweep said beforehand: kept, hashed, and every later change shown or refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from archs.errors import UserError
from experiments.evidence.claims.claim import Claim
from experiments.evidence.claims.registered import claims_of
from experiments.runs.folder import RunFolder
from experiments.storage.json_files import read_json
from experiments.sweeps.compose import compose_sweep
from experiments.sweeps.design import Design
from experiments.sweeps.recipe import SweepRecipe
from experiments.sweeps.registration import check_unchanged, register

DESIGN = Design({})


def sweep(*overrides: str, name: str = "claims") -> SweepRecipe:
    return compose_sweep(name, list(overrides))[0]


def changed(said: SweepRecipe, name: str, **change: object) -> SweepRecipe:
    claim = Claim.model_validate(said.claims[name].model_dump() | change)
    return said.model_copy(update={"claims": said.claims | {name: claim}})


def begin(folder: Path) -> None:
    run = RunFolder(folder / "sop" / "seed0")
    with run.alone():
        run.set_status("running")


@pytest.mark.slow
def test_claims_are_written_with_their_hashes(tmp_path: Path) -> None:
    said = sweep("claims=[C11,C12]", "controls=same_arm")
    register(tmp_path, said, DESIGN)
    content = read_json(tmp_path / "claims.json")
    assert content["digests"] == {name: claim.digest() for name, claim in said.claims.items()}
    assert claims_of(content) == said.claims
    assert content["deviations"] == []


def test_before_training_a_claim_may_change_and_nothing_is_said(tmp_path: Path) -> None:
    said = sweep("claims=C12", "controls=[]")
    register(tmp_path, said, DESIGN)
    register(tmp_path, changed(said, "C12", margin=0.7), DESIGN)
    content = read_json(tmp_path / "claims.json")
    assert content["claims"]["C12"]["margin"] == 0.7
    assert content["deviations"] == []


@pytest.mark.slow
def test_after_it_every_change_is_a_deviation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = sweep("claims=C12", "controls=[]")
    register(tmp_path, said, DESIGN)
    begin(tmp_path)
    register(tmp_path, said, DESIGN)
    assert read_json(tmp_path / "claims.json")["deviations"] == []
    register(tmp_path, changed(said, "C12", margin=0.7), DESIGN)
    register(tmp_path, sweep("claims=[C12,C11]", "controls=[]", "seeds=9"), DESIGN)
    told = [each["what"] for each in read_json(tmp_path / "claims.json")["deviations"]]
    assert told == [
        "claim C12: margin was 0.5, is 0.7",
        "claim C11 was added",
        "claim C12: margin was 0.7, is 0.5",
        "seeds: 8 before, 9 now",
    ]
    assert capsys.readouterr().err.count("deviation, after training began") == 4


@pytest.mark.slow
def test_an_excuse_that_comes_after_training_began_is_a_deviation_and_excuses_nothing(tmp_path: Path) -> None:
    asked = ["claims=C12", "controls=same_arm"]
    excuse = "excused.same_arm='for a reason'"
    register(tmp_path / "early", sweep(*asked, excuse), DESIGN)
    begin(tmp_path / "early")
    register(tmp_path / "early", sweep(*asked, excuse), DESIGN)
    early = read_json(tmp_path / "early" / "claims.json")
    assert (early["excused"], early["deviations"]) == ({"same_arm": "for a reason"}, [])
    register(tmp_path / "late", sweep(*asked), DESIGN)
    begin(tmp_path / "late")
    register(tmp_path / "late", sweep(*asked, excuse), DESIGN)
    late = read_json(tmp_path / "late" / "claims.json")
    assert late["excused"] == {}
    told = [each["what"] for each in late["deviations"]]
    assert told == ["control same_arm was to be excused, too late: it gates as before"]
    register(tmp_path / "early", sweep(*asked), DESIGN)
    dropped = read_json(tmp_path / "early" / "claims.json")
    assert dropped["excused"] == {}
    assert [each["what"] for each in dropped["deviations"]] == ["control same_arm is no longer excused"]


@pytest.mark.slow
def test_a_sweep_edited_midway_says_what_changed_and_offers_a_new_folder(tmp_path: Path) -> None:
    register(tmp_path, sweep("claims=C11", "controls=[]"), DESIGN)
    register(tmp_path, sweep("claims=C11", "controls=[]", "scales=[0.5,1]"), DESIGN)  # nothing has begun
    begin(tmp_path)
    for overrides, words in (
        (["scales=[1]"], r"scales \(\[0\.5, 1\.0\] there, \[1\.0\] now\)"),
        (["scales=[0.5,1]", "tuning.fraction=0.1"], r"tuning \("),
        (["scales=[0.5,1]", "arms.sop=[family=encoder_ae,objective=sop,size.layers=3]"], r"arms\.sop \("),
    ):
        with pytest.raises(UserError, match=words) as refused:
            check_unchanged(tmp_path, sweep("claims=C11", "controls=[]", *overrides))
        assert "set name=… or out=… for a new folder" in str(refused.value)
        assert "\n" not in str(refused.value)


def test_claims_are_not_dropped_from_a_sweep_that_made_some(tmp_path: Path) -> None:
    said = sweep("claims=C11", "controls=[]")
    register(tmp_path, said, DESIGN)
    begin(tmp_path)
    with pytest.raises(UserError, match=r"with claims \(C11\) and has none now"):
        check_unchanged(tmp_path, said.model_copy(update={"claims": {}}))


@pytest.mark.slow
def test_more_seeds_of_a_sweep_without_claims_are_welcome(tmp_path: Path) -> None:
    register(tmp_path, sweep(name="five_families"), DESIGN)
    begin(tmp_path)
    register(tmp_path, sweep("seeds=3", "~arms.prefix_lm", name="five_families"), DESIGN)
    assert read_json(tmp_path / "sweep.json")["seeds"] == 3
    assert not (tmp_path / "claims.json").exists()


@pytest.mark.slow
def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        register(tmp_path / "file" / "sweep", sweep(name="five_families"), DESIGN)
